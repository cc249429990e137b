"""How two recipes differ in what they make: in packages, units, users, ports, not in lines.

Secrets are never in it: of a password only that it changed.
"""

from __future__ import annotations

import difflib
import shlex
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from imagebuilder.changes.rendered import Rendered, rendered
from imagebuilder.command import redact
from imagebuilder.errors import Location
from imagebuilder.kickstart import Command, Kickstart, Script
from imagebuilder.kickstart.parse import parse
from imagebuilder.kickstart.redact import redacted_line
from imagebuilder.project import Project, ResolvedRecipe

_SHOWN_LINES = 40  # of the difference of two scripts
# Commands of which each line is a thing of its own, by the name of its data that tells which.
_NAMED: Mapping[str, tuple[str, str]] = {
    "user": ("user", "name"),
    "group": ("group", "name"),
    "repo": ("repository", "name"),
}
# Commands that are told of in another way, or that say nothing of an image.
_TOLD = ("services", "bootloader", "firewall", *_NAMED)
_MASK = "********"


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One thing that differs.

    Attributes:
        kind: what it is: ``package``, ``kernel argument``, ``unit``, ``user``, ``port``,
            ``file``, ``script``, ``check``, ``setting``, ``kickstart command``…
        name: which one.
        old: what it was, or "" if it was not there.
        new: what it is, or "" if it is no more.
        detail: more lines for people, such as the difference of two texts; or "".
        where: the place that says so now, or said so before.
    """

    kind: str
    name: str
    old: str = ""
    new: str = ""
    detail: str = ""
    where: Location | None = None

    @property
    def sign(self) -> str:
        """``+`` if it is new, ``-`` if it is gone, ``~`` if it is other."""
        if self.old and self.new:
            return "~"
        return "+" if self.new else "-"

    def __str__(self) -> str:
        """Return it as one line."""
        value = self.new or self.old
        told = "" if value == "yes" else f": {value}"
        if self.sign == "~" and not self.detail:
            told = f": {self.old} → {self.new}" if self.old != self.new else ": another"
        return f"{self.sign} {self.kind} {self.name}{told}"

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain JSON data."""
        return {
            "kind": self.kind,
            "name": self.name,
            "old": self.old,
            "new": self.new,
            "detail": self.detail,
            "where": self.where.to_dict() if self.where else None,
        }


_Thing = tuple[str, str]  # kind and name


@dataclass(frozen=True, slots=True, kw_only=True)
class _State:
    """What holds of a thing.

    Attributes:
        value: what is compared; it may be secret.
        shown: what is shown of it.
        where: its place.
        text: of a long value, its lines, to show how they differ.
    """

    value: str
    shown: str
    where: Location | None = None
    text: str = ""


_Things = Iterator[tuple[_Thing, _State]]


def compare_recipes(project: Project, old: str, new: str) -> tuple[Difference, ...]:
    """Return how two recipes of a project differ.

    Raises:
        InputError: there is none of a name, or something is wrong with it.
    """
    return compare(rendered(project, old), rendered(project, new))


def compare(old: Rendered, new: Rendered, copied: Sequence[str] = ()) -> tuple[Difference, ...]:
    """Return how two recipes differ.

    Args:
        old: one.
        new: the other.
        copied: files of the project whose content is another.

    Raises:
        InputError: something is wrong with one of them.
    """
    was, now = _kickstart(old), _kickstart(new)
    before, after = dict(_things(old, was)), dict(_things(new, now))
    found = [
        _difference(thing, before.get(thing), after.get(thing))
        for thing in sorted({*before, *after})
        if _value(before.get(thing)) != _value(after.get(thing))
    ]
    found += _of_scripts(was.scripts if was else (), now.scripts if now else ())
    if new.resolved:
        found += _contents(new.resolved, copied, {each.name for each in found})
    return tuple(found)


def _value(state: _State | None) -> str | None:
    return state.value if state else None


def _kickstart(side: Rendered) -> Kickstart | None:
    if side.error:
        raise side.error
    if not side.resolved or side.lines is None:
        return None
    return parse(side.lines, side.resolved.distro.kickstart_version)


def _difference(thing: _Thing, old: _State | None, new: _State | None) -> Difference:
    kind, name = thing
    last = new or old
    return Difference(
        kind=kind,
        name=name,
        old=old.shown if old else "",
        new=new.shown if new else "",
        detail=_lines(old.text if old else "", new.text if new else ""),
        where=last.where if last else None,
    )


def _lines(old: str, new: str) -> str:
    """Return how texts differ, line by line, in a bounded number of lines."""
    made = difflib.unified_diff(old.splitlines(), new.splitlines(), lineterm="", n=1)
    lines = [line for line in made if not line.startswith(("---", "+++", "@@"))]
    more = len(lines) - _SHOWN_LINES
    return "\n".join([*lines[:_SHOWN_LINES], *([f"… {more} more lines"] if more > 0 else [])])


def _contents(
    resolved: ResolvedRecipe, copied: Sequence[str], told: set[str]
) -> Iterator[Difference]:
    """Give the copied files that are only other inside."""
    for n, entry in enumerate(resolved.recipe.files):
        source = entry.source.rstrip("/").removeprefix("./")
        inside = [each for each in copied if each == source or each.startswith(f"{source}/")]
        for each in inside:
            path = entry.path.rstrip("/") + each.removeprefix(source)
            if entry.path not in told:
                yield Difference(
                    kind="file", name=path, old="its content", new="another content",
                    where=resolved.place(f"files.{n}"),
                )  # fmt: skip


def _things(side: Rendered, kickstart: Kickstart | None) -> _Things:
    """Give all things that an image has by its recipe, but for its scripts."""
    if kickstart:
        yield from _of_kickstart(kickstart)
        yield from _of_recipe(side, kickstart)


def _state(shown: str, where: Location | None = None, value: str | None = None) -> _State:
    return _State(value=shown if value is None else value, shown=shown, where=where)


def _of_kickstart(kickstart: Kickstart) -> _Things:
    for wish in kickstart.packages:
        options = " ".join(wish.options)
        said = "not wanted" if wish.excluded else (options or "yes")
        yield ("package", wish.name), _state(said, wish.where)
    if not kickstart.weak_dependencies:
        yield ("setting", "recommended packages"), _state("left out")
    for command in kickstart.all("services"):
        for said, names in (
            ("enabled", command.data.enabled),
            ("disabled", command.data.disabled),
        ):
            for name in names:
                yield ("unit", name), _state(said, command.where)
    yield from _of_firewall(kickstart)
    for name, (kind, attribute) in _NAMED.items():
        for command in kickstart.all(name):
            key = str(getattr(_item(command), attribute, "") or command.text)
            yield (kind, key), _said(command)
    yield from _of_others(kickstart)


def _item(command: Command) -> Any:
    """Return what a command made: some have a list of all that were made."""
    for name in ("userList", "groupList", "repoList"):
        items = getattr(command.data, name, None)
        if items:
            return items[-1]
    return command.data


def _of_firewall(kickstart: Kickstart) -> _Things:
    for command in kickstart.all("firewall"):
        data = command.data
        for port in data.ports:
            yield ("port", str(port)), _state("open", command.where)
        for service in data.services:
            yield ("port", f"of service {service}"), _state("open", command.where)
        for device in data.trusts:
            yield ("port", f"all of {device}"), _state("open", command.where)
        if data.enabled is not None:
            said = "on" if data.enabled else "off"
            yield ("setting", "firewall"), _state(said, command.where)


def _of_others(kickstart: Kickstart) -> _Things:
    """Give the other commands: one that is given once is a setting, others are lines."""
    count = Counter(each.name for each in kickstart.commands)
    number: Counter[str] = Counter()
    for command in kickstart.commands:
        if command.name in _TOLD:
            continue
        number[command.name] += 1
        name = command.name
        if count[name] > 1:
            device = getattr(_network(command), "device", "") if name == "network" else ""
            name = f"{name} {device}" if device else f"{name} {number[name]}"
        yield ("kickstart command", name), _said(command)


def _network(command: Command) -> Any:
    items = getattr(command.data, "network", None)
    return items[-1] if items else command.data


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


def _others(scripts: Sequence[Script], same: Counter[tuple[object, ...]]) -> dict[str, _State]:
    """Return the scripts that are not on the other side, too, by name."""
    left, number = Counter(same), Counter[tuple[str, str]]()
    found: dict[str, _State] = {}
    for script in scripts:
        if left[_content(script)] > 0:
            left[_content(script)] -= 1
            continue
        key = (script.kind, script.where.file)
        number[key] += 1
        nth = f" (number {number[key]})" if number[key] > 1 else ""
        text = "\n".join(redact(redacted_line(line)) for line in script.body.splitlines())
        flags = f"# {script.interpreter}"
        flags += "" if script.in_chroot else ", outside of the image"
        flags += ", its failure ends the build" if script.error_on_fail else ""
        flags += f", log {script.log}" if script.log else ""
        found[f"%{script.kind} of {script.where.file}{nth}"] = _State(
            value=script.body, shown="yes", where=script.where, text=f"{flags}\n{text}"
        )
    return found


def _of_recipe(side: Rendered, kickstart: Kickstart) -> _Things:
    assert side.resolved
    resolved, recipe = side.resolved, side.resolved.recipe
    number: Counter[str] = Counter()
    for word in (*kickstart.kernel_args, *recipe.kernel.args):
        number[word] += 1
        name = word if number[word] == 1 else f"{word} (again)"
        yield ("kernel argument", name), _state("yes", resolved.place("kernel.args"))
    for n, entry in enumerate(recipe.files):
        said = f"{entry.source} {entry.mode or 'its own mode'} {entry.owner}"
        said += " template" if entry.template else ""
        yield ("file", entry.path), _state(said, resolved.place(f"files.{n}"))
    for n, check in enumerate(recipe.checks):
        said = _plain(check.model_dump(mode="json", exclude_defaults=True))
        yield ("check", said), _state("yes", resolved.place(f"checks.{n}"))
    for n, line in enumerate(recipe.preseed):
        name = " ".join(line.split()[:2])
        value = " ".join(line.split()[2:])
        said = _MASK if "password" in line.lower() else value or "yes"
        yield ("debconf answer", name), _state(said, resolved.place(f"preseed.{n}"), value)
    flat = _flat({key: side.parts.get(key) for key in _SETTINGS})
    for key, value in flat.items():
        yield ("setting", key), _state(value, resolved.place(key))
    if side.mirrors:
        yield ("setting", "mirrors"), _state(redact(" | ".join(side.mirrors)))


_SETTINGS = (
    *("summary", "distro", "arch", "engine", "image", "livemedia", "smoke"),
    *("locked", "snapshot", "secrets"),
)


def _flat(value: Any, path: str = "") -> dict[str, str]:
    """Return the leaves of a table, each by its path."""
    if isinstance(value, Mapping):
        found: dict[str, str] = {}
        for key, each in value.items():
            found |= _flat(each, f"{path}.{key}" if path else str(key))
        return found
    return {path: _plain(value)} if value not in (None, "", [], ()) else {}


def _plain(value: Any) -> str:
    if isinstance(value, Mapping):
        return " ".join(f"{key}={_plain(each)}" for key, each in value.items())
    if isinstance(value, list | tuple):
        return " ".join(map(_plain, value))
    return str(value).lower() if isinstance(value, bool) else str(value)


def _said(command: Command) -> _State:
    """Return a command's options: compared as they are, shown without secrets."""
    whole = " ".join(_words(command.text.strip().partition(" ")[2]))
    shown = redact(redacted_line(command.text.strip())).partition(" ")[2]
    return _state(" ".join(_words(shown)), command.where, whole)


def _words(text: str) -> list[str]:
    """Return words as they are, without a comment and more space than is needed."""
    try:
        return shlex.split(text, comments=True) or ["yes"]
    except ValueError:
        return text.split()
