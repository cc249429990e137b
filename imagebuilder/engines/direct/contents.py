"""Which systemd units the packages of an index bring: asked of the archive's Contents files.

An archive lists the files of its packages in ``Contents-ARCH`` beside its package lists
(https://wiki.debian.org/DebianRepository/Format, "Contents" indices).  They are fetched by apt,
so with the mirror, keys and proxies of the index, and only when somebody asks.  They are large
(46 MB for Debian 12): the units are picked out of them and kept, for as long as the archive's
signed release files name the same Contents.
"""

from __future__ import annotations

import gzip
import lzma
import re
import shutil
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, cast

from filelock import FileLock
from pydantic import BaseModel, ConfigDict, ValidationError

from imagebuilder import command
from imagebuilder.engines.base import Units, digest_of
from imagebuilder.engines.direct.index import Index, environment, write
from imagebuilder.errors import StepError
from imagebuilder.progress import Reporter

_TIMEOUT = 600.0  # seconds to fetch them
_CHUNK = 1 << 22  # bytes

# What apt-file(1) adds to apt's settings, without the lists that apt fetches otherwise.
_TARGETS = """
Acquire::IndexTargets::deb::Packages::DefaultEnabled "false";
Acquire::IndexTargets::deb::Contents {
  MetaKey "$(COMPONENT)/Contents-$(ARCHITECTURE)";
  flatMetaKey "Contents-$(ARCHITECTURE)";
  ShortDescription "Contents-$(ARCHITECTURE)";
  Description "$(RELEASE)/$(COMPONENT) $(ARCHITECTURE) Contents";
  flatDescription "$(RELEASE) Contents";
  PDiffs "false";
  KeepCompressed "true";
  KeepCompressedAs "gz";
};
"""

_MARKS = (b"systemd/system/", b"etc/init.d/")
# A line: the path, and the packages that have it, each with its section before it.
_LINE = re.compile(
    rb"(?:(?:usr/)?(?:lib|etc)/systemd/system/(?P<unit>[^/\s]+)|etc/init\.d/(?P<init>[^/\s]+))"
    rb"[ \t]+(?P<packages>\S+)"
)
_PACKAGE = re.compile(rb"^Package: (\S+)$", re.MULTILINE)


class _Known(BaseModel):
    """``units.json``: the units of all packages of an index.

    ``digest`` follows from what the release files say of the Contents; ``unlisted`` are the
    packages of archives that have none.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    digest: str
    brings: dict[str, tuple[str, ...]]
    unlisted: frozenset[str]


def units_of(
    index: Index, arch: str, packages: Iterable[str], reporter: Reporter, *, offline: bool
) -> Units:
    """Return the units that some packages of an index bring.

    Raises:
        StepError: the Contents are not in the cache and cannot be fetched, or the archive has
            none.
    """
    known = _known(index, arch, reporter, offline=offline)
    wanted = list(packages)
    return Units(
        names=frozenset(unit for name in wanted for unit in known.brings.get(name, ())),
        unlisted=tuple(sorted(known.unlisted.intersection(wanted))),
    )


def _known(index: Index, arch: str, reporter: Reporter, *, offline: bool) -> _Known:
    path = index.folder / "units.json"
    named = _named(index.lists, arch)
    digest = digest_of("\n".join(sorted(line for lines in named.values() for line in lines)))
    with FileLock(index.folder / "contents.lock", timeout=_TIMEOUT):
        before: _Known | None = None
        try:
            before = _Known.model_validate_json(path.read_bytes())
            if before.digest == digest:
                return before
        except (OSError, ValidationError):
            pass
        if not any(named.values()):
            raise StepError("the package archive does not list the files of its packages")
        if offline:
            raise StepError("the lists of files are not in the cache, and must not be fetched")
        try:
            with reporter.step("contents", "fetching the lists of the files of packages"):
                known = _Known(
                    digest=digest,
                    brings=_fetch(index, reporter),
                    unlisted=_unlisted(index.lists, named),
                )
        except StepError as error:
            if before is None:
                raise
            # Packages seldom change their units: what was known is better than nothing.
            reporter.note("contents", f"{error.what}; those that were fetched before are used")
            return before
        write(path, known.model_dump_json())
    return known


def _named(lists: Path, arch: str) -> dict[str, list[str]]:
    """Return for each release file, by the beginning of its name, its lines on Contents."""
    line = re.compile(rf"^ [0-9a-f]{{64}} +\d+ \S*Contents-(?:{arch}|all)(?:\.\w+)?$", re.MULTILINE)
    return {
        path.name.removesuffix("InRelease").removesuffix("Release"): line.findall(
            path.read_text(encoding="utf-8", errors="replace")
        )
        for path in sorted(lists.glob("*Release"))
    }


def _unlisted(lists: Path, named: dict[str, list[str]]) -> frozenset[str]:
    """Return the packages that stand only in archives without Contents."""
    listed: set[str] = set()
    others: set[str] = set()
    for prefix, lines in named.items():
        for path in lists.glob(f"{prefix}*_Packages"):
            names = {each.decode() for each in _PACKAGE.findall(path.read_bytes())}
            (listed if lines else others).update(names)
    return frozenset(others - listed)


def _fetch(index: Index, reporter: Reporter) -> dict[str, tuple[str, ...]]:
    lists = index.folder / "contents"
    shutil.rmtree(lists, ignore_errors=True)  # what a run that was killed left
    (lists / "partial").mkdir(parents=True)
    settings = index.folder / "contents.conf"
    # Of a setting that is given twice apt takes the second.
    own = (index.folder / "apt.conf").read_text(encoding="utf-8")
    write(settings, f'{own}Dir::State::lists "{lists}/";\n{_TARGETS}')
    try:
        _update(settings, index, reporter)
        brings: dict[str, set[str]] = defaultdict(set)
        for path in sorted(lists.glob("*Contents-*")):
            with _opened(path) as file:
                for unit, package in _units(file, reporter):
                    brings[package].add(unit)
        return {name: tuple(sorted(units)) for name, units in sorted(brings.items())}
    finally:
        shutil.rmtree(lists, ignore_errors=True)


def _update(settings: Path, index: Index, reporter: Reporter) -> None:
    """Let apt fetch the Contents.

    They are large, and a mirror may be renewed meanwhile: apt is asked a second time, and takes
    up what it has of them.
    """
    for is_last in (False, True):
        result = command.run(
            ["apt-get", "update", "--error-on=any"],
            timeout=_TIMEOUT,
            cancel=reporter.cancel,
            env={**environment(index.folder), "APT_CONFIG": str(settings)},
            check=is_last,
            what="fetching the lists of the files of packages",
            fix="see that the mirrors can be reached; lint says it all when it is run again",
        )
        if result.returncode == 0:
            return


def _opened(path: Path) -> IO[bytes]:
    if path.suffix == ".gz":
        return cast(IO[bytes], gzip.open(path))
    if path.suffix == ".xz":
        return lzma.open(path)
    return path.open("rb")


def _units(file: IO[bytes], reporter: Reporter) -> Iterator[tuple[str, str]]:
    """Give each unit of a Contents file with the package that has it."""
    rest = b""
    while chunk := file.read(_CHUNK):
        reporter.cancel.check()
        whole, newline, rest = (rest + chunk).rpartition(b"\n")
        yield from _of_lines(whole + newline)
    yield from _of_lines(rest + b"\n")


def _of_lines(text: bytes) -> Iterator[tuple[str, str]]:
    # Looking for fixed bytes first: a tenth of the time that an expression takes for each line.
    for mark in _MARKS:
        position = text.find(mark)
        while position >= 0:
            start, end = text.rfind(b"\n", 0, position) + 1, text.find(b"\n", position)
            line = _LINE.fullmatch(text, start, end)
            if line:
                unit = (line["unit"] or line["init"] + b".service").decode(errors="replace")
                for package in line["packages"].decode(errors="replace").split(","):
                    yield unit, package.rpartition("/")[2]
            position = text.find(mark, end)
