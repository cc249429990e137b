"""The options of ``%packages`` that say what packages bring, and how apt fetches them.

Several sections add up: what one leaves out no other brings back.
"""

from __future__ import annotations

from collections.abc import Iterator

from imagebuilder.engines.direct.values import INST_LANGS, languages
from imagebuilder.kickstart import Kickstart

_DOCS = (
    "path-exclude=/usr/share/doc/*",
    "path-include=/usr/share/doc/*/copyright",  # an image is distributed
    "path-exclude=/usr/share/info/*",
    "path-exclude=/usr/share/lintian/*",  # what Debian's checker is told of packages
    "path-exclude=/usr/share/man/*",
)
_TRANSLATIONS = (
    "path-exclude=/usr/share/locale/*",
    "path-include=/usr/share/locale/locale.alias",
    "path-exclude=/usr/share/man/*",
    "path-include=/usr/share/man/man[1-9]*/*",
)


def left_out(kickstart: Kickstart) -> tuple[str, ...]:
    """Return what is left out of packages, in dpkg's words: see :mod:`.left_out`."""
    return (*_languages(kickstart), *(_DOCS if _given(kickstart, "--excludedocs") else ()))


def _languages(kickstart: Kickstart) -> Iterator[str]:
    given = [
        each.value(*INST_LANGS)
        for each in kickstart.sections
        if each.name == "%packages" and not set(INST_LANGS).isdisjoint(each.options)
    ]
    named = [each for each in given if each != "all"]
    if not named:
        return
    yield from _TRANSLATIONS
    for name in dict.fromkeys(each for value in named for each in languages(value)):
        if name == "none":
            continue
        # A country's form of a language rests on the language's own: de_DE on de.
        language = name.partition("_")[0].partition(".")[0]
        forms = [language, f"{name}*"] if name != language else [name, f"{name}_*", f"{name}@*"]
        for form in forms:
            yield f"path-include=/usr/share/locale/{form}/*"
            yield f"path-include=/usr/share/man/{form}/*"


def apt_options(kickstart: Kickstart) -> tuple[str, ...]:
    """Return how apt fetches packages, as lines of an apt.conf."""
    found: dict[str, str] = {}
    for each in kickstart.sections:
        if each.name == "%packages":
            retries, timeout = each.value("--retries"), each.value("--timeout")
            found |= {"Acquire::Retries": retries} if retries else {}
            for protocol in ("http", "https"):
                found |= {f"Acquire::{protocol}::Timeout": timeout} if timeout else {}
    return tuple(f'{name} "{value}";' for name, value in found.items())


def _given(kickstart: Kickstart, option: str) -> bool:
    return any(each.name == "%packages" and option in each.options for each in kickstart.sections)
