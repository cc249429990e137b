"""The recipe itself: its files, answers for debconf, package sources, checks."""

from __future__ import annotations

import re
from collections.abc import Iterator

from imagebuilder.engines.direct import files
from imagebuilder.errors import InputError, Location
from imagebuilder.lint.finding import Finding, found, of_error
from imagebuilder.lint.subject import Subject
from imagebuilder.project import ResolvedRecipe

_UNSAFE = re.compile(r"\[[^\]]*\btrusted=yes\b[^\]]*\]\s*(?P<url>\S+)", re.IGNORECASE)
_OPEN = ("http://", "ftp://")
_UNCHECKED = ("--noverifyssl", "--nogpgcheck")


def of_recipe(resolved: ResolvedRecipe) -> Iterator[Finding]:
    """Look at what needs no kickstart."""
    if not resolved.recipe.checks:
        text = "the recipe has no checks: its image passes as soon as it boots"
        yield found("IB107", text, resolved.place("checks"))
    try:
        files.find(resolved)
    except InputError as error:
        yield from of_error("IB106", error)


def of_sources(subject: Subject) -> Iterator[Finding]:
    """Look at where packages come from."""
    for command in subject.kickstart.commands:
        if command.name not in ("url", "repo"):
            continue
        unsafe = _UNSAFE.search(command.text)
        if unsafe and unsafe["url"].startswith(_OPEN):
            text = f"{command.name}: [trusted=yes] over plain HTTP"
            yield found("IB204", text, command.where)
        for option in command.options:
            if option in _UNCHECKED:
                yield found("IB204", f"{command.name} {option}", command.where)
    distro = subject.resolved.distro.id
    for line in subject.resolved.project.settings.mirrors.get(distro, ()):
        unsafe = _UNSAFE.search(line)
        if unsafe and unsafe["url"].startswith(_OPEN):
            where = Location(file="imagebuilder.toml", key=f"mirrors.{distro}")
            yield found("IB204", "mirrors: [trusted=yes] over plain HTTP", where)


def of_preseed(subject: Subject) -> Iterator[Finding]:
    """Look whether the packages that the answers are for are in the image."""
    for n, line in enumerate(subject.resolved.recipe.preseed):
        where = subject.resolved.place(f"preseed.{n}")
        owner = line.split()[0]
        if not subject.is_debian:
            text = "preseed has no effect: only Debian has debconf"
            yield found("IB104", text, where)
        elif subject.packages is not None and owner not in subject.packages:
            yield found("IB203", f"an answer for {owner}, which is not in the image", where)
