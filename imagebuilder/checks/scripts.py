"""The scripts of checks: files of the project that run in the guest."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from pydantic import ConfigDict, Field, field_serializer

from imagebuilder.checks.software import ScriptCheck
from imagebuilder.errors import InputError, Location, joined

SIZE_LIMIT = 1 << 20
"""Bytes of a script: it goes into the guest's memory with the initrd."""


class LoadedScriptCheck(ScriptCheck):
    """A script with its bytes, so that what is asked follows from what it says."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    content: bytes = Field(repr=False, description="the file's bytes")

    @field_serializer("content")
    def _as_text(self, value: bytes) -> str:
        return value.hex()


def load_scripts(
    checks: Sequence[Any], root: Path, place: Callable[[str], Location]
) -> tuple[Any, ...]:
    """Return the checks, those with a script with its bytes.

    Args:
        checks: of a resolved recipe.
        root: the project's folder.
        place: where a key of the recipe stands.

    Raises:
        InputError: a script is not there, leads out of the project, or is too large; each with
            its place.
    """
    made: list[Any] = []
    problems: list[InputError] = []
    for number, check in enumerate(checks):
        if not isinstance(check, ScriptCheck) or isinstance(check, LoadedScriptCheck):
            made.append(check)
            continue
        try:
            content = _read(root, check.script)
        except InputError as error:
            where = place(f"checks.{number}.script")
            problems.append(InputError(f"{check.script}: {error.what}", where=where, fix=error.fix))
        else:
            made.append(LoadedScriptCheck(**dict(check), content=content))
    if problems:
        raise joined(problems)
    return tuple(made)


def _read(root: Path, name: str) -> bytes:
    path = root / name
    try:
        if not path.resolve().is_relative_to(root.resolve()):
            raise InputError("it leads out of the project", fix="copy it into the project")
        if not path.is_file():
            raise InputError("there is no such file in the project")
        if path.stat().st_size > SIZE_LIMIT:
            raise InputError(f"a script has at most {SIZE_LIMIT} bytes")
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"it cannot be read: {error.strerror}") from error
