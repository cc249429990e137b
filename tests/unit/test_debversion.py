"""The order of Debian versions, as dpkg has it."""

import random
import shutil
import subprocess
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagebuilder.debversion import DebianVersion as V
from imagebuilder.errors import InputError

ASCENDING = [
    "0~~",
    "0~~a",
    "0~",
    "0",
    "0a",
    "0+b1",
    "1.0~rc1-1",
    "1.0-1~bpo12+1",
    "1.0-1",
    "1.0-1+b1",
    "1.0-1+deb12u1",
    "1.0-1.1",
    "1.0-2",
    "1.0-10",
    "1.0a-1",
    "1.0+dfsg-1",
    "1.0.1-1",
    "1.2",
    "1.10",
    "2-1-1",
    "1:0.1",
    "10:0.1",
]

versions = st.from_regex(r"([0-2]:)?[0-9][0-9a.+~]{0,6}(-[0-9a.+~]{1,3})?", fullmatch=True)


def test_ascending() -> None:
    for earlier, later in pairwise(ASCENDING):
        assert V(earlier) < V(later)
        assert V(later) > V(earlier)
    assert sorted(map(V, reversed(ASCENDING))) == [V(each) for each in ASCENDING]


@pytest.mark.parametrize("same", [("1", "0:1"), ("1.0", "1.00"), ("1-0", "1"), ("1.", "1.0")])
def test_equal(same: tuple[str, str]) -> None:
    one, other = map(V, same)
    assert one == other
    assert hash(one) == hash(other)
    assert not one < other
    assert not one > other


@pytest.mark.parametrize("bad", ["", "1-", "-1", "a:1", "1 2", "1\n", "ä", "1_2", ":1", "1" * 501])
def test_what_is_no_version(bad: str) -> None:
    with pytest.raises(InputError):
        V(bad)


@given(versions, versions, versions)
def test_it_is_an_order(a: str, b: str, c: str) -> None:
    one, two, three = sorted([V(a), V(b), V(c)])
    assert one <= two <= three
    assert one <= three
    assert (V(a) < V(b)) + (V(a) == V(b)) + (V(a) > V(b)) == 1


@pytest.mark.skipif(shutil.which("dpkg") is None, reason="dpkg is not installed")
def test_dpkg_agrees() -> None:
    source = random.Random(5)
    for _ in range(60):
        a, b = source.choices(ASCENDING, k=2)
        b += source.choice(["", "~", "+b1", ".0", "0"])
        for sign, mine in (("lt", V(a) < V(b)), ("eq", V(a) == V(b))):
            said = subprocess.run(["dpkg", "--compare-versions", a, sign, b])
            assert (said.returncode == 0) is mine, (a, sign, b)
