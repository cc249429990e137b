"""What the checks look at: a recipe, its kickstart, and what is known of its packages."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import PurePosixPath

from imagebuilder.engines import Units
from imagebuilder.errors import Location
from imagebuilder.kickstart import Kickstart, Script
from imagebuilder.kickstart.flatten import Line
from imagebuilder.lint import shell
from imagebuilder.project import ResolvedRecipe

_SHELLS = frozenset({"sh", "bash", "dash", "ksh", "mksh"})


@dataclass(frozen=True)
class ScriptText:
    """A script section with the place of each of its lines.

    Attributes:
        script: the section.
        lines: its lines, without header and ``%end``.
    """

    script: Script
    lines: tuple[Line, ...]

    @property
    def text(self) -> str:
        """The script, as the interpreter gets it."""
        return "".join(f"{line.text}\n" for line in self.lines)

    def place(self, number: int) -> Location:
        """Return where a line of the script (from 1) stands."""
        if 0 < number <= len(self.lines):
            return self.lines[number - 1].where
        return self.lines[-1].where if self.lines else self.script.where

    @property
    def language(self) -> str:
        """The name of the program that runs it: ``sh``, ``bash``, ``python3``."""
        words = [word for word in self.script.interpreter.split() if not word.startswith("-")]
        names = [PurePosixPath(word).name for word in words]
        if names[:1] == ["env"]:
            names = names[1:]
        return names[0] if names else "sh"

    @property
    def is_shell(self) -> bool:
        """Whether a shell runs it."""
        return self.language in _SHELLS

    @cached_property
    def _read(self) -> tuple[tuple[shell.Statement, ...], tuple[shell.Document, ...]]:
        return shell.read([line.text for line in self.lines])

    @property
    def statements(self) -> tuple[shell.Statement, ...]:
        """What it runs, line by line; empty if no shell runs it."""
        return self._read[0] if self.is_shell else ()

    @property
    def documents(self) -> tuple[shell.Document, ...]:
        """Its here-documents; empty if no shell runs it."""
        return self._read[1] if self.is_shell else ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """A recipe that is not abstract, as the checks see it.

    Attributes:
        resolved: the recipe.
        kickstart: its kickstart.
        packages: the packages that the image gets, with those that they depend on; None if
            no index was asked, or what is asked for is not to be had.
        units: the units that those packages bring; None if it is not known.
        scripts: the script sections.
    """

    resolved: ResolvedRecipe
    kickstart: Kickstart
    packages: frozenset[str] | None = None
    units: Units | None = None
    scripts: tuple[ScriptText, ...] = ()

    @property
    def is_debian(self) -> bool:
        """Whether apt installs its packages."""
        return self.resolved.distro.family == "debian"

    @property
    def named(self) -> frozenset[str]:
        """The packages that ``%packages`` itself asks for."""
        last = {each.name: each.excluded for each in self.kickstart.packages}
        return frozenset(
            name.partition("=")[0].partition(":")[0] for name, out in last.items() if not out
        )


def scripts_of(kickstart: Kickstart) -> tuple[ScriptText, ...]:
    """Return the script sections of a kickstart with their lines."""
    kinds = {f"%{each.kind}" for each in kickstart.scripts}
    sections = (each for each in kickstart.sections if each.name in kinds)
    return tuple(
        ScriptText(script, section.body)
        for script, section in zip(kickstart.scripts, sections, strict=False)
    )


def words(text: str) -> Sequence[str]:
    """Return the words of a kickstart's line."""
    try:
        return shlex.split(text, comments=True)
    except ValueError:  # pykickstart reads some lines that shlex does not
        return text.split()
