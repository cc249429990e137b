"""What packages bring and an image does not get: documentation, translations.

It is taken out when the packages are installed, by the rules that dpkg(1) has for its path-exclude
and path-include.  Not by dpkg itself: scripts of packages may read their documentation, and
mmdebstrap passes each file of the first packages through a filter, which takes it three seconds.
"""

from __future__ import annotations

import fnmatch
import os
import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from imagebuilder.engines.direct.tree import Tree

_EXCLUDE = "path-exclude="


def take_out(tree: Tree, rules: Sequence[str]) -> None:
    """Remove files that rules leave out, and the folders that nothing is left in.

    A link to a folder stays for as long as that does: it may be the way to a licence.

    Args:
        tree: where packages have just been installed.
        rules: ``path-exclude=PATTERN`` and ``path-include=PATTERN``; the last that fits holds.

    Raises:
        OSError: a file cannot be removed.
    """
    is_out = _is_out(rules)
    for folder in _folders(rules):
        top = tree.path(folder)
        if top.is_symlink() or not top.is_dir():
            continue
        links: list[Path] = []
        for above, folders, names in os.walk(top):
            for name in (*folders, *names):
                path = Path(above, name)
                if not is_out(f"/{path.relative_to(tree.root)}"):
                    continue
                if path.is_symlink():
                    links.append(path)
                elif name in names:
                    path.unlink()
        # Those that lead to a folder only when it is known which folders stay.
        _remove(link for link in links if not _leads_to_folder(tree, link))
        _remove_empty(top)
        _remove(link for link in links if link.is_symlink() and not _leads_to_folder(tree, link))
        _remove_empty(top)


def _is_out(rules: Sequence[str]) -> Callable[[str], bool]:
    ordered = [
        (rule.startswith(_EXCLUDE), re.compile(fnmatch.translate(rule.partition("=")[2])))
        for rule in reversed(rules)
    ]

    def is_out(path: str) -> bool:
        return next((excludes for excludes, pattern in ordered if pattern.match(path)), False)

    return is_out


def _folders(rules: Sequence[str]) -> list[str]:
    """Return the folders that have all that can be left out."""
    patterns = [rule.removeprefix(_EXCLUDE) for rule in rules if rule.startswith(_EXCLUDE)]
    return sorted({re.split(r"[*?\[]", each)[0].rpartition("/")[0] for each in patterns})


def _leads_to_folder(tree: Tree, link: Path) -> bool:
    target = os.path.normpath(link.parent / link.readlink())
    inside = target if link.readlink().is_absolute() else target[len(os.fspath(tree.root)) :]
    return tree.exists(inside) and tree.path(inside).is_dir()


def _remove(paths: Iterable[Path]) -> None:
    for path in list(paths):
        path.unlink()


def _remove_empty(top: Path) -> None:
    for above, _, _ in os.walk(top, topdown=False):
        if above != os.fspath(top) and not os.listdir(above):  # noqa: PTH208 - of hundreds
            Path(above).rmdir()
