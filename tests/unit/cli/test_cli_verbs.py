from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fakes import FakeEngine, MakeProject

from imagebuilder import pipeline, smoke
from imagebuilder.cli.main import main
from imagebuilder.engines import Request
from imagebuilder.errors import CatalogError, HostError, ImageBuilderError, Interrupted, StepError
from imagebuilder.image import Image
from imagebuilder.project import Project
from imagebuilder.sizes import human_size
from imagebuilder.smoke.report import (
    Accelerator,
    BootReport,
    CheckResult,
    Failure,
    SmokeReport,
    digest_of,
    store_report,
)

FILES = {
    "recipes/base.toml": """
        summary = "the base"
        distro = "debian-12"
        kickstarts = ["a.ks"]
        [kernel]
        args = ["quiet"]
        """,
    "recipes/leaf.toml": 'extends = "base"\nkickstarts = ["b.ks"]\n[kernel]\nargs = ["debug"]\n',
    "kickstarts/a.ks": "timezone UTC\nrootpw --plaintext geheim\n%packages\nbash\n%end\n",
    "kickstarts/b.ks": "timezone Etc/UTC\n%packages\n-bash\nzsh\n%end\n%post\ntrue\n%end\n",
}


class Cli:
    """Runs command lines in a project."""

    def __init__(self, project: Project, capsys: pytest.CaptureFixture[str]) -> None:
        self.project = project
        self._capsys = capsys
        self.out = ""
        self.err = ""

    def __call__(self, *argv: str) -> int:
        verb, *rest = argv
        try:
            return main([verb, "-C", str(self.project.root), *rest])
        finally:
            self.out, self.err = self._capsys.readouterr()

    def data(self, kind: str) -> list[Any]:
        lines = [json.loads(line) for line in self.out.splitlines()]
        return [line[kind] for line in lines if kind in line]


@pytest.fixture(autouse=True)
def no_traces(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("IMAGEBUILDER_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("IMAGEBUILDER_CATALOG", raising=False)
    monkeypatch.setattr(smoke, "smoke_test", lambda *_, **__: pytest.fail("would boot a machine"))


@pytest.fixture
def cli(
    make_project: MakeProject, fake_engine: FakeEngine, capsys: pytest.CaptureFixture[str]
) -> Cli:
    return Cli(make_project(FILES), capsys)


def listing(folder: Path) -> list[str]:
    return sorted(str(path) for path in folder.rglob("*"))


# ----- what is refused ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "argv",
    [
        ("build", "nosuch"),
        ("build", "../base"),
        ("build", "base", "nosuch"),
        ("build",),
        ("plan",),
        ("test", "nosuch"),
        ("show", "nosuch"),
        ("show", "base", "--why", "nosuch"),
        ("publish", "base"),
        ("publish", "base", "--catalog", "nosuch://x"),
        ("publish", "base", "--catalog", "s3://"),
        ("catalog", "ls"),
    ],
)
@pytest.mark.parametrize("as_json", [False, True])
def test_what_is_wrong_with_a_command_line(cli: Cli, argv: tuple[str, ...], as_json: bool) -> None:
    before = listing(cli.project.root)
    verb, *rest = argv
    if verb == "catalog":
        assert main(["catalog", *rest, *(["--json"] if as_json else [])]) == 2
        return
    assert cli(verb, *rest, *(["--json"] if as_json else [])) == 2
    assert listing(cli.project.root) == before
    if as_json:
        (error,) = cli.data("error")
        assert (error["kind"], error["exit_status"]) == ("input", 2)
        assert error["fix"]
        assert cli.err == ""
    else:
        assert cli.err.startswith("error: ")
        assert cli.out == ""


@pytest.mark.parametrize(
    "argv",
    [
        [],
        ["nosuch"],
        ["build", "--nosuch"],
        ["build", "-j", "0", "base"],
        ["build", "-j", "many", "base"],
        ["show"],
        ["catalog", "pull", "base"],
        ["catalog", "show", "base", "--channel", "a", "--version", "b"],
    ],
)
def test_what_the_parser_refuses(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(argv)
    assert caught.value.code == 2
    assert "_count" not in capsys.readouterr().err


def test_no_project(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "-C", str(tmp_path / "nosuch")]) == 2
    assert "-C DIR" in capsys.readouterr().err


@pytest.mark.parametrize(
    "argv",
    [
        ["--help"],
        ["build", "--help"],
        ["show", "--help"],
        ["catalog", "--help"],
        ["catalog", "pull", "--help"],
        ["--version"],
    ],
)
def test_help(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(argv)
    assert caught.value.code == 0
    assert "imagebuilder" in capsys.readouterr().out


def test_help_says_the_exit_statuses(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--help"])
    out = capsys.readouterr().out
    for status in ("0 done", "1 a step", "2 the recipe", "3 a smoke", "4 the catalog", "130"):
        assert status in out


# ----- looking ------------------------------------------------------------------------------------


def test_list(cli: Cli) -> None:
    assert cli("list") == 0
    assert cli.out.splitlines() == ["base  debian-12  the base", "leaf  debian-12  the base"]
    assert cli("list", "--json") == 0
    same = {
        "distro": "debian-12",
        "arch": "x86_64",
        "engine": "direct",
        "matrix": {},
        "abstract": False,
        "summary": "the base",
    }
    assert cli.data("recipe") == [
        {"name": "base", "extends": [], **same},
        {"name": "leaf", "extends": ["base"], **same},
    ]


def test_list_of_nothing(make_project: MakeProject, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "-C", str(make_project().root)]) == 0
    assert capsys.readouterr().out == ""


def test_options_before_the_verb(cli: Cli, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["-C", str(cli.project.root), "--json", "list"]) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[0])["recipe"]["name"] == "base"


def test_show(cli: Cli) -> None:
    assert cli("show", "leaf") == 0
    assert "base → leaf" in cli.out
    assert "timezone Etc/UTC" in cli.out
    assert "geheim" not in cli.out
    assert cli("show", "leaf", "--json") == 0
    (recipe,) = cli.data("recipe")
    assert recipe["lineage"] == ["base", "leaf"]
    assert recipe["kernel"]["args"] == ["quiet", "debug"]
    assert "geheim" not in cli.out


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ("kernel.args.1", ['recipes/leaf.toml:4: kernel.args.1 = "debug"']),
        ("summary", ['recipes/base.toml:1: summary = "the base"']),
        ("timezone", ["kickstarts/a.ks:1: timezone UTC", "kickstarts/b.ks:1: timezone Etc/UTC"]),
        ("rootpw", ["kickstarts/a.ks:2: rootpw --plaintext ********"]),
        ("%post", ["kickstarts/b.ks:6: %post"]),
        (
            "packages.bash",
            ["kickstarts/a.ks:4: wanted: bash", "kickstarts/b.ks:3: taken out: bash"],
        ),
    ],
)
def test_show_says_which_line_gave_a_value(cli: Cli, key: str, expected: list[str]) -> None:
    assert cli("show", "leaf", "--why", key) == 0
    lines = [line for line in cli.out.splitlines() if not line.startswith(" ")]
    assert len(lines) == len(expected)
    assert all(line.startswith(start) for line, start in zip(lines, expected, strict=True)), lines
    assert cli("show", "leaf", "--why", key, "--json") == 0
    assert len(cli.data("origin")) == len(expected)


# ----- planning and building ----------------------------------------------------------------------


def test_plan(cli: Cli) -> None:
    assert cli("plan", "base") == 0
    assert "to be built" in cli.out
    assert "because it was never made here" in cli.out
    assert "note   a note of the engine" in cli.out
    assert cli("plan", "--all", "--json") == 0
    plans = cli.data("plan")
    assert [each["recipe"] for each in plans] == ["base", "leaf"]
    made = pipeline.plan_image(cli.project, "base")
    assert plans[0] == json.loads(json.dumps(made.to_dict()))


def test_build_and_build_again(cli: Cli, fake_engine: FakeEngine) -> None:
    assert cli("build", "base", "base") == 0
    image = Image.open(cli.project.root / "build/base/latest")
    assert f"base: image {image.id} is in" in cli.out
    assert "note: a note of the build" in cli.out
    assert cli("build", "base") == 0
    assert fake_engine.made == ["base"]
    assert cli("build", "-B", "base", "--json") == 0
    assert fake_engine.made == ["base", "base"]
    (built,) = cli.data("image")
    assert built["id"] == image.id
    assert {"started", "finished"} <= {each["kind"] for each in cli.data("event")}


@pytest.mark.parametrize("verb", ["build", "test"])
def test_a_dry_run_changes_nothing(cli: Cli, fake_engine: FakeEngine, verb: str) -> None:
    before = listing(cli.project.root)
    assert cli(verb, "-n", "--all") == 0
    assert cli.out.count("to be built") == 2
    assert "because" in cli.out
    assert cli(verb, "-n", "-B", "base") == 0
    assert listing(cli.project.root) == before
    assert fake_engine.made == []


def test_a_dry_run_of_publish_changes_nothing(cli: Cli, tmp_path: Path) -> None:
    before = listing(cli.project.root)
    url = (tmp_path / "catalog").as_uri()
    assert cli("publish", "-n", "base", "--catalog", url) == 0
    assert listing(cli.project.root) == before
    assert not (tmp_path / "catalog").exists()


def test_the_question(cli: Cli, make_project: MakeProject) -> None:
    before = listing(cli.project.root)
    assert cli("build", "-q", "base") == 1
    assert (cli.out, cli.err) == ("", "")
    assert listing(cli.project.root) == before
    assert cli("build", "base") == 0
    assert cli("build", "-q", "base") == 0
    assert cli("plan", "-q", "base") == 0
    assert cli("build", "-q", "--all") == 1
    assert cli("test", "-q", "base") == 1
    make_project({"kickstarts/a.ks": "timezone Etc/UTC\n"})
    assert cli("build", "-q", "base") == 1
    make_project({"kickstarts/a.ks": "nosuch\n"})
    assert cli("build", "-q", "base") == 2


def test_why_before_the_work(cli: Cli) -> None:
    assert cli("build", "--why", "base") == 0
    assert "because it was never made here" in cli.out
    assert "is in" in cli.out


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (StepError("a", fix="b", excerpt="c", log=Path("/d")), 1),
        (CatalogError("a"), 4),
        (HostError("a"), 5),
    ],
)
def test_a_failure_is_the_error_of_the_library(
    cli: Cli, fake_engine: FakeEngine, error: ImageBuilderError, status: int
) -> None:
    def fail(request: Request, into: Path) -> None:
        raise error

    fake_engine.before_make = fail
    assert cli("build", "base", "--json") == status
    assert cli.data("error") == [error.to_dict() | {"recipe": "base"}]
    assert cli("build", "base") == status
    assert f"error: {error}" in cli.err


def fails_for(*names: str) -> Callable[[Request, Path], None]:
    def fail(request: Request, into: Path) -> None:
        if request.resolved.name in names:
            raise StepError(f"{request.resolved.name} failed")

    return fail


def test_after_a_failure(cli: Cli, fake_engine: FakeEngine) -> None:
    fake_engine.before_make = fails_for("base")
    assert cli("build", "base", "leaf") == 1
    assert fake_engine.made == ["base"]
    assert cli("build", "-k", "base", "leaf") == 1
    assert fake_engine.made == ["base", "base", "leaf"]
    fake_engine.before_make = fails_for("base", "leaf")
    assert cli("build", "-k", "-B", "-j", "2", "base", "leaf") == 1
    assert "base failed" in cli.err
    assert "leaf failed" in cli.err


def test_what_became_of_several(cli: Cli, fake_engine: FakeEngine) -> None:
    def noted(request: Request, into: Path) -> None:
        request.reporter.note("packages", "looked at")
        fails_for("base")(request, into)

    fake_engine.before_make = noted
    assert cli("build", "base", "leaf") == 1
    assert cli.out == "failed: base\nnot done: leaf\n"
    assert cli("build", "-j2", "-k", "base", "leaf", "--json") == 1
    assert cli.data("summary") == [{"done": ["leaf"], "failed": ["base"], "not_done": []}]
    assert {each["subject"] for each in cli.data("event")} == {"base", "leaf"}
    assert [each["recipe"] for each in cli.data("error")] == ["base"]
    fake_engine.before_make = fails_for()
    assert cli("build", "base", "leaf") == 0
    assert "failed" not in cli.out
    assert cli("build", "base", "--json") == 0
    assert cli.data("summary") == []


def test_a_signal_stops_all_that_run(cli: Cli, fake_engine: FakeEngine) -> None:
    both = threading.Barrier(2, action=lambda: os.kill(os.getpid(), signal.SIGINT))

    def interrupted(request: Request, into: Path) -> None:
        both.wait(20)
        while not request.reporter.cancel.is_set:
            time.sleep(0.01)
        request.reporter.cancel.check()

    fake_engine.before_make = interrupted
    assert cli("build", "-j2", "-k", "base", "leaf", "--json") == Interrupted.exit_status
    assert sorted(fake_engine.made) == ["base", "leaf"]
    assert cli.data("summary") == [{"done": [], "failed": [], "not_done": ["base", "leaf"]}]
    assert not list((cli.project.root / "build").glob("*/.new-*"))


def test_the_first_signal_stops_in_good_order(cli: Cli, fake_engine: FakeEngine) -> None:
    def interrupted(request: Request, into: Path) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        while not request.reporter.cancel.is_set:
            pass
        request.reporter.cancel.check()

    fake_engine.before_make = interrupted
    assert cli("build", "base", "leaf") == Interrupted.exit_status == 130
    assert "stopped by SIGTERM" in cli.err
    assert fake_engine.made == ["base"]
    assert not (cli.project.root / "build/base/latest").exists()


def test_a_cache_that_cannot_be_made(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("IMAGEBUILDER_CACHE", str(tmp_path / "file/cache"))
    assert cli("build", "base") == 5
    assert "IMAGEBUILDER_CACHE" in cli.err


# ----- testing and publishing ---------------------------------------------------------------------


@pytest.fixture
def booted(no_traces: None, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Stands for the guest; what is put in here goes into its reports."""
    outcome: dict[str, Any] = {"passed": True, "tests": 0}

    def smoke_test(image: Image, checks: Any, options: Any, **_: Any) -> SmokeReport:
        outcome["tests"] += 1
        passed = outcome["passed"]
        report = SmokeReport(
            image=image.id,
            recipe=image.recipe,
            tested=digest_of(checks, options),
            started="2026-01-01T00:00:00Z",
            seconds=1.0,
            passed=passed,
            boots=(
                BootReport(
                    path="pxe-bios",
                    passed=passed,
                    seconds=1.0,
                    accelerator=Accelerator(used="tcg", why="x", cpu_model="y"),
                    checks=(
                        CheckResult(
                            title="unit a", kind="unit", outcome="passed" if passed else "failed"
                        ),
                    ),
                    failure=None if passed else Failure(what="unit a is not active", fix="mend it"),
                    logs="pxe-bios",
                ),
            ),
        )
        store_report(report, image.smoke_dir)
        return report

    monkeypatch.setattr(smoke, "smoke_test", smoke_test)
    return outcome


def test_a_test_that_passes_is_not_made_twice(cli: Cli, booted: dict[str, Any]) -> None:
    assert cli("test", "base") == 0
    assert cli("test", "base") == 0
    assert booted["tests"] == 1
    assert cli("test", "-q", "base") == 0
    assert cli("test", "-q", "-B", "base") == 1
    assert cli("test", "-B", "base") == 0
    assert booted["tests"] == 2


def test_a_test_that_fails(cli: Cli, booted: dict[str, Any]) -> None:
    booted["passed"] = False
    assert cli("test", "base", "--json") == 3
    assert cli.data("report")[0]["passed"] is False
    (error,) = cli.data("error")
    assert (error["kind"], error["recipe"]) == ("check", "base")
    assert cli("test", "-q", "base") == 1


def test_publish_and_pull(cli: Cli, booted: dict[str, Any], tmp_path: Path) -> None:
    url = (tmp_path / "catalog").as_uri()
    assert cli("publish", "base", "--catalog", url, "--json") == 0
    (release,) = cli.data("release")
    assert (release["recipe"], release["channel"], release["url"]) == ("base", "testing", url)
    assert cli("publish", "-q", "base", "--catalog", url) == 0
    assert cli("publish", "-q", "base", "--catalog", url, "--channel", "stable") == 1
    assert main(["catalog", "ls", "--catalog", url, "--json"]) == 0
    target = tmp_path / "pulled"
    argv = ["catalog", "pull", "base", "--catalog", url, "--output", str(target)]
    assert main([*argv, "--channel", "testing"]) == 0
    built = Image.open(cli.project.root / "build/base/latest")
    assert (target / "rootfs.squashfs").read_bytes() == built.rootfs.read_bytes()
    assert main([*argv[:-1], str(tmp_path / "other"), "--channel", "nosuch"]) == 4


def test_what_is_published_can_be_signed_at_once(
    cli: Cli, booted: dict[str, Any], tmp_path: Path
) -> None:
    url, key = (tmp_path / "catalog").as_uri(), tmp_path / "key"
    argv = ("publish", "base", "--catalog", url, "--key", str(key))
    assert cli(*argv) == 2, "a key that is not there is said before anything is built"
    assert not (cli.project.root / "build").exists()
    assert main(["catalog", "key", str(key)]) == 0
    assert cli(*argv) == 0
    trust = tmp_path / "trust.json"
    public = key.with_suffix(".pub").read_text()
    trust.write_text(json.dumps({"keys": [{"name": "ci", "public": public}]}))
    assert main(["catalog", "verify", "--catalog", url, "--trust", str(trust)]) == 0
    assert cli("publish", "base", "--catalog", url, "--channel", "stable") == 0
    assert main(["catalog", "verify", "--catalog", url, "--trust", str(trust)]) == 4


def test_an_image_that_failed_its_test_is_not_published(
    cli: Cli, booted: dict[str, Any], tmp_path: Path
) -> None:
    booted["passed"] = False
    url = (tmp_path / "catalog").as_uri()
    assert cli("publish", "base", "--catalog", url) == 3
    assert not list(tmp_path.glob("catalog/**/*.json"))
    assert cli("publish", "base", "--catalog", url, "--untested", "an emergency") == 0


def test_the_catalog_of_the_environment(
    cli: Cli, booted: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IMAGEBUILDER_CATALOG", (tmp_path / "catalog").as_uri())
    assert cli("publish", "base") == 0
    assert (tmp_path / "catalog").is_dir()


# ----- as a program -------------------------------------------------------------------------------


def program(*argv: str, **options: Any) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "imagebuilder.cli", *argv], stderr=subprocess.PIPE, **options
    )


def test_a_reader_that_has_gone(make_project: MakeProject) -> None:
    root = make_project(FILES).root
    read, write = os.pipe()
    os.close(read)
    with program("-C", str(root), "show", "leaf", stdout=write) as process:
        os.close(write)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 141
    assert err == b""


def test_as_a_program(make_project: MakeProject) -> None:
    root = make_project(FILES).root
    with program("list", "--json", cwd=root, stdout=subprocess.PIPE) as process:
        out, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (0, b"")
    assert [json.loads(line)["recipe"]["name"] for line in out.splitlines()] == ["base", "leaf"]


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (141_200_000, "141.2 MB"), (2e15, "2000.0 TB")],
)
def test_sizes(size: float, text: str) -> None:
    assert human_size(size) == text
