"""The picture of a boot, and what it is drawn from."""

from __future__ import annotations

from xml.etree.ElementTree import fromstring

from imagebuilder.smoke.chain import Link, Sample, read_chain, read_samples
from imagebuilder.smoke.guest import Said
from imagebuilder.smoke.timeline import timeline_svg

CHAIN = """\
The time when unit became active or started is printed after the "@" character.
The time the unit took to start is printed after the "+" character.

multi-user.target @1min 18.215s
└─ssh.service @37.532s +1min 681ms
  └─basic.target @29.9s
    └─x\\x2dy.mount
"""
# As it is in the C locale, in which the runner asks.
CHAIN_IN_C = """\
multi-user.target @1min 18.215s
|-ssh.service @37.532s +1min 681ms
| `-basic.target @29.9s
`--.mount @20.1s +1s
"""
NS = "{http://www.w3.org/2000/svg}"


def test_the_critical_chain() -> None:
    said = [Said(word="hello", texts=("1", "6.1")), Said(word="chain", texts=("10500000", CHAIN))]
    assert read_chain(said) == (
        Link(unit="multi-user.target", start=88.715, seconds=0.0),
        Link(unit="ssh.service", start=48.032, seconds=60.681),
        Link(unit="basic.target", start=40.4, seconds=0.0),
    )
    assert read_chain(said[:1]) == ()
    assert read_chain([Said(word="chain", texts=("x", "Bootup is not yet finished."))]) == ()


def test_the_critical_chain_in_the_locale_of_the_guest() -> None:
    said = [Said(word="chain", texts=("0", CHAIN_IN_C))]
    assert [each.unit for each in read_chain(said)] == [
        "multi-user.target",
        "ssh.service",
        "basic.target",
        "-.mount",
    ]


def test_samples_of_memory() -> None:
    said = [
        Said(word="memory", texts=("4.2", "2048", "1024")),
        Said(word="memory", texts=("2.1", "2048", "2048")),
        Said(word="memory", texts=("-", "-", "-")),
    ]
    assert read_samples(said) == (
        Sample(seconds=2.1, total=2.0, available=2.0),
        Sample(seconds=4.2, total=2.0, available=1.0),
    )


def test_the_picture() -> None:
    svg = fromstring(
        timeline_svg(
            "base <1>: pxe-bios",
            stages={"kernel started": 10.0, "firmware started": 0.2, "rootfs fetched": 30.0},
            seconds=50.0,
            chain=(Link(unit="a.service", start=20.0, seconds=5.0),),
            samples=(
                Sample(seconds=1.0, total=100.0, available=90.0),
                Sample(seconds=20.0, total=100.0, available=40.0),
            ),
            failure="it hung",
        )
    )
    texts = [each.text or "" for each in svg.iter(f"{NS}text")]
    order = [texts.index(name) for name in ("firmware started", "kernel started", "rootfs fetched")]
    assert order == sorted(order)
    assert {"base <1>: pxe-bios", "it hung", "after: rootfs fetched", "a.service"} <= set(texts)
    assert "most at once: 60, of 100" in texts
    bars = {title.text: bar for bar in svg.iter(f"{NS}rect") for title in bar.iter(f"{NS}title")}
    unit = bars["a.service: from 30.0 s, 5.0 s"]
    kernel = bars["kernel started: from 0.2 s, 9.8 s"]
    assert float(unit.attrib["x"]) > float(kernel.attrib["x"])
    right = max(float(each.attrib["x"]) for each in svg.iter(f"{NS}text"))
    assert right < float(svg.attrib["width"])


def test_a_boot_that_reached_nothing_has_a_picture() -> None:
    svg = fromstring(timeline_svg("x", stages={}, seconds=0.0, failure="QEMU did not start"))
    assert [each.text for each in svg.iter(f"{NS}text")][:2] == ["x", "QEMU did not start"]
