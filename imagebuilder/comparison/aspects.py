"""Things with several aspects: what is told of one that differs is what of it does."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from imagebuilder.changes import Difference

_SHOWN = 200  # characters of a value


@dataclass(frozen=True, slots=True, kw_only=True)
class Aspects:
    """What is known of a thing.

    Attributes:
        shown: each aspect with its value; those that are "" are left out.
        secrets: what is compared of an aspect beside what is shown of it.
    """

    shown: Mapping[str, str]
    secrets: Mapping[str, str] = field(default_factory=dict)

    def words(self, only: frozenset[str] | None = None) -> str:
        """Return the aspects in words: all of them, or some, then with those that are ""."""
        return ", ".join(
            f"{name} {value[:_SHOWN] or 'none'}"
            for name, value in self.shown.items()
            if (value if only is None else name in only)
        )


def differences(
    kind: str, old: Mapping[str, Aspects], new: Mapping[str, Aspects]
) -> Iterator[Difference]:
    """Give how things of a kind differ, by name."""
    for name in sorted({*old, *new}):
        was, now = old.get(name), new.get(name)
        if was is None or now is None:
            yield Difference(
                kind=kind,
                name=name,
                old=was.words() or "yes" if was else "",
                new=now.words() or "yes" if now else "",
            )
        elif was != now:
            other = frozenset(
                each
                for each in {*was.shown, *now.shown}
                if was.shown.get(each) != now.shown.get(each)
            )
            if other:
                yield Difference(kind=kind, name=name, old=was.words(other), new=now.words(other))
            else:  # a secret, of which both sides have one
                said = ", ".join(sorted(each for each in now.secrets))
                yield Difference(kind=kind, name=name, old=f"a {said}", new=f"another {said}")
