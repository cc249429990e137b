"""Which distribution a kickstart is for, if nobody says so."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from imagebuilder import distro

# What installers, mirrors and people write: the name, and the first number of the release.
_SIGNS: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern, re.IGNORECASE), form)
    for pattern, form in (
        (r"^#\s*version=F(?:EDORA)?(\d+)", "fedora-{}"),
        (r"almalinux\S*?/(?:vault/)?(\d+)", "almalinux-{}"),
        (r"rocky\S*?/(\d+)", "rocky-{}"),
        (r"centos-?stream\S*?/(\d+)", "centos-stream-{}"),
        (r"redhat\S*?/rhel-?(\d+)", "rhel-{}"),
        (r"^#\s*version=RHEL(\d+)", "rhel-{}"),
        (r"(?:fedora|repo=f|repo=fedora-)\S*?(?:/|-)(\d\d)(?:/|&|$)", "fedora-{}"),
        (r"^(?:url|repo)\s.*debian.*\b(bookworm|trixie)\b", "debian-{}"),
    )
)
_SUITES = {"bookworm": "12", "trixie": "13"}
_NAMES = (("almalinux", "almalinux-"), ("rocky", "rocky-"), ("fedora", "fedora-"))


def guess(lines: Sequence[str], takes: Callable[[str], bool]) -> tuple[str, str]:
    """Return the id of a distribution, and for people why it is this one.

    Args:
        lines: the kickstart, with all that it includes.
        takes: whether the syntax of a distribution takes the kickstart.
    """
    known = distro.names()
    for n, line in enumerate(lines):
        for pattern, form in _SIGNS:
            found = pattern.search(line)
            if found:
                wanted = form.format(_SUITES.get(found[1].lower(), found[1]))
                if wanted in known and takes(wanted):
                    return wanted, f"of what its line {n + 1} says"
    for word, start in _NAMES:
        if any(word in line.lower() for line in lines):
            for each in reversed([each for each in known if each.startswith(start)]):
                if takes(each):
                    return each, f"it speaks of {word}, and this is the newest that takes it"
    for each in known:
        if takes(each):
            return each, "nothing in it says for what it is, and this one takes it"
    return known[0], "nothing in it says for what it is"
