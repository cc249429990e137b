"""``show --why KEY``: which file and line gave a value."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from imagebuilder.command import redact
from imagebuilder.errors import InputError, Location
from imagebuilder.kickstart import Kickstart
from imagebuilder.kickstart.redact import redacted_line
from imagebuilder.merge import Node
from imagebuilder.project import RENDERED, ResolvedRecipe
from imagebuilder.rendering import Rendering
from imagebuilder.secrets import names_in, places, reference


@dataclass(frozen=True, slots=True, kw_only=True)
class Secret:
    """Where a secret comes from; what it is, is not looked up.

    Attributes:
        name: of the secret.
        sources: for people: where it is looked for, in order.
        where: the place that says so, or None if nothing does.
    """

    name: str
    sources: tuple[str, ...]
    where: Location | None

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain JSON data."""
        where = self.where.to_dict() if self.where else None
        return {"name": self.name, "sources": list(self.sources), "where": where}

    def __str__(self) -> str:
        place = f" of {spot(self.where)}" if self.where else ""
        return f"the secret {self.name}{place}: {', else '.join(self.sources)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reason:
    """One place that had a say in a value.

    Attributes:
        where: the place.
        text: for people: what it says.
        via: how it came into the recipe: the line that names the fragment, then each
            ``%include``.
        uses: the params that its line is made with, and where each was set.
        secrets: those that stand in it.
        holds: whether it still holds; else another took its place.
    """

    where: Location
    text: str
    via: tuple[Location, ...] = ()
    uses: tuple[tuple[str, Location], ...] = ()
    secrets: tuple[Secret, ...] = ()
    holds: bool = True

    def to_dict(self) -> dict[str, Any]:
        """Return the reason as plain JSON data."""
        return {
            "where": self.where.to_dict(),
            "text": self.text,
            "via": [each.to_dict() for each in self.via],
            "uses": [{"param": name, "where": where.to_dict()} for name, where in self.uses],
            "secrets": [each.to_dict() for each in self.secrets],
            "holds": self.holds,
        }


_TEMPLATE = re.compile(r"\{\{(.*?)\}\}|\{% (.*?)%\}")

# Of these commands each line holds; of the others the last.
_ADDING = frozenset(
    {"bootloader", "firewall", "group", "network", "repo", "services", "sshkey", "timesource"}
    | {"user", "url"}
)


def spot(where: Location) -> str:
    """Return a place as ``file:line``, as editors and terminals know it."""
    return where.file if where.line is None else f"{where.file}:{where.line}"


def explain(resolved: ResolvedRecipe, kickstart: Kickstart, key: str) -> list[Reason]:
    """Return the places that gave a value, what was before first, what holds last.

    Args:
        resolved: the recipe.
        kickstart: its kickstart.
        key: a key of the recipe (``kernel.args``), a kickstart command (``rootpw``), a section
            (``%post``) or a package (``packages.openssh-server``).

    Raises:
        InputError: nothing gave a value of that name.
    """
    node = resolved.tree.find(key)
    found = [*_of_recipe(resolved, node, key)] if node and key else []
    found += _of_project(resolved, key)
    if not found and "." not in key:  # a param is often asked for by its name alone
        param = resolved.tree.find(f"params.{key}")
        found = [*_of_recipe(resolved, param, f"params.{key}")] if param else []
    said = [
        *_of_commands(resolved, kickstart, key),
        *_of_packages(resolved, kickstart, key),
        *(
            Reason(
                where=each.where,
                text=" ".join((each.name, *each.options)),
                via=each.via,
                secrets=_secrets(resolved, "\n".join(line.text for line in each.body)),
            )
            for each in kickstart.sections
            if each.name == key
        ),
    ]
    found += [replace(each, uses=_params_of(resolved, each.where)) for each in said]
    if not found:
        raise InputError(
            f"nothing in {resolved.name} gives {key!r}",
            fix=f"ask for a recipe's key, a kickstart command, a section or packages.NAME"
            f"{_similar(resolved, kickstart, key)}",
        )
    return found


def _of_recipe(resolved: ResolvedRecipe, node: Node, key: str) -> Iterator[Reason]:
    for path, each in node.walk(key):
        for before in each.earlier:
            ended = f"{before.how} by {spot(before.ended)}"
            yield Reason(
                where=before.where,
                text=f"{path} = {_shown(before.value)}, {ended}",
                holds=False,
            )
        if not each.is_table and not each.is_list:
            made = each.value
            if each.has_template and path.partition(".")[0] in RENDERED:
                made = Rendering(resolved.values).value(each, path)
            template = f", from {_shown(each.value)}" if made != each.value else ""
            yield Reason(
                where=each.where,
                text=f"{path} = {_shown(made)}{template}",
                uses=_named_in(resolved, [each.value]) if template else (),
                secrets=_secrets(resolved, str(made)),
            )


def _of_project(resolved: ResolvedRecipe, key: str) -> Iterator[Reason]:
    """Give what the project file says of secrets that no recipe speaks of."""
    for name in resolved.project.settings.secrets:
        if key in ("secrets", f"secrets.{name}") and name not in resolved.recipe.secrets:
            (said,) = _secrets(resolved, reference(name))
            if said.where:
                text = f"secrets.{name} is {', else '.join(said.sources)}"
                yield Reason(where=said.where, text=text)


def _secrets(resolved: ResolvedRecipe, text: str) -> tuple[Secret, ...]:
    """Return the secrets that a text refers to, each with where it comes from."""
    found = ((name, *resolved.secret_source(name)) for name in names_in(text))
    return tuple(
        Secret(name=name, sources=places(source), where=where) for name, source, where in found
    )


def _of_commands(resolved: ResolvedRecipe, kickstart: Kickstart, key: str) -> Iterator[Reason]:
    given = kickstart.all(key)
    for n, each in enumerate(given):
        holds = key in _ADDING or n == len(given) - 1
        later = given[-1].where
        text = redacted_line(each.text).strip()
        if not holds:
            text += f", replaced by {spot(later)}"
        secrets = _secrets(resolved, each.text)
        yield Reason(where=each.where, text=text, via=each.via, secrets=secrets, holds=holds)


def _of_packages(resolved: ResolvedRecipe, kickstart: Kickstart, key: str) -> Iterator[Reason]:
    if key not in ("packages", "%packages") and not key.startswith("packages."):
        return
    wanted = key.partition(".")[2]
    node = resolved.tree.find("packages") if wanted else None
    for before in node.earlier if node else ():  # a recipe took it out: it is in no kickstart
        values = before.value if isinstance(before.value, list | tuple) else (before.value,)
        if wanted in values:
            ended = f"{before.how} by {spot(before.ended)}"
            yield Reason(where=before.where, text=f"wanted: {wanted}, {ended}", holds=False)
    last = {each.name: each for each in kickstart.packages}
    for each in kickstart.packages:
        if wanted and each.name != wanted:
            continue
        holds = last[each.name] is each or last[each.name].excluded == each.excluded
        text = f"{'taken out' if each.excluded else 'wanted'}: {each.name}"
        if not holds:
            later = last[each.name].where
            verb = "wanted again" if each.excluded else "taken out"
            text += f", {verb} by {spot(later)}"
        yield Reason(where=each.where, text=text, via=each.via, holds=holds)


def _params_of(resolved: ResolvedRecipe, where: Location) -> tuple[tuple[str, Location], ...]:
    """Return the params that a line of a fragment is made with, with their places.

    Those are the ones that it names in a template, and those of the loops and conditions that
    it stands in.
    """
    name = where.file.removeprefix("kickstarts/")
    folders = resolved.project.fragment_dirs() if name != where.file else ()
    path = next((folder / name for folder in folders if (folder / name).is_file()), None)
    if path is None or where.line is None:
        return ()
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    line = lines[where.line - 1] if where.line <= len(lines) else ""
    return _named_in(resolved, [line, *_around(lines[: where.line - 1])])


def _named_in(resolved: ResolvedRecipe, texts: list[str]) -> tuple[tuple[str, Location], ...]:
    """Return the params that stand in the templates of some texts, with their places."""
    named = [each[0] or each[1] for text in texts for each in _TEMPLATE.findall(text)]
    words = re.findall(r"[A-Za-z_]\w*", " ".join(named))
    return tuple(
        (word, resolved.place(f"params.{word}"))
        for word in dict.fromkeys(words)
        if word in resolved.recipe.params
    )


def _around(lines: list[str]) -> list[str]:
    """Return the tags of the loops and conditions that are open after some lines."""
    opened: list[str] = []
    for tag in re.findall(r"\{% .*?%\}", "\n".join(lines)):
        word = tag.split()[1] if len(tag.split()) > 1 else ""
        if word in ("for", "if"):
            opened.append(tag)
        elif word in ("elif", "else") and opened:
            opened[-1] += f" {tag}"
        elif word in ("endfor", "endif") and opened:
            opened.pop()
    return opened


def _shown(value: Any) -> str:
    return redact(json.dumps(value, default=str, ensure_ascii=False))


def _similar(resolved: ResolvedRecipe, kickstart: Kickstart, key: str) -> str:
    known = {path for path, _ in resolved.tree.walk() if path}
    known |= {each.name for each in kickstart.commands}
    known |= {each.name for each in kickstart.sections}
    known |= {f"packages.{each.name}" for each in kickstart.packages}
    near = difflib.get_close_matches(key, known, n=1)
    return f"; did you mean {near[0]!r}?" if near else ""
