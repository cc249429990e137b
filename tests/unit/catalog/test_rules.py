"""Dead ends, barriers, staged rollouts."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from imagebuilder.catalog import Catalog, Release, Retention
from imagebuilder.catalog.rules import Rollout, position, reached
from imagebuilder.cli.main import main
from imagebuilder.errors import CatalogError, InputError

from .conftest import MakeImage, image_at, passing


@pytest.fixture
def four(catalog: Catalog, make_image: MakeImage) -> list[Release]:
    images = [make_image(seed=n) for n in range(4)]
    return [catalog.publish(each, channel="testing", evidence=passing(each)) for each in images]


def chosen(catalog: Catalog, host: str = "n1", running: str = "") -> str:
    return catalog.choose("base", "testing", host=host, running=running).version


def test_without_rules_it_is_what_the_channel_names(catalog: Catalog, four: list[Release]) -> None:
    assert chosen(catalog) == four[3].version
    assert chosen(catalog, running=four[0].version) == four[3].version
    catalog.rollback("base", "testing")
    assert chosen(catalog, running=four[3].version) == four[2].version
    for bad in ({"host": "../x"}, {"running": "testing"}):
        with pytest.raises(InputError):
            chosen(catalog, **bad)
    with pytest.raises(CatalogError, match="no channel"):
        catalog.choose("base", "nix", host="n1")


def test_a_dead_end_is_passed_over_and_never_named_again(
    catalog: Catalog, four: list[Release], tmp_path: Path
) -> None:
    for n in (3, 2):
        catalog.dead_end("base", four[n].version, reason="it eats disks")
    choice = catalog.choose("base", "testing", host="n1")
    assert choice.version == four[1].version
    assert "is a dead end" in choice.reason
    with pytest.raises(CatalogError, match="is a dead end: it eats disks") as caught:
        catalog.promote("base", four[3].version, to="stable")
    assert "--remove" in caught.value.fix
    with pytest.raises(CatalogError, match="dead end"):
        catalog.rollback("base", "testing", to=four[2].version)
    assert catalog.rollback("base", "testing").release == four[1].version
    image = image_at(tmp_path / "again", seed=3)  # the one of the dead end
    with pytest.raises(CatalogError, match="dead end"):
        catalog.publish(image, channel="testing", evidence=passing(image))
    catalog.dead_end("base", four[3].version, reason=None)
    catalog.promote("base", four[3].version, to="stable")
    for n in (0, 1):
        catalog.dead_end("base", four[n].version, reason="x")
    with pytest.raises(CatalogError, match="all that channel testing"):
        chosen(catalog)
    with pytest.raises(InputError, match="reason"):
        catalog.dead_end("base", four[0].version, reason=" ")


def test_barriers_are_passed_one_after_the_other_and_kept(
    catalog: Catalog, four: list[Release]
) -> None:
    catalog.barrier("base", four[2].version, reason="new boot loader")
    catalog.barrier("base", four[1].version, reason="new disk format")
    way = [four[0].version]
    while way[-1] != four[3].version:
        way.append(chosen(catalog, running=way[-1]))
    assert way == [each.version for each in four]
    # Who has no disk has nothing to pass, and says nothing of what it runs.
    assert chosen(catalog) == four[3].version
    strict = Retention(keep_last=1, keep_days=0, rollback_steps=1, grace_hours=0)
    assert [each.version for each in catalog.gc(strict).releases] == [four[0].version]
    catalog.barrier("base", four[1].version, reason=None)
    assert [each.version for each in catalog.gc(strict).releases] == [four[1].version]


def test_a_rollout_reaches_all_hosts_in_an_order_of_its_own(
    catalog: Catalog, four: list[Release]
) -> None:
    hosts = [f"rack{n // 20}-n{n % 20}" for n in range(400)]
    catalog.rollout("base", "testing", minutes=10_000, percent=25)
    first = [chosen(catalog, host=each) for each in hosts]
    assert set(first) == {four[2].version, four[3].version}
    assert 70 < first.count(four[3].version) < 130
    assert [chosen(catalog, host=each) for each in hosts] == first
    # Who has the new one keeps it.
    assert chosen(catalog, hosts[first.index(four[2].version)], four[3].version) == four[3].version
    turns = [position("base", four[3].version, each) for each in hosts]
    other = [position("base", four[2].version, each) for each in hosts]
    assert sorted(range(400), key=turns.__getitem__) != sorted(range(400), key=other.__getitem__)
    assert all(0 <= each < 100 for each in turns)
    catalog.rollout("base", "testing", minutes=0)
    assert {chosen(catalog, host=each) for each in hosts[:40]} == {four[3].version}
    # A rollout is of one release: what comes next is not held back by it.
    catalog.rollout("base", "testing", minutes=10_000)
    assert chosen(catalog) == four[2].version
    catalog.promote("base", four[1].version, to="testing")
    assert chosen(catalog) == four[1].version
    for bad in ({"minutes": -1}, {"minutes": 5, "percent": 101}):
        with pytest.raises(InputError):
            catalog.rollout("base", "testing", **bad)  # type: ignore[arg-type]


def test_how_far_a_rollout_is() -> None:
    start = datetime(2026, 1, 1, tzinfo=UTC)
    rollout = Rollout(
        release="20260101T000000Z-0123456789abcdef",
        start="2026-01-01T00:00:00Z",
        minutes=100,
        percent=20,
    )
    for minutes, share in ((-1, 0), (0, 20), (50, 60), (99.9, 99.92), (100, 100), (1e6, 100)):
        assert reached(rollout, start + timedelta(minutes=minutes)) == pytest.approx(share)


def test_rules_that_cannot_be_read_stop_every_move(
    catalog: Catalog, root: Path, four: list[Release]
) -> None:
    (root / "rules").mkdir()
    for text in ("{", '{"name": "other"}'):
        (root / "rules/base.json").write_text(text)
        for attempt in (
            lambda: catalog.rollback("base", "testing"),
            lambda: catalog.promote("base", "testing", to="stable"),
            lambda: chosen(catalog),
        ):
            with pytest.raises(CatalogError, match="rules"):
                attempt()


def test_as_it_is_typed(
    root: Path, four: list[Release], capsys: pytest.CaptureFixture[str]
) -> None:
    def run(*argv: str) -> tuple[int, str]:
        return main(["catalog", *argv, "--catalog", str(root)]), capsys.readouterr().out

    version = four[3].version
    assert run("dead-end", "base", "--version", version, "--reason", "no")[0] == 0
    status, out = run("choose", "base", "--channel", "testing", "--host", "n1")
    assert (status, out.split()[0]) == (0, four[2].version)
    assert run("dead-end", "base", "--version", version, "--remove") == (0, "")
    assert "barrier" in run("barrier", "base", "--version", version, "--reason", "x")[1]
    rollout = ["rollout", "base", "--channel", "testing", "--minutes", "60", "--percent", "5"]
    assert "from 5 %" in run(*rollout)[1]
    assert run(*rollout[:-1], "500")[0] == 2
