"""Take out of the tree what a fleet must not share, and what a build leaves behind."""

from __future__ import annotations

import os
import shutil
import stat
from pathlib import Path

from imagebuilder.command import redact
from imagebuilder.engines.direct import overlay
from imagebuilder.engines.direct.tree import Tree

# What each machine must make for itself at its first boot.
_OWN_TO_A_MACHINE = (
    "etc/ssh/ssh_host_*",
    "var/lib/dbus/machine-id",
    "var/lib/systemd/random-seed",
    "var/lib/systemd/credential.secret",
    "var/lib/urandom/random-seed",
    "var/lib/dhcp/*",
    "var/lib/NetworkManager/*.lease",
    "var/lib/NetworkManager/secret_key",
    "etc/iscsi/initiatorname.iscsi",
    "etc/nvme/hostid",
    "etc/nvme/hostnqn",
    "var/lib/cfengine3/lastseen/*",
    "var/lib/cfengine3/ppkeys/*",
    "var/lib/cfengine3/randseed",
    "var/lib/cfengine3/state/*",
    "etc/openvswitch/conf.db",
    "etc/openvswitch/system-id.conf",
    "var/lib/openvswitch/conf.db",
)

# What package managers and builds leave; nothing at run time needs it.
_LEFT_BY_THE_BUILD = (
    "boot/initrd.img*",
    "boot/initramfs*",
    "initrd.img*",
    "etc/*-",  # passwd- and its like: what the files were before the last change
    "etc/.pwd.lock",
    "etc/.resolv.conf.systemd-resolved.bak",
    "etc/apt/apt.conf.d/*mmdebstrap*",
    "etc/dpkg/dpkg.cfg.d/*mmdebstrap*",
    "root/.bash_history",
    "root/.wget-hsts",
    "var/cache/apt/archives/*.deb",
    "var/cache/apt/archives/partial/*",
    "var/cache/apt/*.bin",
    "var/cache/debconf/*-old",
    "var/cache/ldconfig/aux-cache",
    "var/lib/apt/lists/*",
    "var/lib/dpkg/*-old",
    "var/lib/dpkg/lock*",
    "var/tmp/*",
)

_UNITS = ("/etc/systemd/system", "/usr/lib/systemd/system", "/lib/systemd/system")
_KEYS_UNIT = "ssh-host-keys.service"
_KEYS_WANTED = ("ssh.service", "ssh.socket")
_KEYS_TEXT = f"""\
[Unit]
Description=Make the SSH host keys that are missing
Documentation=man:ssh-keygen(1)
Before={" ".join(_KEYS_WANTED)}

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/usr/bin/ssh-keygen -A
"""


def seal(tree: Tree, *, has_hostname: bool, upper: Path | None = None) -> None:
    """Make the tree fit to be shared by many machines.

    Args:
        tree: the image, with nothing mounted in it that is not part of it.
        has_hostname: whether the kickstart gave a host name; else the host's is taken out.
        upper: where an overlay keeps what was changed in the tree, upon one whose times are
            not too late; None: all may have changed.
    """
    for pattern in (*_OWN_TO_A_MACHINE, *_LEFT_BY_THE_BUILD):
        for path in tree.glob(pattern):
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()
    for folder, _, names in os.walk(tree.path("/var/log/all").parent):
        for name in names:
            (Path(folder) / name).unlink()
    # An empty machine-id is made at boot and does not count as a first boot (machine-id(5)),
    # which would run all presets over the units that the recipe chose.
    tree.write("/etc/machine-id", "", mode=0o444)
    if tree.exists("/usr/bin/dbus-daemon"):
        tree.link("/var/lib/dbus/machine-id", "/etc/machine-id")
    if not has_hostname:
        tree.remove("/etc/hostname")  # mmdebstrap copied the builder's
    _resolver(tree)
    _host_keys(tree)
    for path in tree.glob("etc/apt/sources.list*") + tree.glob("etc/apt/sources.list.d/*"):
        if path.is_file() and not path.is_symlink():
            path.write_text(redact(path.read_text()))
    for name in ("dev", "proc", "run", "sys", "tmp"):  # what is mounted there hides them anyway
        (tree.root / name).mkdir(exist_ok=True)
        os.utime(tree.root / name, (tree.epoch, tree.epoch))
    if upper:
        _clamp_written(tree.root, tree.epoch, upper)
    else:
        clamp_times(tree.root, tree.epoch)


def _host_keys(tree: Tree) -> None:
    """See that SSH host keys are made at boot: Debian's ssh.service does not start without.

    A unit that makes them is left alone, whether a package, a script or a file brought it.
    """
    if not tree.exists("/usr/bin/ssh-keygen") or not any(
        tree.exists(f"{folder}/ssh.service") for folder in _UNITS
    ):
        return
    units = (path for folder in _UNITS for path in tree.glob(f"{folder[1:]}/*.service"))
    if any("ssh-keygen" in tree.read(f"/{path.relative_to(tree.root)}") for path in units):
        return
    tree.write(f"/etc/systemd/system/{_KEYS_UNIT}", _KEYS_TEXT)
    for wanting in _KEYS_WANTED:
        tree.link(f"/etc/systemd/system/{wanting}.requires/{_KEYS_UNIT}", f"../{_KEYS_UNIT}")


def _resolver(tree: Tree) -> None:
    """Take out the builder's resolv.conf; point at systemd-resolved where it is installed."""
    if tree.exists("/usr/lib/systemd/systemd-resolved") or tree.exists(
        "/lib/systemd/systemd-resolved"
    ):
        tree.link("/etc/resolv.conf", "../run/systemd/resolve/stub-resolv.conf")
    elif not tree.path("/etc/resolv.conf").is_symlink():
        tree.remove("/etc/resolv.conf")


def clamp_times(root: Path, epoch: int) -> None:
    """Set every modification time that is later than ``epoch`` (seconds) back to it."""
    limit = epoch * 1_000_000_000
    waiting = [root]
    while waiting:
        folder = waiting.pop()
        with os.scandir(folder) as entries:
            for entry in entries:
                facts = entry.stat(follow_symlinks=False)
                if facts.st_mtime_ns > limit:
                    os.utime(entry.path, ns=(limit, limit), follow_symlinks=False)
                if stat.S_ISDIR(facts.st_mode):
                    waiting.append(Path(entry.path))
    os.utime(root, ns=(limit, limit))


def _clamp_written(root: Path, epoch: int, upper: Path) -> None:
    """Do the same for what an overlay changed: a tree has twenty times as many files."""
    limit = epoch * 1_000_000_000
    for inside in overlay.written(upper):
        path = root / inside
        if path.lstat().st_mtime_ns > limit:
            os.utime(path, ns=(limit, limit), follow_symlinks=False)
    os.utime(root, ns=(limit, limit))
