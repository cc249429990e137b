"""Passwords that stand in a kickstart: none is carried into the project."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from operator import itemgetter
from urllib.parse import unquote

from imagebuilder.kickstart import Command
from imagebuilder.kickstart.redact import HIDDEN, redacted_line

# A word as a shell reads it, as in kickstart.redact.
_WORD = re.compile(r"""(?:"(?:\\.|[^"\\])*"|'[^']*'|\\.|\S)+""")
_IN_URL = re.compile(r"(?P<before>://[^/\s@:]*:)(?P<value>[^/\s@]+)(?P<after>@)")
_ACCOUNTS = ("rootpw", "sshpw", "user")
_NO_NAME = re.compile(r"[^A-Za-z0-9_]+")

# What a line is made of: texts, and in their places the names of secrets.
Part = tuple[str, str]  # ("text" | "secret", what)


def is_hashed(command: Command) -> bool:
    """Return whether what a command gives for passwords are their hashes."""
    if command.name in _ACCOUNTS:
        return bool(getattr(command.data, "isCrypted", False))
    return "--iscrypted" in command.options or "grub.pbkdf2" in command.text


def has_hidden(text: str) -> bool:
    """Return whether a line has something that is not shown when it is saved."""
    return redacted_line(text) != text


def split(text: str, command: Command, name_of: Callable[[str, str], str]) -> tuple[Part, ...]:
    """Return a command's line in parts, with secrets in place of passwords.

    Args:
        text: the line.
        command: what it says.
        name_of: gives the name of the secret for a password: called with what the secret is
            for, such as ``user_alice``, and the password.
    """
    role = _role(command)
    parts: list[Part] = []
    last = 0
    shown = [found.group() for found in _WORD.finditer(redacted_line(text))]
    for found, hidden in zip(_WORD.finditer(text), shown, strict=False):
        if found.group() != hidden:
            parts.append(("text", text[last : found.start()]))
            for kind, what in _of_word(found.group(), hidden):
                parts.append((kind, name_of(role, what) if kind == "secret" else what))
            last = found.end()
    return tuple(_merged([*parts, ("text", text[last:])]))


def _merged(parts: Sequence[Part]) -> Iterator[Part]:
    """Give the parts with neighbouring texts in one."""
    for kind, group in groupby(parts, key=itemgetter(0)):
        whats = [what for _, what in group]
        if kind == "text":
            yield kind, "".join(whats)
        else:
            yield from ((kind, what) for what in whats)


def _of_word(word: str, hidden: str) -> Iterator[Part]:
    before, mark, _ = hidden.partition(HIDDEN)
    found = _IN_URL.search(word)
    if mark:
        try:
            plain = "".join(shlex.split(word))
        except ValueError:
            plain = word
        value = plain.removeprefix(before)
        if value:
            yield "text", before
            yield "secret", value
            return
    elif found:
        yield "text", word[: found.start("value")]
        yield "secret", unquote(found["value"])
        yield "text", word[found.end("value") :]
        return
    yield "text", word


def _role(command: Command) -> str:
    name = getattr(command.data, "name", "") if command.name in ("user", "repo") else ""
    if command.name == "sshpw":
        name = getattr(command.data, "username", "")
    said = f"{command.name}_{name}" if name else command.name
    return _NO_NAME.sub("_", said).strip("_")
