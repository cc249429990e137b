"""For each option of each honoured command and section, a line without it and a line with it.

What is given alone is added to the command's own line; a pair is two whole texts.  A positional
argument has the name that argparse has for it.
"""

from __future__ import annotations

KEY = "ssh-ed25519 AAAA kim"
CERTIFICATE = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n%end\n"
_PASSWORD = "user --name=kim --password=geheim1"
_HASH = "--password=$6$x$y"
_STATIC = "network --device=eth0 --bootproto=static --ip=192.0.2.5 --netmask=255.255.255.0"
_VLAN = "network --device=eth0 --bootproto=dhcp --vlanid=5"
_SCRIPT = "--log=/tmp/said\necho ${{BASH_VERSION:-none}}\n{}%end\n"
_ANCHOR = "%certificate --filename=a.pem --dir=/etc/pki"

Sample = str | tuple[str, str]


def _script(name: str, options: str = "", *, fails: bool = False) -> str:
    return f"{name} {options} {_SCRIPT.format('exit 3' + chr(10) if fails else '')}"


def _outside(name: str) -> dict[str, Sample]:
    """Return the samples of a section of scripts."""
    plain = f"{name}\necho said\n%end\n"
    log = "/said" if name == "%post" else "/tmp/said"
    return {
        "--interpreter": (_script(name), _script(name, "--interpreter=/bin/bash")),
        "--erroronfail": (_script(name, fails=True), _script(name, "--erroronfail", fails=True)),
        "--log": (plain, plain.replace(name, f"{name} --log={log}")),
        "--logfile": (plain, plain.replace(name, f"{name} --logfile={log}")),
    }


def _packages(options: str, lines: str = "bash") -> str:
    return f"%packages {options}\n{lines}\n%end\n"


SAMPLES: dict[str, dict[str, Sample]] = {
    "bootloader": {
        "": "bootloader",
        "--append": "--append=quiet",
        "--boot-drive": "--boot-drive=sda",
        "--default": "--default=x",
        "--disabled": "--disabled",
        "--driveorder": "--driveorder=sda",
        "--extlinux": "--extlinux",
        "--iscrypted": ("bootloader", "bootloader --iscrypted --password=x"),
        "--leavebootorder": "--leavebootorder",
        "--location": "--location=none",
        "--md5pass": "--md5pass=x",
        "--nombr": "--nombr",
        "--password": "--password=x",
        "--sdboot": "--sdboot",
        "--timeout": "--timeout=3",
    },
    "firewall": {
        "": "firewall --enabled",
        "--disable": ("firewall --enabled", "firewall --enabled\nfirewall --disable"),
        "--disabled": ("firewall --enabled", "firewall --enabled\nfirewall --disabled"),
        "--enable": ("", "firewall --enable"),
        "--enabled": ("", "firewall --enabled"),
        "--ftp": "--ftp",
        "--http": "--http",
        "--port": "--port=8080:tcp",
        "--remove-service": (
            "firewall --enabled --service=ssh",
            "firewall --enabled --service=ssh\nfirewall --enabled --remove-service=ssh",
        ),
        "--service": "--service=ntp",
        "--smtp": "--smtp",
        "--ssh": "--ssh",
        "--trust": "--trust=eth1",
        "--use-system-defaults": "--ssh\nfirewall --use-system-defaults",
    },
    "firstboot": {
        "": "firstboot --disable",
        "--disable": ("", "firstboot --disable"),
        "--disabled": ("", "firstboot --disabled"),
        "--enable": ("", "firstboot --enable"),
        "--enabled": ("", "firstboot --enabled"),
        "--reconfig": ("", "firstboot --reconfig"),
    },
    "group": {
        "": "group --name=staff",
        "--gid": "--gid=1500",
        "--name": ("", "group --name=staff"),
    },
    "keyboard": {
        "": "keyboard us",
        "kbd": ("keyboard us", "keyboard de"),
        "--switch": ("keyboard --xlayouts=us,de", "keyboard --xlayouts=us,de --switch=grp:x"),
        "--vckeymap": ("keyboard --xlayouts=us", "keyboard --xlayouts=us --vckeymap=de"),
        "--xlayouts": ("keyboard --vckeymap=us", "keyboard --vckeymap=us --xlayouts=de"),
    },
    "lang": {
        "": "lang C.UTF-8",
        "lang": ("", "lang de_DE.UTF-8"),
        "--addsupport": "--addsupport=de_DE.UTF-8",
    },
    "network": {
        "": "network --device=eth0 --bootproto=dhcp",
        "--activate": "--activate",
        "--bindto": (
            "network --device=52:54:00:12:34:56 --bootproto=dhcp",
            "network --device=52:54:00:12:34:56 --bootproto=dhcp --bindto=mac",
        ),
        "--bondopts": (
            "network --device=bond0 --bondslaves=eth0,eth1",
            "network --device=bond0 --bondslaves=eth0,eth1 --bondopts=mode=active-backup",
        ),
        "--bondslaves": (
            "network --device=bond0 --bootproto=dhcp",
            "network --device=bond0 --bootproto=dhcp --bondslaves=eth0,eth1",
        ),
        "--bootproto": (_STATIC, _STATIC.replace("static", "dhcp").partition(" --ip")[0]),
        "--bridgeopts": (
            "network --device=br0 --bridgeslaves=eth0",
            "network --device=br0 --bridgeslaves=eth0 --bridgeopts=stp=no",
        ),
        "--bridgeslaves": (
            "network --device=br0 --bootproto=dhcp",
            "network --device=br0 --bootproto=dhcp --bridgeslaves=eth0",
        ),
        "--device": (
            "network --bootproto=dhcp",
            "network --bootproto=dhcp --device=eth7",
        ),
        "--dhcpclass": "--dhcpclass=blade",
        "--essid": "--essid=x",
        "--ethtool": "--ethtool='wol g'",
        "--gateway": (_STATIC, f"{_STATIC} --gateway=192.0.2.1"),
        "--hostname": "--hostname=box",
        "--interfacename": (_VLAN, f"{_VLAN} --interfacename=guests"),
        "--ip": (_STATIC, _STATIC.replace("192.0.2.5", "192.0.2.6")),
        "--ipv4-dns-search": "--ipv4-dns-search=example.org",
        "--ipv4-ignore-auto-dns": "--ipv4-ignore-auto-dns",
        "--ipv6": "--ipv6=2001:db8::5/64",
        "--ipv6-dns-search": "--ipv6-dns-search=example.org",
        "--ipv6-ignore-auto-dns": "--ipv6-ignore-auto-dns",
        "--ipv6gateway": (
            "network --device=eth0 --bootproto=dhcp --ipv6=2001:db8::5/64",
            "network --device=eth0 --bootproto=dhcp --ipv6=2001:db8::5/64 "
            "--ipv6gateway=2001:db8::1",
        ),
        "--mtu": "--mtu=1400",
        "--nameserver": "--nameserver=192.0.2.53",
        "--netmask": (_STATIC, _STATIC.replace("255.255.255.0", "255.255.0.0")),
        "--no-activate": "--no-activate",
        "--nodefroute": "--nodefroute",
        "--nodns": "--nodns",
        "--noipv4": "--noipv4 --ipv6=auto",
        "--noipv6": "--noipv6",
        "--notksdevice": "--notksdevice",
        "--onboot": "--onboot=no",
        "--teamconfig": "--teamconfig={}",
        "--teamslaves": "--teamslaves=eth1",
        "--vlanid": "--vlanid=5",
        "--wepkey": "--essid=x --wepkey=x",
        "--wpakey": "--essid=x --wpakey=x",
    },
    "repo": {
        "": "repo --name=a --baseurl=https://a.example/x",
        "--baseurl": ("", "repo --name=a --baseurl=https://b.example/x"),
        "--cost": "--cost=10",
        "--excludepkgs": "--excludepkgs=nano",
        "--ignoregroups": "--ignoregroups=true",
        "--includepkgs": "--includepkgs=nano",
        "--install": "--install",
        "--metalink": ("", "repo --name=a --metalink=https://a.example/x"),
        "--mirrorlist": ("", "repo --name=a --mirrorlist=https://a.example/x"),
        "--name": (
            "repo --name=a --baseurl=https://a.example/x --install",
            "repo --name=b --baseurl=https://a.example/x --install",
        ),
        "--noverifyssl": "--noverifyssl",
        "--proxy": "--proxy=http://p.example:3128",
        "--sslcacert": "--sslcacert=ca.pem",
        "--sslclientcert": "--sslclientcert=ca.pem",
        "--sslclientkey": "--sslclientkey=ca.pem",
    },
    "rootpw": {
        "": "rootpw geheim1",
        "password": ("", "rootpw geheim2"),
        "--allow-ssh": "--allow-ssh",
        "--iscrypted": ("rootpw $6$x$y", "rootpw --iscrypted $6$x$y"),
        "--lock": "--lock",
        "--plaintext": ("rootpw --iscrypted $6$x$y", "rootpw --plaintext $6$x$y"),
    },
    "selinux": {
        "": "selinux --disabled",
        "--disabled": ("", "selinux --disabled"),
        "--enforcing": ("", "selinux --enforcing"),
        "--permissive": (
            "bootloader --append=security=selinux",
            "bootloader --append=security=selinux\nselinux --permissive",
        ),
    },
    "services": {
        "": "services --enabled=ssh",
        "--disabled": ("", "services --disabled=ssh"),
        "--enabled": ("", "services --enabled=ssh"),
    },
    "skipx": {"": "skipx"},
    "sshkey": {
        "": f'sshkey --username=op "{KEY}"',
        "sshkey": ("", f'sshkey --username=op "{KEY}"'),
        "--username": (f'sshkey --username=op "{KEY}"', f'sshkey --username=root "{KEY}"'),
    },
    "timesource": {
        "": "timesource --ntp-server=a",
        "--ntp-disable": ("", "timesource --ntp-disable"),
        "--ntp-pool": ("timesource --ntp-server=a", "timesource --ntp-pool=a"),
        "--ntp-server": ("", "timesource --ntp-server=a"),
        "--nts": "--nts",
    },
    "timezone": {
        "": "timezone UTC",
        "timezone": ("timezone UTC", "timezone Europe/Berlin"),
        "--isUtc": "--isUtc",
        "--nontp": "--nontp",
        "--ntpservers": "--ntpservers=a,b",
        "--utc": "--utc",
    },
    "url": {
        "": "url --url=https://a.example/x",
        "--metalink": ("", "url --metalink=https://a.example/x"),
        "--mirrorlist": ("", "url --mirrorlist=https://a.example/x"),
        "--noverifyssl": "--noverifyssl",
        "--proxy": "--proxy=http://p.example:3128",
        "--sslcacert": "--sslcacert=ca.pem",
        "--sslclientcert": "--sslclientcert=ca.pem",
        "--sslclientkey": "--sslclientkey=ca.pem",
        "--url": ("", "url --url=https://b.example/x"),
    },
    "user": {
        "": "user --name=kim",
        "--gecos": "--gecos='Kim K'",
        "--gid": "--gid=1600",
        "--groups": "--groups=sudo",
        "--homedir": "--homedir=/srv/kim",
        "--iscrypted": (f"user --name=kim {_HASH}", f"user --name=kim {_HASH} --iscrypted"),
        "--lock": "--lock",
        "--name": ("", "user --name=kim"),
        "--password": ("user --name=kim", _PASSWORD),
        "--plaintext": (
            f"user --name=kim {_HASH} --iscrypted",
            f"user --name=kim {_HASH} --plaintext",
        ),
        "--shell": "--shell=/bin/sh",
        "--uid": "--uid=1200",
    },
    "xconfig": {
        "": "xconfig",
        "--defaultdesktop": "--defaultdesktop=GNOME",
        "--startxonboot": "--startxonboot",
    },
    "%packages": {
        "--default": (_packages(""), _packages("--default")),
        "--exclude-weakdeps": (_packages(""), _packages("--exclude-weakdeps")),
        "--excludeWeakdeps": (_packages(""), _packages("--excludeWeakdeps")),
        "--excludedocs": (_packages(""), _packages("--excludedocs")),
        "--ignoremissing": (_packages("", "bash\nno-such"), _packages("--ignorem", "no-such")),
        "--inst-langs": (_packages(""), _packages("--inst-langs=de")),
        "--instLangs": (_packages(""), _packages("--instLangs=de")),
        "--multilib": (_packages(""), _packages("--multilib")),
        "--nocore": (_packages(""), _packages("--nocore")),
        "--retries": (_packages(""), _packages("--retries=9")),
        "--timeout": (_packages(""), _packages("--timeout 9")),
    },
    "%pre": _outside("%pre"),
    "%pre-install": _outside("%pre-install"),
    "%post": {
        **_outside("%post"),
        "--nochroot": (_script("%post"), _script("%post", "--nochroot")),
    },
    "%onerror": _outside("%onerror"),
    "%certificate": {
        "--dir": (f"{_ANCHOR}\n{CERTIFICATE}", f"{_ANCHOR}/x\n{CERTIFICATE}"),
        "--filename": (
            f"{_ANCHOR}\n{CERTIFICATE}",
            f"{_ANCHOR}\n{CERTIFICATE}".replace("a.pem", "b.pem"),
        ),
        "--type": (f"{_ANCHOR}\n{CERTIFICATE}", f"{_ANCHOR} --type=anchor\n{CERTIFICATE}"),
    },
}

# Each command that is not honoured, whatever its options are.
OTHERS: dict[str, str] = {
    "auth": "auth --enablemd5",
    "authconfig": "authconfig --enablemd5",
    "authselect": "authselect select sssd",
    "autopart": "autopart",
    "autostep": "autostep",
    "bootc": "bootc --source-imgref=a/b:c",
    "btrfs": "btrfs none --data=0 a",
    "cdrom": "cdrom",
    "clearpart": "clearpart --all",
    "cmdline": "cmdline",
    "device": "device x",
    "deviceprobe": "deviceprobe",
    "dmraid": "dmraid --name=a --dev=b",
    "driverdisk": "driverdisk --source=http://a.example/x",
    "eula": "eula --agreed",
    "fcoe": "fcoe --nic=eth0",
    "graphical": "graphical",
    "halt": "halt",
    "harddrive": "harddrive --partition=sda1 --dir=/x",
    "hmc": "hmc",
    "ignoredisk": "ignoredisk --only-use=sda",
    "install": "install",
    "iscsi": "iscsi --ipaddr=192.0.2.1",
    "iscsiname": "iscsiname iqn.2000-01.example:x",
    "liveimg": "liveimg --url=http://a.example/x",
    "logging": "logging --host=a.example",
    "logvol": "logvol / --vgname=a --name=b --size=1000",
    "mediacheck": "mediacheck",
    "method": "method",
    "module": "module --name=a --stream=1",
    "mount": "mount /dev/sda1 /",
    "multipath": "multipath --name=a --device=b --rule=c",
    "nfs": "nfs --server=a.example --dir=/x",
    "nvdimm": "nvdimm use --namespace=a",
    "ostreecontainer": "ostreecontainer --url=a.example/x",
    "ostreesetup": "ostreesetup --osname=a --url=http://a.example/x --ref=b",
    "part": "part / --size=1000",
    "partition": "partition / --size=1000",
    "poweroff": "poweroff",
    "raid": "raid / --device=md0 --level=1 raid.1 raid.2",
    "rdp": "rdp --username=kim --password=x",
    "realm": "realm join example.org",
    "reboot": "reboot --eject",
    "reqpart": "reqpart",
    "rescue": "rescue",
    "rhsm": "rhsm --organization=1 --activation-key=x",
    "shutdown": "shutdown",
    "snapshot": "snapshot a/b --name=c --when=post-install",
    "sshpw": "sshpw --username=kim x",
    "syspurpose": "syspurpose --role=x",
    "text": "text",
    "updates": "updates http://a.example/x",
    "vnc": "vnc",
    "volgroup": "volgroup a pv.1",
    "zerombr": "zerombr",
    "zfcp": "zfcp --devnum=1 --wwpn=2 --fcplun=3",
    "zipl": "zipl --secure-boot",
}
