"""Reading shell scripts as far as lint must: commands, without here-documents and comments."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

from imagebuilder.kickstart.syntax import split

# ``<<EOF``, ``<<-'EOF'``; not ``<<<`` and not a shift in $((1 << 2)).
_HEREDOC = re.compile(r"(?<!<)<<(-?)\s*(['\"]?)([A-Za-z_][A-Za-z0-9_]*)\2")
_LIST = re.compile(r"&&|\|\||[;&]")
# Words before a command that are no command of their own.
_BEFORE = frozenset({"then", "do", "else", "if", "elif", "while", "until", "!", "{", "(", "sudo"})


@dataclass(frozen=True, slots=True)
class Statement:
    """A line of commands (continued lines joined), and the index of the line it begins on."""

    text: str
    index: int


@dataclass(frozen=True, slots=True)
class Document:
    """A here-document: its lines, and the statement that reads it."""

    reader: Statement
    lines: tuple[tuple[int, str], ...]


def read(lines: Sequence[str]) -> tuple[tuple[Statement, ...], tuple[Document, ...]]:
    """Return the statements of a script, and its here-documents.

    This is no shell: quotes that span lines are not followed.
    """
    statements: list[Statement] = []
    documents: list[Document] = []
    index = 0
    while index < len(lines):
        start = index
        text = lines[index]
        index += 1
        while text.endswith("\\") and index < len(lines):
            text = text[:-1] + " " + lines[index].lstrip()
            index += 1
        if text.lstrip().startswith("#"):
            continue
        statement = Statement(text, start)
        statements.append(statement)
        for found in _HEREDOC.finditer(text):
            body: list[tuple[int, str]] = []
            while index < len(lines):
                line = lines[index]
                index += 1
                if (line.lstrip("\t") if found[1] else line) == found[3]:
                    break
                body.append((index - 1, line))
            documents.append(Document(statement, tuple(body)))
    return tuple(statements), tuple(documents)


def pipelines(text: str) -> Iterator[list[list[str]]]:
    """Give the pipelines of a statement, each as the words of its commands."""
    for pipeline in _LIST.split(text):
        parts = [words for part in pipeline.split("|") if (words := _words(part))]
        if parts:
            yield parts


def commands(text: str) -> Iterator[list[str]]:
    """Give the words of each command of a statement, as a shell would split them."""
    for pipeline in pipelines(text):
        yield from pipeline


def name_of(words: Sequence[str]) -> str:
    """Return the name of the program that a command runs, without its folder."""
    return words[0].rpartition("/")[2]


def _words(text: str) -> list[str]:
    return list(_cut(text))


@lru_cache(maxsize=1 << 14)  # each check looks through all scripts, and recipes share theirs
def _cut(text: str) -> tuple[str, ...]:
    try:
        words = split(text)
    except ValueError:  # a quote is open: it spans what was split, or lines; or it is too long
        words = tuple(text.split())
    start = 0
    while start < len(words) and (
        words[start] in _BEFORE or re.fullmatch(r"\w+=\S*", words[start])
    ):
        start += 1
    return words[start:]


def is_literal(word: str) -> bool:
    """Return whether a shell takes a word as it stands: no variable, command or pattern."""
    return not any(sign in word for sign in "$`*?[{")
