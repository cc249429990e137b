"""What recipes, a project's file, and what the environment says are called; and kernel arguments.

In a module of its own: the facts of images, and the command line, need no more of recipes.
"""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import StringConstraints

from imagebuilder.errors import InputError, Location

PROJECT_FILE = "imagebuilder.toml"
EPOCH = "SOURCE_DATE_EPOCH"  # in the environment: the time that no file of an image is newer than
EXECUTOR = "IMAGEBUILDER_EXECUTOR"  # in the environment: where images are made
LOCAL = "local"  # as that: on this machine
# In the environment: the remote cache, in place of what the project says.
REMOTE_CACHE, REMOTE_CACHE_MODE = "IMAGEBUILDER_REMOTE_CACHE", "IMAGEBUILDER_REMOTE_CACHE_MODE"
NAME_PATTERN = r"^[a-z0-9][a-z0-9._+-]{0,62}$"

RecipeName = Annotated[str, StringConstraints(pattern=NAME_PATTERN)]

# What iPXE, which reads the boot script, takes for the end of a command (src/core/exec.c).
_SEPARATORS = ("&&", "||", ";")


def why_no_argument(word: str) -> str:
    """Return why a text cannot be an argument of a kernel that iPXE starts; "" if it can."""
    if not word or not word.isprintable() or any(sign.isspace() for sign in word):
        return "a kernel argument is one word"
    if word in _SEPARATORS:
        return f"no kernel argument can be {word}: in a boot script it ends the command"
    if "${" in word:
        return "no kernel argument can have ${ in it: in a boot script it names a setting"
    return ""


def check_name(name: str, where: Location | None = None) -> str:
    """Return the name if a recipe may be called so.

    Raises:
        InputError: it may not; nothing was looked up.
    """
    if not re.fullmatch(NAME_PATTERN.strip("^$"), name):
        raise InputError(
            f"{name!r} is no recipe name",
            where=where,
            fix="a name has lower-case letters, digits and . _ + -, starts with a letter or "
            "digit, and has at most 63 characters",
        )
    return name
