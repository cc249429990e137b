"""Releases and images of others: what is asked of them, and where their bytes come from."""

from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from fakes import small_image

from imagebuilder import pipeline, smoke, subjects
from imagebuilder.catalog import Catalog
from imagebuilder.cli.main import main
from imagebuilder.errors import CatalogError, InputError
from imagebuilder.image import (
    BOOT_SCRIPT,
    EROFS,
    INITRD,
    KERNEL,
    ROOTFS,
    Image,
)
from imagebuilder.project import Project
from imagebuilder.smoke import SmokeReport, Subject
from imagebuilder.smoke.report import digest_of
from imagebuilder.stores.file import FileStore


@pytest.fixture
def image(tmp_path: Path) -> Image:
    return small_image(tmp_path / "image", kernel_args=("quiet",))


@pytest.fixture
def catalog(image: Image, tmp_path: Path) -> Path:
    """A catalog with one release, in a folder."""
    folder = tmp_path / "catalog"
    project = Project.open(_project(tmp_path))
    pipeline.publish_image(project, image, None, catalog=str(folder), override="a test")
    return folder


def _project(tmp_path: Path) -> Path:
    root = tmp_path / "project"
    (root / "recipes").mkdir(parents=True, exist_ok=True)
    (root / "kickstarts").mkdir(exist_ok=True)
    (root / "recipes/base.toml").write_text(
        'distro = "debian-12"\n[smoke]\ncpus = 3\n[[checks]]\nunit = "ssh.service"\n'
    )
    return root


@pytest.fixture
def web(catalog: Path) -> Iterator[str]:
    """The catalog's folder on a web server, as buckets that are public show it."""

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), partial(Handler, directory=str(catalog))
    )
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    server.server_close()
    thread.join()


def test_a_release_of_a_folder_is_served_from_its_files(catalog: Path, tmp_path: Path) -> None:
    subject = subjects.release_subject("base@testing", Catalog.open(str(catalog)), tmp_path / "out")
    assert subject.script == "boot/base/testing.ipxe"
    assert subject.id == "0123456789abcdef"
    assert {each.name for each in subject.files.values()} == {BOOT_SCRIPT, KERNEL, INITRD, ROOTFS}
    kernel = subject.local(KERNEL)
    assert kernel
    assert kernel.read_text() == "this is vmlinuz\n"
    script = subject.local(BOOT_SCRIPT)
    assert script
    for path in subject.files:
        assert path == subject.script or "${base}" + path in script.read_text()


def test_a_release_whose_root_is_an_erofs(tmp_path: Path) -> None:
    image = small_image(tmp_path / "image", rootfs=EROFS)
    catalog = Catalog.open(str(tmp_path / "catalog"))
    pipeline.publish_image(
        Project.open(_project(tmp_path)), image, None, catalog=catalog, override="a test"
    )
    release = catalog.show("base", "testing")
    root = release.artefact("rootfs")
    assert root
    assert root.name == EROFS
    subject = subjects.release_subject("base@testing", catalog, tmp_path / "out")
    assert {each.name for each in subject.files.values()} == {BOOT_SCRIPT, KERNEL, INITRD, EROFS}
    built = Subject.of_image(image)
    assert subject.sizes == built.sizes
    assert built.sizes[ROOTFS] == image.rootfs.stat().st_size
    assert built.local(EROFS) == image.rootfs


def test_a_release_of_a_public_bucket_has_its_urls(
    catalog: Path, web: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FileStore, "public_url", web)
    subject = subjects.release_subject("base@testing", Catalog.open(str(catalog)), tmp_path / "out")
    assert subject.local(KERNEL) is None
    assert subject.served(BOOT_SCRIPT).source == f"{web}boot/base/testing.ipxe"
    assert subject.source.startswith(f"{web}boot/base/testing.ipxe (")


def test_a_release_of_a_private_bucket_has_signed_ones(
    catalog: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Refuses(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_error(403)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Refuses)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    url = f"http://127.0.0.1:{server.server_port}/"
    monkeypatch.setattr(FileStore, "public_url", url)
    monkeypatch.setattr(
        FileStore, "presigned_url", lambda _self, key, seconds: f"{url}{key}?signed={seconds}"
    )
    opened = Catalog.open(str(catalog))
    subject = subjects.release_subject("base@testing", opened, tmp_path / "out")
    assert subject.served(KERNEL).source == f"{url}{_key(subject, KERNEL)}?signed=86400"
    assert "signed" not in subject.source, "a signature is a secret"
    server.shutdown()
    server.server_close()
    thread.join()
    with pytest.raises(CatalogError, match="does not answer"):
        subjects.release_subject("base@testing", opened, tmp_path / "out")


def _key(subject: Subject, name: str) -> str:
    return next(key for key, each in subject.files.items() if each.name == name)


def test_a_file_says_what_is_asked(tmp_path: Path) -> None:
    (tmp_path / "asked.toml").write_text(
        '[smoke]\npaths = ["kernel"]\n[[checks]]\nscript = "look.sh"\n'
        '[[checks]]\nunit = "a.service"\n'
    )
    (tmp_path / "look.sh").write_text("#!/bin/sh\n")
    asked = subjects.question_of_file(tmp_path / "asked.toml")
    assert asked.machine.paths == ("kernel",)
    assert [check.kind for check in asked.checks] == ["script", "unit"]
    (tmp_path / "asked.toml").write_text('[smoke]\n\ndistro = "x"\n')
    with pytest.raises(InputError) as caught:
        subjects.question_of_file(tmp_path / "asked.toml")
    assert caught.value.where
    assert caught.value.where.line == 3
    (tmp_path / "asked.toml").write_text('[smoke]\n[kernel]\nargs = ["quiet"]\n')
    with pytest.raises(InputError, match="'kernel' is no part") as caught:
        subjects.question_of_file(tmp_path / "asked.toml")
    assert caught.value.where
    assert caught.value.where.line == 2


@pytest.fixture
def booted(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Subject, Any, Any]]:
    """What would have been booted, with its checks and its machine."""
    calls: list[tuple[Subject, Any, Any]] = []

    def smoke_test(subject: Subject, checks: Any, options: Any, **_: Any) -> SmokeReport:
        calls.append((subject, checks, options))
        return SmokeReport(
            image=subject.id,
            recipe=subject.recipe,
            source=subject.source,
            tested=digest_of(checks, options),
            started="2026-01-01T00:00:00Z",
            seconds=1.0,
            passed=subject.recipe != "broken",
        )

    monkeypatch.setattr(subjects, "smoke_test", smoke_test)
    return calls


def test_the_command_tests_a_release(
    catalog: Path,
    booted: list[tuple[Subject, Any, Any]],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    root = _project(tmp_path)
    argv = ["test", "-C", str(root), "--release", "base@testing", "--catalog", str(catalog)]
    assert main([*argv, "--json"]) == 0
    subject, checks, options = booted[0]
    assert subject.smoke_dir == root / "build/base/releases/0123456789abcdef"
    assert [check.title for check in checks] == ["unit ssh.service active"]
    assert options.cpus == 3
    data = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["report"]["image"] for line in data if "report" in line] == ["0123456789abcdef"]
    # Without a project, and with other paths.
    (tmp_path / "none").mkdir()
    argv[2] = str(tmp_path / "none")
    assert main([*argv, "--output", str(tmp_path / "out"), "--path", "pxe-uefi"]) == 0
    subject, checks, options = booted[1]
    assert subject.smoke_dir == tmp_path / "out"
    assert checks == ()
    assert options.paths == ("pxe-uefi",)


def test_the_command_tests_files(
    image: Image, booted: list[tuple[Subject, Any, Any]], tmp_path: Path
) -> None:
    argv = ["test", "--kernel", str(image.kernel), "--initrd", str(image.initrd)]
    argv += ["--rootfs", str(image.rootfs), "--args", "quiet", "--output", str(tmp_path / "out")]
    assert main(argv) == 0
    assert booted[0][0].recipe == "image"
    assert " quiet " in booted[0][0].text
    assert main([*argv, "--name", "broken"]) == 3


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["base", "--release", "base@testing"], "recipes and --release each say what to test"),
        (["--release", "base@testing", "--initrd", "x"], "--release and --initrd each say"),
        (["--kernel", "k"], "needs --initrd"),
        (["base", "--output", "x"], "--output is for releases"),
        (["--release", "base", "--catalog", "x"], "'base' names no release"),
        (["--release", "base@testing"], "no catalog is named"),
        (["--release", "base@testing", "-n"], "tested each time"),
        (["base", "--path", "floppy"], "no boot path 'floppy'"),
        (["--release", "base@testing", "--recipe", "a", "--checks", "b"], "each say what is asked"),
    ],
)
def test_a_command_line_that_cannot_be_is_refused(
    argv: list[str],
    words: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("IMAGEBUILDER_CATALOG", raising=False)
    monkeypatch.setattr(smoke, "smoke_test", lambda *_, **__: pytest.fail("would boot a machine"))
    assert main(["test", "-C", str(_project(tmp_path)), *argv]) == 2
    assert words in capsys.readouterr().err
