from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

import pytest
from fakes import FakeEngine, MakeProject

from imagebuilder import Catalog, Image, Options, Project, build_image, pipeline
from imagebuilder.engines import Request
from imagebuilder.errors import StepError
from imagebuilder.image import Package, PackageList
from imagebuilder.smoke.report import (
    Accelerator,
    BootReport,
    CheckResult,
    ConsoleFinding,
    SmokeReport,
    Waived,
    store_report,
)

RECIPE = {
    "recipes/r.toml": """
        summary = "a recipe"
        distro = "debian-12"
        kickstarts = ["a.ks"]
        """,
    "kickstarts/a.ks": "timezone UTC\n%packages\nbash\n%end\n",
}
STAGES = {"kernel started": 4.0, "multi-user.target": 61.5, "checks done": 70.0}


def boot(path: str = "pxe-bios", *, passed: bool = True, text: str = "") -> BootReport:
    waiver = Waived(reason="the vendor knows", until=date(2099, 1, 2), expired=False)
    checks = [
        CheckResult(title="unit ssh.service active", kind="unit", outcome="passed"),
        CheckResult(
            title="the clock", kind="command", outcome="waived", message="late", waiver=waiver
        ),
    ]
    if not passed:
        checks.append(
            CheckResult(
                title=text or "port 22",
                kind="port",
                outcome="failed",
                seconds=9.5,
                message=text or "nobody listens",
                output=text,
            )
        )
    return BootReport(
        path=path,
        passed=passed,
        seconds=75,
        accelerator=Accelerator(used="tcg", why="no KVM", cpu_model="qemu64"),
        kernel=text or "6.1.0-1-amd64",
        stages=STAGES,
        seconds_to_multi_user=57.5,
        checks=tuple(checks),
        console_findings=(
            ConsoleFinding(
                line=text or "Oops", meaning="the kernel broke", severity="warn", seconds=1
            ),
        ),
        logs=path,
    )  # fmt: skip


def was_tested(image: Image, *boots: BootReport) -> SmokeReport:
    """Have an image look as if a test had been there."""
    report = SmokeReport(
        image=image.id,
        recipe=image.recipe,
        tested="0" * 64,
        started="2026-01-02T03:04:05Z",
        seconds=80.0,
        passed=all(each.passed for each in boots),
        boots=boots,
    )
    image.smoke_dir.mkdir(exist_ok=True)
    store_report(report, image.smoke_dir)
    return report


@dataclass
class World:
    """A project whose images a fake engine makes, of real lists of packages."""

    project: Project
    engine: FakeEngine
    make_project: MakeProject
    packages: dict[str, tuple[str, int]] = field(
        default_factory=lambda: {"bash": ("5.1", 7_000_000), "zlib1g": ("1:1.2", 90_000)}
    )
    fails: StepError | None = None

    def __post_init__(self) -> None:
        self.engine.before_make = self._before
        self.engine.after_make = self._after

    def _before(self, request: Request, into: Path) -> None:
        with request.reporter.step("packages", "installing"):
            if self.fails:
                raise self.fails

    def _after(self, request: Request, into: Path) -> None:
        found = [
            Package(name=name, version=version, arch="amd64", size=size)
            for name, (version, size) in self.packages.items()
        ]
        (into / "packages.json").write_text(PackageList(packages=tuple(found)).model_dump_json())

    def options(self) -> Options:
        return Options.make(cache_dir=self.project.root / "cache")

    def build(self, **packages: tuple[str, int]) -> Image:
        self.packages |= packages
        self.engine.extra = {"packages": str(self.packages)}
        return build_image(self.project, "r", self.options())

    def publish(self, image: Image, catalog: Catalog) -> str:
        release = pipeline.publish_image(
            self.project, image, None, catalog=catalog, channel="testing", override="a test of ours"
        )
        return release.version


@pytest.fixture
def world(make_project: MakeProject, fake_engine: FakeEngine) -> World:
    return World(project=make_project(RECIPE), engine=fake_engine, make_project=make_project)


@pytest.fixture
def catalog(tmp_path: Path) -> Catalog:
    return Catalog.open((tmp_path / "catalog").as_uri())
