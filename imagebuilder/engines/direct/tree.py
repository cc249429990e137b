"""The image's tree while it is made: files in it are written, programs in it are run.

Paths are resolved as the image itself would: a symbolic link to ``/run/x`` in the tree means
the tree's ``/run/x``, never the host's.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from imagebuilder import command, sandbox
from imagebuilder.command import Result
from imagebuilder.progress import Cancel

_LINK_LIMIT = 40  # as the kernel's own, path_resolution(7)
_PROXIES = ("http_proxy", "https_proxy", "ftp_proxy", "no_proxy")


def environment(epoch: int) -> dict[str, str]:
    """Return the environment of programs that run in the image: nothing of the caller's."""
    return {
        "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "HOME": "/root",
        "LC_ALL": "C.UTF-8",
        "DEBIAN_FRONTEND": "noninteractive",
        "SOURCE_DATE_EPOCH": str(epoch),
        **{name: os.environ[name] for name in _PROXIES if name in os.environ},
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class Tree:
    """A root file system that is being made.

    Attributes:
        root: where it is mounted.
        log: the file that gets what programs in it say.
        epoch: ``SOURCE_DATE_EPOCH`` for programs in it.
    """

    root: Path
    log: Path
    epoch: int

    def path(self, inside: str) -> Path:
        """Return where a path of the image is on the host; its last part is not followed."""
        return _resolve(self.root, inside)

    def exists(self, inside: str) -> bool:
        """Return whether a path is there (a dangling link is not)."""
        for _ in range(_LINK_LIMIT):
            try:
                path = self.path(inside)
            except OSError:  # links that lead in a circle
                return False
            if not path.is_symlink():
                return path.exists()
            inside = str(Path(inside).parent / path.readlink())
        return False

    def glob(self, pattern: str) -> list[Path]:
        """Return the host's paths of what matches a pattern that is relative to the root.

        Only its last part can be a pattern; links before it are followed inside the tree.
        """
        folder, _, name = pattern.rpartition("/")
        if not self.exists(f"/{folder}"):
            return []
        inside = self.path(f"/{folder}/{name}").parent
        if not inside.is_dir():
            return []
        return sorted(each for each in inside.iterdir() if fnmatchcase(each.name, name))

    def read(self, inside: str) -> str:
        """Return the text of a file, or "" if there is none."""
        try:
            return self.path(inside).read_text(encoding="utf-8", errors="replace")
        except OSError:
            return ""

    def write(self, inside: str, text: str, *, mode: int = 0o644) -> None:
        """Write a file in place of whatever stands there, making the folders above it."""
        path = self.path(inside)
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_symlink() or path.exists():
            path.unlink()
        path.write_text(text, encoding="utf-8")
        path.chmod(mode)

    def link(self, inside: str, target: str) -> None:
        """Make a symbolic link in place of whatever stands there."""
        path = self.path(inside)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        path.symlink_to(target)

    def remove(self, inside: str) -> None:
        """Remove a file or link, if it is there."""
        path = self.path(inside)
        if path.is_symlink() or path.exists():
            path.unlink()

    def installed(self, package: str) -> bool:
        """Return whether dpkg lists a package's files in the tree."""
        info = self.root / "var/lib/dpkg/info"
        return (info / f"{package}.list").exists() or any(info.glob(f"{package}:*.list"))

    def run(
        self,
        argv: Sequence[str],
        *,
        what: str,
        timeout: float = 300.0,
        stdin: str | None = None,
        check: bool = True,
        fix: str = "",
        env: Mapping[str, str] | None = None,
        keep: int = 400,
        may_mknod: bool = True,
        logged: bool = True,
        cancel: Cancel | None = None,
    ) -> Result:
        """Run a program of the image, in the image.

        Raises:
            StepError: it failed.
            Interrupted: ``cancel`` was set.
        """
        inside = sandbox.in_chroot(self.root, argv)
        return command.run(
            inside if may_mknod else sandbox.without_mknod(inside),
            what=what,
            timeout=timeout,
            stdin=stdin.encode() if stdin is not None else None,
            env={**environment(self.epoch), **(env or {})},
            log=self.log if logged else None,
            cancel=cancel,
            check=check,
            fix=fix,
            keep=keep,
        )


def _resolve(root: Path, inside: str) -> Path:
    waiting = [part for part in Path(inside).parts if part not in ("/", ".")][::-1]
    here: list[str] = []
    followed = 0
    while waiting:
        part = waiting.pop()
        if part == "..":
            here = here[:-1]
            continue
        path = root.joinpath(*here, part)
        if waiting and path.is_symlink():
            followed += 1
            if followed > _LINK_LIMIT:
                raise OSError(40, "too many levels of symbolic links", inside)
            target = path.readlink()
            if target.is_absolute():
                here = []
            waiting += [each for each in target.parts if each != "/"][::-1]
            continue
        here.append(part)
    return root.joinpath(*here)


def tree_size(root: Path) -> int:
    """Return the bytes of all files of a tree; one with several names counts once."""
    total = 0
    seen: set[tuple[int, int]] = set()
    waiting = [os.fspath(root)]
    while waiting:
        with os.scandir(waiting.pop()) as entries:
            for entry in entries:
                facts = entry.stat(follow_symlinks=False)
                if stat.S_ISDIR(facts.st_mode):
                    waiting.append(entry.path)
                elif facts.st_nlink == 1 or (facts.st_dev, facts.st_ino) not in seen:
                    seen.add((facts.st_dev, facts.st_ino))
                    total += facts.st_size
    return total
