"""What a kickstart says, each part with the fragment's file and line that it came from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from imagebuilder.errors import Location
from imagebuilder.kickstart.lines import Line, Lines
from imagebuilder.kickstart.redact import redacted_line

ScriptKind = Literal["pre", "pre-install", "post", "onerror", "traceback"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """A command line, such as ``timezone Europe/Berlin --utc``.

    Attributes:
        name: the command.
        text: the whole line, as it stands in the flat kickstart.
        options: the options that were given, in full and without values: ``--utc``.
        data: pykickstart's object with the values of this line alone.  Equal lines share it,
            also those of other kickstarts: nobody changes it.
        where: the fragment's file and line.
        via: how that fragment came in, as a :class:`~imagebuilder.kickstart.lines.Line` has it.
    """

    name: str
    text: str
    options: tuple[str, ...]
    data: Any
    where: Location
    via: tuple[Location, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class PackageWish:
    """A line of ``%packages``: a package, ``@group`` or ``@^environment``, wanted or not.

    Attributes:
        name: as it stands there, with wildcards and ``@``.
        excluded: whether it is not wanted.
        where: the fragment's file and line.
        options: of a group, how much of it: ``--optional``, ``--nodefaults``.
        via: how that fragment came in.
    """

    name: str
    excluded: bool
    where: Location
    options: tuple[str, ...] = ()
    via: tuple[Location, ...] = ()

    @property
    def is_group(self) -> bool:
        """Whether it stands for several packages."""
        return self.name.startswith("@")


@dataclass(frozen=True, slots=True, kw_only=True)
class Script:
    """A script section.

    Attributes:
        kind: which section.
        body: the script's text.
        interpreter: the program that runs it.
        in_chroot: whether it runs inside the image's tree.
        error_on_fail: whether its failure ends the build.
        log: the file in the image that gets its output, or "".
        where: the section's header.
        via: how its fragment came in.
    """

    kind: ScriptKind
    body: str
    interpreter: str
    in_chroot: bool
    error_on_fail: bool
    log: str
    where: Location
    via: tuple[Location, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """A section: its header, what stands in it, and where it stands.

    Attributes:
        name: such as ``%post``.
        options: the options of the header, without values: ``--nochroot``.
        where: the header's place.
        words: the whole header, as a shell would cut it into words.
        via: how its fragment came in.
    """

    name: str
    options: tuple[str, ...]
    where: Location
    words: tuple[str, ...] = ()
    via: tuple[Location, ...] = ()
    lines: Lines = field(default=Lines(()), repr=False, compare=False)
    span: tuple[int, int] = field(default=(0, 0), repr=False, compare=False)

    @property
    def body(self) -> tuple[Line, ...]:
        """The lines up to ``%end``."""
        return self.lines[self.span[0] : self.span[1]]

    def value(self, *names: str) -> str:
        """Return the value of the last of these options in the header, or "".

        They may be cut short there: ``options`` has each word's option in full.
        """
        found = ""
        given = iter(self.options)
        for n, word in enumerate(self.words):
            if not word.startswith("--"):
                continue
            _, equals, value = word.partition("=")
            if next(given, "") in names:
                found = value if equals else "".join(self.words[n + 1 : n + 2])
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Kickstart:
    """A whole kickstart: flat, without templates and includes, valid for its version.

    Attributes:
        version: pykickstart's name of the syntax, such as ``RHEL9``.
        lines: the flat text.
        commands: the commands in the order in which they stand.
        packages: the lines of all ``%packages`` sections.
        weak_dependencies: whether packages that others recommend are wanted too: no, if one of
            the ``%packages`` sections says so.
        ignore_missing: whether unknown packages are passed over.
        scripts: the script sections in the order in which they stand.
        sections: all sections; also each ``%include`` that is left to the installer, since a
            ``%pre`` script writes what it names.
        warnings: what pykickstart warned of, such as deprecated commands, and what is left to
            the installer; with file and line.
    """

    version: str
    lines: Lines
    commands: tuple[Command, ...]
    packages: tuple[PackageWish, ...]
    weak_dependencies: bool
    ignore_missing: bool
    scripts: tuple[Script, ...]
    sections: tuple[Section, ...]
    warnings: tuple[str, ...]

    @property
    def text(self) -> str:
        """The flat text.  It may hold secrets: :meth:`redacted` is the one to show."""
        return "".join(f"{text}\n" for text in self.lines.texts)

    def redacted(self) -> str:
        """Return the flat text without passwords, their hashes, and credentials in URLs."""
        return "".join(f"{redacted_line(text)}\n" for text in self.lines.texts)

    def last(self, name: str) -> Command | None:
        """Return the last command of that name: of those that can be given once, it holds."""
        return next((each for each in reversed(self.commands) if each.name == name), None)

    def all(self, name: str) -> tuple[Command, ...]:
        """Return all commands of that name, in order."""
        return tuple(each for each in self.commands if each.name == name)

    @property
    def kernel_args(self) -> tuple[str, ...]:
        """The kernel arguments of all ``bootloader --append``, in order.

        Repeated ones stay: ``hugepages=`` belongs to the ``hugepagesz=`` before it, and the last
        ``console=`` is the one that the system writes to.
        """
        return tuple(
            word
            for command in self.all("bootloader")
            for word in (command.data.appendLine or "").split()
        )

    def to_dict(self, lines: Sequence[Line] | None = None) -> dict[str, Any]:
        """Return the kickstart as plain JSON data, for a pipe: nothing in it is masked.

        Args:
            lines: what to put in place of its lines, such as those with the values of secrets.
        """
        return {
            "version": self.version,
            "lines": [
                [line.text, line.where.file, line.where.line]
                for line in (self.lines if lines is None else lines)
            ],
        }


def lines_from_dict(data: Mapping[str, Any]) -> tuple[Line, ...]:
    """Return the lines of what :meth:`Kickstart.to_dict` gave."""
    return tuple(Line(text, Location(file=file, line=n)) for text, file, n in data["lines"])
