"""Files of packages, kept in the cache by their digests, so that recipes share them.

apt finds and fetches them, so that a site's proxies, credentials and keys hold.  What comes from
the cache must have the digest that the signed index has for it.
"""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from imagebuilder import cache, command
from imagebuilder.engines.direct.package_failure import explained
from imagebuilder.errors import StepError
from imagebuilder.image import sha256_of
from imagebuilder.lockfile import LockedPackage
from imagebuilder.progress import Reporter

FOLDER = "debs"  # in the cache: files SHA256.deb

_TIMEOUT = 2 * 3600.0  # seconds; a slow mirror is no fault
_MAGIC = b"!<arch>\n"
_DATE = slice(16, 28)  # of a member's head: ar(5)
_DAY = 86400


class Deb(BaseModel):
    """The file of a package, as apt knows it.

    Attributes:
        file: what apt calls it: ``NAME_VERSION_ARCH.deb``.
        size: bytes.
        sha256: of all that is in it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    file: str
    size: int
    sha256: str


class Fetching(BaseModel):
    """How apt fetches what a recipe asks for.

    Attributes:
        argv: apt's command line that installs it, or downloads it.
        environment: in which apt works on the index.
        options: further settings: lines of an apt.conf.
        preferences: the text of apt's preferences; "": those of the index.
        count: how many packages that comes to.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    argv: tuple[str, ...]
    environment: Mapping[str, str]
    options: tuple[str, ...] = ()
    preferences: str = ""
    count: int


def of(packages: Iterable[LockedPackage]) -> tuple[Deb, ...]:
    """Return the files of some packages."""
    return tuple(
        Deb(
            file=f"{each.name}_{each.version.replace(':', '%3a')}_{each.arch}.deb",
            size=each.size,
            sha256=each.sha256,
        )
        for each in packages
    )


def lacking(wanted: Sequence[Deb], store: Path) -> tuple[Deb, ...]:
    """Return those of some files that the cache does not have."""
    return tuple(each for each in wanted if not _place(store, each).exists())


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
        wanted: the files.
        store: where the cache keeps files.
        into: a folder on the same disk; it is made.
        fetching: how the rest is fetched.
        log: gets what apt says.
        reporter: for the request to stop.

    Raises:
        StepError: they cannot be fetched, or one is damaged.
    """
    store.mkdir(parents=True, exist_ok=True)
    (into / "partial").mkdir(parents=True)
    with ThreadPoolExecutor(2) as pool:
        there = list(pool.map(lambda each: _taken(each, store, into), wanted))
    missing = [each for each, is_there in zip(wanted, there, strict=True) if not is_there]
    # Of one that the index gives no SHA-256 of nobody knows whether it is there.
    if not missing and len(wanted) >= fetching.count:
        return
    _fetch(into, fetching, log, reporter)
    for each in missing:
        path = into / each.file
        if not path.exists():
            raise StepError(
                f"the package index has changed meanwhile: {each.file} was not fetched",
                log=log,
                fix="run the same command again",
            )
        if not _is(path, each):
            raise StepError(f"the file of a package was damaged on its way: {each.file}", log=log)
        try:
            os.link(path, _place(store, each))
        except FileExistsError:
            pass  # another build was quicker
        except OSError:  # the disk has no links
            _copied(path, _place(store, each))


def made(files: Path) -> int:
    """Return when the newest of the packages in a folder was made, in seconds since the epoch.

    Each file says so of itself: the date of its first member, ar(5).
    """
    return max(_DAY, *(_date(path) for path in files.glob("*.deb")), 0)


def _date(deb: Path) -> int:
    with deb.open("rb") as file:
        if file.read(len(_MAGIC)) != _MAGIC:
            return 0
        try:
            return int(file.read(60)[_DATE])
        except ValueError:
            return 0


def _place(store: Path, deb: Deb) -> Path:
    return store / f"{deb.sha256}.deb"


def _taken(deb: Deb, store: Path, into: Path) -> bool:
    """Link a file of the cache, if it is there and whole: nobody can remove it then."""
    path, linked = _place(store, deb), into / deb.file
    try:
        os.link(path, linked)
    except FileNotFoundError:
        return False
    except OSError:  # the disk has no links
        shutil.copyfile(path, linked)
    if _is(linked, deb):
        cache.touch(path)
        return True
    linked.unlink()
    path.unlink(missing_ok=True)
    return False


def _copied(path: Path, into: Path) -> None:
    temporary = into.with_name(f".{into.name}.{secrets.token_hex(4)}")
    try:
        shutil.copyfile(path, temporary)
        temporary.replace(into)
    finally:
        temporary.unlink(missing_ok=True)


def _is(path: Path, deb: Deb) -> bool:
    try:
        return path.stat().st_size == deb.size and sha256_of(path) == deb.sha256
    except FileNotFoundError:
        return False


def _fetch(into: Path, fetching: Fetching, log: Path, reporter: Reporter) -> None:
    settings = [f"Dir::Cache::archives={into}/", *map(_option, fetching.options)]
    preferences = into / "partial/preferences"
    if fetching.preferences:
        preferences.write_text(fetching.preferences)
        settings.append(f"Dir::Etc::preferences={preferences}")
    try:
        command.run(
            [
                *fetching.argv,
                "--download-only",
                "--yes",
                *(word for each in settings for word in ("-o", each)),
            ],
            timeout=_TIMEOUT,
            cancel=reporter.cancel,
            cwd=into,  # where "apt-get download" puts them
            env=fetching.environment,
            log=log,
            what="fetching the packages",
            fix="see that the mirrors can be reached; if they have changed: --refresh",
        )
    except StepError as error:
        told = explained(error, log)
        told.fix = told.fix or error.fix
        raise told from error
    finally:
        preferences.unlink(missing_ok=True)


def _option(line: str) -> str:
    """Return a line of an apt.conf, ``NAME "VALUE";``, as apt's ``-o`` wants it."""
    name, _, value = line.rstrip("; ").partition(" ")
    plain = value.strip().strip('"')
    return f"{name}={plain}"
