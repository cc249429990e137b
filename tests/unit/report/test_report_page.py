"""The page of a build: what it shows, and that it is a page on every screen."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import pytest
from browser import Browser

from imagebuilder.catalog import Catalog
from imagebuilder.cli.main import main
from imagebuilder.errors import HostError, InputError, Location, StepError
from imagebuilder.report import write_report
from imagebuilder.smoke.report import BudgetResult, MemoryNeed, store_report

from .conftest import World, boot, was_tested

HOSTILE = "</style></title><script>alert(1)</script>\"'><img src=x onerror=alert(1)>&amp;{{ 7*7 }}"


class Seen(HTMLParser):
    """The texts of a page, and its links."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.texts: list[str] = []
        self.links: list[str] = []
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self._inside = ""
        self.feed(path.read_text())
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._inside = tag
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}
        self.links += [value for name, value in attrs if name == "href" and value]

    def handle_data(self, data: str) -> None:
        if data.strip() and self._inside != "style":
            self.texts.append(data.strip())

    @property
    def text(self) -> str:
        return re.sub(r"\s+", " ", " ".join(self.texts))


def page_of(world: World, **options: object) -> Seen:
    path = write_report(world.project, "r", world.options(), **options)  # type: ignore[arg-type]
    assert path
    return Seen(path)


def test_what_it_shows(world: World) -> None:
    image = world.build()
    was_tested(image, boot(), boot("pxe-uefi", passed=False))
    path = write_report(world.project, "r", world.options())
    assert path == image.path / "report.html"
    found = Seen(path)
    for each in (
        *(image.id, "a recipe", "its test failed", "it was never made here", "6.1.0-1-amd64"),
        *("bash", "7.0 MB", "2 packages, 7.1 MB installed", "installing", "logs/configure.log"),
        *("multi-user.target", "1 min 02 s", "57.5 s after the one before", "pxe-uefi"),
        *("unit ssh.service active", "nobody listens", "9.5 s", "the kernel broke"),
        "the clock late the vendor knows (until 2099-01-02)",
        *(artefact.sha256 for artefact in image.facts.artefacts),
        "no other image of the recipe is here",
    ):
        assert each in found.text, each
    for link in found.links:
        if not link.startswith("#"):
            assert (path.parent / unquote(link)).is_file(), link
    assert "script" not in found.tags
    # It can be written again, and does not list itself.
    assert Seen(write_report(world.project, "r", world.options()) or path).links == found.links


def test_links_start_where_the_page_is(world: World, tmp_path: Path) -> None:
    image = world.build()
    (image.path / "logs/a b:c#d?e.log").write_text("x")
    found = page_of(world, output=tmp_path / "public/pages/r.html")
    files = [each for each in found.links if not each.startswith("#")]
    assert files
    for link in files:
        assert (tmp_path / "public/pages" / unquote(link)).is_file(), link


def test_difference_to_the_build_before(world: World) -> None:
    world.build()
    image = world.build(bash=("5.2", 7_100_000), vim=("9", 1_000_000))
    found = page_of(world)
    assert "Difference to the image that was built before it" in found.text
    for each in ("+ vim 9", "~ bash 5.1 → 5.2", "packages 2 → 3"):
        assert each in found.text, each
    assert "~ zlib1g" not in found.text
    # Of the older one there is none before it.
    first = next(
        p.name for p in image.path.parent.iterdir() if len(p.name) == 16 and p != image.path
    )
    assert "Nothing to compare with" in page_of(world, image_id=first).text


def test_difference_to_the_last_release(world: World, catalog: Catalog, tmp_path: Path) -> None:
    image = world.build()
    version = world.publish(image, catalog)
    assert "has named no other release yet" in page_of(world, catalog=catalog).text
    world.make_project({"kickstarts/a.ks": "timezone Europe/Rome\n%packages\nbash\n%end\n"})
    world.packages.pop("zlib1g")
    world.build(bash=("5.0", 6_000_000))
    found = page_of(world, catalog=catalog)
    assert f"Difference to the last release in channel testing {version}" in found.text
    for each in ("~ bash 5.1 → 5.0 a step back", "- zlib1g 1:1.2", "timezone"):
        assert each in found.text, each
    # A channel that nobody has moved yet; a catalog that cannot be read.
    assert "has named no other" in page_of(world, catalog=catalog, channel="stable").text
    (tmp_path / "catalog/channels/r/testing.json").write_text("{}")
    assert "they cannot be compared: " in page_of(world, catalog=catalog).text


def test_a_build_that_failed(world: World) -> None:
    world.build()
    where = Location(file="kickstarts/a.ks", line=3)
    world.fails = StepError("apt said no", where=where, excerpt="E: no", fix="look")
    with pytest.raises(StepError):
        world.build(bash=("6", 1))
    path = write_report(world.project, "r", world.options())
    assert path == world.project.build_dir / "r/failed/report.html"
    found = Seen(path)
    for each in ("the build failed", "kickstarts/a.ks:3 : apt said no", "E: no", "look"):
        assert each in found.text, each
    # The image that was there before has its page still.
    image = (world.project.build_dir / "r/latest").resolve().name
    assert "the build failed" not in page_of(world, image_id=image).text


def test_an_image_from_before_there_were_records(world: World) -> None:
    image = world.build()
    (image.path / "build.json").unlink()
    found = page_of(world)
    assert "This build was not recorded" in found.text
    assert "packages 1.0 s" in found.text


def test_what_cannot_be(world: World, tmp_path: Path) -> None:
    assert write_report(world.project, "r", world.options()) is None
    with pytest.raises(InputError, match="holds no image"):
        page_of(world, image_id="0" * 16)
    world.build()
    (tmp_path / "file").write_text("")
    with pytest.raises(HostError, match="cannot be written"):
        page_of(world, output=tmp_path / "file/page.html")


def hostile(world: World) -> Path:
    world.make_project({"recipes/r.toml": f"summary = {json.dumps(HOSTILE)}\n" + TOML})
    image = world.build(**{f"bash{HOSTILE}": ("1\n<b>", 5_000_000)})
    was_tested(image, boot(passed=False, text=HOSTILE))
    (image.path / "logs/<img src=x onerror=alert(1)>").write_text("x")
    (image.path / "logs").joinpath(b"bad \xff name".decode(errors="surrogateescape")).write_text(
        "x"
    )
    path = write_report(world.project, "r", world.options())
    assert path
    return path


TOML = 'distro = "debian-12"\nkickstarts = ["a.ks"]\n'


def test_it_shows_what_the_image_costs(world: World) -> None:
    image = world.build()
    report = was_tested(image, boot())
    checks = report.boots[0].checks
    waiver = checks[1].waiver
    idle = checks[0].model_copy(update={"group": "remote", "waiver": waiver})
    exceeded = BudgetResult(
        what="rootfs", limit=1, measured=2, unit="bytes", outcome="exceeded", message="2 B of 1 B"
    )
    shown = {
        "boots": (report.boots[0].model_copy(update={"checks": (idle,)}),),
        "budgets": (exceeded,),
        "memory": MemoryNeed(mib=512, too_little_mib=448, boots=5, path="kernel"),
        "warnings": ("initrd.img is large",),
    }
    store_report(report.model_copy(update=shown), image.smoke_dir)
    path = write_report(world.project, "r", world.options())
    assert path
    found = Seen(path)
    for each in (
        *("exceeded 2 B of 1 B", "It needs 512 MiB of memory", "initrd.img is large"),
        "remote unit ssh.service active its waiver can go: the vendor knows",
    ):
        assert found.text.count(each) == 1, each


def test_hostile_texts_are_texts(world: World) -> None:
    found = Seen(hostile(world))
    assert found.text.count("<script>alert(1)</script>") > 5
    assert found.tags.isdisjoint({"script", "img"})
    assert not any(each.startswith("on") or each in ("src", "style") for each in found.attributes)


def test_pictures_of_a_boot_can_do_nothing(world: World, browser: Browser) -> None:
    """They stand in the page, and what a guest may have put into them does not run there."""
    image = world.build()
    svg = """<svg xmlns="http://www.w3.org/2000/svg" width="980" height="50">
        <script>alert(1)</script><image href="http://192.0.2.1/x.png"/>
        <rect width="980" height="50" fill="red"/></svg>"""
    report = boot(passed=False).model_copy(update={"timeline": "t.svg", "screenshot": "gone.png"})
    was_tested(image, report)
    (image.smoke_dir / report.logs).mkdir()
    (image.smoke_dir / report.logs / "t.svg").write_text(svg)
    path = write_report(world.project, "r", world.options())
    assert path
    browser.open(path, width=360)
    assert [each for each in browser.requests if not each.startswith("data:")] == [path.as_uri()]
    browser.value("document.querySelectorAll('details').forEach(each => each.open = true)")
    assert browser.value("document.images.length") == 1
    assert browser.value("document.images[0].naturalWidth") == 980
    assert browser.value("document.documentElement.scrollWidth") == 360  # it scrolls by itself
    assert browser.requests[-1].startswith("data:image/svg+xml")


def test_in_a_browser(world: World, browser: Browser, tmp_path: Path) -> None:
    """On a phone and on a desk, light and dark: all is in its place, nothing is loaded."""
    world.build(
        **{f"lib{n}-with-a-rather-long-name": ("1.0", 9_000_000 // n) for n in range(1, 200)}
    )
    image = world.build(bash=("9", 1))
    was_tested(image, boot(), boot("pxe-uefi", passed=False, text="x" * 300))
    path = write_report(world.project, "r", world.options())
    assert path
    backs = set()
    for width, dark in ((360, False), (360, True), (1280, False), (1280, True)):
        browser.open(path, width=width, dark=dark)
        assert browser.requests == [path.as_uri()]
        assert browser.said == []
        assert browser.value("document.documentElement.scrollWidth") == width  # nothing sticks out
        assert browser.value("document.title").startswith("r ")
        backs.add(browser.value("getComputedStyle(document.body).backgroundColor"))
        shown = (
            "[...document.querySelectorAll('.map')].filter(e => e.getBoundingClientRect().width)"
        )
        maps = browser.value(f"{shown}.map(e => e.getAttribute('class')).join()")
        assert maps == ("map narrow" if width == 360 else "map wide")
        assert browser.value(f"{shown}[0].getBoundingClientRect().width") > 0.8 * min(width, 1000)
        # Bars lie where their seconds say.
        place = "document.querySelectorAll('#test .bar')[1]"
        bar = browser.value(f"{place}.querySelector('rect').getBoundingClientRect().width")
        assert bar / browser.value(f"{place}.getBoundingClientRect().width") == pytest.approx(
            57.5 / 75, abs=0.02
        )
        # No label reaches over its tile.
        over = browser.value(
            f"[...{shown}[0].querySelectorAll('g')].filter(g => g.querySelector('text') && "
            "g.querySelector('text').getBoundingClientRect().right > "
            "g.querySelector('rect').getBoundingClientRect().right + 1).length"
        )
        assert over == 0
        browser.picture(tmp_path / f"{width}-{dark}.png")
    assert len(backs) == 2


def test_hostile_texts_in_a_browser(world: World, browser: Browser) -> None:
    path = hostile(world)
    browser.open(path, width=360)
    assert browser.requests == [path.as_uri()]
    assert browser.value("document.scripts.length + document.images.length") == 0
    assert browser.value("document.documentElement.scrollWidth") == 360
    assert HOSTILE in browser.value("document.body.innerText")


def test_the_verb(
    world: World,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("IMAGEBUILDER_CACHE", str(tmp_path / "cache"))
    at = ["-C", str(world.project.root), "report"]
    assert main([*at, "r"]) == 2
    assert "nothing of 'r' was built here" in capsys.readouterr().err
    assert main([*at, "--all"]) == 0
    assert main(at) == 2
    image = world.build()
    assert main([*at, "--json", "r"]) == 0
    said = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert said == {"page": {"recipe": "r", "path": str(image.path / "report.html")}}
    assert main([*at, "--all", "--output", f"{tmp_path}/pages/"]) == 0
    assert (tmp_path / "pages/r.html").is_file()
    assert main([*at, "r", "--image", image.id, "--output", str(tmp_path / "one.html")]) == 0
    assert (tmp_path / "one.html").is_file()
