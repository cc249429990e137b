"""What runs of livemedia-creator that were not ours left on this host, and its removal.

One that is killed leaves its mounts, loop devices and folders; below a mount that it left may be
the host's own ``/dev`` and ``/var/tmp``.  So mounts go first, and only those that nobody uses; a
folder is removed only if nothing is mounted below it, and nothing is removed that a process of
this host has to do with.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from imagebuilder import command, sandbox
from imagebuilder.errors import HostError, ImageBuilderError

Kind = Literal["process", "mount", "loop device", "pid file", "folder"]
TOPS = (Path("/var/tmp"), Path("/tmp"))  # noqa: S108 - where it works unless it is told otherwise
_TARGET = Path("/mnt/sysimage")
_PID_FILE = Path("/run/anaconda.pid")
# The names of its temporary folders and disk images, 28 to 46.
_OURS = re.compile(r"/(lmc-work-|lmc-disk-|lorax\.imgutils\.)[^/]+")
_PROGRAMS = ("livemedia-creator", "anaconda")
_LABEL = b"Anaconda"  # of its file systems, unless --fs-label says otherwise
_DELETED = " (deleted)"
_TIMEOUT = 600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Leftover:
    """One thing that was left.

    Attributes:
        kind: what it is.
        name: its path, or a process's id.
        text: what is known of it.
        kept: why it is not to be removed; "" if it may be.
    """

    kind: Kind
    name: str
    text: str
    kept: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain JSON data."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class _Mount:
    device: str  # MAJOR:MINOR
    point: str
    source: str


class _Processes:
    """What the processes of this host have to do with paths and devices."""

    @cached_property
    def paths(self) -> list[tuple[str, str]]:
        """The paths that each process has open, works in, or was called with."""
        found: list[tuple[str, str]] = []
        for process in Path("/proc").glob("[0-9]*"):
            if process.name in (str(os.getpid()), "self"):
                continue
            links = [process / "cwd", process / "root"]
            try:
                links += (process / "fd").iterdir()
                words = (process / "cmdline").read_bytes().decode(errors="replace").split("\0")
            except OSError:  # it has just ended
                continue
            found += ((process.name, word.rpartition("=")[2]) for word in words if "/" in word)
            for link in links:
                try:
                    found.append((process.name, str(link.readlink())))
                except OSError:
                    continue
        return found

    @cached_property
    def mounts(self) -> dict[str, list[str]]:
        """The processes of other mount namespaces, by the devices that are mounted there."""
        own = Path("/proc/self/ns/mnt").stat().st_ino
        seen: set[int] = {own}
        found: dict[str, list[str]] = {}
        for process in Path("/proc").glob("[0-9]*"):
            try:
                space = (process / "ns/mnt").stat().st_ino
                if space in seen:
                    continue
                seen.add(space)
                for each in _mounts(process.name):
                    found.setdefault(each.device, []).append(process.name)
            except OSError:
                continue
        return found

    def of_path(self, path: str) -> str:
        """Return a process that has to do with what is at or below a path, or ""."""
        below = f"{path.rstrip('/')}/"
        return next((pid for pid, each in self.paths if f"{each}/".startswith(below)), "")


def _mounts(of: str = "self") -> list[_Mount]:
    found = []
    for line in Path(f"/proc/{of}/mountinfo").read_text(errors="replace").splitlines():
        fields, _, rest = line.partition(" - ")
        words = fields.split(" ")
        point = re.sub(r"\\([0-7]{3})", lambda octal: chr(int(octal[1], 8)), words[4])
        found.append(_Mount(words[2], point, rest.split(" ")[1]))
    return found


def find(tops: Sequence[Path] = TOPS) -> tuple[Leftover, ...]:
    """Return what was left, in the order in which it can be removed.

    Args:
        tops: the folders in which its temporary folders are looked for.
    """
    processes = _Processes()
    running = tuple(_running())
    loops = tuple(_loops())
    devices = {f"7:{name.removeprefix('/dev/loop')}" for name, _ in loops}
    mounts = tuple(
        each
        for each in _mounts()
        if _OURS.search(f"{each.point}/")
        or _is_below(each.point, _TARGET)
        or each.device in devices
    )
    found = [*running, *_of_mounts(mounts, processes)]
    found += _of_loops(loops, mounts, processes)
    if _PID_FILE.exists():
        found.append(Leftover(kind="pid file", name=str(_PID_FILE), text="stops Anaconda"))
    gone = [each.name for each in found if each.kind == "loop device" and not each.kept]
    found += _folders(tops, processes, gone)
    # Of one that runs here all may be its own.
    here = next((each.name for each in running if _is_here(each.name)), "")
    if here:
        found = [replace(each, kept=each.kept or f"process {here} may use it") for each in found]
    return tuple(found)


def remove(leftovers: Iterable[Leftover]) -> Iterator[Leftover]:
    """Remove what may be removed; give each, with ``kept`` saying why if it could not be.

    Raises:
        HostError: this user may not.
    """
    if os.geteuid() != 0:
        raise HostError("only root can remove what was left", fix="run the same command as root")
    for each in leftovers:
        if each.kept:
            yield each
            continue
        try:
            _remove(each)
        except (ImageBuilderError, OSError) as error:
            why = error.what if isinstance(error, ImageBuilderError) else str(error.strerror)
            yield replace(each, kept=why)
        else:
            yield each


def _remove(each: Leftover) -> None:
    if each.kind == "mount":
        sandbox.unmount_idle(Path(each.name))
    elif each.kind == "loop device":
        argv = ["losetup", "--detach", each.name]
        command.run(argv, timeout=_TIMEOUT, what=f"detaching {each.name}")
    elif each.kind == "pid file":
        Path(each.name).unlink(missing_ok=True)
    elif each.kind == "folder":
        if Path(each.name) == _TARGET:
            _TARGET.rmdir()  # which fails if anything is in it
            return
        below = [mount.point for mount in _mounts() if _is_below(mount.point, Path(each.name))]
        if below:
            raise HostError(f"{below[0]} is mounted in it")
        device = _loop_below(each.name, ())
        if device:
            raise HostError(f"{device} is on a file in it")
        argv = ["rm", "-rf", "--one-file-system", "--", each.name]
        command.run(argv, timeout=_TIMEOUT, what=f"removing {each.name}")


def _running() -> Iterator[Leftover]:
    for process in Path("/proc").glob("[0-9]*"):
        try:
            words = (process / "cmdline").read_bytes().decode(errors="replace").split("\0")
        except OSError:
            continue
        # A script's own name stands after that of its interpreter and its options.
        names = [Path(word).name for word in words[:4]]
        name = next((each for each in _PROGRAMS if each in names), "")
        if name:
            yield Leftover(
                kind="process",
                name=process.name,
                text=f"{name} runs",
                kept="end it first if it is not wanted: kill " + process.name,
            )


def _is_here(pid: str) -> bool:
    try:
        space = Path(f"/proc/{pid}/ns/mnt").stat()
    except OSError:
        return False
    return space.st_ino == Path("/proc/self/ns/mnt").stat().st_ino


def _loop_below(folder: str, but: Iterable[str]) -> str:
    """Return a loop device, but some, that is on a file below a folder; or ""."""
    for path in sorted(Path("/sys/block").glob("loop*/loop/backing_file")):
        name = f"/dev/{path.parent.parent.name}"
        try:
            if name not in but and path.read_text().startswith(f"{folder}/"):
                return name
        except OSError:  # it has just gone
            continue
    return ""


def _loops() -> Iterator[tuple[str, str]]:
    """Give the loop devices of its disk images, with the files that they are on."""
    for path in sorted(Path("/sys/block").glob("loop*/loop/backing_file")):
        device = Path("/dev") / path.parent.parent.name
        try:
            file = path.read_text().rstrip("\n")
            if _OURS.search(file) or (file.endswith(_DELETED) and _label(device) == _LABEL):
                yield str(device), file
        except OSError:
            continue


def _label(device: Path) -> bytes:
    """Return the label of an ext4 (Documentation/filesystems/ext4/super.rst), else b""."""
    with device.open("rb") as file:
        file.seek(1024)
        block = file.read(256)
    return block[0x78:0x88].rstrip(b"\0") if block[0x38:0x3A] == b"\x53\xef" else b""


def _of_mounts(mounts: Sequence[_Mount], processes: _Processes) -> Iterator[Leftover]:
    for each in reversed(mounts):  # the last that was mounted may be below the others
        user = processes.of_path(each.point)
        yield Leftover(
            kind="mount",
            name=each.point,
            text=each.source,
            kept=f"process {user} uses it" if user else "",
        )


def _of_loops(
    loops: Sequence[tuple[str, str]], mounts: Sequence[_Mount], processes: _Processes
) -> Iterator[Leftover]:
    listed = {each.point for each in mounts}
    for name, file in loops:
        device = f"7:{name.removeprefix('/dev/loop')}"
        users = processes.mounts.get(device, [])
        user = processes.of_path(name) or next(iter(users), "")
        elsewhere = [m.point for m in _mounts() if m.device == device and m.point not in listed]
        kept = f"process {user} uses it" if user else ""
        kept = kept or (f"it is mounted at {elsewhere[0]}" if elsewhere else "")
        yield Leftover(kind="loop device", name=name, text=file, kept=kept)


def _folders(
    tops: Sequence[Path], processes: _Processes, gone: Sequence[str]
) -> Iterator[Leftover]:
    for top in tops:
        for path in sorted(top.iterdir()) if top.is_dir() else ():
            if path.is_symlink() or not path.is_dir() or not _OURS.match(f"/{path.name}"):
                continue
            user = processes.of_path(str(path))
            kept = f"process {user} uses it" if user else ""
            if device := _loop_below(str(path), gone):
                kept = kept or f"{device} is on a file in it"
            if not kept and ((path / "PXE_CONFIG").exists() or list(path.glob("*.iso"))):
                kept = "it has results"  # without --resultdir they are left here
            if not kept and path.lstat().st_uid != 0:
                kept = "it is not root's"
            yield Leftover(kind="folder", name=str(path), text="its temporary files", kept=kept)
    if _TARGET.is_dir() and not any(_is_below(each.point, _TARGET) for each in _mounts()):
        kept = "it is not empty" if list(_TARGET.iterdir()) else ""
        yield Leftover(kind="folder", name=str(_TARGET), text="where it installs to", kept=kept)


def _is_below(path: str, folder: Path) -> bool:
    return f"{path}/".startswith(f"{folder}/")
