from __future__ import annotations

import json
from pathlib import Path

import pytest

from imagebuilder.errors import (
    CatalogError,
    CheckError,
    HostError,
    ImageBuilderError,
    InputError,
    Interrupted,
    Location,
    StepError,
    joined,
)

FULL = StepError(
    "%post failed",
    where=Location(file="kickstarts/a.ks", line=7, key="post"),
    fix="mend it",
    excerpt="one\ntwo",
    log=Path("/logs/post.log"),
    also=[InputError("too", where=Location(file="b.ks"))],
)


def test_the_text_says_what_where_why_and_what_to_do() -> None:
    assert str(FULL).splitlines() == [
        "kickstarts/a.ks:7 (post): %post failed",
        "  | one",
        "  | two",
        "  mend it",
        "  the whole log: /logs/post.log",
        "b.ks: too",
    ]


def test_the_text_of_an_error_with_nothing_but_what() -> None:
    assert str(HostError("no room")) == "no room"


@pytest.mark.parametrize("error", [FULL, HostError("x"), joined([CheckError("a"), FULL])])
def test_json_and_back(error: ImageBuilderError) -> None:
    data = json.loads(json.dumps(error.to_dict()))
    again = ImageBuilderError.from_dict(data)
    assert type(again) is type(error)
    assert str(again) == str(error)
    assert again.to_dict() == error.to_dict()
    assert [type(each) for each in again.also] == [type(each) for each in error.also]


def test_an_error_of_a_kind_that_is_not_known_is_still_an_error() -> None:
    data = FULL.to_dict() | {"kind": "of a later version"}
    assert str(ImageBuilderError.from_dict(data)) == str(FULL)


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        (StepError, 1),
        (InputError, 2),
        (CheckError, 3),
        (CatalogError, 4),
        (HostError, 5),
        (Interrupted, 130),
    ],
)
def test_exit_statuses_stay_as_scripts_know_them(
    kind: type[ImageBuilderError], status: int
) -> None:
    assert kind("x").exit_status == status
    assert kind("x").to_dict()["exit_status"] == status


def test_joined_keeps_all_errors_and_the_class_of_the_first() -> None:
    one, two, three = InputError("one", fix="f"), InputError("two"), HostError("three")
    assert joined([one]) is one
    both = joined([one, two, three])
    assert isinstance(both, InputError)
    assert both.also == (two, three)
    assert str(both).splitlines() == ["one", "  f", "two", "three"]
    assert joined([joined([one, two]), three]).also == (two, three)


def test_a_place_in_words() -> None:
    assert str(Location(file="a")) == "a"
    assert str(Location(file="a", line=3)) == "a:3"
    assert str(Location(file="a", line=3, key="k.0")) == "a:3 (k.0)"
    assert str(Location(file="a", key="k")) == "a (k)"
