"""Hide the secrets of a kickstart, so that it can be saved and published."""

from __future__ import annotations

import re

from imagebuilder.command import redact

HIDDEN = "********"
_PASSWORD_OPTION = re.compile(
    r"(--(?:password|passphrase|biospassword|escrowpw|activationkey|activation-key|wpakey|wepkey)"
    r"(?:=|\s+))(\"[^\"]*\"|'[^']*'|\S+)"
)
_POSITIONAL = re.compile(r"^\s*(?:rootpw|sshpw)\b")
_WORD = re.compile(r"\s+(\"[^\"]*\"|'[^']*'|\S+)")


def redacted_line(text: str) -> str:
    """Return a kickstart line without passwords, their hashes, and credentials in URLs."""
    text = redact(_PASSWORD_OPTION.sub(rf"\1{HIDDEN}", text))
    if not _POSITIONAL.match(text):
        return text
    command, rest = text[: _end_of_word(text)], text[_end_of_word(text) :]

    def hide(found: re.Match[str]) -> str:
        return found.group() if found[1].startswith("-") else f" {HIDDEN}"

    return command + _WORD.sub(hide, rest)


def _end_of_word(text: str) -> int:
    found = re.match(r"\s*\S+", text)
    return found.end() if found else 0
