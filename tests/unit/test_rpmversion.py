"""Versions of RPM packages: the examples of rpm-version(7) and of rpm's own tests."""

from __future__ import annotations

import pytest

from imagebuilder.rpmversion import is_later


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("1.0", "1.1"),
        ("1.9", "1.10"),
        ("2.0~rc1", "2.0"),
        ("2.0~rc1", "2.0~rc2"),
        ("2.0", "2.0^git1"),
        ("2.0^git1", "2.0.1"),
        ("5.5p1", "5.5p10"),
        ("10xyz", "10.1xyz"),
        ("6.5.a", "6.5.0"),
        ("9.9", "1:0.1"),
        ("1.0-1.el9", "1.0-1.el9_1"),
        ("1.0-9.fc41", "1.0-10.fc40"),
        ("1.0", "1.0-1"),
        ("9" * 5000, "1" + "0" * 5000),
        ("a", "0"),
    ],
)
def test_the_second_is_later(old: str, new: str) -> None:
    assert is_later(old, new)
    assert not is_later(new, old)


@pytest.mark.parametrize(("one", "other"), [("1.0", "1.0"), ("1.05", "1.5"), ("0:1_0", "1.0")])
def test_neither_is(one: str, other: str) -> None:
    assert not is_later(one, other)
    assert not is_later(other, one)
