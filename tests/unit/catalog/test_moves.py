"""Channels: promoted, taken back, and never lost."""

import os
import traceback
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagebuilder.catalog import Catalog, Move, Release
from imagebuilder.catalog.moves import path_to
from imagebuilder.errors import CatalogError, InputError

from .conftest import MakeImage, passing
from .consistency import broken_promises


def test_promote_names_the_release_of_another_channel(
    catalog: Catalog, root: Path, three: list[Release]
) -> None:
    moved = catalog.promote("base", "testing", to="stable", reason="a week old", by="ann")
    assert (moved.generation, moved.release) == (1, three[2].version)
    assert catalog.show("base", "stable") == three[2]
    last = catalog.history("base", "stable")[-1]
    assert (last.action, last.by, last.reason) == ("promote", "ann", "a week old")
    assert three[2].version in (root / "boot/base/stable.ipxe").read_text()
    assert catalog.promote("base", "testing", to="stable") == moved
    again = catalog.promote("base", three[0].version, to="stable")
    assert (again.generation, again.release) == (2, three[0].version)
    assert broken_promises(root) == []


def test_rollback_goes_back_step_by_step(
    catalog: Catalog, root: Path, three: list[Release]
) -> None:
    assert catalog.rollback("base", "testing", reason="it crashes").release == three[1].version
    assert three[1].version in (root / "boot/base/testing.ipxe").read_text()
    assert catalog.rollback("base", "testing").release == three[0].version
    with pytest.raises(CatalogError, match="has named nothing before"):
        catalog.rollback("base", "testing")
    assert catalog.rollback("base", "testing", to=three[2].version).release == three[2].version
    history = catalog.history("base", "testing")
    assert [each.action for each in history] == ["publish"] * 3 + ["rollback"] * 3
    assert broken_promises(root) == []


def test_after_a_rollback_the_next_publish_is_the_one_to_go_back_from(
    catalog: Catalog, three: list[Release], make_image: MakeImage
) -> None:
    catalog.rollback("base", "testing")
    image = make_image(seed=9)
    catalog.publish(image, channel="testing", evidence=passing(image))
    assert catalog.rollback("base", "testing").release == three[1].version


def test_what_cannot_be_done_leaves_the_channel_alone(
    catalog: Catalog, root: Path, three: list[Release], make_image: MakeImage
) -> None:
    image = make_image("base", seed=8)
    elsewhere = catalog.publish(image, channel="elsewhere", evidence=passing(image))
    before = catalog.channel("base", "testing")
    for attempt, why in (
        (lambda: catalog.rollback("base", "testing", to=elsewhere.version), "has never named"),
        (lambda: catalog.rollback("base", "nix"), "no channel"),
        (lambda: catalog.promote("base", "nix", to="testing"), "no channel"),
        (
            lambda: catalog.promote("base", "20200101T000000Z-0123456789abcdef", to="testing"),
            "no release",
        ),
        (
            lambda: catalog.promote("base", "elsewhere", to="testing", expected_generation=2),
            "moved meanwhile",
        ),
        (lambda: catalog.rollback("base", "testing", expected_generation=2), "moved meanwhile"),
    ):
        with pytest.raises(CatalogError, match=why):
            attempt()
    for attempt in (
        lambda: catalog.promote("base", "testing", to="testing"),
        lambda: catalog.promote("base", "testing", to="../x"),
        lambda: catalog.promote("../x", "testing", to="stable"),
        lambda: catalog.rollback("base", "testing", to="stable"),
        lambda: catalog.rollback("base\n", "testing"),
    ):
        with pytest.raises(InputError):
            attempt()
    assert catalog.channel("base", "testing") == before
    assert not (root / "channels/base/nix.json").exists()


def test_a_release_that_is_no_longer_whole_is_not_named_again(
    catalog: Catalog, root: Path, three: list[Release]
) -> None:
    digest = three[1].artefacts[-1].sha256
    (root / "blobs/sha256" / digest[:2] / digest).unlink()
    with pytest.raises(CatalogError, match="not whole"):
        catalog.rollback("base", "testing")
    with pytest.raises(CatalogError, match="not whole"):
        catalog.promote("base", three[1].version, to="stable")
    assert catalog.show("base", "testing") == three[2]
    assert [each.channel for each in catalog.channels("base")] == ["testing"]


def test_many_that_move_one_channel_at_once_lose_no_move(
    catalog: Catalog, root: Path, three: list[Release]
) -> None:
    pids = []
    for n in range(8):
        pid = os.fork()
        if pid == 0:
            try:
                if n % 2:
                    catalog.promote("base", three[n % 3].version, to="testing", by=str(n))
                else:
                    catalog.rollback("base", "testing", by=str(n))
            except CatalogError as error:
                os._exit(0 if "has named nothing" in error.what else 1)
            except BaseException:
                traceback.print_exc()
                os._exit(1)
            os._exit(0)
        pids.append(pid)
    for pid in pids:
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    history = catalog.history("base", "testing")
    assert [each.generation for each in history] == list(range(1, len(history) + 1))
    assert history[-1].release in (root / "boot/base/testing.ipxe").read_text()


@given(st.lists(st.tuples(st.sampled_from(["publish", "rollback"]), st.integers(0, 4))))
def test_the_path_ends_with_what_the_channel_names(steps: list[tuple[str, int]]) -> None:
    history = [
        Move(
            generation=n,
            release=f"2026010{release}T000000Z-0123456789abcdef",
            manifest="0" * 64,
            action="publish" if action == "publish" else "rollback",
            time="2026-01-01T00:00:00Z",
            by="",
        )
        for n, (action, release) in enumerate(steps, 1)
    ]
    path = path_to(history)
    assert [each.release for each in path[-1:]] == [each.release for each in history[-1:]]
    assert all(a.release != b.release for a, b in pairwise(path))
