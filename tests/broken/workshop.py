"""Breaks an image that is whole: what it boots is changed, never built again."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import zstandard

from imagebuilder.checks import Check
from imagebuilder.cpio import Entry, archive
from imagebuilder.image import BOOT_SCRIPT, FACTS, INITRD, KERNEL, ROOTFS, Image, measure
from imagebuilder.recipe import BootPathName

HOOKS = "usr/lib/dracut/hooks"

LONG = " ".join(
    f"{each}.service"
    for each in (
        *("ssh", "ssh-host-keys", "systemd-resolved", "systemd-timesyncd", "systemd-networkd"),
        *("systemd-logind", "systemd-udevd", "systemd-udev-trigger", "serial-getty@ttyS0"),
        *("systemd-update-utmp", "systemd-random-seed", "systemd-journal-flush"),
        *("systemd-sysusers", "kmod-static-nodes", "modprobe@drm", "modprobe@efi_pstore"),
        *("modprobe@fuse", "modprobe@loop", "modprobe@dm_mod", "modprobe@configfs"),
        *("systemd-network-generator", "systemd-user-sessions", "dracut-shutdown"),
    )
)


class UpTo:
    """A file of which nothing is read beyond a place, however often it is asked for.

    Args:
        file: the file.
        end: the place, in bytes from its begin.
    """

    def __init__(self, file: BinaryIO, end: int) -> None:
        self._file = file
        self._end = end

    def read(self, size: int) -> bytes:
        return self._file.read(max(0, min(size, self._end - self._file.tell())))


class Workshop:
    """One image being broken; :meth:`done` gives it."""

    def __init__(self, image: Image, folder: Path) -> None:
        self.image = image
        self._folder = folder
        self._changed: dict[str, bytes] = {}
        self._added: list[Entry] = []
        self._in_root = ""
        self.server_ends_at: dict[str, int] = {}  # bytes of a file, after which it hangs up
        self.argv: Callable[[list[str]], list[str]] = lambda argv: argv

    @property
    def release(self) -> str:
        return self.image.facts.kernel_release

    def bytes_of(self, name: str) -> bytes:
        return self._changed.get(name) or (self.image.path / name).read_bytes()

    def replace(self, name: str, data: bytes) -> None:
        """Put other bytes in the place of an artefact."""
        self._changed[name] = data

    def without_network(self) -> None:
        """Put the card on a hub with nobody who answers.

        The hub has another port, since one of its own takes no packet.
        """

        def on_hub(argv: list[str]) -> list[str]:
            hub = ["hubport,id=net,hubid=1" if _is_network(each) else each for each in argv]
            return [*hub, "-netdev", "hubport,id=nobody,hubid=1"]

        self.argv = on_hub

    def script(self, old: str, new: str) -> None:
        """Change the boot script, and with it the kernel's arguments."""
        text = self.bytes_of(BOOT_SCRIPT).decode()
        assert old in text, f"the boot script has no {old!r}"
        self.replace(BOOT_SCRIPT, text.replace(old, new).encode())

    def args(self, *more: str) -> None:
        """Add arguments of the kernel."""
        self.script(" ${extra-args}", f" {' '.join(more)} ${{extra-args}}")

    def without_digest(self) -> None:
        """Have the initrd take any root file system."""
        text = self.bytes_of(BOOT_SCRIPT).decode()
        text = re.sub(r" imagebuilder\.rootfs\.\w+=\S+", "", text)
        self.replace(BOOT_SCRIPT, text.encode())

    def early_file(self, path: str, content: str) -> None:
        """Put a file into the initrd, over one that is there."""
        self._added.append(Entry(path=path, content=content.encode()))

    def hook(self, point: str, script: str) -> None:
        """Have dracut run a script at a point of the initrd."""
        self.early_file(f"{HOOKS}/{point}/01-break.sh", f"#!/bin/sh\n{script}\n")

    def in_root(self, script: str) -> None:
        """Change the root file system, in $NEWROOT, before it takes over."""
        self._in_root += script.strip() + "\n"

    def unit(self, name: str, text: str, *, wanted_by: str = "multi-user.target") -> None:
        """Add a unit to the root file system."""
        folder = "$NEWROOT/etc/systemd/system"
        self.in_root(f"cat >{folder}/{name} <<'EOF_UNIT'\n{text.strip()}\nEOF_UNIT")
        if wanted_by:
            wants = f"{folder}/{wanted_by}.wants"
            self.in_root(f"mkdir -p {wants}; ln -sf ../{name} {wants}/{name}")

    def lean(self) -> None:
        """Leave out what takes long at boot and has nothing to do with what is broken."""
        self.without_digest()
        self.in_root(
            f"for unit in {LONG}; do ln -sf /dev/null $NEWROOT/etc/systemd/system/$unit; done"
        )

    def initrd_without(self, pattern: str) -> None:
        """Take files out of the initrd."""
        packed = self.bytes_of(INITRD)
        plain = zstandard.ZstdDecompressor().decompressobj().decompress(packed)  # zeros follow it
        kept = _without(plain, re.compile(pattern))
        again = subprocess.run(["zstd", "-1", "-c"], input=kept, capture_output=True, check=True)
        self.replace(INITRD, again.stdout)

    def done(self) -> Image:
        """Return the broken image, whose facts are those of the files that it has."""
        added = list(self._added)
        if self._in_root:
            script = f"#!/bin/sh\n{self._in_root}"
            added.append(Entry(path=f"{HOOKS}/pre-pivot/90-break.sh", content=script.encode()))
        if added:
            initrd = self.bytes_of(INITRD)
            self.replace(INITRD, initrd + bytes(-len(initrd) % 512) + archive(added))
        self._folder.mkdir()
        for each in self.image.facts.artefacts:
            if each.name in self._changed:
                (self._folder / each.name).write_bytes(self._changed[each.name])
            else:
                (self._folder / each.name).symlink_to(self.image.path / each.name)
        artefacts = tuple(measure(self._folder / each.name) for each in self.image.facts.artefacts)
        facts = self.image.facts.model_copy(update={"artefacts": artefacts})
        (self._folder / FACTS).write_text(facts.model_dump_json())
        return Image.open(self._folder)


def _is_network(word: str) -> bool:
    return word.startswith("user,id=net")


def _without(newc: bytes, pattern: re.Pattern[str]) -> bytes:
    """Return a newc archive without the members whose path matches."""
    at, kept, gone = 0, [], 0
    while True:
        size, name_size = int(newc[at + 54 : at + 62], 16), int(newc[at + 94 : at + 102], 16)
        name = newc[at + 110 : at + 110 + name_size - 1].decode()
        data = at + 110 + name_size
        data += -data % 4
        end = data + size
        end += -end % 4
        if pattern.search(name):
            gone += 1
        else:
            kept.append(newc[at:end])
        at = end
        if name == "TRAILER!!!":
            assert gone, f"the initrd has nothing that matches {pattern.pattern}"
            return b"".join(kept)


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """An image that is broken on purpose, and what is to be found.

    Attributes:
        name: of the case.
        breaks: breaks it.
        stage: how far it comes; one of several where that is a matter of who is quicker.
        words: a regular expression; the diagnosis has it, or the failed checks' text.
        at: a regular expression; the first line of the console that has it is the failure's
            moment; without one it is that of the last stage.
        within: seconds from there to the end of the test, on a machine that is not busy; what
            they are is printed, and only five times as many fail the test.
        checks: what is looked at in the guest.
        path: how it boots.
        memory_mib: of the guest.
        boot_timeout: seconds, five times that under software emulation.
        passes: whether the boot passes all the same.
        lean: whether units that take long and do not matter to the case are left out.
        quick: whether it is over within seconds, so that every run of the tests has it.
    """

    name: str
    breaks: Callable[[Workshop], None]
    stage: str | tuple[str, ...]
    words: str
    at: str = ""
    within: float = 5.0
    checks: Sequence[Check] = field(default=())
    path: BootPathName = "kernel"
    memory_mib: int = 2048
    boot_timeout: float = 120.0
    passes: bool = False
    lean: bool = False
    quick: bool = False


__all__ = ["BOOT_SCRIPT", "INITRD", "KERNEL", "ROOTFS", "Case", "Workshop"]
