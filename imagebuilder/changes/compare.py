"""How two recipes differ in what they make: in packages, units, users, ports, not in lines.

Secrets are never in it: of a password only that it changed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from imagebuilder.changes.difference import Difference, text_lines
from imagebuilder.changes.rendered import Rendered, rendered
from imagebuilder.changes.things import State, Thing, of_kickstart, things_of
from imagebuilder.command import redact
from imagebuilder.kickstart import Kickstart, Script
from imagebuilder.kickstart.parse import parse
from imagebuilder.kickstart.redact import redacted_line
from imagebuilder.project import Project, ResolvedRecipe


def compare_recipes(project: Project, old: str, new: str) -> tuple[Difference, ...]:
    """Return how two recipes of a project differ.

    Raises:
        InputError: there is none of a name, or something is wrong with it.
    """
    return compare(rendered(project, old), rendered(project, new))


@dataclass(frozen=True, slots=True, kw_only=True)
class Copied:
    """A file of the project that is other than it was, and may be copied into images.

    Attributes:
        path: below the project's folder.
        kind: ``added``, ``deleted`` or ``modified``.
        texts: what it was and what it is; None: it is no text, or a large one.
        modes: as git has them, before and after.
    """

    path: str
    kind: str
    texts: tuple[str, str] | None = None
    modes: tuple[str, str] = ("", "")

    @property
    def words(self) -> tuple[str, str]:
        """What is said of it, before and after."""
        if self.kind == "added":
            return "", "copied"
        if self.kind == "deleted":
            return "copied", ""
        if all(self.modes) and self.modes[0] != self.modes[1]:
            old, new = (f"mode {each[-4:]}" for each in self.modes)
            same = self.texts and self.texts[0] == self.texts[1]
            return old, new if same else f"{new}, another content"
        return "its content", "another content"


def compare(old: Rendered, new: Rendered, copied: Sequence[Copied] = ()) -> tuple[Difference, ...]:
    """Return how two recipes differ.

    Args:
        old: one.
        new: the other.
        copied: files of the project that are other than they were.

    Raises:
        InputError: something is wrong with one of them.
    """
    was, now = _kickstart(old), _kickstart(new)
    found = list(_compared(dict(things_of(old, was)), dict(things_of(new, now))))
    found += _of_scripts(was.scripts if was else (), now.scripts if now else ())
    if new.resolved:
        found = [_with_content(each, new.resolved, copied) for each in found]
        found += _contents(new.resolved, copied, {each.name for each in found})
    return tuple(found)


def compare_kickstarts(old: Kickstart, new: Kickstart) -> tuple[Difference, ...]:
    """Return how two kickstarts differ in what they ask for."""
    return (
        *_compared(dict(of_kickstart(old)), dict(of_kickstart(new))),
        *_of_scripts(old.scripts, new.scripts),
    )


def _compared(before: Mapping[Thing, State], after: Mapping[Thing, State]) -> Iterator[Difference]:
    for thing in sorted({*before, *after}):
        if _value(before.get(thing)) != _value(after.get(thing)):
            yield _difference(thing, before.get(thing), after.get(thing))


def _value(state: State | None) -> str | None:
    return state.value if state else None


def _kickstart(side: Rendered) -> Kickstart | None:
    if side.error:
        raise side.error
    if not side.resolved or side.lines is None:
        return None
    return parse(side.lines, side.resolved.distro.kickstart_version)


def _difference(thing: Thing, old: State | None, new: State | None) -> Difference:
    kind, name = thing
    last = new or old
    return Difference(
        kind=kind,
        name=name,
        old=old.shown if old else "",
        new=new.shown if new else "",
        detail=text_lines(old.text if old else "", new.text if new else ""),
        where=last.where if last else None,
    )


def _with_content(
    found: Difference, resolved: ResolvedRecipe, copied: Sequence[Copied]
) -> Difference:
    """Return a difference of an entry of ``files`` with the lines of what it copies."""
    if found.kind != "file" or found.detail:
        return found
    sources = [each.source for each in resolved.recipe.files if each.path == found.name]
    for each in copied:
        if each.texts and any(each.path == source.removeprefix("./") for source in sources):
            return replace(found, detail=text_lines(*map(_hidden, each.texts)))
    return found


def _contents(
    resolved: ResolvedRecipe, copied: Sequence[Copied], told: set[str]
) -> Iterator[Difference]:
    """Give the copied files that are only other inside; of a folder those in it that are."""
    for n, entry in enumerate(resolved.recipe.files):
        source = entry.source.rstrip("/").removeprefix("./")
        if entry.path in told:
            continue
        for each in copied:
            if each.path != source and not each.path.startswith(f"{source}/"):
                continue
            old, new = each.words
            yield Difference(
                kind="file",
                name=entry.path.rstrip("/") + each.path.removeprefix(source),
                old=old,
                new=new,
                detail=text_lines(*map(_hidden, each.texts)) if each.texts else "",
                where=resolved.place(f"files.{n}"),
            )


def _hidden(text: str) -> str:
    return "\n".join(redact(redacted_line(line)) for line in text.splitlines())


def _of_scripts(old: Sequence[Script], new: Sequence[Script]) -> Iterator[Difference]:
    """Give the scripts that differ: by the fragment that has them, unless they only moved."""
    same = Counter(map(_content, old)) & Counter(map(_content, new))
    before, after = _others(old, same), _others(new, same)
    for name in dict.fromkeys([*before, *after]):
        yield _difference(("script", name), before.get(name), after.get(name))
    if not before and not after and list(map(_content, old)) != list(map(_content, new)):
        yield Difference(kind="script", name="(their order)", old="another", new="another")


def _content(script: Script) -> tuple[object, ...]:
    flags = (script.interpreter, script.in_chroot, script.error_on_fail, script.log)
    return (script.kind, *flags, script.body)


def _others(scripts: Sequence[Script], same: Counter[tuple[object, ...]]) -> dict[str, State]:
    """Return the scripts that are not on the other side, too, by name."""
    left, number = Counter(same), Counter[tuple[str, str]]()
    found: dict[str, State] = {}
    for script in scripts:
        if left[_content(script)] > 0:
            left[_content(script)] -= 1
            continue
        key = (script.kind, script.where.file)
        number[key] += 1
        nth = f" (number {number[key]})" if number[key] > 1 else ""
        text = _hidden(script.body)
        flags = f"# {script.interpreter}"
        flags += "" if script.in_chroot else ", outside of the image"
        flags += ", its failure ends the build" if script.error_on_fail else ""
        flags += f", log {script.log}" if script.log else ""
        found[f"%{script.kind} of {script.where.file}{nth}"] = State(
            value=script.body, shown="yes", where=script.where, text=f"{flags}\n{text}"
        )
    return found
