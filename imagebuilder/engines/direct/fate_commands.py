"""The fate of each kickstart command, and of each option of those that are honoured."""

from __future__ import annotations

from imagebuilder.engines.direct.fate_kinds import Fate, Row, honoured, idle, refused
from imagebuilder.engines.direct.fate_network import FIREWALL, NETWORK

_NO_DISK = idle("a live image has no disk to divide")
_NO_INSTALLER = idle("no installer runs, so it has no face, and nobody to talk to")
_NO_END = idle("nothing is restarted when a build ends")
_NO_LOADER = idle("a live image is loaded by PXE and has no boot loader of its own")
_NO_LOADER_PASSWORD = refused(
    "a live image has no boot loader that could ask for it",
    "who may change the kernel's arguments is up to the PXE server",
)

_NO_PAM = refused(
    "Debian has no authselect or authconfig; its packages set PAM up by pam-auth-update(8)",
    "add the package (libpam-sss, libpam-ldapd…), and say the rest in a %post section",
)
_NO_METHOD = "an image is made of packages from apt's repositories"
_NAME_MIRROR = "name a mirror: url --url=URL; or leave it out: the project's or this host's is used"
_FILE_MIRROR = "put a repository there (apt-ftparchive), and name it: url --url=file:///FOLDER"
_INSTALLER_STORAGE = "it gives the installer a disk to install on, and a live image has none"
_AT_BOOT = "what a running machine attaches is set up at boot: its package and a unit"
_REMOVED = refused("newer kickstarts do not have it, and no installer runs", "take it out")
_RED_HAT = refused(
    "Red Hat's subscriptions have no part in a Debian image",
    "take it out, or put it between {% if distro.family == 'el' %} and {% endif %}",
)
_NO_METALINK = refused(
    "apt knows neither mirror lists of this form nor metalinks",
    "name one mirror, or apt's own list of mirrors: mirror+http://…, apt-transport-mirror(1)",
)
_PROXY = honoured("the proxy for this host alone, `Acquire::http::Proxy::HOST`")
_NO_VERIFY = honoured("the host's certificate is not looked at; signatures of packages still are")
_CA = honoured("certificates that the host's may come from: a file of this host or the project")
_CLIENT_CERT = honoured("the certificate to show: a file of this host or the project")
_CLIENT_KEY = honoured(
    "its key: a file of this host or the project; it does not get into the image"
)
_PACKAGE_PIN = "pins in apt's preferences, apt_preferences(5)"

_PASSWORD_FORMS = {
    "--iscrypted": honoured("the password is a hash, as of crypt(5)"),
    "--plaintext": honoured("the password is plain; the image has its yescrypt hash"),
    "--lock": honoured("no password opens the account; keys do"),
}

HONOURED: dict[str, Row] = {
    "bootloader": Row(
        honoured("the kernel arguments are those that PXE gives; those of all lines hold"),
        {
            "--append": honoured("kernel arguments, in the image's boot script"),
            **dict.fromkeys(("--password", "--md5pass", "--iscrypted"), _NO_LOADER_PASSWORD),
            **dict.fromkeys(
                (
                    "--boot-drive",
                    "--default",
                    "--disabled",
                    "--driveorder",
                    "--extlinux",
                    "--leavebootorder",
                    "--location",
                    "--nombr",
                    "--sdboot",
                    "--timeout",
                    "--upgrade",
                ),
                _NO_LOADER,
            ),
        },
    ),
    "firewall": FIREWALL,
    "firstboot": Row(
        honoured("whether an assistant asks questions at the first boot"),
        {
            **dict.fromkeys(
                ("--disable", "--disabled"),
                honoured("systemd-firstboot is masked, GNOME's initial setup switched off"),
            ),
            **dict.fromkeys(
                ("--enable", "--enabled", "--reconfig"),
                refused(
                    "each boot of a live image is its first, and a fleet has nobody to answer",
                    "say in the kickstart what it would ask, or say firstboot --disable",
                ),
            ),
        },
    ),
    "group": Row(
        honoured("groupadd(8); a group that is there already with that id stays"),
        {"--name": honoured("the group's name"), "--gid": honoured("its id")},
    ),
    "keyboard": Row(
        honoured(
            "`/etc/default/keyboard` and `/etc/vconsole.conf`; the console follows them where "
            "the package console-setup is"
        ),
        {
            "--vckeymap": honoured("the console's keymap"),
            "--xlayouts": honoured("layouts, with variants in brackets"),
            "--switch": honoured("how layouts are switched, such as `grp:alt_shift_toggle`"),
        },
    ),
    "lang": Row(
        honoured(
            "`/etc/locale.conf`, which `/etc/default/locale` leads to; any but C and C.UTF-8 needs "
            "the package locales"
        ),
        {"--addsupport": honoured("further locales that are made")},
    ),
    "network": NETWORK,
    "repo": Row(
        honoured("a further source of packages, beside url's, the project's or the host's"),
        {
            "--name": honoured("the repository's name"),
            "--baseurl": honoured("as `url --url`"),
            "--cost": honoured(
                "of the same version in several repositories, that of the cheapest is taken "
                "(1000 by default)"
            ),
            "--includepkgs": honoured(f"nothing but these comes from it: {_PACKAGE_PIN}"),
            "--excludepkgs": honoured(f"these do not come from it: {_PACKAGE_PIN}"),
            "--install": honoured("the image's own apt knows it, with its key and pins"),
            "--proxy": _PROXY,
            "--noverifyssl": _NO_VERIFY,
            "--sslcacert": _CA,
            "--sslclientcert": _CLIENT_CERT,
            "--sslclientkey": _CLIENT_KEY,
            "--mirrorlist": _NO_METALINK,
            "--metalink": _NO_METALINK,
            "--ignoregroups": idle("apt's repositories have no groups of their own"),
        },
    ),
    "rootpw": Row(
        honoured("root's password; without the command it is locked"),
        {
            **_PASSWORD_FORMS,
            "--allow-ssh": honoured("SSH lets root in by password: `PermitRootLogin yes`"),
        },
    ),
    "selinux": Row(
        honoured("the mode, in `/etc/selinux/config`"),
        {
            "--disabled": honoured("as Debian is without a kernel argument that says otherwise"),
            "--permissive": honoured(
                "needs the packages selinux-basics and selinux-policy-default and the kernel "
                "argument `security=selinux`; files have no labels, so that nearly all is logged"
            ),
            "--enforcing": refused(
                "files of a live image have no labels, and without them nothing would start",
                "say selinux --permissive, or leave the line out: AppArmor is Debian's own",
            ),
        },
    ),
    "services": Row(
        honoured(
            "systemctl enable and disable, by the names that Debian gives units; of one line "
            "`--enabled` holds, of several the last"
        ),
        {
            "--enabled": honoured("units that packages or the recipe's files bring"),
            "--disabled": honoured("a unit that is not there is noted, not refused"),
        },
    ),
    "skipx": Row(honoured("the machine boots to multi-user.target")),
    "sshkey": Row(
        honoured("a line of the user's authorized_keys, with options such as `from=…`, if any"),
        {"--username": honoured("whose; the user must be there: a user line, or a package's")},
    ),
    "timesource": Row(
        honoured("time servers, for chrony if it is there, else systemd-timesyncd"),
        {
            "--ntp-server": honoured("a server"),
            "--ntp-pool": honoured("a pool of servers"),
            "--nts": honoured("the server is asked with NTS; this needs chrony"),
            "--ntp-disable": honoured("nothing sets the clock; servers of later lines hold again"),
        },
    ),
    "timezone": Row(
        honoured("`/etc/localtime` and `/etc/timezone`; any but UTC needs the package tzdata"),
        {
            "--utc": honoured(
                "the hardware clock is in UTC: `/etc/adjtime`; without it, local time"
            ),
            "--isUtc": honoured("as `--utc`"),
            "--nontp": honoured("as `timesource --ntp-disable`"),
            "--ntpservers": honoured("as `timesource --ntp-server` for each"),
        },
    ),
    "url": Row(
        honoured("where packages come from, in place of the project's or the host's mirrors"),
        {
            "--url": honoured(
                "a URL, `URL SUITE COMPONENT…`, or a whole line of sources.list(5); see below"
            ),
            "--proxy": _PROXY,
            "--noverifyssl": _NO_VERIFY,
            "--sslcacert": _CA,
            "--sslclientcert": _CLIENT_CERT,
            "--sslclientkey": _CLIENT_KEY,
            "--mirrorlist": _NO_METALINK,
            "--metalink": _NO_METALINK,
        },
    ),
    "user": Row(
        honoured("useradd(8)"),
        {
            "--name": honoured("the user's name"),
            "--gecos": honoured("the full name and the like"),
            "--groups": honoured("further groups; `NAME(GID)` makes one with that id, if need be"),
            "--gid": honoured("the id of the user's own group, made if need be"),
            "--homedir": honoured("the home, `/home/NAME` by default"),
            "--shell": honoured("the shell, `/bin/bash` by default"),
            "--uid": honoured("the user's id"),
            "--password": honoured("the password; without one none opens the account"),
            **_PASSWORD_FORMS,
        },
    ),
    "xconfig": Row(
        honoured("whether the machine boots to a graphical login"),
        {
            "--startxonboot": honoured("graphical.target; needs a display manager"),
            "--defaultdesktop": honoured(
                "the session of who names none: GNOME, KDE, XFCE, LXQT, LXDE, MATE or CINNAMON"
            ),
        },
    ),
}

IDLE: dict[str, Fate] = {
    **dict.fromkeys(
        (
            "autopart",
            "btrfs",
            "clearpart",
            "ignoredisk",
            "logvol",
            "part",
            "partition",
            "raid",
            "reqpart",
            "snapshot",
            "volgroup",
            "zerombr",
        ),
        _NO_DISK,
    ),
    **dict.fromkeys(("cmdline", "graphical", "rdp", "text", "vnc"), _NO_INSTALLER),
    **dict.fromkeys(("halt", "poweroff", "reboot", "shutdown"), _NO_END),
    "eula": idle("Debian asks for no agreement"),
    "logging": idle("no installer runs; a build's logs are beside the image"),
    "mediacheck": idle("no installer runs from a medium"),
    "rescue": idle("no installer runs that could be a rescue system"),
    "sshpw": idle("no installer runs that one could log in to"),
    "updates": idle("no installer runs that could be updated"),
    "zipl": _NO_LOADER,
}

REFUSED: dict[str, Fate] = {
    **dict.fromkeys(("auth", "authconfig", "authselect"), _NO_PAM),
    **dict.fromkeys(
        ("autostep", "device", "deviceprobe", "dmraid", "install", "multipath"),
        _REMOVED,
    ),
    "bootc": refused(f"{_NO_METHOD}, not of a bootable container", _NAME_MIRROR),
    "cdrom": refused(f"{_NO_METHOD}, not of a CD in this host", _FILE_MIRROR),
    "driverdisk": refused(
        "no installer runs that could take drivers", "add the package that has the driver"
    ),
    "fcoe": refused(_INSTALLER_STORAGE, f"{_AT_BOOT} (fcoe-utils)"),
    "harddrive": refused(f"{_NO_METHOD}, not of a disk in this host", _FILE_MIRROR),
    "hmc": refused(f"{_NO_METHOD}, not of what a mainframe's console offers", _NAME_MIRROR),
    "iscsi": refused(_INSTALLER_STORAGE, f"{_AT_BOOT} (open-iscsi)"),
    "iscsiname": refused(
        "each machine has a name of its own, and an image is one for all",
        "write /etc/iscsi/initiatorname.iscsi at boot",
    ),
    "liveimg": refused(f"{_NO_METHOD}, not of another image", _NAME_MIRROR),
    "method": refused("it is no command of its own", "write url, and repo for further sources"),
    "module": refused(
        "Debian has no modules; a release has one version of each package",
        "name the version: NAME=VERSION in %packages, with a repo that has it",
    ),
    "mount": refused(
        "it is for disks that an installer finds, and a live image is made without any",
        "write the line into /etc/fstab, or a .mount unit, in a %post section",
    ),
    "nfs": refused(f"{_NO_METHOD}, not of an installer's NFS folder", _FILE_MIRROR),
    "nvdimm": refused(_INSTALLER_STORAGE, f"{_AT_BOOT} (ndctl)"),
    "ostreecontainer": refused(f"{_NO_METHOD}, not of a container", _NAME_MIRROR),
    "ostreesetup": refused(f"{_NO_METHOD}, not of an OSTree", _NAME_MIRROR),
    "realm": refused(
        "who joins a domain gets a secret of one machine, and an image is one for all",
        "add the package realmd, and a unit that joins at boot",
    ),
    "rhsm": _RED_HAT,
    "syspurpose": _RED_HAT,
    "zfcp": refused(_INSTALLER_STORAGE, f"{_AT_BOOT} (s390-tools)"),
}

COMMANDS: dict[str, Row] = {
    **HONOURED,
    **{name: Row(fate) for name, fate in (*IDLE.items(), *REFUSED.items())},
}
