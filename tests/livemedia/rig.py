"""What a livemedia-creator needs around it in tests: a small tree to install, and programs.

The same programs serve the stand-in and a real livemedia-creator: moods are those of Anaconda,
of mksquashfs, and of the dracut in the tree.
"""

from __future__ import annotations

import gzip
import json
import os
import re
import shlex
import shutil
import struct
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).resolve().parent
RELEASE = "5.14.0-9.el9.x86_64"
SERIES = ("28.14.71-1", "34.9.33-1", "40.5.19-1", "46.0-1")
_PROGRAMS = ("sh", "cat", "sleep", "dpkg-query")
_STATUS = """\
Package: bash
Status: install ok installed
Architecture: amd64
Version: 5.2
Maintainer: nobody
Description: a shell

"""
# Looks at its mood; the initrd stands ready.
_DRACUT = """\
#!/bin/sh
read -r mood </etc/dracut-mood
case $mood in
pause) sleep 3600 ;;
fail) echo "dracut[7]: FAILED: /usr/lib/dracut/dracut-install -D /x"; exit 1 ;;
lacks) echo "dracut: dracut module 'livenet' cannot be found or installed."; exit 1 ;;
esac
for each in "$@"; do
    case $each in *.img) cat /usr/lib/initrd >"$each" ;; esac
done
"""
_MKSQUASHFS = """\
case $2:$MKSQUASHFS_MOOD in
*live-rootfs.squashfs.img:fail) echo "FATAL ERROR: zlib::compress failed"; exit 1 ;;
*live-rootfs.squashfs.img:pause) sleep 3600 ;;
esac
exec {mksquashfs} "$@"
"""


def bzimage(release: str, size: int = 4096) -> bytes:
    """Return a kernel as far as its header goes."""
    head = bytearray(0x1000)
    head[0x1F1] = 4
    head[0x1F4:0x1F8] = struct.pack("<I", size // 16)
    head[0x202:0x206] = b"HdrS"
    head[0x20E:0x210] = struct.pack("<H", 0x300)
    text = f"{release} (builder@host) #1 SMP".encode() + b"\0"
    head[0x500 : 0x500 + len(text)] = text
    return bytes(head[: 5 * 512]) + bytes(size)


def cpio(*names: str) -> bytes:
    """Return an archive of empty files."""
    made = b""
    for name in (*names, "TRAILER!!!"):
        encoded = name.encode() + b"\0"
        fields = [0] * 13
        fields[11] = len(encoded)
        entry = b"070701" + b"".join(b"%08X" % each for each in fields) + encoded
        made += entry + bytes(-len(entry) % 4)
    return made


def small_tree(tree: Path, *, releases: tuple[str, ...] = (RELEASE,)) -> Path:
    """Make a tree with a shell, a package database, kernels without a body, and a dracut."""
    for name in ("proc", "sys", "dev", "run", "tmp", "var/tmp", "boot", "etc", "usr/bin", "root"):
        (tree / name).mkdir(parents=True, exist_ok=True)
    for name in ("bin", "sbin", "lib", "lib64"):
        (tree / "usr" / name).mkdir(exist_ok=True)
        (tree / name).symlink_to(f"usr/{name}")
    for name in _PROGRAMS:
        path = shutil.which(name)
        assert path
        shutil.copy(path, tree / "usr/bin" / name)
        listed = subprocess.check_output(["ldd", path], text=True)
        for library in re.findall(r"(/\S+) \(", listed):
            into = tree / library.removeprefix("/").replace("usr/", "")
            into.parent.mkdir(parents=True, exist_ok=True)
            if not into.exists():
                shutil.copy(library, into)
    (tree / "etc/passwd").write_text("root:x:0:0:root:/root:/bin/sh\n")
    (tree / "etc/os-release").write_text("ID=almalinux\nVERSION_ID=9.4\n")
    (tree / "etc/machine-id").write_text("0123456789abcdef0123456789abcdef\n")
    (tree / "etc/fstab").write_text("/dev/sda1 / ext4 defaults 0 0\n")
    (tree / "etc/dracut-mood").write_text("good\n")
    (tree / "var/lib/dpkg/info").mkdir(parents=True)
    (tree / "var/lib/dpkg/status").write_text(_STATUS)
    (tree / "var/lib/dpkg/info/bash.list").write_text("/.\n")
    for release in releases:
        (tree / f"usr/lib/modules/{release}").mkdir(parents=True)
        (tree / f"usr/lib/modules/{release}/modules.dep").touch()
        (tree / f"boot/vmlinuz-{release}").write_bytes(bzimage(release))
        (tree / f"boot/initramfs-{release}.img").touch()
    initrd = cpio(*(f"usr/lib/modules/{each}/modules.dep" for each in releases))
    give_dracut(tree, gzip.compress(initrd))
    return tree


def give_dracut(tree: Path, initrd: bytes) -> None:
    """Let a tree's dracut give an initrd that is there."""
    (tree / "usr/lib/initrd").write_bytes(initrd)
    dracut = tree / "usr/bin/dracut"
    dracut.unlink(missing_ok=True)
    dracut.write_text(_DRACUT)
    dracut.chmod(0o755)
    (tree / "etc/dracut-mood").write_text("good\n")


@dataclass(frozen=True, slots=True, kw_only=True)
class Rig:
    """A livemedia-creator with what it needs, told what to do, and what was noted of it.

    Attributes:
        folder: everything: ``bin/`` has the programs.
        tree: what is installed.
        real: a real livemedia-creator; "" for the stand-in.
        told: the variables that say what to do; see the stand-ins.
    """

    folder: Path
    tree: Path
    real: str = ""
    told: dict[str, str] = field(default_factory=dict)

    @property
    def program(self) -> Path:
        """The livemedia-creator."""
        return self.folder / "bin/livemedia-creator"

    @property
    def calls(self) -> list[list[str]]:
        """The calls so far, each with its version first: of the stand-in alone."""
        noted = self.folder / "calls"
        lines = noted.read_text().splitlines() if noted.exists() else []
        return [json.loads(line) for line in lines]

    def write(self) -> Rig:
        """Write the programs."""
        programs = self.program.parent
        programs.mkdir(parents=True, exist_ok=True)
        exports = {
            "LIVEMEDIA_CALLS": str(self.folder / "calls"),
            "LIVEMEDIA_HOST": os.readlink("/proc/self/ns/mnt"),
            "ANACONDA_TREE": str(self.tree),
            **self.told,
        }
        told = "".join(f"export {name}={shlex.quote(each)}\n" for name, each in exports.items())
        told += f"PATH={programs}:$PATH\nexport PATH\n"
        # What stands for another host or a container has a /tmp of its own, where a checkout
        # would not be seen: scripts are taken along, the interpreter is the one behind links.
        for name in ("livemedia_creator.py", "anaconda.py"):
            shutil.copyfile(HERE / name, programs / name)
        python = Path(sys.executable).resolve()
        stand_in = f'exec {python} -S -E {programs}/livemedia_creator.py "$@"'
        # A real one may want Anaconda in /usr/sbin.
        lower = f"mount -t overlay -o lowerdir={programs}:/usr/sbin overlay /usr/sbin"
        around = f"""exec unshare --mount --propagation private sh -c '{lower} && exec "$@"' sh"""
        mksquashfs = shutil.which("mksquashfs")
        texts = {
            "anaconda": f'exec {python} -S -E {programs}/anaconda.py "$@"',
            "mksquashfs": _MKSQUASHFS.replace("{mksquashfs}", str(mksquashfs)),
            "livemedia-creator": told + (f'{around} {self.real} "$@"' if self.real else stand_in),
        }
        for name, text in texts.items():
            (programs / name).write_text(f"#!/bin/sh\n{text}\n")
            (programs / name).chmod(0o755)
        return self
