"""What apt would install if it were asked to: nothing is installed."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from imagebuilder import command
from imagebuilder.engines.direct.index import Index, environment
from imagebuilder.engines.direct.sources import Sources
from imagebuilder.errors import InputError, Location, joined
from imagebuilder.kickstart import Kickstart, PackageWish
from imagebuilder.progress import Reporter

LINES = 1 << 20  # more than an archive has packages
_INSTALLED = re.compile(
    r"^Inst (?P<name>\S+) (?:\[\S+\] )?\((?P<version>\S+)(?: (?P<origin>[^\[\])]*?))? ?[\[)]",
    re.MULTILINE,
)
_UNKNOWN = re.compile(
    r"^E: (?:Unable to locate package (?P<a>\S+)"
    r"|Package '(?P<b>[^']+)' has no installation candidate"
    r"|Version '[^']+' for '(?P<c>[^']+)' was not found"
    r"|Couldn't find any package by (?:glob|regex) '(?P<d>[^']+)')"
)
_CONFLICT = "take out one of those that conflict: a line -NAME in %packages"


@dataclass(frozen=True, slots=True, kw_only=True)
class Installed:
    """A package that apt would install.

    Attributes:
        version: its version.
        origin: the releases that have it: ``LABEL:VERSION/SUITE``, several with commas.
    """

    version: str
    origin: str


def install(
    index: Index, names: Sequence[str], kickstart: Kickstart, *options: str
) -> tuple[str, ...]:
    """Return apt's command line that installs what the ``%packages`` of a kickstart come to."""
    recommends = "true" if kickstart.weak_dependencies else "false"
    return (
        "apt-get",
        *options,
        "-o",
        f"APT::Install-Recommends={recommends}",
        "install",
        "?essential",
        "apt",
        *index.required,  # mmdebstrap installs them in any case
        *names,
    )


def preferring(preferences: Path | None) -> tuple[str, ...]:
    """Return the options with which apt goes by a file of preferences, not by the index's own."""
    return ("-o", f"Dir::Etc::preferences={preferences}") if preferences else ()


def simulate(
    index: Index,
    names: Sequence[str],
    kickstart: Kickstart,
    reporter: Reporter,
    *,
    preferences: Path | None = None,
    conflict: str = _CONFLICT,
) -> dict[str, Installed]:
    """Return the packages that apt would install, by name.

    Args:
        index: what there is.
        names: what apt is asked to install; ``NAME-`` stays out.
        kickstart: where the wishes stand, and whether recommended packages come along.
        reporter: has the request to stop.
        preferences: what apt prefers; by default the index's own.
        conflict: what to do if they cannot be installed together.

    Raises:
        InputError: a package is unknown, or they cannot be installed together.
    """
    result = command.run(
        install(index, names, kickstart, "--simulate", *preferring(preferences)),
        timeout=300,
        cancel=reporter.cancel,
        env=environment(index.folder),
        check=False,
        keep=LINES,
    )
    if result.returncode == 0:
        found = {
            each["name"]: Installed(version=each["version"], origin=(each["origin"] or "").strip())
            for each in _INSTALLED.finditer(result.stdout)
        }
        return dict(sorted(found.items()))
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
        fix=conflict,
    )


def _missing(stderr: str) -> list[str]:
    found = (_UNKNOWN.match(line) for line in stderr.splitlines())
    # Of one with a dot apt also says that no pattern of that name was found.
    names = [next(name for name in each.groups() if name) for each in found if each]
    return list(dict.fromkeys(names))


def _where(wishes: Sequence[PackageWish], name: str) -> Location | None:
    plain = re.split(r"[:=]", name)[0]
    return next((w.where for w in wishes if re.split(r"[:=]", w.name)[0] == plain), None)


def _suites(sources: Sources) -> list[str]:
    words = [re.sub(r"\[[^\]]*\]", "", line).split() for line in sources.lines]
    return list(dict.fromkeys(each[2] for each in words if len(each) > 2))
