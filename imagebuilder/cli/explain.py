"""``show --why KEY``: which file and line gave a value."""

from __future__ import annotations

from imagebuilder.errors import InputError, Location
from imagebuilder.kickstart import Kickstart
from imagebuilder.kickstart.redact import redacted_line
from imagebuilder.project import ResolvedRecipe


def explain(resolved: ResolvedRecipe, kickstart: Kickstart, key: str) -> list[tuple[Location, str]]:
    """Return the places that gave a value, with what they say, the one that holds last.

    Args:
        resolved: the recipe.
        kickstart: its kickstart.
        key: a key of the recipe (``kernel.args``), a kickstart command (``rootpw``), a section
            (``%post``) or a package (``packages.openssh-server``).

    Raises:
        InputError: nothing gave a value of that name.
    """
    found = [
        (where, where.key or key)
        for name, where in resolved.origins.items()
        if name == key or name.startswith(f"{key}.")
    ]
    found += [(each.where, redacted_line(each.text)) for each in kickstart.all(key)]
    found += [
        (each.where, f"{'taken out' if each.excluded else 'wanted'}: {each.name}")
        for each in kickstart.packages
        if key in (f"packages.{each.name}", "packages", "%packages")
    ]
    found += [
        (each.where, " ".join((each.name, *each.options)))
        for each in kickstart.sections
        if each.name == key
    ]
    if not found:
        raise InputError(
            f"nothing in {resolved.name} gives {key!r}",
            fix="ask for a recipe's key, a kickstart command, a section or packages.NAME",
        )
    return found
