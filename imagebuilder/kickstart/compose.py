"""compose: a recipe's fragments become one kickstart."""

from __future__ import annotations

from imagebuilder.errors import Location
from imagebuilder.kickstart import flatten as fragments
from imagebuilder.kickstart import parts
from imagebuilder.kickstart.document import Kickstart
from imagebuilder.kickstart.flatten import flatten
from imagebuilder.kickstart.lines import Line, Lines
from imagebuilder.kickstart.parse import parse
from imagebuilder.project import ResolvedRecipe


def compose(resolved: ResolvedRecipe) -> Kickstart:
    """Render, merge and validate the fragments of a recipe; its own packages come last.

    Raises:
        InputError: with the file and line of what is wrong.
    """
    return parse(flat_lines(resolved), resolved.distro.kickstart_version)


def flat_lines(resolved: ResolvedRecipe) -> Lines:
    """Return the lines of the kickstart of a recipe, which nothing has validated yet.

    Raises:
        InputError: a fragment is missing, no template, or out of bounds.
    """
    wanted = resolved.recipe
    flat = flatten(
        list(zip(wanted.kickstarts, _places(resolved, "kickstarts"), strict=True)),
        resolved.project.fragment_dirs(),
        resolved.values,
        resolved.project.settings.plain,
    )
    if wanted.packages:
        flat = Lines([*flat.blocks, *_packages(resolved).blocks])
    return flat


def forget() -> None:
    """Forget all that is kept for the next kickstart: only time tells the difference."""
    fragments.forget()
    parts.forget()


def _packages(resolved: ResolvedRecipe) -> Lines:
    """Return the recipe's packages as a section, whose header has none of its options."""
    places = _places(resolved, "packages")
    return Lines.of(
        [
            Line("%packages", places[0]),
            *map(Line, resolved.recipe.packages, places),
            Line("%end", places[-1]),
        ]
    )


def _places(resolved: ResolvedRecipe, key: str) -> list[Location]:
    """Return where each item of a list of the recipe stands."""
    node = resolved.tree.find(key)
    items = node.value if node else ()
    return [
        Location(file=each.where.file, line=each.where.line, key=f"{key}.{n}")
        for n, each in enumerate(items)
    ]
