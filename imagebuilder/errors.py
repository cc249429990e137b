"""What can go wrong, as one kind of object for Python, the command line and JSON.

Every error says what happened, where, and what to do about it.  There is one class for each
exit status, not one for each case: a caller that wants to tell cases apart reads the fields.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar


@dataclass(frozen=True, slots=True, kw_only=True)
class Location:
    """A place in an input: a file, and in it a line (from 1) or a key, where these are known."""

    file: str
    line: int | None = None
    key: str | None = None

    def __str__(self) -> str:
        text = self.file if self.line is None else f"{self.file}:{self.line}"
        return f"{text} ({self.key})" if self.key else text

    def to_dict(self) -> dict[str, Any]:
        """Return the place as plain JSON data."""
        return {"file": self.file, "line": self.line, "key": self.key}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Location:
        """Make the place again from what :meth:`to_dict` gave."""
        return cls(file=data["file"], line=data["line"], key=data["key"])


class ImageBuilderError(Exception):
    """Any failure that this library reports on purpose.

    Args:
        what: one sentence, what happened.
        where: the place in the input that caused it.
        fix: what the reader can do about it.
        excerpt: the lines of a log or console that show it.
        log: the whole log.
        also: further errors of the same run, so that one attempt shows all that is wrong.
    """

    kind: ClassVar[str] = "error"
    exit_status: ClassVar[int] = 1

    def __init__(
        self,
        what: str,
        *,
        where: Location | None = None,
        fix: str = "",
        excerpt: str = "",
        log: Path | None = None,
        also: Sequence[ImageBuilderError] = (),
    ) -> None:
        super().__init__(what)
        self.what = what
        self.where = where
        self.fix = fix
        self.excerpt = excerpt
        self.log = log
        self.also = tuple(also)

    def __str__(self) -> str:
        lines = [f"{self.where}: {self.what}" if self.where else self.what]
        lines += [f"  | {line}" for line in self.excerpt.splitlines()]
        if self.fix:
            lines.append(f"  {self.fix}")
        if self.log:
            lines.append(f"  the whole log: {self.log}")
        return "\n".join([*lines, *(str(error) for error in self.also)])

    def to_dict(self) -> dict[str, Any]:
        """Return the error as plain JSON data (the object that ``--json`` prints)."""
        return {
            "kind": self.kind,
            "exit_status": self.exit_status,
            "what": self.what,
            "where": self.where.to_dict() if self.where else None,
            "fix": self.fix,
            "excerpt": self.excerpt,
            "log": str(self.log) if self.log else None,
            "also": [error.to_dict() for error in self.also],
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> ImageBuilderError:
        """Make the error again from what :meth:`to_dict` gave, as the class of its kind."""
        return _KINDS.get(data["kind"], ImageBuilderError)(
            data["what"],
            where=Location.from_dict(data["where"]) if data["where"] else None,
            fix=data["fix"],
            excerpt=data["excerpt"],
            log=Path(data["log"]) if data["log"] else None,
            also=[cls.from_dict(each) for each in data["also"]],
        )


class StepError(ImageBuilderError):
    """A step of a build failed: a program, a script, the disk."""

    kind = "step"
    exit_status = 1


class InputError(ImageBuilderError):
    """The recipe, a fragment, a name or the command line is wrong; nothing was started."""

    kind = "input"
    exit_status = 2


class CheckError(ImageBuilderError):
    """The image was booted and is not as its recipe says, or did not boot."""

    kind = "check"
    exit_status = 3


class CatalogError(ImageBuilderError):
    """The catalog refused, holds what it must not hold, or could not be reached."""

    kind = "catalog"
    exit_status = 4


class HostError(ImageBuilderError):
    """This host lacks a program, a right, or room."""

    kind = "host"
    exit_status = 5


class Interrupted(ImageBuilderError):  # noqa: N818 - not a fault: somebody asked for it
    """The caller, or a signal, asked to stop."""

    kind = "interrupted"
    exit_status = 130


_KINDS: dict[str, type[ImageBuilderError]] = {
    each.kind: each
    for each in (StepError, InputError, CheckError, CatalogError, HostError, Interrupted)
}


def listed(names: Iterable[str], *, near: str = "", limit: int = 20) -> str:
    """Return names for an error's fix: not more than a reader looks through.

    Args:
        names: what there is.
        near: what was asked for: names like it come first.
        limit: how many are named.
    """
    known = list(names)
    first = difflib.get_close_matches(near, known, n=3) if near and len(known) > limit else []
    known = [*first, *(each for each in known if each not in first)]
    more = f" and {len(known) - limit} more" if len(known) > limit else ""
    return (", ".join(known[:limit]) or "none") + more


def joined(errors: Sequence[ImageBuilderError]) -> ImageBuilderError:
    """Return one error that stands for several (not empty): the first, with the others in it."""
    first, *others = errors
    if not others:
        return first
    return type(first)(
        first.what,
        where=first.where,
        fix=first.fix,
        excerpt=first.excerpt,
        log=first.log,
        also=[*first.also, *others],
    )
