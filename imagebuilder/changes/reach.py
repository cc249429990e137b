"""Which recipe files a change can reach, told from their texts alone.

This is quick and errs on one side: what it leaves out cannot be affected; what it names is
looked at closely by others.  Names that templates make count as any that they could make.
"""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from imagebuilder import shipped
from imagebuilder.names import PROJECT_FILE
from imagebuilder.recipe import SHIPPED
from imagebuilder.steady import seen

RECIPES, KICKSTARTS = "recipes/", "kickstarts/"
LOCK = ".lock.json"

_EXTENDS = re.compile(r"""^\s*["']?extends["']?\s*=\s*["']([^"'\n]*)["']""", re.MULTILINE)
_INCLUDE = re.compile(r"^[ \t]*%(?:include|ksappend)\b(.*)$", re.MULTILINE)
_FRAGMENT = re.compile(r"""["']([^"'\n]*\.ks)["']""")
_SOURCE = re.compile(r"""\b(?:source|script)["']?\s*=\s*["']([^"'\n]*)["']""")
_TEMPLATE = re.compile(r"\{\{.*?\}\}|\{% .*?%\}|<#--.*?--#>|\{\{.*|\{% .*")
_MATRIX = re.compile(r"""^\s*\[?["']?matrix\b""", re.MULTILINE)
_LINKS = 8  # that lead to one another
# A text with one of these may hide a name from a look at its letters.
_HIDDEN = ("\\u", "\\U", "%include", "%ksappend", '"""', "'''")


@dataclass(frozen=True, slots=True, kw_only=True)
class Texts:
    """The texts of a project at one time, and those of what comes with imagebuilder.

    Attributes:
        recipes: by name; with ``imagebuilder/`` before it, one that comes along.
        fragments: by path below ``kickstarts/``.
        root: the project's folder, with all of its links.
        links: recipe files and fragments that are links, with what they lead to: paths.
    """

    recipes: Mapping[str, str]
    fragments: Mapping[str, str]
    root: Path
    links: Mapping[str, str]

    @classmethod
    def read(cls, root: Path) -> Texts:
        """Read those of the project in a folder."""
        ours, own = shipped.folder("recipes"), root / "recipes"
        recipes = {SHIPPED + path.stem: _text(path) for path in ours.glob("*.toml")}
        recipes |= {path.stem: _text(path) for path in own.glob("*.toml")}
        fragments: dict[str, str] = {}
        # The project's go first where there are both.
        for folder in (shipped.folder("kickstarts"), root / "kickstarts"):
            fragments |= {
                path.relative_to(folder).as_posix(): _text(path)
                for path in folder.rglob("*")
                if path.is_file()
            }
        links = {
            name: real_source(root, name)
            for each in ("recipes", "kickstarts")
            for name in _links(root, each)
        }
        return cls(recipes=recipes, fragments=fragments, root=root, links=links)

    def linked(self, changed: Collection[str]) -> list[str]:
        """Return the links among recipes and fragments that lead to what changed."""
        return [
            name
            for name, real in self.links.items()
            if any(is_part(each, real) for each in changed)
        ]


def _links(root: Path, folder: str) -> Iterator[str]:
    """Give the paths of all links in a folder."""
    try:
        with os.scandir(root / folder) as entries:
            for each in entries:
                path = f"{folder}/{each.name}"
                if each.is_symlink():
                    yield path
                elif each.is_dir():
                    yield from _links(root, path)
    except OSError:
        return  # it is not there


def reached(sides: Iterable[Texts], changed: Collection[str]) -> frozenset[str] | None:
    """Return the recipe files of the project that changed paths can reach.

    Args:
        sides: the project before and after.
        changed: the paths, below the project's folder.

    Returns:
        The files' names, or None: all of them (the project file changed).
    """
    if PROJECT_FILE in changed:
        return None
    found: set[str] = set()
    for side in sides:
        found |= _reached(side, changed)
    return frozenset(name for name in found if not name.startswith(SHIPPED))


def _reached(side: Texts, changed: Collection[str]) -> set[str]:
    fragments = _including(side, {_below(path, KICKSTARTS) for path in changed} - {""})
    copied = [path for path in changed if not path.startswith((RECIPES, KICKSTARTS))]
    seeds: set[str] = set()
    for path in changed:
        name = _below(path, RECIPES)
        for suffix in (".toml", LOCK):
            if name.endswith(suffix):
                seeds |= {name.removesuffix(suffix), *_homes(side, name.removesuffix(suffix))}
    wanted = _Names(fragments)
    for name, text in side.recipes.items():
        if (
            any(each in text for each in _HIDDEN)
            or (fragments and any(map(wanted.has, _FRAGMENT.findall(text))))
            or (copied and any(_copies(side.root, each, copied) for each in _SOURCE.findall(text)))
        ):
            seeds.add(name)
    return _extending(side, seeds)


def _below(path: str, folder: str) -> str:
    return path.removeprefix(folder) if path.startswith(folder) else ""


def _homes(side: Texts, name: str) -> Iterator[str]:
    """Give the files that a recipe which is no file may be a variant of."""
    if name not in side.recipes:
        yield from (each for each, text in side.recipes.items() if _MATRIX.search(text))


def _extending(side: Texts, seeds: set[str]) -> set[str]:
    """Return recipes with all that extend them."""
    children: dict[str, set[str]] = {}
    for name, text in side.recipes.items():
        for above in _EXTENDS.findall(text):
            full = above
            if name.startswith(SHIPPED) and not above.startswith(SHIPPED):
                full = SHIPPED + above
            for parent in (full, *_homes(side, full)):
                children.setdefault(parent, set()).add(name)
    found, waiting = set(seeds), list(seeds)
    while waiting:
        for name in children.get(waiting.pop(), ()):
            if name not in found:
                found.add(name)
                waiting.append(name)
    return found


def _including(side: Texts, changed: set[str]) -> set[str]:
    """Return fragments with all that include them, however often in between."""
    if not changed:
        return set()
    includes = {
        name: [_pattern(each) for each in _INCLUDE.findall(text)]
        for name, text in side.fragments.items()
        if "%include" in text or "%ksappend" in text
    }
    found = set(changed)
    fresh = set(changed)
    while fresh:
        wanted = _Names(fresh)
        fresh = {
            name
            for name, targets in includes.items()
            if name not in found and any(map(wanted.has, targets))
        }
        found |= fresh
    return found


class _Names:
    """Names of fragments, to be found in what texts call them."""

    def __init__(self, names: Iterable[str]) -> None:
        self._names = tuple(names)
        self._last = {each.rpartition("/")[2] for each in self._names}

    def has(self, said: str) -> bool:
        """Return whether a text's name for a fragment can stand for one of these."""
        pattern = _pattern(said)
        if "*" not in pattern:
            return pattern.rpartition("/")[2] in self._last
        tail = pattern.rpartition("../")[2].removeprefix("./")
        return any(fnmatchcase(each, f"*{tail}") for each in self._names)


def _pattern(said: str) -> str:
    """Return a name with a star for each part that a template makes."""
    plain = _TEMPLATE.sub("*", said) if "{" in said or "<#--" in said else said
    return plain.partition(" #")[0].strip().strip("\"'").replace("[", "[[]").replace("?", "[?]")


def real_source(root: Path, source: str) -> str:
    """Return what of a project a recipe copies, if a link leads there: its path, or ""."""
    known = seen()
    if known is not None and (found := known.get(("real", root, source))) is not None:
        return str(found)
    above = os.path.realpath(root)
    path = os.path.realpath(f"{above}/{source}")
    real = path.removeprefix(f"{above}/") if path.startswith(f"{above}/") else ""
    if known is not None:
        known[("real", root, source)] = real
    return real


def _copies(root: Path, source: str, paths: Sequence[str]) -> bool:
    pattern = _pattern(source).rstrip("/")
    while pattern.startswith("./"):
        pattern = pattern[2:]
    if "*" in pattern:
        known = _through_links(root, pattern)
        return any(fnmatchcase(path, each) for each in known for path in paths)
    names = {pattern, real_source(root, pattern)} - {""}
    return any(is_part(path, name) for name in names for path in paths)


def is_part(path: str, source: str) -> bool:
    """Return whether a changed path is what is copied, in it, or a link on the way to it."""
    return path == source or path.startswith(f"{source}/") or source.startswith(f"{path}/")


def _through_links(root: Path, pattern: str, deep: int = 0) -> Iterator[str]:
    """Give a pattern and those that it stands for by way of links; of each its parts, too."""
    yield f"{pattern}/*"
    parts = pattern.split("/")
    for n in range(1, len(parts) + 1):
        yield "/".join(parts[:n])
        for each in root.glob("/".join(parts[:n])):
            if each.is_symlink() and deep < _LINKS:
                real = glob.escape(real_source(root, str(each.relative_to(root))))
                if real:
                    yield from _through_links(root, "/".join([real, *parts[n:]]), deep + 1)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
