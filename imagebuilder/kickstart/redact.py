"""Hide the secrets of a kickstart, so that it can be saved and published."""

from __future__ import annotations

import re
from collections.abc import Iterable

from pydantic import JsonValue

from imagebuilder.command import redact

HIDDEN = "********"
_SHORT = 4  # signs: a shorter value is in many words by chance

# Options whose values are secret.  pykickstart takes any beginning of a name that fits one alone.
_SECRET = (
    "activation-key",
    "activationkey",
    "backuppassphrase",
    "biospassword",
    "escrowpw",
    "md5pass",
    "one-time-password",
    "passphrase",
    "password",
    "reverse-password",
    "wepkey",
    "winbindjoin",  # authconfig: USER%PASSWORD
    "wpakey",
)
_SECRET_OPTION = re.compile(rf"(--(?:{'|'.join(_SECRET)})(?:=|\s+))(\"[^\"]*\"|'[^']*'|\S+)")
# A word as a shell reads it: quoted and plain parts side by side.  An open quote is a plain sign.
_WORD = re.compile(r"""(?:"(?:\\.|[^"\\])*"|'[^']*'|\\.|\S)+""")
_QUOTING = re.compile(r"""["'\\]""")


def hidden_words(texts: Iterable[str]) -> frozenset[str]:
    """Return the words of kickstart lines that are hidden when they are shown."""
    found: set[str] = set()
    for text in texts:
        shown = redacted_line(text)
        if shown != text:
            lost = set(_WORD.findall(text)) - set(_WORD.findall(shown))
            found.update(_QUOTING.sub("", word) for word in lost)
    return frozenset(found)


def shown_value(value: JsonValue, hidden: frozenset[str]) -> JsonValue:
    """Return a value, or parts of it, as ``********`` if they are among the hidden words."""
    if isinstance(value, dict):
        return {name: shown_value(each, hidden) for name, each in value.items()}
    if isinstance(value, list):
        return [shown_value(each, hidden) for each in value]
    text = str(value)
    if value in (None, True, False, "") or not text:
        return value
    secret = redact(text) != text or any(
        text in (word, word.partition("=")[2]) or (len(text) >= _SHORT and text in word)
        for word in hidden
    )
    return HIDDEN if secret else value


def redacted_line(text: str) -> str:
    """Return a kickstart line without passwords, their hashes, and credentials in URLs."""
    command = ""
    made: list[str] = []
    last = 0
    is_secret = only_secrets = False
    for found in _WORD.finditer(text):
        made.append(text[last : found.start()])
        last = found.end()
        word = _QUOTING.sub("", found.group())
        shown = found.group()
        option, equals, _ = word.partition("=")
        if not command:
            command = word
        elif is_secret or only_secrets:
            shown, is_secret = HIDDEN, False
        elif word == "--":
            only_secrets = command in ("rootpw", "sshpw")
        elif _is_secret(option):
            is_secret = not equals
            shown = f"{option}={HIDDEN}" if equals else shown
        elif command in ("rootpw", "sshpw") and not word.startswith("-"):
            shown = HIDDEN
        made.append(shown)
    # The lines of a script have such options inside of quoted words, too.
    return redact(_SECRET_OPTION.sub(rf"\1{HIDDEN}", "".join(made) + text[last:]))


def _is_secret(option: str) -> bool:
    name = option.removeprefix("--")
    return bool(name) and name != option and any(each.startswith(name) for each in _SECRET)
