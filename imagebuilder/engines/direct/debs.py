"""Files of packages, kept in the cache, so that recipes share them.

apt finds and fetches them, so that a site's proxies, credentials and keys hold.  What was fetched
must have the digest that the signed index has for it.  Then it is packed anew (``repack.py``), and
kept by that digest and its own, which it must have whenever it is taken.
"""

from __future__ import annotations

import os
import re
import secrets
import shutil
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from imagebuilder import cache, command
from imagebuilder.engines.direct.package_failure import explained
from imagebuilder.engines.direct.repack import HEAD, MAGIC, repack
from imagebuilder.errors import StepError
from imagebuilder.image import sha256_of
from imagebuilder.lockfile import LockedPackage
from imagebuilder.progress import Reporter

FOLDER = "debs"  # in the cache: files SHA256-OWN.deb, both in hexadecimal digits

_TIMEOUT = 2 * 3600.0  # seconds; a slow mirror is no fault
_DATE = slice(16, 28)  # of a member's head: ar(5)
_NAME = re.compile(r"[0-9a-f]{64}-[0-9a-f]{64}\.deb")
_DAY = 86400


class Deb(BaseModel):
    """The file of a package, as the index has it.

    Attributes:
        name: the package.
        file: what apt calls it: ``NAME_VERSION_ARCH.deb``.
        size: bytes.
        sha256: of all that is in it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    file: str
    size: int
    sha256: str


class Fetching(BaseModel):
    """How apt fetches packages.

    Attributes:
        versions: of all packages that are wanted, by their names.
        environment: in which apt works on the index.
        options: further settings: lines of an apt.conf.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    versions: Mapping[str, str]
    environment: Mapping[str, str]
    options: tuple[str, ...] = ()


def of(packages: Iterable[LockedPackage]) -> tuple[Deb, ...]:
    """Return the files of some packages."""
    return tuple(
        Deb(
            name=each.name,
            file=file_of(each.name, each.version, each.arch),
            size=each.size,
            sha256=each.sha256,
        )
        for each in packages
    )


def file_of(name: str, version: str, arch: str) -> str:
    """Return what apt calls the file of a package."""
    return f"{name}_{version.replace(':', '%3a')}_{arch}.deb"


def lacking(wanted: Sequence[Deb], store: Path) -> tuple[Deb, ...]:
    """Return those of some files that the cache does not have."""
    there = _stock(store)
    return tuple(each for each in wanted if each.sha256 not in there)


def _stock(store: Path) -> dict[str, Path]:
    """Return what the cache has, by the digests that the index has."""
    try:
        with os.scandir(store) as found:
            names = sorted(each.name for each in found if _NAME.fullmatch(each.name))
    except FileNotFoundError:
        return {}
    return {name[:64]: store / name for name in names}


def take(
    wanted: Sequence[Deb],
    store: Path,
    into: Path,
    fetching: Fetching,
    log: Path,
    reporter: Reporter,
) -> None:
    """Fill a folder with files of packages; those that the cache lacks are fetched, and kept.

    Args:
        wanted: the files that the index has a digest of.
        store: where the cache keeps files.
        into: a folder on the same disk; it is made.
        fetching: all packages; how those are fetched that the cache lacks.
        log: gets what apt says.
        reporter: for the request to stop.

    Raises:
        StepError: they cannot be fetched, or one is damaged.
    """
    store.mkdir(parents=True, exist_ok=True)
    into.mkdir(parents=True)
    there = _stock(store)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        taken = list(pool.map(lambda each: _taken(each, there.get(each.sha256), into), wanted))
    missing = [each for each, is_taken in zip(wanted, taken, strict=True) if not is_taken]
    # Of one that the index gives no SHA-256 of nobody knows whether it is there.
    there_now = {each.name for each in wanted} - {each.name for each in missing}
    asked = [
        f"{name}={version}" for name, version in fetching.versions.items() if name not in there_now
    ]
    if not asked:
        return
    _fetch(asked, into, fetching, log, reporter)
    # liblzma and libzstd work outside of Python's lock.
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        largest_first = sorted(missing, key=lambda each: -each.size)
        for _ in pool.map(lambda each: _store(each, store, into, log), largest_first):
            reporter.cancel.check()


def _store(deb: Deb, store: Path, into: Path, log: Path) -> None:
    """Keep a file that was fetched, as the one that is installed.

    Raises:
        StepError: it is not what the index has.
    """
    path = into / deb.file
    if not path.exists():
        raise StepError(
            f"the package index has changed meanwhile: {deb.file} was not fetched",
            log=log,
            fix="run the same command again",
        )
    if path.stat().st_size != deb.size or sha256_of(path) != deb.sha256:
        raise StepError(f"the file of a package was damaged on its way: {deb.file}", log=log)
    fresh = store / f".{deb.sha256}.{secrets.token_hex(4)}"
    try:
        if not repack(path, fresh):
            _linked(path, fresh)
        kept = store / f"{deb.sha256}-{sha256_of(fresh)}.deb"
        fresh.rename(kept)
    finally:
        fresh.unlink(missing_ok=True)
    path.unlink()
    _linked(kept, path)


def made(files: Path) -> int:
    """Return when the newest of the packages in a folder was made, in seconds since the epoch.

    Each file says so of itself: the date of its first member, ar(5).
    """
    return max(_DAY, *(_date(path) for path in files.glob("*.deb")), 0)


def _date(deb: Path) -> int:
    with deb.open("rb") as file:
        if file.read(len(MAGIC)) != MAGIC:
            return 0
        try:
            return int(file.read(HEAD)[_DATE])
        except ValueError:
            return 0


def _taken(deb: Deb, kept: Path | None, into: Path) -> bool:
    """Link a file of the cache, if it is there and whole: nobody can remove it then."""
    if kept is None:
        return False
    path = into / deb.file
    try:
        _linked(kept, path)
    except FileNotFoundError:
        return False  # another process has pruned it
    if kept.name[65:-4] == sha256_of(path):
        cache.touch(kept)
        return True
    path.unlink()
    kept.unlink(missing_ok=True)
    return False


def _linked(path: Path, into: Path) -> None:
    try:
        os.link(path, into)
    except FileNotFoundError:
        raise
    except OSError:  # the disk has no links
        shutil.copyfile(path, into)


def _fetch(
    asked: Sequence[str], into: Path, fetching: Fetching, log: Path, reporter: Reporter
) -> None:
    try:
        command.run(
            [
                "apt-get",
                "download",
                *(word for each in fetching.options for word in ("-o", _option(each))),
                *asked,
            ],
            timeout=_TIMEOUT,
            cancel=reporter.cancel,
            cwd=into,  # where apt puts them
            env=fetching.environment,
            log=log,
            what="fetching the packages",
            fix="see that the mirrors can be reached; if they have changed: --refresh",
        )
    except StepError as error:
        told = explained(error, log)
        told.fix = told.fix or error.fix
        raise told from error


def _option(line: str) -> str:
    """Return a line of an apt.conf, ``NAME "VALUE";``, as apt's ``-o`` wants it."""
    name, _, value = line.rstrip("; ").partition(" ")
    plain = value.strip().strip('"')
    return f"{name}={plain}"
