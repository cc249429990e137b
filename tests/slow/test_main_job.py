"""The way through the whole, as the README has it: build, boot, publish, fetch."""

from __future__ import annotations

import json
import os
import re
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest
import seaweed
from pipelines import change
from pipelines.place import Place
from support import ROOT, Cli

import imagebuilder

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def published(
    base_image: imagebuilder.Image,
    base_project: imagebuilder.Project,
    cache_dir: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """A catalog with ``base`` in it, by the Python lines of the README."""
    folder = tmp_path_factory.mktemp("catalog")
    lines = re.search(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert lines
    code = lines[1].replace("/tmp/catalog", str(folder))
    assert code.count("\n") <= 12
    _run(code, base_project.root, cache_dir)
    return folder


def _run(code: str, cwd: Path, cache_dir: Path) -> None:
    before, home = os.environ.get("IMAGEBUILDER_CACHE"), Path.cwd()
    os.environ["IMAGEBUILDER_CACHE"] = str(cache_dir)
    os.chdir(cwd)
    try:
        exec(compile(textwrap.dedent(code), "example", "exec"), {})
    finally:
        os.chdir(home)
        if before is None:
            del os.environ["IMAGEBUILDER_CACHE"]
        else:
            os.environ["IMAGEBUILDER_CACHE"] = before


def test_report_says_what_was_tested(published: Path, base_image: imagebuilder.Image) -> None:
    report = json.loads((base_image.path / "smoke/report.json").read_text())
    assert report["passed"]
    boot = report["boots"][0]
    assert boot["path"] == "pxe-bios"
    assert boot["accelerator"]["used"] in ("kvm", "tcg")
    assert boot["accelerator"]["why"]
    assert boot["kernel"] == base_image.facts.kernel_release
    assert 1 < boot["seconds_to_multi_user"] < 600
    assert {check["outcome"] for check in boot["checks"]} == {"passed"}
    assert len(boot["checks"]) > 5
    base_image.verify()  # the tested bytes are those that were built


def test_published_again_by_the_command_nothing_is_done(
    published: Path, base_project: imagebuilder.Project, cli: Cli
) -> None:
    before = {path: path.stat().st_mtime_ns for path in published.rglob("*")}
    result = cli("publish", "base", "--catalog", f"file://{published}", cwd=base_project.root)
    assert result.returncode == 0, result.stderr
    assert result.stderr.count("up to date") == 3  # image, smoke, publish
    assert re.search(r"release \S+ is in channel testing", result.stdout)
    assert {path: path.stat().st_mtime_ns for path in published.rglob("*")} == before
    asked = cli("publish", "-q", "base", "--catalog", str(published), cwd=base_project.root)
    assert asked.returncode == 0


def test_fetched_release_is_what_was_built(
    published: Path,
    base_image: imagebuilder.Image,
    base_project: imagebuilder.Project,
    cli: Cli,
    tmp_path: Path,
) -> None:
    url = f"file://{published}"
    listed = cli("catalog", "ls", "--catalog", url, cwd=tmp_path)
    assert listed.returncode == 0, listed.stderr
    assert "testing" in listed.stdout
    shown = cli("catalog", "show", "base", "--catalog", url, "--json", cwd=tmp_path)
    assert json.loads(shown.stdout)["release"]["image"] == base_image.id
    args = ("--catalog", url, "--channel", "testing", "--output", "out")
    result = cli("catalog", "pull", "base", *args, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    for name in ("vmlinuz", "initrd.img", "rootfs.squashfs"):
        assert (tmp_path / "out" / name).read_bytes() == (base_image.path / name).read_bytes()


def test_image_that_failed_its_test_is_not_published(
    published: Path, base_image: imagebuilder.Image, base_project: imagebuilder.Project
) -> None:
    report = imagebuilder.SmokeReport.model_validate_json(
        (base_image.path / "smoke/report.json").read_bytes()
    )
    failed = report.model_copy(update={"passed": False})
    for each in (failed, None):
        with pytest.raises(imagebuilder.CatalogError):
            imagebuilder.publish_image(
                base_project, base_image, each, catalog=str(published), channel="stable"
            )


def test_lines_of_the_page_on_python_run(
    base_image: imagebuilder.Image, base_project: imagebuilder.Project, cache_dir: Path
) -> None:
    lines = re.search(r"```python\n(.*?)```", (ROOT / "docs/python.md").read_text(), re.DOTALL)
    assert lines
    _run(lines[1], base_project.root, cache_dir)
    assert (base_project.root / "build/base-quiet/latest/image.json").exists()


@pytest.fixture(scope="module")
def bucket_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[seaweed.Server]:
    """An S3 server for the catalogs of pipelines."""
    with seaweed.running(tmp_path_factory.mktemp("s3")) as server:
        yield server


@pytest.fixture
def place(
    published: Path, base_image: imagebuilder.Image, cache_dir: Path,
    bucket_server: seaweed.Server, tmp_path: Path,
) -> Place:  # fmt: skip
    """Where pipelines run; the image that was built and booted for this file is there already.

    ``ci/pipeline-local`` does the same and builds and boots for itself.
    """
    seed = base_image.path.parent.parent
    return Place(folder=tmp_path / "runs", cache=cache_dir, server=bucket_server, seed=seed)


@pytest.mark.parametrize("system", ["github", "gitlab"])
def test_the_ready_pipeline_promotes_a_change(
    system: str, place: Place, base_image: imagebuilder.Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert change.run(place, system), change.log(place)
    jobs = [job for job, _ in change.jobs(place)]
    images = {"github": "images: base", "gitlab": "images: images 1: base"}[system]
    each = ["lint", "changed", images]
    assert jobs == [*each, *each, *(["lint"] if system == "gitlab" else []), "promote"]
    for name, value in place.environment.items():
        if name.startswith("AWS_"):
            monkeypatch.setenv(name, value)
    catalog = imagebuilder.Catalog.open(place.catalog)
    stable = catalog.show("base", "stable")
    assert stable.image == base_image.id
    assert stable.tested
    assert stable == catalog.show("base", "testing")
    assert stable.git_commit == place.git("rev-parse", "main")
    # What is said on the change: the one thing that it does.
    if system == "github":
        assert "summary" in place.comment.read_text()
    pages = list(place.folder.glob("job-*/repository/pages/base.html"))
    assert len(pages) == 2
    assert all(base_image.id in page.read_text() for page in pages)


@pytest.mark.parametrize(
    ("system", "how"), [("github", "lint"), ("gitlab", "lint"), ("github", "build")]
)
def test_the_ready_pipeline_stops_where_a_recipe_is_broken(
    system: str, how: str, place: Place
) -> None:
    assert not change.run(place, system, how)
    jobs = dict(change.jobs(place))
    failed = [job for job, state in jobs.items() if state == "failed"]
    assert failed == {"lint": ["lint"], "build": ["images: base"]}[how]
    assert "promote" not in jobs
    log = next(each.log for each in place.ran if each.state == "failed")
    line = change.BROKEN[how][1]
    assert f"{change.FRAGMENT}:{line}: " in log
    if system == "github":
        assert f"\n::error file={change.FRAGMENT},line={line},title=" in log
    # What failed has a page.
    if how == "build":
        (page,) = place.folder.glob("job-*/repository/pages/base.html")
        assert "the build failed" in page.read_text()
