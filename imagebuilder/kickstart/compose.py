"""compose: a recipe's fragments become one kickstart."""

from __future__ import annotations

from imagebuilder.kickstart.document import Kickstart
from imagebuilder.kickstart.flatten import flatten
from imagebuilder.kickstart.parse import parse
from imagebuilder.project import ResolvedRecipe
from imagebuilder.secrets import check_whole


def compose(resolved: ResolvedRecipe) -> Kickstart:
    """Render, merge and validate the fragments of a recipe.

    Raises:
        InputError: with the file and line of what is wrong.
    """
    wanted = resolved.recipe
    lines = flatten(
        [(name, resolved.place(f"kickstarts.{n}")) for n, name in enumerate(wanted.kickstarts)],
        resolved.project.fragment_dirs(),
        resolved.values,
    )
    for line in lines:
        if "@" in line.text:
            check_whole(line.text, line.where)
    return parse(lines, resolved.distro.kickstart_version)
