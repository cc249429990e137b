"""What the tests of lint share: a project without findings, and an engine with known packages."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Mapping
from datetime import date
from pathlib import Path

import pytest
from fakes import MakeProject

from imagebuilder import lint
from imagebuilder.engines import Request, Units
from imagebuilder.engines.direct import DirectEngine
from imagebuilder.errors import InputError
from imagebuilder.progress import Reporter
from imagebuilder.project import Project

TODAY = date(2026, 11, 24)

# The packages of the archive, and the units that each brings.
ARCHIVE: dict[str, tuple[str, ...]] = {
    "curl": (),
    "dracut-core": (),
    "dracut-live": (),
    "dracut-network": (),
    "iputils-arping": (),
    "isc-dhcp-client": (),
    "linux-image-amd64": (),
    "openssh-server": ("ssh.service", "ssh@.service"),
    "systemd": ("fstrim.timer", "serial-getty@.service"),
    "vim": (),
}

CLEAN = {
    "recipes/r.toml": """
        distro = "debian-12"
        kickstarts = ["clean.ks"]
        [[checks]]
        unit = "ssh.service"
        """,
    "kickstarts/clean.ks": """
        %packages --exclude-weakdeps
        linux-image-amd64
        dracut-core
        dracut-live
        dracut-network
        curl
        isc-dhcp-client
        iputils-arping
        openssh-server
        systemd
        %end
        rootpw --lock
        services --enabled=ssh,serial-getty@ttyS0 --disabled=fstrim.timer
        """,
}


class KnowingEngine(DirectEngine):
    """The direct engine, with an archive of its own: a package depends on no other."""

    def packages(self, request: Request) -> Mapping[str, str]:
        names: dict[str, str] = {}
        for wish in request.kickstart.packages:
            if wish.excluded:
                names.pop(wish.name, None)
            elif wish.name not in ARCHIVE:
                raise InputError(f"there is no package {wish.name!r}", where=wish.where)
            else:
                names[wish.name] = "1"
        return names

    def units(self, request: Request, packages: Iterable[str]) -> Units:
        return Units(names=frozenset(unit for name in packages for unit in ARCHIVE[name]))


def settings(cache: Path, *, offline: bool = False) -> lint.Settings:
    return lint.Settings(
        cache_dir=cache, reporter=Reporter(subject="lint"), offline=offline, today=TODAY
    )


def linted(project: Project, cache: Path, *names: str) -> tuple[lint.Finding, ...]:
    """Look at some recipes, or at all of a project."""
    wanted = names or lint.names_of(project)[0]
    results = [lint.look(project, name, settings(cache)) for name in wanted]
    return lint.gather(project, results, is_all=not names, today=TODAY)


def codes(findings: Iterable[lint.Finding]) -> list[str]:
    return [each.code for each in findings]


needs_shellcheck = pytest.mark.skipif(
    shutil.which("shellcheck") is None and os.environ.get("CI") != "true",
    reason="shellcheck is not installed; run ci/setup",
)


def with_fragment(make: MakeProject, text: str, more: str = "", extra: str = "") -> Project:
    """Make the clean project with one more fragment, and more in the recipe."""
    recipe = CLEAN["recipes/r.toml"].replace('"clean.ks"', '"clean.ks", "x.ks"')
    lines = "\n".join(line.removeprefix("        ") for line in recipe.splitlines())
    return make(
        {**CLEAN, "recipes/r.toml": f"{more}\n{lines}\n{extra}", "kickstarts/x.ks": text + "\n"}
    )


def of_fragment(make: MakeProject, cache: Path, text: str) -> list[tuple[str, str]]:
    """Return code and place of what is found in a fragment."""
    found = linted(with_fragment(make, text), cache, "r")
    return [(each.code, str(each.where)) for each in found]
