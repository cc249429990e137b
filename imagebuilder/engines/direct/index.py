"""The package index: which packages a mirror has, and which versions a wish comes to.

An apt of its own in the cache: nothing of the host's apt is read but its keys, nothing is
changed.  It is brought up to date at most once a day, so that a build with nothing changed
needs no network, and asked once for each wish.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from filelock import FileLock
from pydantic import BaseModel, ConfigDict, ValidationError

from imagebuilder import command
from imagebuilder.engines.base import digest_of
from imagebuilder.engines.direct.sources import Sources, host_proxies
from imagebuilder.errors import InputError, Location, StepError, joined
from imagebuilder.kickstart import Kickstart, PackageWish
from imagebuilder.progress import Reporter

MAX_AGE = 24 * 3600.0  # seconds
_LINES = 1 << 20  # more than an archive has packages
_NAME = re.compile(r"^[a-z0-9][a-z0-9+.-]+(:[a-z0-9]+)?(=[A-Za-z0-9.+:~-]+)?$")
_UNKNOWN = re.compile(
    r"^E: (?:Unable to locate package (?P<a>\S+)"
    r"|Package '(?P<b>[^']+)' has no installation candidate"
    r"|Version '[^']+' for '(?P<c>[^']+)' was not found"
    r"|Couldn't find any package by (?:glob|regex) '(?P<d>[^']+)')"
)


class _State(BaseModel):
    """``index.json``: when the index was last looked at, and what it was then."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    checked: float
    digest: str


class _Resolution(BaseModel):
    """``resolved/DIGEST.json``: what a wish comes to."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    index: str
    versions: dict[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Index:
    """An index on disk, up to date.

    Attributes:
        folder: where it is.
        digest: follows from the signed release files of all sources.
        sources: where its packages come from.
    """

    folder: Path
    digest: str
    sources: Sources

    @property
    def lists(self) -> Path:
        """The folder with apt's package lists."""
        return self.folder / "lists"

    def epoch(self) -> int:
        """Return when the newest of its release files was made, in seconds since the epoch."""
        newest = 0
        for path in self.lists.glob("*Release"):
            found = re.search(r"^Date: (.+)$", path.read_text(errors="replace"), re.MULTILINE)
            if found:
                newest = max(newest, _seconds(found[1]))
        return newest


def _seconds(date: str) -> int:
    """Read the date of a Release file: ``Sat, 21 Nov 2026 02:10:46 UTC``."""
    try:
        read = datetime.strptime(date.strip(), "%a, %d %b %Y %H:%M:%S %Z")
    except ValueError:
        return 0
    return int(read.replace(tzinfo=UTC).timestamp())


def open_index(
    cache_dir: Path, sources: Sources, arch: str, reporter: Reporter, *, refresh: bool
) -> Index:
    """Return the index of some sources, looking at the mirrors if that was long ago.

    Raises:
        StepError: there is none yet, and the mirrors cannot be reached.
    """
    folder = cache_dir / "apt" / digest_of(sources.text + arch)[:16]
    (folder / "lists/partial").mkdir(parents=True, exist_ok=True)
    with FileLock(folder / "lock", timeout=600):
        state = _read_state(folder)
        if state and not refresh and 0 <= time.time() - state.checked < MAX_AGE:
            return Index(folder=folder, digest=state.digest, sources=sources)
        try:
            with reporter.step("index", f"looking at the package mirrors ({sources.origin})"):
                state = _update(folder, sources, arch, reporter)
        except StepError as error:
            if not state:
                raise
            reporter.note(
                "index",
                "the mirrors could not be reached; going on with the index of "
                f"{time.strftime('%F %R', time.gmtime(state.checked))} UTC ({error.what})",
            )
    return Index(folder=folder, digest=state.digest, sources=sources)


def _read_state(folder: Path) -> _State | None:
    try:
        return _State.model_validate_json((folder / "index.json").read_bytes())
    except (OSError, ValidationError):
        return None


def _update(folder: Path, sources: Sources, arch: str, reporter: Reporter) -> _State:
    _configure(folder, sources, arch)
    log = folder / "update.log"
    log.unlink(missing_ok=True)
    command.run(
        ["apt-get", "update", "--error-on=any"],
        timeout=600,
        cancel=reporter.cancel,
        env=_environment(folder),
        log=log,
        what="fetching the package index",
        fix="see that the mirrors can be reached and their keys are known: the sources are in "
        f"{folder / 'sources.list'}",
    )
    summed = hashlib.sha256()
    for path in sorted((folder / "lists").glob("*Release")):
        summed.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    state = _State(checked=time.time(), digest=summed.hexdigest()[:32])
    _write(folder / "index.json", state.model_dump_json())
    return state


def _configure(folder: Path, sources: Sources, arch: str) -> None:
    # The list may hold credentials for a mirror.
    private = os.open(folder / "sources.list", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(private, "w") as file:
        file.write(sources.text)
    (folder / "status").touch()
    for name in ("archives/partial", "empty"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    lines = [
        f'Dir "{folder}/empty/";',
        f'Dir::Etc "{folder}/empty/";',
        f'Dir::Etc::sourcelist "{folder}/sources.list";',
        f'Dir::Etc::sourceparts "{folder}/empty";',
        f'Dir::Etc::parts "{folder}/empty";',
        f'Dir::Etc::preferencesparts "{folder}/empty";',
        'Dir::Etc::trusted "/etc/apt/trusted.gpg";',
        'Dir::Etc::trustedparts "/etc/apt/trusted.gpg.d/";',
        'Dir::Etc::netrc "/etc/apt/auth.conf";',
        'Dir::Etc::netrcparts "/etc/apt/auth.conf.d/";',
        f'Dir::State "{folder}/";',
        f'Dir::State::lists "{folder}/lists/";',
        f'Dir::State::status "{folder}/status";',
        f'Dir::State::extended_states "{folder}/extended_states";',
        f'Dir::Cache "{folder}/";',
        f'Dir::Cache::archives "{folder}/archives/";',
        'Dir::Bin::methods "/usr/lib/apt/methods/";',
        'Acquire::Languages "none";',
        'Acquire::Retries "3";',
        f'APT::Architecture "{arch}";',
        f'APT::Architectures {{ "{arch}"; }};',
        'APT::Sandbox::User "root";',
        *host_proxies(),
    ]
    _write(folder / "apt.conf", "".join(f"{line}\n" for line in lines))


def _environment(folder: Path) -> Mapping[str, str]:
    kept = ("HOME", "http_proxy", "https_proxy", "no_proxy", "SSL_CERT_FILE")
    return {
        **{name: os.environ[name] for name in kept if name in os.environ},
        "APT_CONFIG": str(folder / "apt.conf"),
        "LC_ALL": "C.UTF-8",
        "DEBIAN_FRONTEND": "noninteractive",
    }


def wanted(kickstart: Kickstart) -> tuple[str, ...]:
    """Return what apt is asked to install: names in order; ``NAME-`` for what must stay out.

    Raises:
        InputError: a line of ``%packages`` is not the name of a package.
    """
    names: dict[str, None] = {}
    problems: list[InputError] = []
    for wish in kickstart.packages:
        if not _NAME.match(wish.name):
            problems.append(
                InputError(
                    f"{wish.name!r} is not the name of a package",
                    where=wish.where,
                    fix="write one name, name:arch or name=version on each line",
                )
            )
            continue
        # The later line holds: a child can take out what its parent put in, and back in again.
        if wish.excluded:
            names.pop(wish.name, None)
            names[f"{wish.name}-"] = None
        else:
            names.pop(f"{wish.name}-", None)
            names[wish.name] = None
    if problems:
        raise joined(problems)
    return tuple(names)


def resolve(index: Index, kickstart: Kickstart, reporter: Reporter) -> dict[str, str]:
    """Return the packages, with versions, that the ``%packages`` of a kickstart come to.

    Raises:
        InputError: a package is unknown, or they cannot be installed together.
    """
    names = wanted(kickstart)
    wish = json.dumps([names, kickstart.weak_dependencies, kickstart.ignore_missing])
    path = index.folder / "resolved" / f"{digest_of(wish)}.json"
    try:
        known = _Resolution.model_validate_json(path.read_bytes())
        if known.index == index.digest:
            return known.versions
    except (OSError, ValidationError):
        pass
    if kickstart.ignore_missing:
        names = _known(index, names, reporter)
    versions = _simulate(index, names, kickstart, reporter)
    path.parent.mkdir(exist_ok=True)
    _write(path, _Resolution(index=index.digest, versions=versions).model_dump_json())
    return versions


def _simulate(
    index: Index, names: Sequence[str], kickstart: Kickstart, reporter: Reporter
) -> dict[str, str]:
    recommends = "true" if kickstart.weak_dependencies else "false"
    result = command.run(
        [
            "apt-get",
            "--simulate",
            "-o",
            f"APT::Install-Recommends={recommends}",
            "install",
            "?essential",
            "apt",
            *names,
        ],
        timeout=300,
        cancel=reporter.cancel,
        env=_environment(index.folder),
        check=False,
        keep=_LINES,
    )
    if result.returncode == 0:
        found = re.findall(r"^Inst (\S+) (?:\[\S+\] )?\((\S+)", result.stdout, re.MULTILINE)
        return dict(sorted(found))
    missing = _missing(result.stderr)
    if missing:
        raise joined(
            [
                InputError(
                    f"there is no package {name!r} in {', '.join(_suites(index.sources))}",
                    where=_where(kickstart.packages, name),
                    fix="look for the name, or name a repository that has it with repo; after a "
                    "change of the mirror use --refresh",
                )
                for name in missing
            ]
        )
    raise InputError(
        "the packages cannot be installed together",
        where=kickstart.packages[0].where if kickstart.packages else None,
        excerpt="\n".join((result.stdout + result.stderr).splitlines()[-15:]),
        fix="take out one of those that conflict: a line -NAME in %packages",
    )


def _missing(stderr: str) -> list[str]:
    found = (_UNKNOWN.match(line) for line in stderr.splitlines())
    # Of one with a dot apt also says that no pattern of that name was found.
    names = [next(name for name in each.groups() if name) for each in found if each]
    return list(dict.fromkeys(names))


def _known(index: Index, names: Sequence[str], reporter: Reporter) -> tuple[str, ...]:
    result = command.run(
        ["apt-cache", "pkgnames"],
        timeout=120,
        cancel=reporter.cancel,
        env=_environment(index.folder),
        keep=_LINES,
    )
    there = set(result.stdout.split())
    kept = tuple(name for name in names if re.split(r"[:=]", name.rstrip("-"))[0] in there)
    for name in set(names) - set(kept):
        reporter.note("index", f"package {name} is missing and passed over (--ignoremissing)")
    return kept


def _where(wishes: Sequence[PackageWish], name: str) -> Location | None:
    plain = re.split(r"[:=]", name)[0]
    return next((w.where for w in wishes if re.split(r"[:=]", w.name)[0] == plain), None)


def _suites(sources: Sources) -> list[str]:
    words = [re.sub(r"\[[^\]]*\]", "", line).split() for line in sources.lines]
    return list(dict.fromkeys(each[2] for each in words if len(each) > 2))


def _write(path: Path, text: str) -> None:
    temporary = path.with_name(f".{path.name}.new")
    temporary.write_text(text)
    temporary.rename(path)
