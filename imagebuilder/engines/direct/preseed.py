"""``preseed``: answers for debconf, given before packages ask (debconf-set-selections(1))."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from imagebuilder.engines.base import Input
from imagebuilder.errors import InputError, Location, joined
from imagebuilder.project import ResolvedRecipe
from imagebuilder.secrets import Vault, check_whole, names_in

# Debconf's types of questions (debconf-devel(7)), and "seen", which is a flag of a question.
_TYPES = (
    "boolean",
    "error",
    "multiselect",
    "note",
    "password",
    "select",
    "string",
    "text",
    "title",
)
_BOOLEANS = ("true", "false")


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """One line.

    Attributes:
        package: the package that owns the question, or ``d-i``.
        question: its name.
        type: its type, or ``seen``.
        value: the answer; it may refer to secrets.
        where: the recipe's line.
    """

    package: str
    question: str
    type: str
    value: str
    where: Location

    @property
    def line(self) -> str:
        """The line as debconf-set-selections reads it."""
        return f"{self.package} {self.question} {self.type} {self.value}".rstrip()

    @property
    def is_secret(self) -> bool:
        """Whether the answer is a password."""
        return self.type == "password"


def answers(resolved: ResolvedRecipe) -> tuple[Answer, ...]:
    """Return the answers of a recipe.

    Raises:
        InputError: with the place of each line that is none.
    """
    problems: list[InputError] = []
    found: list[Answer] = []
    for n, line in enumerate(resolved.recipe.preseed):
        where = resolved.place(f"preseed.{n}")
        try:
            found.append(_answer(line, where))
        except InputError as error:
            problems.append(error)
    if problems:
        raise joined(problems)
    return tuple(found)


def _answer(line: str, where: Location) -> Answer:
    words = line.split(None, 3)
    if len(words) < 3:
        raise InputError(
            "a preseed line has a package, a question, a type and a value",
            where=where,
            fix="write PACKAGE QUESTION TYPE VALUE, such as: tzdata tzdata/Areas select Etc",
        )
    check_whole(line, where)
    answer = Answer(
        package=words[0],
        question=words[1],
        type=words[2],
        value=words[3].strip() if len(words) > 3 else "",
        where=where,
    )
    if "/" not in answer.question:
        raise InputError(
            f"{answer.question!r} is no question of debconf: it has no /",
            where=where,
            fix="debconf-show PACKAGE, on a machine that has the package, lists its questions",
        )
    if answer.type not in (*_TYPES, "seen"):
        raise InputError(
            f"{answer.type!r} is no type of question",
            where=where,
            fix=f"types: {', '.join(_TYPES)}",
        )
    is_boolean = answer.type in ("boolean", "seen") and not names_in(answer.value)
    if is_boolean and answer.value not in _BOOLEANS:
        raise InputError(
            f"{answer.question}: {answer.value!r} is neither true nor false", where=where
        )
    return answer


def notes(given: tuple[Answer, ...]) -> Iterator[str]:
    """Return a note for each answer to a question of the installer."""
    for each in given:
        if each.package == "d-i":
            yield f"{each.where}: preseed {each.question} has no effect: no installer runs"


def inputs(given: tuple[Answer, ...], vault: Vault) -> Iterator[Input]:
    """Return what the packages depend on.

    Raises:
        InputError: a secret is not to be had.
    """
    for each in given:
        label = f"preseed {each.question} of {each.where}"
        if each.is_secret and not names_in(each.value):
            yield Input.of_secret("preseed", each.line, label)
        else:
            yield from Input.of_text("preseed", each.line, label, vault, each.where)


def selections(given: tuple[Answer, ...], vault: Vault) -> str:
    """Return the text for debconf-set-selections, with the values of secrets.

    Raises:
        InputError: a secret is not to be had, or has several lines.
    """
    lines = []
    for each in given:
        text = vault.reveal_script(each.line, each.where)
        if "\n" in text:
            raise InputError(f"preseed {each.question}: an answer has one line", where=each.where)
        lines.append(f"{text}\n")
    return "".join(lines)


def passwords(given: tuple[Answer, ...]) -> tuple[str, ...]:
    """Return the passwords that stand in the recipe as they are, to be masked in logs."""
    return tuple(each.value for each in given if each.is_secret and not names_in(each.value))
