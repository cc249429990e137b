"""Releases of a catalog as sides of a comparison, and the command that compares."""

from __future__ import annotations

import html
import json
from collections.abc import Sequence
from pathlib import Path

import pytest
from fakes import FakeEngine, MakeProject
from images import KICKSTART, make

from imagebuilder import Image, Options, build_image
from imagebuilder.catalog import Catalog, Release, TestEvidence
from imagebuilder.cli.main import main
from imagebuilder.comparison import Comparison, Named, compare_images
from imagebuilder.engines import Request
from imagebuilder.errors import CatalogError, InputError
from imagebuilder.lockfile import Change
from imagebuilder.stores.file import FileStore


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IMAGEBUILDER_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("os.fsync", lambda fd: None)


@pytest.fixture
def catalog(tmp_path: Path) -> Catalog:
    return Catalog.open((tmp_path / "catalog").as_uri())


@pytest.fixture
def first(tmp_path: Path, catalog: Catalog) -> Release:
    """The release that the channel ``testing`` names."""
    return published(catalog, make(tmp_path))


@pytest.fixture
def other(tmp_path: Path) -> Image:
    """An image with another kernel argument, package and file."""
    return make(
        tmp_path,
        kernel_args=("quiet", "debug"),
        packages={"htop": "3.2"},
        kickstart=KICKSTART.replace("vim\n", "vim\nhtop\n"),
        tree={"etc/motd": "hi\n"},
    )


def published(catalog: Catalog, image: Image, channel: str = "testing") -> Release:
    report = (image.path / "smoke/report.json").read_bytes()
    evidence = TestEvidence(image_id=image.id, passed=True, report=report)
    return catalog.publish(image, channel=channel, evidence=evidence)


def told(found: Comparison) -> list[str]:
    return [str(each) for each in found.differences]


class Fetched:
    """Says which roles of a release were read from the store."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.digests: list[str] = []
        fetch = FileStore.fetch

        def noting(store: FileStore, key: str, *argv: object, **options: object) -> None:
            self.digests.append(str(options["sha256"]))
            fetch(store, key, *argv, **options)  # type: ignore[arg-type]

        monkeypatch.setattr(FileStore, "fetch", noting)

    def roles(self, release: Release) -> list[str]:
        roles = {each.sha256: each.role for each in release.artefacts}
        return sorted(roles[each] for each in self.digests if each in roles)


SMALL = ["kickstart", "packages", "sbom", "test-report"]


def test_of_a_release_only_what_is_needed_is_fetched(
    catalog: Catalog, first: Release, other: Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetched = Fetched(monkeypatch)
    found = compare_images(first, other, catalog=catalog)
    assert fetched.roles(first) == SMALL
    assert told(found) == ["+ kernel argument debug", "+ package htop: 3.2"]
    assert found.measures[0].old == first.artefact("rootfs").size  # type: ignore[union-attr]
    fetched.digests.clear()
    deep = compare_images(first, other, catalog=catalog, files=True)
    assert fetched.roles(first) == ["initrd", *SMALL[:2], "rootfs", *SMALL[2:]]
    assert told(deep) == [
        "+ kernel argument debug",
        "+ package htop: 3.2",
        "~ file /etc/motd: size 6 B → size 3 B",
    ]
    assert any(each.name.startswith("time to boot") for each in deep.measures)


def test_two_releases_by_version_and_channel(
    catalog: Catalog, first: Release, other: Image, tmp_path: Path
) -> None:
    second = published(catalog, other, "beta")
    names = [f"base@{first.version}", "base@beta"]
    found = compare_images(*(Named.read(each) for each in names), catalog=catalog)
    assert (found.old, found.new) == (
        f"base {first.version}",
        f"base@beta {second.version}",
    )
    assert told(found) == ["+ kernel argument debug", "+ package htop: 3.2"]
    with pytest.raises(CatalogError, match="no channel 'gone'"):
        compare_images(Named.read("base@gone"), other, catalog=catalog)
    with pytest.raises(InputError, match="no catalog is named"):
        compare_images(Named.read("base@testing"), other)


def blob(tmp_path: Path, release: Release, role: str) -> Path:
    digest = next(each.sha256 for each in release.artefacts if each.role == role)
    return tmp_path / "catalog/blobs/sha256" / digest[:2] / digest


@pytest.mark.parametrize("role", ["packages", "kickstart", "sbom", "test-report"])
def test_what_was_tampered_with_is_refused(
    catalog: Catalog, first: Release, other: Image, tmp_path: Path, role: str
) -> None:
    path = blob(tmp_path, first, role)
    path.write_bytes(b"x" * path.stat().st_size)
    with pytest.raises(CatalogError, match="has other bytes"):
        compare_images(first, other, catalog=catalog)


def test_a_root_that_was_tampered_with_is_never_read(
    catalog: Catalog, first: Release, other: Image, tmp_path: Path
) -> None:
    path = blob(tmp_path, first, "rootfs")
    path.write_bytes(b"x" * path.stat().st_size)
    with pytest.raises(CatalogError, match="has other bytes"):
        compare_images(first, other, catalog=catalog, files=True)
    assert list((tmp_path / "cache/work").iterdir()) == []


@pytest.mark.parametrize(
    ("role", "size"), [("sbom", 65 << 20), ("test-report", 65 << 20), ("rootfs", 65 << 30)]
)
def test_what_is_said_to_be_huge_is_not_fetched(
    catalog: Catalog, first: Release, other: Image, role: str, size: int
) -> None:
    hostile = first.model_copy(
        update={
            "artefacts": tuple(
                each.model_copy(update={"size": size}) if each.role == role else each
                for each in first.artefacts
            )
        }
    )
    with pytest.raises(CatalogError, match="so it was not fetched"):
        compare_images(hostile, other, catalog=catalog, files=True)


def test_a_squashfs_that_names_paths_elsewhere_writes_none_of_them(
    catalog: Catalog, first: Release, tmp_path: Path
) -> None:
    """What unsquashfs(1) is asked for is a list, never files: links lead nowhere."""
    hostile = make(tmp_path, tree={"etc/out": f"-> {tmp_path}/elsewhere", "etc/out2": "-> .."})
    found = compare_images(first, hostile, catalog=catalog, files=True)
    assert told(found) == [
        f"+ file /etc/out: a link, owner root:root, to {tmp_path}/elsewhere",
        "+ file /etc/out2: a link, owner root:root, to ..",
    ]
    assert not (tmp_path / "elsewhere").exists()


def test_a_release_without_what_says_of_it_is_compared_as_far_as_it_goes(
    catalog: Catalog, first: Release, other: Image
) -> None:
    kept = tuple(each for each in first.artefacts if each.role not in ("sbom", "kickstart"))
    found = compare_images(first.model_copy(update={"artefacts": kept}), other, catalog=catalog)
    assert "+ package htop: 3.2" in told(found)
    assert [each.partition(": ")[2] for each in found.notes] == [
        "its kickstart is not there",
        "its bill of materials cannot be read",
    ]
    fewer = tuple(each for each in kept if each.role != "packages")
    with pytest.raises(InputError, match="no list of packages"):
        compare_images(first.model_copy(update={"artefacts": fewer}), other, catalog=catalog)


# ----- the command --------------------------------------------------------------------------------


def test_the_command(
    catalog: Catalog,
    first: Release,
    other: Image,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    where = ["--catalog", catalog.url, "-C", str(tmp_path)]
    assert main(["diff", "base@testing", str(other.path), *where]) == 0
    out = capsys.readouterr().out
    assert out.startswith(f"base@testing {first.version} → base {other.id}\n  + kernel argument")
    assert "note: files were not compared" in out
    folder = f"build/base/{other.id}"  # below the project
    assert main(["diff", folder, "--channel", "testing", *where, "--files", "--json"]) == 0
    data = json.loads(capsys.readouterr().out.splitlines()[-1])["diff"]
    assert data["with_files"]
    assert [each["kind"] for each in data["differences"]] == ["kernel argument", "package", "file"]
    assert main(["diff", folder, "--channel", "testing", *where, "-q"]) == 1
    assert main(["diff", f"build/base/{first.image}", "--channel", "testing", *where, "-q"]) == 0
    assert capsys.readouterr().out == ""
    for argv, status in (
        (["base@testing"], 2),
        (["base@testing", "build/gone", *where], 2),
        (["base@testing", "--channel", "beta", *where], 2),
        (["--channel", "testing", "--since", "HEAD", *where], 2),
        (["base@gone", folder, *where], 4),
    ):
        assert main(["diff", *argv]) == status, argv


def test_markdown(
    catalog: Catalog,
    first: Release,
    other: Image,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    argv = ["diff", "--channel", "testing", "--catalog", catalog.url, "--format", "markdown"]
    assert main([*argv, str(other.path), "--files"]) == 0
    said = capsys.readouterr().out
    assert [line for line in said.splitlines() if line.startswith("- ")] == [
        "- `+ kernel argument debug`",
        "- `+ package htop: 3.2`",
        "- `~ file /etc/motd: size 6 B → size 3 B`",
    ]
    assert "<details><summary>sizes and times: " in said
    assert main([*argv, str(tmp_path / "build/base" / first.image)]) == 0
    assert "**No effective change.**" in capsys.readouterr().out


def test_a_page_that_needs_nothing_else(
    catalog: Catalog,
    first: Release,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    hostile = make(tmp_path, tree={"etc/motd": "</pre><script>alert(1)</script>\n"})
    argv = ["diff", "base@testing", str(hostile.path), "--catalog", catalog.url, "--files"]
    assert main([*argv, "--format", "html"]) == 0
    page = capsys.readouterr().out
    assert "<script" not in page
    assert "+&lt;/pre&gt;&lt;script&gt;" in page
    assert "http" not in page.replace("http-equiv", "")  # nothing is fetched
    assert "default-src 'none'" in html.unescape(page)


def test_a_recipe_that_is_not_built_is_compared_by_what_it_asks_for(
    catalog: Catalog,
    first: Release,
    make_project: MakeProject,
    fake_engine: FakeEngine,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    project = make_project(
        {
            "recipes/base.toml": 'distro = "debian-12"\nkickstarts = ["a.ks"]\n'
            '[kernel]\nargs = ["quiet", "debug"]\n[[files]]\nsource = "x"\npath = "/x"\n',
            "recipes/web.toml": 'extends = "base"\n',
            "recipes/broken.toml": 'extends = "gone"\n',
            "kickstarts/a.ks": KICKSTART.replace("22:tcp", "22:tcp,80:tcp"),
            "x": "x",
        }
    )
    argv = ["diff", "--channel", "testing", "--catalog", catalog.url, "-C", str(project.root)]
    assert main(argv) == 2
    assert "known only once it is built" in capsys.readouterr().err
    index = {"base-files": "12.4", "vim": "2:9.0-2"}
    monkeypatch.setattr(type(fake_engine), "packages", lambda *_: index, raising=False)
    for name in ("check_needs", "units"):
        monkeypatch.setattr(type(fake_engine), name, lambda *_: None, raising=False)
    assert main(argv) == 0
    out = capsys.readouterr().out
    assert out.splitlines()[:4] == [
        f"base@testing {first.version} → base (not built)",
        "  + kernel argument debug",
        "  ~ package vim: 2:9.0-1 → 2:9.0-2",
        "  + port 80:tcp: open  (kickstart.ks:2)",
    ]
    assert "the files that it copies are compared once it is built" in out
    assert main([*argv, "web"]) == 4  # no such channel
    assert main([*argv, "--channel", "none"]) == 2
    (project.root / "imagebuilder.toml").write_text("wrong = [")
    assert main([*argv, "base"]) == 2
    assert "cannot be read" in capsys.readouterr().err


def test_the_package_index_says_what_is_a_security_update(
    catalog: Catalog,
    first: Release,
    make_project: MakeProject,
    fake_engine: FakeEngine,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    asked: list[tuple[str, str, str]] = []

    def security_of(_: FakeEngine, request: Request, changes: Sequence[Change]) -> frozenset[str]:
        assert request.offline  # no network is used to say it
        asked.extend((each.name, each.old, each.new) for each in changes)
        return frozenset({"vim"})

    for name in ("make_lock", "check_lock"):
        monkeypatch.setattr(type(fake_engine), name, lambda *_: None, raising=False)
    monkeypatch.setattr(type(fake_engine), "security_of", security_of, raising=False)
    project = make_project({"recipes/base.toml": 'distro = "debian-12"\n'})
    newer = make(tmp_path, packages={"vim": "2:9.1-1", "base-files": "12.5", "new": "1"})
    found = compare_images(first, newer, catalog=catalog, project=project)
    assert asked == [
        ("base-files", "12.4", "12.5"), ("new", "", "1"), ("vim", "2:9.0-1", "2:9.1-1"),
    ]  # fmt: skip
    assert told(found) == [
        "~ package base-files: 12.4 → 12.5",
        "+ package new: 1",
        "~ package vim: 2:9.0-1 → 2:9.1-1 (security)",
    ]
    assert found.notes == ()
    without = compare_images(first, newer, catalog=catalog)
    assert without.notes[0].startswith("which updates are security updates is not known")


def test_a_recipe_that_is_built_is_its_image(
    make_project: MakeProject, fake_engine: FakeEngine, tmp_path: Path
) -> None:
    project = make_project({"recipes/base.toml": 'distro = "debian-12"\n', "kickstarts/a.ks": ""})
    options = Options.make()
    built = build_image(project, "base", options)
    found = compare_images(built, Named.read("base"), project=project, files=False, options=options)
    assert found.new == f"base {built.id}"
    assert found.is_same


def test_names() -> None:
    assert Named.read("base@stable").which == "stable"
    assert Named.read("a-b.c").kind == "recipe"
    with pytest.raises(InputError, match="holds no image"):
        Named.read("build/gone/latest")
