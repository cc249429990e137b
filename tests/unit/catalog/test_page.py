"""The page of a catalog: what it shows, and that nothing in a store gets out of its place."""

import base64
import hashlib
import json
import re
import time
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path

import pytest

from imagebuilder.catalog import Catalog, Release
from imagebuilder.catalog.envelope import FileSigner, make_key
from imagebuilder.catalog.exports import page
from imagebuilder.catalog.model import Channel, Index, IndexEntry, dump
from imagebuilder.errors import CatalogError, HostError
from imagebuilder.policies import Exports

from .conftest import MakeImage, image_at, passing

VOID = {"meta", "input", "br", "link", "img"}
OURS = {
    *("html", "head", "meta", "title", "style", "body", "script", "div", "header", "main"),
    *("footer", "section", "article", "h1", "h2", "h3", "ul", "li", "p", "b", "span", "code", "a"),
    *("time", "input", "dl", "dt", "dd", "br", "details", "summary", "table", "thead", "tbody"),
    *("tr", "th", "td", "button"),
}


@dataclass
class Seen(HTMLParser):
    """What a browser would see: texts, elements, addresses."""

    texts: list[str] = field(default_factory=list)
    tags: set[str] = field(default_factory=set)
    links: list[str] = field(default_factory=list)
    attributes: set[str] = field(default_factory=set)
    policy: str = ""
    inside: list[str] = field(default_factory=list)
    inline: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        super().__init__()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes.update(name for name, _ in attrs)
        given = dict(attrs)
        if "href" in given:
            self.links.append(given["href"] or "")
        if given.get("http-equiv") == "Content-Security-Policy":
            self.policy = given["content"] or ""
        if tag not in VOID:
            self.inside.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.inside.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.inside and self.inside[-1] in ("style", "script"):
            self.inline[self.inside[-1]] = data
        elif data.strip():
            self.texts.append(data.strip())

    @property
    def text(self) -> str:
        return " ".join(self.texts)


def seen(path: Path) -> Seen:
    """Look at a page as a browser would; whatever it shows, it must need nothing else."""
    text = path.read_text()
    found = Seen()
    found.feed(text)
    found.close()
    assert found.inside == []
    assert found.tags <= OURS
    assert not any(name.startswith("on") or name in ("src", "style") for name in found.attributes)
    for tag in ("style", "script"):
        digest = hashlib.sha256(found.inline[tag].encode()).digest()
        assert f"{tag}-src 'sha256-{base64.b64encode(digest).decode()}'" in found.policy
    assert found.policy.startswith("default-src 'none'; ")
    assert "http" not in found.inline["script"] + found.inline["style"]
    assert not re.search(r"@import|url\(", found.inline["style"])
    return found


@pytest.fixture
def signed(catalog: Catalog, tmp_path: Path) -> list[Release]:
    releases = []
    for n in range(3):
        image = image_at(tmp_path / "build", seed=n, packages={"bash": f"5.{n}", "zlib1g": "1.2"})
        releases.append(catalog.publish(image, channel="testing", evidence=passing(image)))
    catalog.promote("base", releases[1].version, to="stable", reason="long enough")
    make_key(tmp_path / "key")
    catalog.sign("base", "stable", signers=[FileSigner.open(tmp_path / "key")])
    return releases


def test_what_it_shows(
    catalog: Catalog, root: Path, tmp_path: Path, signed: list[Release], make_image: MakeImage
) -> None:
    catalog.pin("base", "stable", reason="rack 12 moves", by="ann")
    catalog.dead_end("base", signed[0].version, reason="eats disks")
    catalog.barrier("base", signed[1].version, reason="firmware")
    catalog.rollout("base", "testing", minutes=90, percent=5)
    other = make_image("a+b")
    catalog.publish(other, channel="lab", evidence=None, override="the lab is down")
    out = catalog.write_page(tmp_path / "new/page.html", url="http://h/pxe/")
    found = seen(out)
    for each in (
        *(
            "3 checks passed",
            "Stays here: rack 12 moves (ann)",
            "dead end",
            "barrier",
            "long enough",
        ),
        *("5 % of the hosts get it from", "bash", "5.1", "5.2", "6.1.0-1-amd64", "debian-12"),
        *(signed[0].version, signed[2].version, "not tested", "the lab is down", "signed by"),
        *("console=ttyS0 quiet", "rootfs.squashfs", "can go back to it", "an image for tests"),
    ):
        assert each in found.text, each
    assert "4 releases" in re.sub(r"\s+", " ", found.text)
    assert all(each.startswith("http://h/pxe/") for each in found.links)
    assert "http://h/pxe/boot/a%2Bb/lab.ipxe" in found.links
    # Without an URL there are no links; among the catalog's objects they are relative.
    assert seen(catalog.write_page(tmp_path / "page.html")).links == []
    assert catalog.export(Exports(formats=("page",))) == 1
    assert catalog.export(Exports(formats=("page",))) == 0
    found = seen(root / "index.html")
    assert len(found.links) > 20
    for each in found.links:
        assert (root / each.replace("%2B", "+")).is_file()
    assert not list(tmp_path.glob("**/.*.new"))


def test_it_follows(root: Path, signed: list[Release], tmp_path: Path) -> None:
    catalog = Catalog.open(root.as_uri(), exports=Exports(formats=("page",)))
    catalog.promote("base", "testing", to="stable", reason="the newest")
    assert "the newest" in seen(root / "index.html").text
    catalog.sign("base", "testing", signers=[FileSigner.open(tmp_path / "key")])
    assert "not signed" not in seen(root / "index.html").text


HOSTILE = "</style></title><script>alert(1)</script>\"'><img src=x onerror=alert(1)>&amp;{{ 7*7 }}"


def test_hostile_texts_are_texts(
    catalog: Catalog, root: Path, tmp_path: Path, signed: list[Release]
) -> None:
    """Whoever can write to the store puts markup wherever a text can stand."""
    release = signed[2].model_copy(
        update={
            **dict.fromkeys(("by", "summary", "distro", "kernel_release", "git_commit"), HOSTILE),
            "kernel_args": ("x=<script>alert(2)</script>",),
        }
    )
    packages = {"packages": [{"name": HOSTILE, "version": "1\n<b>", "arch": "amd64"}]}
    data = json.dumps(packages).encode()
    digest = hashlib.sha256(data).hexdigest()
    blob = root / f"blobs/sha256/{digest[:2]}/{digest}"
    blob.parent.mkdir(exist_ok=True)
    blob.write_bytes(data)
    artefacts = tuple(
        each.model_copy(update={"sha256": digest, "size": len(data)})
        if each.role == "packages"
        else each
        for each in release.artefacts
    )
    release = release.model_copy(update={"artefacts": artefacts})
    (root / f"releases/base/{release.version}.json").write_bytes(dump(release))
    manifest = hashlib.sha256(dump(release)).hexdigest()
    path = root / "channels/base/testing.json"
    pointer = Channel.model_validate_json(path.read_bytes())
    moves = tuple(
        each.model_copy(update={"by": HOSTILE, "reason": HOSTILE}) for each in pointer.history
    )
    last = moves[-1].model_copy(update={"manifest": manifest})
    changes = {"manifest": manifest, "history": (*moves[:-1], last)}
    path.write_bytes(dump(pointer.model_copy(update=changes)))
    entries = Index.model_validate_json((root / "index.json").read_bytes()).releases
    entries = tuple(
        each.model_copy(update=dict.fromkeys(("distro", "kernel_release", "git_commit"), HOSTILE))
        for each in entries
    )
    (root / "index.json").write_bytes(dump(Index(releases=entries)))
    catalog.dead_end("base", release.version, reason=HOSTILE)
    catalog.pin("base", "testing", reason=HOSTILE)
    (root / "channels/base/broken.json").write_text("{}")
    found = seen(catalog.write_page(tmp_path / "page.html", url="http://h/"))
    assert found.text.count("alert(1)") > 15
    assert f"Do not boot it: {HOSTILE}" in found.text
    assert HOSTILE in found.texts  # a package's name
    assert "broken.json" in found.text


def test_ten_thousand_releases(catalog: Catalog, tmp_path: Path, signed: list[Release]) -> None:
    store = catalog.store
    entries = []
    for n in range(10_000):
        version = f"20{20 + n // 2000:02}0101T{n % 2000 // 60 % 24:02}{n % 60:02}00Z-{n:016x}"
        entries.append(
            IndexEntry(
                name=f"recipe-{n % 100:02}",
                version=version,
                image=f"{n:016x}",
                manifest=f"{n:064x}",
                created="2026-01-01T00:00:00Z",
                distro="debian-12",
                kernel_release="6.1.0-1-amd64",
                package_count=n,
                size=n * 1000,
                tested=True,
            )
        )
    found = store.get("index.json")
    assert found
    there = Index.model_validate_json(found.data).releases
    ordered = sorted([*entries, *there], key=lambda each: (each.name, each.version))
    store.put("index.json", dump(Index(releases=tuple(ordered))))
    began = time.process_time()
    out = catalog.write_page(tmp_path / "page.html")
    assert time.process_time() - began < 10  # it takes about 1 s
    text = out.read_text()
    assert len(text) < 3_000_000
    assert "8003 older releases are left out" in text
    # What a channel names is shown however old it is.
    assert text.count(signed[1].version) > 2


def test_bounds_of_lists(
    catalog: Catalog, tmp_path: Path, signed: list[Release], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(page, "_PACKAGES", 1)
    assert "and 1 more" in seen(catalog.write_page(tmp_path / "page.html")).text
    catalog.promote("base", signed[2].version, to="also")
    assert "The same as in also." in seen(catalog.write_page(tmp_path / "page.html")).text
    monkeypatch.setattr(page, "_ALL_PACKAGES", 1)
    text = seen(catalog.write_page(tmp_path / "page.html")).text
    assert "bash 5.2 and 1 more" in text
    assert "The list is not shown here." in text
    monkeypatch.setattr(page, "_LISTS", 0)
    assert "The list is not shown here." in seen(catalog.write_page(tmp_path / "page.html")).text
    monkeypatch.setattr(page, "_RECIPES", 0)
    assert "1 more recipes" in seen(catalog.write_page(tmp_path / "page.html")).text


def test_what_cannot_be_written_is_said(
    catalog: Catalog, tmp_path: Path, signed: list[Release]
) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(HostError, match="cannot be written"):
        catalog.write_page(tmp_path / "file/page.html")
    with pytest.raises(CatalogError, match="no catalog"):
        Catalog.open(str(tmp_path / "nothing")).write_page(tmp_path / "page.html")
