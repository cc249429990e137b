"""Namespaces, mounts and the end of processes: the only place that mounts, chroots or kills.

A build runs as one worker process in its own mount and PID namespaces (and, for an ordinary
user, in a user namespace with that user's subordinate ids).  When the worker ends, or is
killed, the kernel takes its mounts and processes with it: there is nothing to clean up.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import pwd
import signal
import socket
import stat
import struct
import subprocess
import sys
from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path

# <linux/mount.h>
_MS_RDONLY, _MS_NOSUID, _MS_NODEV, _MS_NOEXEC = 1, 2, 4, 8
_MS_BIND, _MS_REC = 4096, 16384

_VISIBLE = 2000  # entries of a folder of the host that stay visible in a private one
_DEVICES = ("null", "zero", "full", "random", "urandom", "tty")


def mortal(argv: Sequence[str]) -> list[str]:
    """Return a command line that runs ``argv`` so that it dies with the thread that started it.

    The kernel sends the signal (``PR_SET_PDEATHSIG``), so it holds even when this process is
    killed with SIGKILL.
    """
    return ["setpriv", "--pdeathsig", "KILL", "--", *argv]


def enclose(argv: Sequence[str], *, network: bool = True) -> list[str]:
    """Return a command line that runs ``argv`` in mount and PID namespaces of its own.

    Without ``network`` it has a network namespace of its own as well, with nothing in it.

    An ordinary user becomes root of a user namespace in which the subordinate ids of
    ``/etc/subuid`` and ``/etc/subgid`` are mapped.
    """
    user = [] if os.geteuid() == 0 else ["--user", "--map-auto", "--map-root-user"]
    return [
        "unshare",
        *user,
        *([] if network else ["--net"]),
        "--mount",
        "--pid",
        "--fork",
        "--kill-child=SIGKILL",
        "--mount-proc",
        "--",
        *argv,
    ]


def with_own_network(argv: Sequence[str]) -> list[str]:
    """Return a command line that runs ``argv`` in a network of its own, as root of that.

    An ordinary user becomes root of a user namespace; no subordinate ids are needed.  What the
    program makes there, interfaces and processes, goes with it, also when it is killed.
    """
    user = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
    return [
        "unshare",
        *user,
        "--net",
        "--mount",
        "--pid",
        "--fork",
        "--kill-child=SIGKILL",
        "--mount-proc",
        "--",
        *argv,
    ]


def without_network(argv: Sequence[str]) -> list[str]:
    """Return a command line that runs ``argv`` with a network that has a loopback of its own only.

    An ordinary user becomes root of a user namespace, without any of its capabilities.
    """
    user = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
    # A new user namespace may take back what mortal() had asked for.
    bare = ["setpriv", "--pdeathsig", "KILL"]
    bare += ["--bounding-set", "-all", "--inh-caps", "-all"] if user else []
    loopback = [sys.executable, "-I", "-S", __file__]
    return ["unshare", *user, "--net", "--", *loopback, *bare, "--", *argv]


def why_not_enclosed() -> str:
    """Return why this user cannot build in namespaces here, or "" when nothing stands against it.

    Reads files only; ``doctor`` makes the real trial.
    """
    if os.geteuid() == 0:
        return ""
    uid = os.geteuid()
    try:
        names = {str(uid), pwd.getpwuid(uid).pw_name}
    except KeyError:
        names = {str(uid)}
    for table in ("/etc/subuid", "/etc/subgid"):
        try:
            lines = Path(table).read_text().splitlines()
        except OSError:
            lines = []
        if not any(line.split(":")[0] in names for line in lines):
            return f"{table} gives no subordinate ids to {max(names)}"
    switch = Path("/proc/sys/kernel/unprivileged_userns_clone")
    if switch.exists() and switch.read_text().strip() == "0":
        return f"{switch} is 0: unprivileged user namespaces are switched off"
    return ""


def end(process: subprocess.Popen[bytes], *, grace: float) -> None:
    """End a process that was started in a session of its own, with all of its group.

    Asks with SIGTERM, waits ``grace`` seconds, then kills.
    """
    if process.poll() is None:
        _signal_group(process.pid, signal.SIGTERM)
        try:
            process.wait(timeout=grace)
        except subprocess.TimeoutExpired:
            pass
    _signal_group(process.pid, signal.SIGKILL)
    process.wait()


def _signal_group(pid: int, number: signal.Signals) -> None:
    try:
        os.killpg(pid, number)
    except (ProcessLookupError, PermissionError):
        # PermissionError: all that is left of the group is a zombie of another user.
        pass


def in_chroot(root: Path, argv: Sequence[str]) -> list[str]:
    """Return a command line that runs ``argv`` with ``root`` as its root directory."""
    return ["chroot", str(root), *argv]


def without_mknod(argv: Sequence[str]) -> list[str]:
    """Return a command line that runs ``argv`` unable to make device nodes, root or not.

    An ordinary user's build cannot make any: a program that makes some where it can would
    give other bytes to root.
    """
    return ["setpriv", "--bounding-set", "-mknod", "--inh-caps", "-mknod", "--", *argv]


def with_private_tmp(argv: Sequence[str], tmp: Path, folder: Path) -> list[str]:
    """Return a command line that runs ``argv`` in ``folder`` with ``tmp`` as its ``/tmp``.

    A folder that is itself below ``/tmp`` stays where it was; all else there is out of sight.
    """
    return [
        "unshare",
        "--mount",
        "--propagation",
        "private",
        "--",
        "sh",
        "-c",
        _PRIVATE_TMP,
        "sh",
        str(tmp),
        str(folder),
        *argv,
    ]


_PRIVATE_TMP = """set -e
tmp=$1 folder=$2
shift 2
case $folder in
/tmp/*)
    mkdir -p "$tmp${folder#/tmp}"
    mount --rbind "$folder" "$tmp${folder#/tmp}"
    ;;
esac
mount --rbind "$tmp" /tmp
cd "$folder"
exec "$@"
"""


# ----- what follows is called only inside the worker's own mount namespace ----------------------


def enter_root(root: Path) -> None:
    """Make a folder the root of all that this process sees; it is in it from then on.

    Raises:
        OSError: it is no folder.
    """
    os.chroot(root)
    os.chdir("/")


def raise_loopback() -> None:
    """Let programs of a network namespace that has nothing in it talk to each other."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as opened:
        # netdevice(7): SIOCSIFFLAGS of <linux/sockios.h>; IFF_UP and IFF_RUNNING.
        fcntl.ioctl(opened, 0x8914, struct.pack("16sH14x", b"lo", 0x1 | 0x40))


def mount_tmpfs(target: Path, *, mode: str = "0755", is_tree: bool = False) -> None:
    """Mount an empty file system in memory at ``target``.

    Args:
        target: a folder.
        mode: its mode, in octal digits.
        is_tree: whether a system is made in it: its devices and set-user-ID programs work.
    """
    flags = 0 if is_tree else _MS_NOSUID | _MS_NODEV
    # As much as there is, and not half of it: whoever mounts it looks at the memory before.
    size = ",size=100%" if is_tree else ""
    _mount("tmpfs", target, "tmpfs", flags, f"mode={mode}{size}")


def bind(source: Path, target: Path, *, recursive: bool = True) -> None:
    """Make ``source`` (a file, or a tree with or without its mounts) visible at ``target``."""
    _mount(str(source), target, None, _MS_BIND | (_MS_REC if recursive else 0), None)


def mount_overlay(lower: Path, upper: Path, work: Path, target: Path) -> None:
    """Mount ``lower`` at ``target`` with changes going to ``upper``.

    Nothing is synced to the disk, whoever asks for it: a build that loses power begins anew, and
    dpkg asks for it three thousand times in one layer.

    Raises:
        OSError: the file system below cannot carry an overlay.
    """
    # Inside a user namespace overlayfs keeps its marks in user.* attributes (Linux 5.11).
    marks = "" if _is_initial_user_namespace() else ",userxattr"
    for path in (lower, upper, work):
        if any(sign in str(path) for sign in ",:\\"):
            raise OSError(22, "overlayfs takes no path with a comma, colon or backslash", str(path))
    options = f"lowerdir={lower},upperdir={upper},workdir={work}{marks}"
    try:
        _mount("overlay", target, "overlay", 0, f"{options},volatile")  # Linux 5.10
    except OSError:
        _mount("overlay", target, "overlay", 0, options)


def mount_system(root: Path) -> None:
    """Mount what programs expect of a running system into a tree: proc, sys, dev, run, tmp."""
    for name in ("proc", "sys", "dev", "run", "tmp"):
        if (root / name).is_symlink():  # it would lead out of the tree
            raise OSError(40, "must be a folder, and is a symbolic link", str(root / name))
        (root / name).mkdir(exist_ok=True)
    _mount("proc", root / "proc", "proc", _MS_NOSUID | _MS_NODEV | _MS_NOEXEC, None)
    bind(Path("/sys"), root / "sys")
    mount_tmpfs(root / "run")
    mount_tmpfs(root / "tmp", mode="1777")
    mount_tmpfs(root / "dev")
    for name in _DEVICES:
        node = root / "dev" / name
        node.touch()
        bind(Path("/dev") / name, node)
    for name, target in (("fd", "/proc/self/fd"), ("stdin", "fd/0"), ("stdout", "fd/1")):
        (root / "dev" / name).symlink_to(target)
    (root / "dev/stderr").symlink_to("fd/2")
    (root / "dev/shm").mkdir(mode=0o1777)


def unmount_system(root: Path) -> None:
    """Undo :func:`mount_system`, so that the tree can be read as it is on disk."""
    for name in ("tmp", "run", "dev", "sys", "proc"):
        unmount(root / name)


def make_private(target: Path, backing: Path, hidden: Sequence[str] = ()) -> None:
    """Let what is written at the top of a folder of the host go to a folder of our own.

    Files and folders that stood in it stay visible, and what is below those folders is the
    host's; new names in it are this namespace's alone.

    Args:
        target: the host's folder.
        backing: an empty folder, which takes its place.
        hidden: patterns of names that are not to be seen.

    Raises:
        OSError: something cannot be mounted.
    """
    backing.chmod(stat.S_IMODE(target.stat().st_mode))
    opened = os.open(target, os.O_PATH | os.O_DIRECTORY)
    try:
        entries = sorted(os.scandir(f"/proc/self/fd/{opened}"), key=lambda each: each.name)
        bind(backing, target)
        for entry in entries[:_VISIBLE]:
            if any(fnmatchcase(entry.name, pattern) for pattern in hidden):
                continue
            old, new = Path(f"/proc/self/fd/{opened}/{entry.name}"), target / entry.name
            try:
                if entry.is_symlink():
                    new.symlink_to(old.readlink())
                elif entry.is_dir():
                    new.mkdir()
                    bind(old, new)
                elif entry.is_file():
                    new.touch()
                    bind(old, new)
            except FileNotFoundError:
                new.rmdir() if new.is_dir() else new.unlink(missing_ok=True)  # it has just gone
    finally:
        os.close(opened)


def loop_mount(image: Path, target: Path, kind: str) -> list[str]:
    """Return a command line that mounts a file system image, to be read.

    The loop device goes with the mount, and so with the namespace.
    """
    options = "ro,loop,noload" if kind == "ext4" else "ro,loop"
    return ["mount", "-n", "-t", kind, "-o", options, str(image), str(target)]


def traces(folder: Path) -> tuple[str, ...]:
    """Return, for people, what of a folder is in use: mounts, loop devices, processes."""
    name = str(folder)
    mounts = (line.split() for line in Path("/proc/self/mountinfo").read_text().splitlines())
    found = [
        f"mount {fields[4]}" for fields in mounts if name in fields[3] or fields[4].startswith(name)
    ]
    for each in Path("/sys/block").glob("loop*/loop/backing_file"):
        try:
            if name in each.read_text():
                found.append(f"loop device /dev/{each.parent.parent.name}")
        except OSError:  # it has just gone
            pass
    for each in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = each.read_bytes()
        except OSError:
            continue
        if os.fsencode(name) in words and each.parent.name != str(os.getpid()):
            found.append(f"process {each.parent.name}")
    return tuple(found)


def unmount_idle(target: Path) -> None:
    """Unmount what nobody uses, and what has no other mount below it.

    Raises:
        OSError: somebody does, or it has.
    """
    _check(_libc().umount2(os.fsencode(target), 8), target)  # 8: UMOUNT_NOFOLLOW


def unmount(target: Path) -> None:
    """Detach a mount and everything below it."""
    _check(_libc().umount2(os.fsencode(target), 2), target)  # 2: MNT_DETACH


def _is_initial_user_namespace() -> bool:
    fields = Path("/proc/self/uid_map").read_text().split()
    return fields[:3] == ["0", "0", "4294967295"]


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _mount(source: str, target: Path, kind: str | None, flags: int, data: str | None) -> None:
    result = _libc().mount(
        os.fsencode(source),
        os.fsencode(target),
        kind.encode() if kind else None,
        ctypes.c_ulong(flags),
        data.encode() if data else None,
    )
    _check(result, target)


def _check(result: int, target: Path) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), str(target))


if __name__ == "__main__":  # see without_network
    raise_loopback()
    os.execvp(sys.argv[1], sys.argv[1:])  # noqa: S606 - no shell is wanted
