"""What channels ask of a release, pins, approvals."""

import json
import os
import time
from pathlib import Path

import pytest
from pydantic import ValidationError

from imagebuilder.catalog import Catalog, ChannelPolicy, Release, Retention
from imagebuilder.catalog.envelope import FileSigner, make_key
from imagebuilder.cli.main import main
from imagebuilder.errors import CatalogError, InputError
from imagebuilder.project import Project

from .conftest import MakeImage, passing
from .consistency import broken_promises


def policy(**values: object) -> ChannelPolicy:
    return ChannelPolicy.model_validate(values)


@pytest.fixture
def two(catalog: Catalog, make_image: MakeImage) -> list[Release]:
    first, second = make_image(seed=0), make_image(seed=1)
    return [
        catalog.publish(first, channel="testing", evidence=passing(first)),
        catalog.publish(second, channel="testing", evidence=None, override="in a hurry"),
    ]


def refused(catalog: Catalog, which: str, asked: ChannelPolicy, why: str, **more: object) -> None:
    before = catalog.channels("base")
    with pytest.raises(CatalogError, match=why) as caught:
        catalog.promote("base", which, to="stable", policy=asked, **more)  # type: ignore[arg-type]
    assert caught.value.exit_status == 4
    assert "--override" in caught.value.fix
    assert catalog.channels("base") == before


def test_where_it_comes_from_and_for_how_long(
    catalog: Catalog, root: Path, two: list[Release]
) -> None:
    asked = policy(**{"from": "testing", "minimum_hours": 24})
    refused(catalog, two[0].version, asked, "channel testing does not name it")
    refused(catalog, "testing", asked, "for 0.0 hours, and 24 are asked for")
    refused(catalog, "testing", policy(**{"from": "nix"}), "channel nix does not name it")
    old = time.time() - 25 * 3600
    os.utime(root / "channels/base/testing.json", (old, old))
    assert catalog.promote("base", "testing", to="stable", policy=asked).release == two[1].version
    # What it names already is no move, and asks for nothing.
    os.utime(root / "channels/base/testing.json")
    catalog.promote("base", "testing", to="stable", policy=asked)


def test_that_its_test_passed(catalog: Catalog, two: list[Release]) -> None:
    refused(catalog, "testing", policy(tested=True), "no test of exactly this image has passed")
    catalog.promote("base", two[0].version, to="stable", policy=policy(tested=True))


def test_that_people_approved_it(catalog: Catalog, root: Path, two: list[Release]) -> None:
    asked = policy(approvals=2, tested=True)
    for _ in range(2):
        catalog.approve("base", two[0].version, who="ann", reason="looks good")
    catalog.approve("base", two[1].version, who="bob")
    refused(catalog, two[0].version, asked, "1 people have approved it, and 2 are asked for")
    # A copy under another name is no second approval.
    folder = root / f"approvals/base/{two[0].version}"
    (folder / "bob.json").write_text((folder / "ann.json").read_text())
    refused(catalog, two[0].version, asked, "1 people have approved it")
    catalog.approve("base", two[0].version, who="bob")
    catalog.promote("base", two[0].version, to="stable", policy=asked)
    for bad in ("../x", "", "a/b", "a\n"):
        with pytest.raises(InputError):
            catalog.approve("base", two[0].version, who=bad)
    with pytest.raises(CatalogError, match="no release"):
        catalog.approve("base", "20200101T000000Z-0123456789abcdef", who="ann")


def test_that_it_is_signed(catalog: Catalog, two: list[Release], tmp_path: Path) -> None:
    public = {"name": "k", "public": make_key(tmp_path / "k").read_text()}
    (tmp_path / "trust.json").write_text(json.dumps({"keys": [public]}))
    asked = policy(signatures=1, trust="trust.json")
    refused(catalog, "testing", asked, "is not signed", folder=tmp_path)
    catalog.sign("base", two[1].version, signers=[FileSigner.open(tmp_path / "k")])
    with pytest.raises(InputError, match="cannot be read"):
        catalog.promote("base", "testing", to="stable", policy=asked, folder=tmp_path / "nix")
    refused(
        catalog, "testing", asked.model_copy(update={"signatures": 2}), "needs 2", folder=tmp_path
    )
    catalog.promote("base", "testing", to="stable", policy=asked, folder=tmp_path)


def test_everything_that_lacks_is_named_and_an_override_is_kept(
    catalog: Catalog, two: list[Release]
) -> None:
    asked = policy(**{"from": "staging", "tested": True, "approvals": 1})
    refused(catalog, "testing", asked, "staging does not.*no test.*0 people")
    refused(catalog, "testing", asked, "staging", override="  ")
    moved = catalog.promote(
        "base", "testing", to="stable", policy=asked, override="a hole in ssh", reason="now"
    )
    assert moved.history[-1].reason == "override: a hole in ssh now"


def test_what_may_be_published(catalog: Catalog, make_image: MakeImage, root: Path) -> None:
    image = make_image()
    with pytest.raises(CatalogError, match="takes only what has passed"):
        catalog.publish(
            image, channel="stable", evidence=None, override="x", policy=policy(tested=True)
        )
    with pytest.raises(CatalogError, match="nothing is published to channel stable") as caught:
        catalog.publish(
            image, channel="stable", evidence=passing(image), policy=policy(**{"from": "beta"})
        )
    assert "publish to channel beta" in caught.value.fix
    assert not root.exists()
    catalog.publish(image, channel="stable", evidence=passing(image), policy=policy(tested=True))


def test_a_pinned_channel_stays(
    catalog: Catalog, root: Path, two: list[Release], make_image: MakeImage
) -> None:
    before = catalog.channel("base", "testing")
    catalog.pin("base", "testing", reason="the demo", by="ann")
    image = make_image(seed=7)
    for attempt in (
        lambda: catalog.rollback("base", "testing"),
        lambda: catalog.promote("base", two[0].version, to="testing"),
        lambda: catalog.publish(image, channel="testing", evidence=passing(image)),
    ):
        with pytest.raises(CatalogError, match=r"was pinned to .* by ann at .*: the demo"):
            attempt()
    assert catalog.promote("base", two[1].version, to="testing").release == two[1].version
    assert catalog.channel("base", "testing").history == before.history
    assert catalog.verify().ok
    catalog.unpin("base", "testing")
    assert catalog.unpin("base", "testing") == before
    assert catalog.rollback("base", "testing").release == two[0].version
    assert broken_promises(root) == []
    with pytest.raises(CatalogError, match="no channel"):
        catalog.pin("base", "nix", reason="x")


def test_approvals_go_with_their_release(catalog: Catalog, root: Path, two: list[Release]) -> None:
    catalog.approve("base", two[0].version, who="ann")
    (root / "channels/base/testing.json").unlink()
    catalog.gc(Retention(keep_last=1, keep_days=0, grace_hours=0))
    assert [path for path in (root / "approvals").rglob("*") if path.is_file()] == []


@pytest.mark.parametrize(
    "bad",
    [{"minimum_hours": 2}, {"signatures": 1}, {"approvals": -1}, {"form": "testing"}],
)
def test_policies_that_make_no_sense(bad: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        policy(**bad)


def test_the_project_file_decides(
    catalog: Catalog, root: Path, two: list[Release], tmp_path: Path
) -> None:
    project = tmp_path / "project"
    (project / "recipes").mkdir(parents=True)
    settings = project / "imagebuilder.toml"
    settings.write_text('[channels.stable]\nfrom = "testing"\napprovals = 1\n')
    assert Project.open(project).settings.channels["stable"].source == "testing"
    where = ["--catalog", str(root), "-C", str(project)]
    promote = ["promote", "base", "--from", "testing", "--to", "stable", *where]
    assert main(promote) == 4
    approve = ["catalog", "approve", "base", "--version", two[1].version, "--who", "ann"]
    assert main([*approve, *where]) == 0
    assert main(promote) == 0
    assert main(["catalog", "pin", "base", "--channel", "stable", "--reason", "demo", *where]) == 0
    assert main(["rollback", "base", "--channel", "stable", *where]) == 4
    assert main(["catalog", "unpin", "base", "--channel", "stable", *where]) == 0
    other = ["promote", "base", "--version", two[0].version, "--to", "stable", *where]
    assert main(other) == 4
    assert main([*other, "--override", "urgent"]) == 0
    settings.write_text("[channels.stable]\nminimum_hours = 2\n")
    assert main(promote) == 2
