"""The catalog's verbs as they are typed."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from imagebuilder.catalog import Catalog, Release
from imagebuilder.cli.main import main

from .conftest import MakeImage, passing

Run = Callable[..., tuple[int, str]]


@pytest.fixture
def run(root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    def command(*argv: str) -> tuple[int, str]:
        status = main([*argv, "--catalog", str(root), "-C", str(tmp_path / "project")])
        return status, capsys.readouterr().out

    return command


def lines(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def test_promote_rollback_history(run: Run, catalog: Catalog, three: list[Release]) -> None:
    status, out = run("promote", "base", "--from", "testing", "--to", "stable", "--reason", "ok")
    assert (status, out) == (0, f"base: channel stable names {three[2].version} (generation 1)\n")
    assert run("promote", "base", "--version", three[0].version, "--to", "stable")[0] == 0
    status, out = run("rollback", "base", "--channel", "stable", "--json")
    assert status == 0
    moved = lines(out)[-1]["channel"]
    assert (moved["release"], moved["generation"]) == (three[2].version, 3)
    status, out = run("catalog", "history", "base", "stable", "--json")
    assert [each["move"]["action"] for each in lines(out)] == ["promote", "promote", "rollback"]
    assert "ok" in run("catalog", "history", "base", "stable")[1]
    assert run("rollback", "base", "--channel", "stable")[0] == 4
    assert run("promote", "base", "--from", "nix", "--to", "stable")[0] == 4
    assert run("promote", "base", "--from", "testing", "--to", "a/b")[0] == 2


def test_promote_what_the_policy_lets_through(
    run: Run, catalog: Catalog, make_image: MakeImage, tmp_path: Path, three: list[Release]
) -> None:
    (tmp_path / "project/recipes").mkdir(parents=True)
    settings = tmp_path / "project/imagebuilder.toml"
    settings.write_text('[channels.stable]\nfrom = "testing"\ntested = true\n')
    tested, untested, pinned = (make_image(name) for name in ("tested", "untested", "pinned"))
    for image in (tested, pinned):
        catalog.publish(image, channel="testing", evidence=passing(image))
    catalog.publish(untested, channel="testing", evidence=None, override="the lab is down")
    catalog.promote("pinned", "testing", to="stable")
    catalog.pin("pinned", "stable", reason="rack 12 moves")
    newer = make_image("pinned", seed=2)
    catalog.publish(newer, channel="testing", evidence=passing(newer))
    catalog.promote("base", "testing", to="stable")  # is there already
    status, out = run("promote", "--all", "--from", "testing", "--to", "stable", "--json")
    assert status == 0
    moved = [each["channel"]["name"] for each in lines(out) if "channel" in each]
    assert moved == ["tested"]
    kept = {each["kept"]["name"]: each["kept"]["reason"] for each in lines(out) if "kept" in each}
    assert kept == {
        "untested": "no test of exactly this image has passed",
        "pinned": "channel stable is pinned: rack 12 moves",
    }
    assert catalog.show("tested", "stable").image == tested.id
    # Once more: nothing is left to do, and the same ones stay.
    status, out = run("promote", "--all", "--from", "testing", "--to", "stable")
    assert status == 0
    assert out.count(" stays: ") == len(out.splitlines()) == 2
    for wrong in (["--all", "base"], [], ["--all", "--override", "x"]):
        assert run("promote", *wrong, "--from", "testing", "--to", "stable")[0] == 2
    assert run("promote", "--all", "--version", three[0].version, "--to", "stable")[0] == 2


def test_promote_all_goes_on_after_a_failure(
    run: Run, catalog: Catalog, make_image: MakeImage, root: Path, three: list[Release]
) -> None:
    broken, whole = make_image("broken"), make_image("whole")
    for image in (broken, whole):
        catalog.publish(image, channel="testing", evidence=passing(image))
    release = catalog.show("broken", "testing")
    digest = release.artefacts[2].sha256
    (root / f"blobs/sha256/{digest[:2]}/{digest}").unlink()
    assert run("promote", "--all", "--from", "testing", "--to", "stable")[0] == 4
    named = {each.name for each in catalog.channels() if each.channel == "stable"}
    assert named == {"base", "whole"}


def test_verify(run: Run, root: Path, three: list[Release]) -> None:
    status, out = run("catalog", "verify")
    assert status == 0
    assert "whole: 3 releases, 1 channels" in out
    (root / "boot/base/testing.ipxe").unlink()
    status, out = run("catalog", "verify", "--quick", "--json")
    assert status == 4
    found = lines(out)
    assert found[-1]["verified"]["ok"] is False
    assert "testing.ipxe" in next(each["finding"]["where"] for each in found if "finding" in each)


def test_gc(run: Run, catalog: Catalog, root: Path, tmp_path: Path, three: list[Release]) -> None:
    assert "would delete 0 releases" in run("catalog", "gc", "--dry-run")[1]
    strict = ["--keep-last", "1", "--keep-days", "0", "--rollback-steps", "1", "--grace-hours", "0"]
    assert run("catalog", "running", "base", three[0].version, "--host", "n1")[0] == 0
    assert "host n1 runs it" in run("catalog", "gc", "-n", *strict)[1]
    status, out = run("catalog", "gc", *strict, "--running-days", "0", "--json")
    assert status == 0
    freed = lines(out)[-1]["freed"]
    assert (freed["releases"], freed["failures"], freed["dry_run"]) == (1, 0, False)
    assert len(catalog.releases()) == 2
    assert run("catalog", "gc", "--keep-last", "0")[0] == 2
    # The policy is the project file's, and nothing is deleted when that cannot be read.
    settings = tmp_path / "project/imagebuilder.toml"
    (tmp_path / "project/recipes").mkdir(parents=True)
    settings.write_text("[retention]\nkeep_last = 0\n")
    assert run("catalog", "gc")[0] == 2
    settings.write_text("[retention]\nkeep_days = 0\ngrace_hours = 0\n")
    assert "deleted 0 releases" in run("catalog", "gc")[1]
    assert len(catalog.releases()) == 2


def test_export(run: Run, root: Path, tmp_path: Path, three: list[Release]) -> None:
    url = "http://images.example/"
    status, out = run("catalog", "export", "fcos", "--url", url, "--json")
    assert status == 0
    assert lines(out)[-1]["exported"]["files"] == 2
    assert (root / "exports/fcos/base/streams/testing.json").is_file()
    out_dir = tmp_path / "out"
    assert run("catalog", "export", "simplestreams", "--output", str(out_dir))[0] == 0
    assert (out_dir / "streams/v1/index.json").is_file()
    assert run("catalog", "export", "fcos")[0] == 2
    assert run("catalog", "export", "iso")[0] == 2
    assert run("catalog", "export")[0] == 2
    status, out = run("catalog", "page", "--output", str(out_dir), "--json")
    assert lines(out)[-1]["page"]["path"] == str(out_dir / "index.html")
    assert three[2].version in (out_dir / "index.html").read_text()
    assert run("catalog", "page", "--output", str(out_dir), "--url", "x:y")[0] == 2
    # What the project file asks for is written with each change of the project's own catalog.
    settings = tmp_path / "project/imagebuilder.toml"
    (tmp_path / "project/recipes").mkdir(parents=True)
    wanted = f'[exports]\nformats = ["matchbox"]\nurl = "{url}"\n'
    settings.write_text(f'catalog = "{root}"\n{wanted}')
    assert run("promote", "base", "--from", "testing", "--to", "stable")[0] == 0
    profile = root / "exports/matchbox/profiles/base+stable.json"
    assert three[2].version in profile.read_text()
    assert run("catalog", "pin", "base", "--channel", "stable", "--reason", "x")[0] == 0
    assert run("catalog", "unpin", "base", "--channel", "stable")[0] == 0
    settings.write_text(f'catalog = "{tmp_path}/other"\n{wanted}')
    assert run("rollback", "base", "--channel", "testing")[0] == 0
    assert three[1].version not in str(list(root.glob("exports/matchbox/profiles/*")))
    assert (
        not (root / "exports/matchbox/profiles/base+testing.json")
        .read_text()
        .count(three[1].version)
    )


def test_sync(
    catalog: Catalog,
    three: list[Release],
    root: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def sync(*options: str) -> tuple[int, str]:
        status = main(["catalog", "sync", str(root), (tmp_path / "mirror").as_uri(), *options])
        return status, capsys.readouterr().out

    status, out = sync("--dry-run")
    assert (status, "would get 3 releases" in out) == (0, True)
    assert "would move  base testing\n" in out
    assert not (tmp_path / "mirror").exists()
    assert sync("--recipe", "other", "--json")[0] == 0
    status, out = sync()
    assert (status, "got 3 releases" in out) == (0, True)
    assert "moved       base testing\n" in out
    status, out = sync("--json")
    assert lines(out)[-1]["synced"]["releases"] == 0
    (root / "channels/base/testing.json").write_text("{}")
    assert sync()[0] == 4
    assert sync("--recipe", "../x")[0] == 2
    assert main(["catalog", "sync", str(root), str(root)]) == 2
