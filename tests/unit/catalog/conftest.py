import hashlib
import os
import random
from pathlib import Path
from typing import Protocol

import pytest

from imagebuilder.catalog import Catalog, Release, TestEvidence
from imagebuilder.image import (
    FACTS,
    ROOTFS,
    Image,
    ImageFacts,
    Package,
    PackageList,
    artefact_names,
    measure,
)


class MakeImage(Protocol):
    def __call__(self, name: str = "base", seed: int = 1, size: int = 5000) -> Image: ...


def image_at(
    folder: Path,
    name: str = "base",
    seed: int = 1,
    size: int = 5000,
    packages: dict[str, str] | None = None,
    distro: str = "debian-12",
    few: bool = False,
    rootfs: str = ROOTFS,
) -> Image:
    """Write a small image: the facts are true, the contents are noise.

    With ``few`` all but kernel, initrd and root are the same file: it takes fewer requests.
    """
    source = random.Random(f"{name} {seed}")
    image_id = hashlib.sha256(f"{name} {seed}".encode()).hexdigest()[:16]
    path = folder / name / image_id
    path.mkdir(parents=True)
    names = artefact_names(rootfs)
    for n, each in enumerate(names):
        # The kernel is the same for all, so that there is something to share.
        (path / each).write_bytes(b"kernel" * 100 if n == 0 else source.randbytes(size + n))
    installed = PackageList(
        packages=tuple(
            Package(name=each, version=version, arch="amd64", source=f"src-{each}")
            for each, version in (packages or {}).items()
        )
    )
    for each in names[3:] if few else ["packages.json"]:
        (path / each).write_text(installed.model_dump_json())
    facts = ImageFacts(
        id=image_id,
        recipe=name,
        summary="an image for tests",
        distro=distro,
        engine="direct",
        created="2026-01-02T03:04:05Z",
        kernel_release="6.1.0-1-amd64",
        kernel_args=("console=ttyS0", "quiet"),
        tree_size=123456,
        package_count=0,
        artefacts=tuple(measure(path / each) for each in names),
        steps=(),
        tools={"mksquashfs": "mksquashfs version 4.5.1\t(2022)"},
    )
    (path / FACTS).write_text(facts.model_dump_json(indent=2))
    return Image.open(path)


def passing(image: Image) -> TestEvidence:
    return TestEvidence(
        image_id=image.id, passed=True, report=b'{"passed": true}', summary="3 checks passed"
    )


@pytest.fixture(autouse=True)
def no_waiting_for_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a process wrote outlives it without this; only a power cut would show a difference."""
    monkeypatch.setattr(os, "fsync", lambda fd: None)


@pytest.fixture
def make_image(tmp_path: Path) -> MakeImage:
    def make(name: str = "base", seed: int = 1, size: int = 5000) -> Image:
        return image_at(tmp_path / "build", name, seed, size)

    return make


@pytest.fixture
def image(make_image: MakeImage) -> Image:
    return make_image()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "catalog"


@pytest.fixture
def catalog(root: Path) -> Catalog:
    return Catalog.open(root.as_uri())


@pytest.fixture
def two(catalog: Catalog, make_image: MakeImage) -> list[Release]:
    """Two releases in channel testing."""
    images = [make_image(seed=n) for n in range(2)]
    return [catalog.publish(each, channel="testing", evidence=passing(each)) for each in images]


@pytest.fixture
def three(catalog: Catalog, make_image: MakeImage) -> list[Release]:
    """Three releases in channel testing."""
    images = [make_image(seed=n) for n in range(3)]
    return [catalog.publish(each, channel="testing", evidence=passing(each)) for each in images]


def blob(root: Path, digest: str) -> Path:
    return root / "blobs/sha256" / digest[:2] / digest


def snapshot(root: Path) -> dict[str, tuple[int, int]]:
    return {
        str(path.relative_to(root)): (path.stat().st_ino, path.stat().st_mtime_ns)
        for path in root.rglob("*")
        if path.is_file()
    }
