"""The pictures of a build's page: treemaps and timelines."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagebuilder.build_record import BuildRecord, Fault, Reason, Span
from imagebuilder.report.timeline import WIDTH, of_boot, of_build, spell
from imagebuilder.report.treemap import treemap


@given(st.lists(st.integers(0, 10**12), max_size=120))
def test_tiles_fill_the_picture_and_have_their_share(sizes: list[int]) -> None:
    sizes.sort(reverse=True)
    found = treemap([(str(n), size) for n, size in enumerate(sizes)], 1000, 400)
    total = sum(sizes)
    assert [each.size for each in found.tiles] == [each for each in sizes if each]
    for each in found.tiles:
        assert -0.1 <= each.x <= each.x + each.width <= 1000.3
        assert -0.1 <= each.y <= each.y + each.height <= 400.3
        # Sides are rounded to tenths.
        slack = 0.06 * (each.width + each.height) + 0.01
        assert each.width * each.height == pytest.approx(each.size / total * 400_000, abs=slack)


def test_tiles_do_not_overlap() -> None:
    tiles = treemap([(str(n), 1000 // n) for n in range(1, 40)], 340, 520).tiles
    for n, a in enumerate(tiles):
        for b in tiles[n + 1 :]:
            across = min(a.x + a.width, b.x + b.width) - max(a.x, b.x)
            down = min(a.y + a.height, b.y + b.height) - max(a.y, b.y)
            assert across < 0.21 or down < 0.21
    # Squares rather than strips.
    assert sum(max(t.width, t.height) / min(t.width, t.height) < 3 for t in tiles) > 30


def test_labels_are_as_long_as_there_is_room() -> None:
    long = "linux-image-6.1.0-56-cloud-amd64-with-a-name-that-has-no-end"
    first, second = treemap([(long, 99), ("small", 1)], 300, 100).tiles
    assert first.label.startswith("linux-image")
    assert first.label.endswith("…")
    assert len(first.label) * 5.5 < first.width
    assert first.has_size
    assert second.label == ""


def record(*spans: Span, error: Fault | None = None) -> BuildRecord:
    reasons = [
        Reason(step=each, text=f"do {each}", reused=each == "old", reason="why")
        for each in ("packages", "old", "image")
    ]
    return BuildRecord(
        image="0" * 16, recipe="r", started="2026-01-02T03:04:05Z", seconds=10.0,
        reasons=tuple(reasons), spans=spans, error=error,
    )  # fmt: skip


def test_stages_of_a_build() -> None:
    found = of_build(
        record(
            Span(step="initrd", text="dracut", started=5, seconds=4, outcome="done"),
            Span(step="packages", text="fetch", started=0, seconds=1, outcome="done"),
            Span(step="packages", text="install", started=1, seconds=3.5, outcome="done"),
            Span(step="image", text="", started=9, seconds=0, outcome="done"),
        )
    )
    rows = {each.name: each for each in found.rows}
    assert list(rows) == ["packages", "old", "image", "initrd"]
    assert [(each.x, each.width) for each in rows["packages"].bars] == [(0, 100), (100, 350)]
    assert rows["packages"].value == "4.5 s"
    assert rows["packages"].note == "fetch; install"
    assert (rows["old"].value, rows["old"].bars) == ("reused", ())
    assert rows["image"].bars[0].width > 1  # it is seen
    assert [each.text for each in found.marks] == ["0 s", "2 s", "4 s", "6 s", "8 s", "10 s"]
    assert found.marks[-1].x == WIDTH


def test_stages_of_a_build_that_failed() -> None:
    found = of_build(
        record(
            Span(step="packages", text="", started=0, seconds=10, outcome="failed"),
            error=Fault(what="x"),
        )
    )
    # What it never came to has no row.
    assert [each.name for each in found.rows] == ["packages"]
    assert found.rows[0].bars[0].state == "failed"


def test_stages_of_a_boot() -> None:
    found = of_boot({"kernel started": 12.0, "initrd fetched": 9.0, "multi-user": 100.0}, 110)
    assert [each.name for each in found.rows] == ["initrd fetched", "kernel started", "multi-user"]
    last = found.rows[-1].bars[0]
    assert last.x == pytest.approx(12 / 110 * WIDTH, abs=0.1)
    assert last.x + last.width == pytest.approx(100 / 110 * WIDTH, abs=0.1)
    assert of_boot({}, 0).rows == ()


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.04, "0.0 s"), (59.9, "59.9 s"), (61.4, "1 min 01 s"), (3725, "62 min 05 s")],
)
def test_times_for_people(seconds: float, text: str) -> None:
    assert spell(seconds) == text
