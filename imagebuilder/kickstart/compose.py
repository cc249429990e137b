"""compose: a recipe's fragments become one kickstart."""

from __future__ import annotations

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
    wanted = resolved.recipe
    flat = flatten(
        [(name, resolved.place(f"kickstarts.{n}")) for n, name in enumerate(wanted.kickstarts)],
        resolved.project.fragment_dirs(),
        resolved.values,
    )
    if wanted.packages:
        flat = Lines([*flat.blocks, *_packages(resolved).blocks])
    return parse(flat, resolved.distro.kickstart_version)


def _packages(resolved: ResolvedRecipe) -> Lines:
    """Return the recipe's packages as a section, whose header has none of its options."""
    packages = resolved.recipe.packages
    places = [resolved.place(f"packages.{n}") for n in range(len(packages))]
    return Lines.of(
        [
            Line("%packages", places[0]),
            *map(Line, packages, places),
            Line("%end", places[-1]),
        ]
    )
