"""What the log of a CI system understands: lines that fold, and findings at the lines of files.

GitHub Actions reads commands from whatever a step prints, and so does what was made to its
likeness (Gitea, Forgejo).  GitLab CI folds sections; it has nothing for single lines.
What comes from recipes, packages and guests must not be taken for such a command.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from imagebuilder.errors import ImageBuilderError, Location

Level = Literal["error", "warning", "notice"]

_MESSAGE = 4000  # characters of an annotation, which is shown beside a line
_NAME = re.compile(r"[^A-Za-z0-9_.-]+")  # what no section of GitLab has in its name


@dataclass(frozen=True, slots=True, kw_only=True)
class Annotation:
    """Something that is said of a place in the repository.

    Attributes:
        level: how bad it is.
        title: a few words.
        text: what it is, in one line or several.
        where: the place, as an error names it: below the project's folder.
    """

    level: Level
    title: str
    text: str
    where: Location | None = None


class PlainLog:
    """The log of no CI system that is known here: it has nothing but lines."""

    def begin(self, _title: str, /) -> str:
        """Return the line before lines that belong together, or ""."""
        return ""

    def end(self) -> str:
        """Return the line after them, or ""."""
        return ""

    def annotation(self, _annotation: Annotation, /) -> str:
        """Return the line that makes the system show an annotation, or ""."""
        return ""

    def harmless(self, text: str) -> str:
        """Return a text of which the system takes no line for a command."""
        return text


class GitHubLog(PlainLog):
    """The log of GitHub Actions: workflow commands.

    Args:
        root: the project's folder.
    """

    def __init__(self, root: Path) -> None:
        self._root = root

    def begin(self, title: str, /) -> str:
        """Return ``::group::TITLE``."""
        return f"::group::{_data(title)}"

    def end(self) -> str:
        """Return ``::endgroup::``."""
        return "::endgroup::"

    def annotation(self, annotation: Annotation, /) -> str:
        """Return ``::error file=…,line=…,title=…::TEXT``."""
        where = annotation.where
        file = repository_path(self._root, where.file) if where else None
        values = {"file": file, "line": str(where.line) if file and where and where.line else None}
        values["title"] = annotation.title
        given = ",".join(f"{key}={_value(value)}" for key, value in values.items() if value)
        return f"::{annotation.level} {given}::{_data(annotation.text[:_MESSAGE])}"

    def harmless(self, text: str) -> str:
        """Return the text with a backslash in what would be a command.

        The runner passes over space at the head of a line, and knows an older form, which may
        stand anywhere in it: ``##[command]``.
        """
        lines = text.replace("##[", "##\\[").split("\n")
        return "\n".join(f"\\{line}" if line.lstrip().startswith("::") else line for line in lines)


class GitLabLog(PlainLog):
    """The log of GitLab CI: sections that fold."""

    def __init__(self) -> None:
        self._open = ""

    def begin(self, title: str, /) -> str:
        """Return the mark at which a section begins."""
        self._open = _NAME.sub("_", title).strip("_") or "section"
        return (
            f"\033[0Ksection_start:{int(time.time())}:{self._open}[collapsed=true]\r\033[0K{title}"
        )

    def end(self) -> str:
        """Return the mark at which it ends."""
        return f"\033[0Ksection_end:{int(time.time())}:{self._open}\r\033[0K"


def log_of(environment: Mapping[str, str], root: Path) -> PlainLog:
    """Return the log of the CI system that runs this process.

    Args:
        environment: the environment variables, which tell it.
        root: the project's folder.
    """
    if environment.get("GITHUB_ACTIONS") == "true":
        return GitHubLog(root)
    if environment.get("GITLAB_CI") == "true":
        return GitLabLog()
    return PlainLog()


def of_error(error: ImageBuilderError, name: str = "") -> Iterator[Annotation]:
    """Give an annotation for an error and each that goes with it.

    Args:
        error: the error.
        name: the recipe that it is about, if there is one.
    """
    parts = (error.what, *error.excerpt.splitlines(), error.fix)
    yield Annotation(
        level="error",
        title=f"imagebuilder: {name or error.kind}",
        text="\n".join(each for each in parts if each),
        where=error.where,
    )
    for each in error.also:
        yield from of_error(each, name)


def repository_path(root: Path, file: str) -> str | None:
    """Return a file's path from the top of the git repository; None if it is in none.

    Args:
        root: the project's folder.
        file: a path below it, or a whole one.
    """
    try:
        path = (root / file).absolute()
        if not path.is_file():
            return None  # a URL of a catalog, or a file that is no more
        path = Path(os.path.normpath(path))
    except (OSError, ValueError):
        return None
    top = next((each for each in path.parents if (each / ".git").exists()), None)
    return path.relative_to(top).as_posix() if top else None


def _data(text: str) -> str:
    """Return a text as the message of a workflow command."""
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _value(text: str) -> str:
    """Return a text as the value of a property of a workflow command."""
    return _data(text).replace(":", "%3A").replace(",", "%2C")
