"""A package layer is used only if it is still what was kept, and nobody takes it away meanwhile."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from imagebuilder import cache
from imagebuilder.engines.direct import layers
from imagebuilder.engines.direct.job import LayerFacts
from imagebuilder.errors import Interrupted
from imagebuilder.progress import Cancel, Event, Reporter

REPORTER = Reporter(subject="r")
WAIT = 20.0  # seconds; nothing here takes that long


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    root = tmp_path / "tree"
    (root / "etc").mkdir(parents=True)
    (root / "etc/hosts").write_text("localhost")
    (root / "etc/link").symlink_to("hosts")
    return root


def test_a_listing_says_nothing_of_the_place(tree: Path, tmp_path: Path) -> None:
    before = layers.listing(tree)
    assert layers.listing(tree.rename(tmp_path / "elsewhere")) == before


@pytest.mark.parametrize(
    "damage",
    [
        lambda tree: (tree / "etc/hosts").unlink(),
        lambda tree: (tree / "etc/hosts").write_text("LOCALHOST"),
        lambda tree: os.truncate(tree / "etc/hosts", 3),
        lambda tree: (tree / "etc/hosts").chmod(0o600),
        lambda tree: (tree / "etc/new").touch(),
        lambda tree: (tree / "etc/link").unlink(),
        lambda tree: ((tree / "etc/link").unlink(), (tree / "etc/link").symlink_to("other")),
    ],
)
def test_damage_is_seen(tree: Path, damage: Callable[[Path], object]) -> None:
    before = layers.listing(tree)
    damage(tree)
    assert layers.listing(tree) != before


def test_a_layer_is_there_when_it_is_whole(tree: Path, tmp_path: Path) -> None:
    layer = layers.place(tmp_path / "cache", "0" * 32)
    assert layers.facts(layer) is None
    fresh = tmp_path / "cache/layers" / f"uid-{os.geteuid()}" / ".new"
    (fresh / "tree").mkdir(parents=True)
    told = LayerFacts(id="0" * 32, epoch=1, package_count=2, listing=layers.listing(tree))
    layers.keep(fresh, layer, told)
    assert layers.facts(layer) == told
    (layer / layers.FACTS).write_text("{")
    assert layers.facts(layer) is None


# ----- who has it ---------------------------------------------------------------------------------


@pytest.fixture
def layer(tmp_path: Path) -> Path:
    return layers.place(tmp_path / "cache", "0" * 32)


def make(held: layers.Held, epoch: int = 1) -> None:
    (held.fresh / "tree").mkdir()
    layers.keep(held.fresh, held.layer, LayerFacts(id="0" * 32, epoch=epoch, package_count=2))


def names(layer: Path) -> set[str]:
    return {each.name for each in layer.parent.iterdir()}


def test_others_wait_for_the_layer_and_not_for_the_image(layer: Path) -> None:
    is_held, may_make = threading.Event(), threading.Event()
    all_there = threading.Barrier(5)  # in the hands of all at the same time
    made: list[int] = []

    def image(number: int) -> LayerFacts | None:
        with layers.held(layer, REPORTER) as held:
            if held.facts is None:
                is_held.set()
                assert may_make.wait(WAIT)
                made.append(number)
                make(held, number)
                held.share()
            all_there.wait(WAIT)
            return layers.facts(layer)

    with ThreadPoolExecutor(5) as pool:
        first = pool.submit(image, 7)
        assert is_held.wait(WAIT)
        others = [pool.submit(image, n) for n in range(4)]
        time.sleep(0.1)
        may_make.set()
        assert {each.result(WAIT) for each in (first, *others)} == {layers.facts(layer)}
    assert made == [7]
    assert names(layer) == {layer.name, f"{layer.name}.lock"}


def test_whoever_waits_makes_it_if_the_first_fails(layer: Path) -> None:
    began = threading.Event()

    def second() -> bool:
        assert began.wait(WAIT)
        with layers.held(layer, REPORTER) as held:
            is_mine = held.facts is None
            make(held)
            return is_mine

    def first() -> None:
        with layers.held(layer, REPORTER) as held:
            began.set()
            (held.fresh / "half").touch()
            time.sleep(0.1)
            raise ZeroDivisionError

    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(second)
        with pytest.raises(ZeroDivisionError):
            first()
        assert waiting.result(WAIT)
    assert names(layer) == {layer.name, f"{layer.name}.lock"}


def test_who_waits_says_so_and_can_be_stopped(layer: Path) -> None:
    events: list[Event] = []
    cancel = Cancel()

    def observe(event: Event) -> None:
        events.append(event)
        cancel.set()

    with (
        layers.held(layer, REPORTER),
        pytest.raises(Interrupted),
        layers.held(layer, Reporter(subject="r", observer=observe, cancel=cancel)),
    ):
        pytest.fail("it was had by two")
    (event,) = events
    assert "waiting for another build" in event.text


def test_one_that_is_too_old_is_made_anew_when_nobody_uses_it(layer: Path) -> None:
    with layers.held(layer, REPORTER) as held:
        make(held, 1)
    os.utime(layer, ns=(1000, 1000))
    with layers.held(layer, REPORTER, since=1000) as held:
        assert held.facts
        assert held.made == 1000
    is_used, may_end = threading.Event(), threading.Event()

    def use() -> bool:
        with layers.held(layer, REPORTER) as held:
            is_used.set()
            assert may_end.wait(WAIT)
            return held.facts is not None and (layer / "tree").exists()

    def anew() -> LayerFacts | None:
        with layers.held(layer, REPORTER, since=1001) as held:
            assert held.facts is None
            make(held, 2)
        return layers.facts(layer)

    with ThreadPoolExecutor(2) as pool:
        using = pool.submit(use)
        assert is_used.wait(WAIT)
        making = pool.submit(anew)
        time.sleep(0.2)
        assert not making.done()
        may_end.set()
        assert using.result(WAIT)
        found = making.result(WAIT)
    assert found
    assert found.epoch == 2
    assert names(layer) == {layer.name, f"{layer.name}.lock"}
    with layers.held(layer, REPORTER, since=1001) as held:
        assert held.facts  # what was made meanwhile counts


def test_what_is_used_is_not_pruned(layer: Path, tmp_path: Path) -> None:
    with layers.held(layer, REPORTER) as held:
        make(held)
        held.share()
        assert [each.path for each in cache.prune(tmp_path / "cache", limit=0).in_use] == [layer]
    assert [each.path for each in cache.prune(tmp_path / "cache", limit=0).removed] == [layer]


def test_one_that_was_used_while_others_were_pruned_stays(
    layer: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with layers.held(layer, REPORTER) as held:
        make(held)
    seen = cache.entries(tmp_path / "cache")
    monkeypatch.setattr(cache, "entries", lambda _: seen)
    os.utime(layer / layers.FACTS, (seen[0].used + 1, seen[0].used + 1))
    assert cache.prune(tmp_path / "cache", limit=0).removed == ()
    assert layers.facts(layer)


def test_a_maker_that_is_killed_hinders_nobody(layer: Path) -> None:
    program = (
        "import sys, time\n"
        "from pathlib import Path\n"
        "from imagebuilder.engines.direct import layers\n"
        "from imagebuilder.progress import Reporter\n"
        "with layers.held(Path(sys.argv[1]), Reporter(subject='r')) as held:\n"
        "    (held.fresh / 'half').touch()\n"
        "    print('held', flush=True)\n"
        "    time.sleep(60)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, str(layer)], stdout=subprocess.PIPE
    ) as process:
        assert process.stdout
        assert process.stdout.readline() == b"held\n"
        process.kill()
    with layers.held(layer, REPORTER) as held:
        assert held.facts is None
        assert not list(held.fresh.iterdir())
