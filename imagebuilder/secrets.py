"""Secrets: what ``secret("NAME")`` in a fragment stands for.

A rendered fragment holds a placeholder.  The value takes its place only where an image is made,
on the way into the engine's worker: a kickstart that is shown, saved or published never had it.
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

from imagebuilder import command
from imagebuilder.errors import HostError, InputError, Location, StepError
from imagebuilder.progress import Cancel
from imagebuilder.recipe import SecretSource

PLACEHOLDER = re.compile(r"@secret:([A-Za-z_][A-Za-z0-9_-]*)@")
# What a filter such as upper or replace made of one.
_BROKEN = re.compile(r"@s\s*e\s*c\s*r\s*e\s*t:", re.IGNORECASE)
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")
_QUOTED = re.compile(rf"""(["']?){PLACEHOLDER.pattern}\1""")
_SHORTEST = 4  # characters: a shorter one could not be hidden in logs without hiding their words
_LONGEST = 1 << 16  # bytes
_TIMEOUT = 60.0  # seconds for a program that prints a secret


def reference(name: str) -> str:
    """Return the placeholder of a secret: what ``secret`` gives to templates.

    Raises:
        ValueError: a secret cannot be called so.
    """
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise ValueError(f"{name!r} is no name of a secret: letters, digits, _ and -")
    return f"@secret:{name}@"


def standard(name: str) -> SecretSource:
    """Return where a secret comes from if nothing says so."""
    words = re.sub("[^A-Za-z0-9]", "_", name).upper()
    return SecretSource(env=f"IMAGEBUILDER_SECRET_{words}")


def places(source: SecretSource) -> tuple[str, ...]:
    """Return, for people, where a source looks, in order; never what it finds there."""
    return tuple(each for each in _places(source) if each)


def _places(source: SecretSource) -> tuple[str, str, str]:
    return (
        source.env and f"the environment variable {source.env}",
        source.file and f"the file {source.file}",
        f"the command {source.command[0]}" if source.command else "",
    )


def names_in(text: str) -> tuple[str, ...]:
    """Return the names of the secrets that a text refers to, each once."""
    return tuple(dict.fromkeys(PLACEHOLDER.findall(text))) if "@secret:" in text else ()


def check_whole(text: str, where: Location) -> None:
    """Refuse a text in which a placeholder has been changed.

    Raises:
        InputError: a filter was applied to a secret, which would be applied to its placeholder.
    """
    if "@" in text and _BROKEN.search(PLACEHOLDER.sub("", text)):
        raise InputError(
            "a filter is applied to secret(...), whose value is not known to templates",
            where=where,
            fix="give the secret the form that is needed, or change it in a %post script",
        )


@dataclass(frozen=True, slots=True)
class Vault:
    """The secrets of one recipe: looked up when they are first asked for, then remembered.

    Attributes:
        sources: where each comes from; one that is not named here comes from the environment
            variable ``IMAGEBUILDER_SECRET_NAME``.
        root: the folder that relative paths start from.
        cancel: looked at while a program prints a secret.
    """

    sources: Mapping[str, SecretSource] = field(default_factory=dict)
    root: Path = Path()
    cancel: Cancel | None = None
    _known: dict[str, str] = field(default_factory=dict, repr=False, compare=False)

    def value(self, name: str, where: Location | None = None) -> str:
        """Return a secret.  From now on it is masked in every log and error.

        Raises:
            InputError: none of its sources has it; ``where`` is the place that needs it.
        """
        if name not in self._known:
            found = self._find(name, where)
            command.hide(found)
            self._known[name] = found
        return self._known[name]

    def values(self) -> tuple[str, ...]:
        """Return the values of all secrets that were asked for."""
        return tuple(self._known.values())

    def reveal_script(self, text: str, where: Location | None = None) -> str:
        """Return the text of a script or file with the values in place, as they are.

        Raises:
            InputError: a secret is not to be had.
        """
        return PLACEHOLDER.sub(lambda found: self.value(found[1], where), text)

    def reveal_command(self, text: str, where: Location | None = None) -> str:
        """Return a line of a kickstart with the values in place, quoted so that each is one word.

        Raises:
            InputError: a secret is not to be had, or has several lines.
        """

        def put(found: re.Match[str]) -> str:
            value = self.value(found[2], where)
            if "\n" in value or "\r" in value:
                raise InputError(
                    f"secret {found[2]!r} has several lines, and a command has one",
                    where=where,
                    fix="use it in a %post section",
                )
            return shlex.quote(value)

        return _QUOTED.sub(put, text)

    def reveal_url(self, text: str, where: Location | None = None) -> str:
        """Return a text of URLs with the values in place, percent-encoded inside a URL.

        A value that stands before ``://``, such as a whole URL, is put in as it is.

        Raises:
            InputError: a secret is not to be had, or does not fit into a line.
        """

        def put(found: re.Match[str]) -> str:
            value = self.value(found[1], where)
            if re.search(r"\s", value):
                raise InputError(
                    f"secret {found[1]!r} has spaces or several lines, which no URL has",
                    where=where,
                )
            word = text[: found.start()].rpartition(" ")[2]
            return quote(value, safe="") if "://" in word else value  # RFC 3986, section 2.1

        return PLACEHOLDER.sub(put, text)

    def _find(self, name: str, where: Location | None) -> str:
        source = self.sources.get(name) or standard(name)
        variable, file, program = _places(source)
        if source.env and os.environ.get(source.env):
            return _checked(os.environ[source.env], name, variable, where)
        path = self.root / Path(source.file).expanduser()
        if source.file and path.is_file():
            return _checked(_read(path, name, where), name, file, where)
        if source.command:
            return _checked(self._ask(source, name, where), name, program, where)
        raise InputError(
            f"there is no secret {name!r}: looked for {', then '.join(places(source))}",
            where=where,
            fix="set it, or say in the recipe or in imagebuilder.toml where it is: "
            f"[secrets.{name}] with env, file or command",
        )

    def _ask(self, source: SecretSource, name: str, where: Location | None) -> str:
        printed: list[str] = []
        try:
            result = command.run(
                source.command,
                timeout=_TIMEOUT,
                cancel=self.cancel,
                cwd=self.root,
                on_line=printed.append,
                check=False,
                what=f"asking for secret {name!r}",
                raw=True,
                keep=0,
            )
        except (HostError, StepError) as error:
            raise InputError(
                f"secret {name!r}: {error.what}", where=where, fix=error.fix
            ) from error
        if result.returncode != 0:
            # What it printed may be half of the secret.
            raise InputError(
                f"secret {name!r}: {source.command[0]} ended with exit status {result.returncode}",
                where=where,
                fix="run it by hand in the project's folder to see why",
            )
        return "\n".join(printed)


def _read(path: Path, name: str, where: Location | None) -> str:
    try:
        with path.open(encoding="utf-8", newline="") as file:
            text = file.read(_LONGEST + 1)
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise InputError(f"secret {name!r} cannot be read: {reason}", where=where) from error
    return text.removesuffix("\n").removesuffix("\r")


def _checked(value: str, name: str, source: str, where: Location | None) -> str:
    if len(value) < _SHORTEST:
        raise InputError(
            f"secret {name!r} from {source} has fewer than {_SHORTEST} characters",
            where=where,
            fix="a secret so short can be guessed, and cannot be masked in logs",
        )
    if len(value.encode()) > _LONGEST or "\0" in value:
        raise InputError(
            f"secret {name!r} from {source} is longer than 64 KiB, or no text", where=where
        )
    return value
