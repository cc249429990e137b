"""How the files of two trees differ, beside what is told of in other ways."""

from __future__ import annotations

import posixpath
from collections.abc import Collection, Iterator, Mapping

from imagebuilder.changes import Difference
from imagebuilder.changes.difference import text_lines
from imagebuilder.command import redact
from imagebuilder.comparison.accounts import names
from imagebuilder.comparison.aspects import Aspects
from imagebuilder.comparison.differing import KINDS, text_of
from imagebuilder.comparison.members import Member
from imagebuilder.kickstart.redact import redacted_line
from imagebuilder.sizes import human_size

_TEXT = 64 << 10  # bytes of a text whose lines are shown
_FEW = 5  # files of a new folder that are told one by one
_FOR_OTHERS = 0o004

Tree = Mapping[str, Member]


def changed(old: Tree, new: Tree) -> Iterator[str]:
    """Give the paths that differ in more than their time, sorted."""
    for path in sorted({*old, *new}):
        one, other = old.get(path), new.get(path)
        if one is None or other is None or not _same(one, other):
            yield path


def _same(one: Member, other: Member) -> bool:
    return (one.kind, one.mode, one.owner, one.target) == (
        other.kind, other.mode, other.owner, other.target,
    ) and one.data == other.data  # fmt: skip


def differences(
    old: Tree, new: Tree, paths: Collection[str], kind: str = "file"
) -> Iterator[Difference]:
    """Give what differs of some paths: owner, mode, and the lines of small texts.

    Folders that only one side has are told of with all that is in them.  The content of what
    not everybody may read is compared and never shown.

    Args:
        old: a tree.
        new: another.
        paths: which.
        kind: what the differences are called.
    """
    wanted = set(paths)
    for here, there, is_new in ((new, old, True), (old, new, False)):
        for folder, inside in _whole(here, there, wanted).items():
            wanted.difference_update((folder, *inside))
            files = [here[each] for each in inside if here[each].kind != "d"]
            size = human_size(sum(len(each.data) for each in files))
            said = f"{len(files)} files, {size}"
            yield Difference(
                kind=kind,
                name=f"/{folder}/",
                old="" if is_new else said,
                new=said if is_new else "",
            )
    who = [_Names(old), _Names(new)]
    for path in sorted(wanted):
        yield _of_path(kind, path, old.get(path), new.get(path), who)


def _whole(here: Tree, there: Tree, wanted: Collection[str]) -> dict[str, list[str]]:
    """Return the folders that only one side has, with what is in them, if that is much."""
    found: dict[str, list[str]] = {}
    for path in sorted(wanted):
        if path not in here or path in there:
            continue
        above = path
        while (parent := posixpath.dirname(above)) and parent in here and parent not in there:
            above = parent
        if above != path:
            found.setdefault(above, []).append(path)
    few = [
        folder
        for folder, inside in found.items()
        if sum(here[each].kind != "d" for each in inside) <= _FEW
    ]
    for folder in few:
        del found[folder]
    return found


class _Names:
    """The names of a tree's owners."""

    def __init__(self, tree: Tree) -> None:
        self._users, self._groups = names(tree, "etc/passwd"), names(tree, "etc/group")

    def of(self, owner: str) -> str:
        """Return ``UID/GID`` as names where the tree has some."""
        uid, _, gid = owner.partition("/")
        return f"{self._users.get(uid, _name(uid))}:{self._groups.get(gid, _name(gid))}"


def _of_path(
    kind: str, path: str, old: Member | None, new: Member | None, who: list[_Names]
) -> Difference:
    aspects = [
        _aspects(each, names) if each else None for each, names in zip((old, new), who, strict=True)
    ]
    was, now = aspects
    other = None
    if was and now:
        keys = {*was.shown, *now.shown}
        other = frozenset(each for each in keys if was.shown.get(each) != now.shown.get(each))
    said = [each.words(other) if each else "" for each in aspects]
    if old and new and old.data != new.data and "size" not in (other or ()):
        said = [", ".join(filter(None, pair)) for pair in zip(said, _CONTENTS, strict=True)]
    return Difference(
        kind=kind,
        name=f"/{path}",
        old=said[0],
        new=said[1],
        detail=_content(old, new) if _is_shown(old) and _is_shown(new) else "",
    )


def _name(number: str) -> str:
    """Return what a number is called in a tree that has no names, as initrds often are."""
    return "root" if number == "0" else number


_CONTENTS = ("content of the same size", "another content")


def _aspects(member: Member, who: _Names) -> Aspects:
    is_file = member.kind == "-"
    return Aspects(
        shown={
            "a": "" if is_file else KINDS.get(member.kind, member.kind).removeprefix("a "),
            "mode": "" if member.kind == "l" else f"{member.mode:04o}",
            "owner": who.of(member.owner),
            "size": human_size(len(member.data)) if is_file else "",
            "to": member.target,
        }
    )


def _is_shown(member: Member | None) -> bool:
    """Return whether a file's content may be shown: everybody may read it, and it is small."""
    return member is None or (
        member.kind in "-d" and bool(member.mode & _FOR_OTHERS) and len(member.data) <= _TEXT
    )


def _content(old: Member | None, new: Member | None) -> str:
    texts = [text_of(bytes(each.data)) if each else () for each in (old, new)]
    if texts[0] is None or texts[1] is None:
        return ""
    lines = ["\n".join(redact(redacted_line(line)) for line in each or ()) for each in texts]
    return text_lines(*lines)
