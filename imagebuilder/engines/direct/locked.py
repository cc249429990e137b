"""Exact packages: making a lock file with apt, and holding apt to one.

apt is told by preferences, apt_preferences(5): each locked version at a priority that no other
has, and for what is locked alone nothing else at all.
"""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from urllib.parse import unquote

from pydantic import BaseModel, ConfigDict, ValidationError

from imagebuilder import command
from imagebuilder.engines.base import Request, digest_of
from imagebuilder.engines.direct import layering
from imagebuilder.engines.direct.available import available
from imagebuilder.engines.direct.index import Index, environment, write
from imagebuilder.engines.direct.resolve import (
    Resolution,
    asks_for_default,
    check,
    needs_index,
    wanted,
)
from imagebuilder.engines.direct.simulate import LINES, install, preferring, simulate
from imagebuilder.errors import InputError, StepError, listed
from imagebuilder.kickstart import Kickstart
from imagebuilder.lockfile import (
    LockedLayer,
    LockedPackage,
    LockedSource,
    LockFile,
    Wishes,
    place_of,
)
from imagebuilder.progress import Reporter
from imagebuilder.sizes import size_of

_ABOVE_ALL = 1001  # apt_preferences(5): even if that means a downgrade
_NOTHING_ELSE = "Package: *\nPin: release *\nPin-Priority: -1\n"
_URI = re.compile(
    r"^'(?P<uri>[^']+)' (?P<file>\S+) (?P<size>[0-9]+) SHA256:(?P<sha256>[0-9a-f]{64})$",
    re.MULTILINE,
)

# What apt says of Installed-Size, deb-control(5).
_INSTALLED = re.compile(
    r"^After this operation, ([0-9.,]+ [kMGT]B) of additional disk", re.MULTILINE
)


def preferences(packages: Iterable[LockedPackage], *, alone: bool) -> str:
    """Return apt's preferences for exactly these versions.

    Args:
        packages: what is locked.
        alone: whether nothing else may be installed.
    """
    stanzas = [
        f"Package: {each.name}\nPin: version {each.version}\nPin-Priority: {_ABOVE_ALL}\n"
        for each in packages
    ]
    return "\n".join([*stanzas, *([_NOTHING_ELSE] if alone else [])])


@lru_cache(maxsize=64)
def resolution(lock: LockFile) -> Resolution:
    """Return what a lock file says of the packages, as if the index had been asked."""
    return Resolution(asked=lock.asked, versions=lock.versions(), missing=lock.missing)


def check_fits(request: Request, lock: LockFile, arch: str) -> None:
    """Refuse a lock file that was made for something else than what the recipe asks for now.

    Args:
        request: the recipe, and its kickstart.
        lock: its lock file.
        arch: the packages' name for the architecture.

    Raises:
        InputError: it does not fit; saying what differs.
    """
    resolved = request.resolved
    now = _wishes(request.kickstart)
    differ: list[str] = []
    if (lock.distro, lock.arch) != (resolved.distro.id, arch):
        differ.append(f"it is for {lock.distro} {lock.arch}")
    if lock.wishes != now:
        more = [each for each in now.packages if each not in lock.wishes.packages]
        less = [each for each in lock.wishes.packages if each not in now.packages]
        differ += [f"the recipe now asks for {listed(more)}"] if more else []
        differ += [f"it no longer asks for {listed(less)}"] if less else []
        if not more and not less:
            differ.append("the order or the options of %packages changed")
    if differ:
        raise InputError(
            f"the lock file does not fit the recipe: {'; '.join(differ)}",
            where=place_of(resolved.project.root, resolved.name)[1],
            fix=f"run: imagebuilder lock {resolved.name}",
        )


def _wishes(kickstart: Kickstart) -> Wishes:
    return Wishes(
        packages=tuple(
            " ".join([f"{'-' if each.excluded else ''}{each.name}", *each.options])
            for each in kickstart.packages
        ),
        weak_dependencies=kickstart.weak_dependencies,
        ignore_missing=kickstart.ignore_missing,
        default=asks_for_default(kickstart),
    )


def make(index: Index, request: Request, arch: str, keep: Sequence[LockedPackage] = ()) -> LockFile:
    """Return a lock file for what the recipe asks for.

    Args:
        index: what the mirrors have.
        request: the recipe, and its kickstart.
        arch: the packages' name for the architecture.
        keep: packages that stay as they are, as long as the mirrors have them.

    Raises:
        InputError: a package is unknown, or they cannot be installed together.
        StepError: apt does not say the digest of a file.
    """
    kickstart, reporter = request.kickstart, request.reporter
    check(kickstart)
    known = available(index, reporter) if needs_index(kickstart) else None
    asked, missing = wanted(kickstart, known)
    text = "\n".join([preferences(keep, alone=False), index.preferences])
    conflict = (
        "let more of them change: name those that are in the way after --update, or update all: "
        f"imagebuilder lock {request.resolved.name} --update"
    )
    with told(text) as file:
        found = simulate(
            index,
            asked,
            kickstart,
            reporter,
            preferences=file,
            **({"conflict": conflict} if keep else {}),
        )
        at = files(index, asked, kickstart, reporter, file).of

        def ask(less: Kickstart, names: tuple[str, ...] | None) -> Resolution:
            asked = wanted(less, known)[0] if names is None else names
            some = simulate(index, asked, less, reporter, preferences=file)
            come = {name: each.version for name, each in some.items()}
            return Resolution(asked=asked, versions=come, missing=())

        versions = {name: each.version for name, each in found.items()}
        whole = Resolution(asked=asked, versions=versions, missing=missing)
        parts = layering.parts(kickstart, whole, ask)
    unknown = [name for name in found if name not in at]
    if unknown:
        raise StepError(
            f"the mirrors give no SHA-256 of {listed(unknown)}",
            fix="a lock file has one of each package: ask for them in another repository",
        )
    return LockFile(
        recipe=request.resolved.name,
        distro=request.resolved.distro.id,
        arch=arch,
        made=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        sources=tuple(_releases(index)),
        wishes=_wishes(kickstart),
        asked=asked,
        missing=missing,
        layers=tuple(
            LockedLayer(asked=each.asked, packages=tuple(each.versions))
            for each in parts
            if each.versions.items() <= versions.items()
        ),
        packages=tuple(
            at[name].model_copy(update={"origin": each.origin}) for name, each in found.items()
        ),
    )


class Files(BaseModel):
    """What apt would fetch; ``files/DIGEST.json`` beside an index.

    Attributes:
        index: the digest of the index.
        of: the files, by the names of their packages.
        installed: the bytes that all take when they are installed, as the index has it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    index: str
    of: Mapping[str, LockedPackage]
    installed: int


def files(
    index: Index, asked: Sequence[str], kickstart: Kickstart, reporter: Reporter, file: Path
) -> Files:
    """Return the files that apt would fetch; in one state of the index it is asked once.

    Args:
        index: what there is.
        asked: what apt is asked to install.
        kickstart: whether recommended packages come along.
        reporter: has the request to stop.
        file: what apt prefers.

    Raises:
        StepError: apt cannot install them.
    """
    options = (
        "--print-uris",
        "--yes",
        "-o",
        "Acquire::ForceHash=SHA256",
        "-o",  # what lies there would not be fetched
        f"Dir::Cache::archives={index.folder}/empty/",
        *preferring(file),
    )
    question = json.dumps([install(index, asked, kickstart), file.read_text()])
    path = index.folder / "files" / f"{digest_of(question)}.json"
    with suppress(OSError, ValidationError):
        known = Files.model_validate_json(path.read_bytes())
        if known.index == index.digest:
            return known
    result = command.run(
        install(index, asked, kickstart, *options),
        timeout=300,
        cancel=reporter.cancel,
        env=environment(index.folder),
        keep=LINES,
        what="asking apt for the files of the packages",
    )
    found = {}
    for each in _URI.finditer(result.stdout):
        name, version, arch = unquote(each["file"]).removesuffix(".deb").split("_")
        found[name] = LockedPackage(
            name=name,
            version=version,
            arch=arch,
            size=int(each["size"]),
            sha256=each["sha256"],
            origin="",
        )
    size = _INSTALLED.search(result.stdout)
    installed = size_of(size[1].replace(",", "")) if size else 0
    told = Files(index=index.digest, of=found, installed=installed)
    path.parent.mkdir(exist_ok=True)
    write(path, told.model_dump_json())
    return told


def _releases(index: Index) -> Iterator[LockedSource]:
    """Give what the signed files of an index say of themselves."""
    for path in sorted(index.lists.glob("*Release")):
        text = path.read_text(errors="replace")
        fields = dict(re.findall(r"^(Label|Origin|Suite|Codename|Date): (.+)$", text, re.MULTILINE))
        yield LockedSource(
            label=fields.get("Label") or fields.get("Origin", ""),
            suite=fields.get("Codename") or fields.get("Suite", ""),
            date=fields.get("Date", ""),
        )


@contextmanager
def told(text: str) -> Iterator[Path]:
    """Give a file of apt's preferences for as long as it is needed."""
    with tempfile.NamedTemporaryFile("w", prefix="imagebuilder-", suffix=".pref") as file:
        file.write(text)
        file.flush()
        yield Path(file.name)
