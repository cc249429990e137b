"""Fragments that no recipe uses, and params that no template does."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from imagebuilder import shipped, template
from imagebuilder.errors import InputError, Location
from imagebuilder.kickstart import Kickstart
from imagebuilder.lint.finding import Finding, found
from imagebuilder.project import Project, ResolvedRecipe
from imagebuilder.recipe import STANDING
from imagebuilder.template import is_template

_INCLUDE = re.compile(r"^\s*%include\s+[\"']?([^\"'\s#]+)", re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Uses:
    """What one recipe makes use of.

    Attributes:
        fragments: paths below ``kickstarts/``.
        params: for each param that is set, whether a template of the recipe uses it; by place.
        findings: the finding to give if none does, by place.
    """

    fragments: frozenset[str]
    params: dict[Location, bool]
    findings: dict[Location, Finding]


def uses_of(resolved: ResolvedRecipe, kickstart: Kickstart | None) -> Uses:
    """Return what a recipe uses; without a kickstart no param counts as unused."""
    fragments = _fragments(resolved, kickstart)
    if kickstart is None:
        return Uses(fragments=fragments, params={}, findings={})
    named = _variables(resolved, fragments)
    params: dict[Location, bool] = {}
    findings: dict[Location, Finding] = {}
    given = resolved.tree.find("params")
    for name, node in (given.value if given else {}).items():
        where = Location(file=node.where.file, line=node.where.line, key=f"params.{name}")
        params[where] = name in named
        if name not in named:
            free = named - set(resolved.recipe.params) - set(STANDING)
            near = difflib.get_close_matches(name, sorted(free), n=1)
            fix = f"did you mean {near[0]!r}?" if near else ""
            findings[where] = found("IB802", f"no template uses param {name!r}", where, fix=fix)
    return Uses(fragments=fragments, params=params, findings=findings)


def _fragments(resolved: ResolvedRecipe, kickstart: Kickstart | None) -> frozenset[str]:
    """Return the fragments that a recipe names, those that they may include, and theirs."""
    lines = kickstart.lines if kickstart else ()
    waiting = [*resolved.recipe.kickstarts]
    waiting += {
        line.where.file.removeprefix("kickstarts/")
        for line in lines
        if line.where.file.startswith("kickstarts/")
    }
    used: set[str] = set()
    folders = resolved.project.fragment_dirs()
    while waiting:
        name = waiting.pop()
        path = _find(name, folders)
        if name in used or path is None:
            continue
        used.add(name)
        for wanted in _INCLUDE.findall(_text(path, _stamp(path))):
            beside = str(Path(name).parent / wanted)
            waiting += [each for each in (beside, wanted) if _find(each, folders)]
    return frozenset(used)


def _find(name: str, folders: tuple[Path, ...]) -> Path | None:
    return next((folder / name for folder in folders if (folder / name).is_file()), None)


def _variables(resolved: ResolvedRecipe, fragments: frozenset[str]) -> frozenset[str]:
    """Return the variables that the recipe's templates name."""
    folders = resolved.project.fragment_dirs()
    paths = [path for name in fragments if (path := _find(name, folders))]
    for entry in resolved.recipe.files:
        source = resolved.project.root / entry.source
        if entry.template:
            paths += [each for each in [source, *source.rglob("*")] if each.is_file()]
    named: set[str] = set()
    for path in paths:
        named |= _variables_of(_text(path, _stamp(path)))
    for _, node in resolved.tree.walk():
        if isinstance(node.value, str) and is_template(node.value):
            named |= _variables_of(node.value)
    return frozenset(named)


@lru_cache(maxsize=4096)
def _variables_of(text: str) -> frozenset[str]:
    try:
        return template.variables(text)
    except InputError:  # said where it is rendered
        return frozenset()


def _stamp(path: Path) -> tuple[int, int]:
    facts = path.stat()
    return facts.st_mtime_ns, facts.st_size


@lru_cache(maxsize=4096)
def _text(path: Path, stamp: tuple[int, int]) -> str:  # noqa: ARG001 - the stamp is for the cache
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def unused_fragments(project: Project, used: frozenset[str]) -> Iterator[Finding]:
    """Give the fragments of a project that none of its recipes uses.

    Those that come with imagebuilder are for others' recipes as well, and are passed over.
    """
    folder = project.root / "kickstarts"
    if not folder.is_dir() or folder.resolve() == shipped.folder("kickstarts").resolve():
        return
    for path in sorted(folder.rglob("*.ks")):
        name = str(path.relative_to(folder))
        if name not in used and path.is_file():
            where = Location(file=f"kickstarts/{name}")
            yield found("IB801", f"no recipe uses kickstarts/{name}", where)
