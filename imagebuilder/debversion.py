"""Which of two versions of a Debian package is the later: deb-version(7)."""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass
from itertools import zip_longest

from imagebuilder.errors import InputError

_FORM = re.compile(r"(?:(?P<epoch>[0-9]+):)?(?P<upstream>[A-Za-z0-9.+~:-]+?)")
_REVISION = re.compile(r"[A-Za-z0-9.+~]+")
_PARTS = re.compile(r"([^0-9]*)([0-9]*)")
_LIMIT = 500  # characters


@functools.total_ordering
@dataclass(frozen=True, slots=True, eq=False)
class DebianVersion:
    """A version that can be compared with others.

    Attributes:
        text: as it is written.
    """

    text: str

    def __post_init__(self) -> None:
        """Refuse what is no version.

        Raises:
            InputError: it has signs that no version has, or no upstream version.
        """
        self._split()

    @property
    def upstream(self) -> str:
        """The version of the program, without Debian's epoch and revision."""
        return self._split()[1]

    def __lt__(self, other: DebianVersion) -> bool:
        mine, others = self._key(), other._key()
        return mine != others and _is_less(mine, others)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, DebianVersion) and self._key() == other._key()

    def __hash__(self) -> int:
        return hash(self._key())

    def _split(self) -> tuple[int, str, str]:
        rest, dash, revision = self.text.rpartition("-")
        found = _FORM.fullmatch(rest if dash else self.text)
        if (
            len(self.text) > _LIMIT
            or not found
            or (dash and not _REVISION.fullmatch(revision))
            or (":" in found["upstream"] and not found["epoch"])
        ):
            raise InputError(
                f"{self.text[:80]!r} is no version of a Debian package",
                fix="write it as dpkg -l shows it: [EPOCH:]UPSTREAM[-REVISION]",
            )
        return int(found["epoch"] or 0), found["upstream"], revision if dash else ""

    def _key(self) -> tuple[int, _Key, _Key]:
        epoch, upstream, revision = self._split()
        return epoch, _key(upstream), _key(revision)


_Pair = tuple[tuple[int, ...], int]
_Key = tuple[_Pair, ...]
_END: _Pair = ((0,), 0)  # what every version goes on with for ever


def _is_less(one: tuple[int, _Key, _Key], other: tuple[int, _Key, _Key]) -> bool:
    if one[0] != other[0]:
        return one[0] < other[0]
    for mine, others in zip(one[1:], other[1:], strict=True):
        for a, b in zip_longest(mine, others, fillvalue=_END):
            if a != b:
                return a < b
    return False


def _key(text: str) -> _Key:
    """Return what sorts as deb-version(7) says.

    The text is cut into pairs of what is no digit and of digits.  Of the first, letters come
    before other signs, and a tilde before everything, even the end.
    """
    pairs = [(_order(sign), int(digits or 0)) for sign, digits in _PARTS.findall(text)]
    while pairs and pairs[-1] == _END:
        pairs.pop()
    return tuple(pairs)


def _order(text: str) -> tuple[int, ...]:
    return (
        *(-1 if each == "~" else ord(each) + (0 if each.isalpha() else 256) for each in text),
        0,
    )
