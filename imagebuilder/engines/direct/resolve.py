"""What a kickstart's ``%packages`` come to: the packages, with versions, of an index."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence

from pydantic import BaseModel, ConfigDict, ValidationError

from imagebuilder import command
from imagebuilder.engines.base import digest_of
from imagebuilder.engines.direct.index import Index, environment, write
from imagebuilder.engines.direct.sources import Sources
from imagebuilder.errors import InputError, Location, joined
from imagebuilder.kickstart import Kickstart, PackageWish
from imagebuilder.progress import Reporter

_LINES = 1 << 20  # more than an archive has packages
_NAME = re.compile(r"^[a-z0-9][a-z0-9+.-]+(:[a-z0-9]+)?(=[A-Za-z0-9.+:~-]+)?$")
_UNKNOWN = re.compile(
    r"^E: (?:Unable to locate package (?P<a>\S+)"
    r"|Package '(?P<b>[^']+)' has no installation candidate"
    r"|Version '[^']+' for '(?P<c>[^']+)' was not found"
    r"|Couldn't find any package by (?:glob|regex) '(?P<d>[^']+)')"
)


class _Resolution(BaseModel):
    """``resolved/DIGEST.json``: what a wish comes to."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    index: str
    versions: dict[str, str]


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
    write(path, _Resolution(index=index.digest, versions=versions).model_dump_json())
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
        env=environment(index.folder),
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
        env=environment(index.folder),
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
