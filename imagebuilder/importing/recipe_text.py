"""The recipe for an imported kickstart."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence

from imagebuilder import distro

_LONGEST = 200  # characters of a summary
_NO_SUMMARY = re.compile(r"^(?:version=|platform=|!|-\*-|vim?:|[^A-Za-z]*$)", re.IGNORECASE)


def recipe_text(*, file: str, fragment: str, distro_id: str, lines: Sequence[str]) -> str:
    """Return the text of a recipe.

    Args:
        file: the name of the file that was imported.
        fragment: the fragment that it became, below ``kickstarts/``.
        distro_id: the distribution.
        lines: the kickstart's, for a summary.
    """
    # Debian's is the default; the others have one that can make images of them.
    engine = "" if distro.find(distro_id).family == "debian" else 'engine = "livemedia"\n'
    return f"""\
# Made of {_shown(file)} by imagebuilder import.

summary = {_quoted(_summary(lines) or f"Imported from {file}")}
distro = "{distro_id}"
{engine}kickstarts = [{_quoted(fragment)}]

# What the image must be when it has booted:
# [[checks]]
# unit = "multi-user.target"
"""


def _summary(lines: Sequence[str]) -> str:
    """Return the first comment that says something."""
    for line in lines:
        text = line.strip()
        if text and not text.startswith("#"):
            break
        text = text.strip("# \t")
        if text and not _NO_SUMMARY.match(text):
            return _shown(text)[:_LONGEST].strip()
    return ""


def _shown(text: str) -> str:
    return "".join(sign for sign in text if sign.isprintable())


def _quoted(text: str) -> str:
    # A basic string of TOML has the escapes of JSON's, and no DEL.
    made = json.dumps(text, ensure_ascii=False)
    return made.replace("\x7f", "\\u007f")
