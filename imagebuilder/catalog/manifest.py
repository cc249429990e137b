"""From a built image to the manifest of a release: what is published, and under which proof."""

from __future__ import annotations

import getpass
import hashlib
import os
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from pydantic import ValidationError

from imagebuilder import image as image_module
from imagebuilder.catalog.model import (
    LINE_LIMIT,
    UNIT,
    Evidence,
    Override,
    Release,
    ReleaseArtefact,
    Role,
)
from imagebuilder.errors import CatalogError, Location
from imagebuilder.image import Image, ImageFacts

_ROLES: dict[str, Role] = {
    image_module.KERNEL: "kernel",
    image_module.INITRD: "initrd",
    **dict.fromkeys(image_module.ROOTFS_NAMES, "rootfs"),
    image_module.BOOT_SCRIPT: "boot-script",
    image_module.PACKAGES: "packages",
    image_module.KICKSTART: "kickstart",
    "sbom.cdx.json": "sbom",
}
REPORT_NAME = "test-report.json"
# What of a manifest is the image's own, and which files are about it.
_OF_IMAGE = (
    "name",
    "image",
    "built",
    "summary",
    "distro",
    "engine",
    "kernel_release",
    "kernel_args",
    "package_count",
    "tree_size",
    "tools",
)
_ABOUT: tuple[Role, ...] = ("test-report", "provenance", "test-result")
_VERSION_TIME = "%Y%m%dT%H%M%SZ"
_REPORT_LIMIT = 32 << 20  # bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class TestEvidence:
    """What a test of an image found, as a publisher shows it to the catalog.

    Attributes:
        image_id: the image that was tested.
        passed: whether all of it passed.
        report: the whole report, JSON; it is published with the image.
        summary: one line for people.
    """

    __test__ = False  # no test case, whatever pytest makes of its name

    image_id: str
    passed: bool
    report: bytes
    summary: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """An artefact with where its bytes come from: a file, or the bytes themselves."""

    artefact: ReleaseArtefact
    source: Path | bytes


def check_evidence(image: Image, evidence: TestEvidence | None, override: str) -> None:
    """Decide whether an image may be published.

    Raises:
        CatalogError: no passing test of exactly this image is shown, and no reason is given
            for publishing it all the same.
    """
    if evidence and evidence.image_id != image.id:
        raise CatalogError(
            f"the test report is about image {evidence.image_id}, not about {image.id}",
            where=Location(file=str(image.path)),
            fix=f"test this image: imagebuilder test {image.recipe}",
        )
    if evidence and len(evidence.report) > _REPORT_LIMIT:
        raise CatalogError(f"the test report is larger than {_REPORT_LIMIT >> 20} MiB")
    if override.strip() or (evidence and evidence.passed):
        return
    why = f"its test failed: {evidence.summary}" if evidence else "no test of it was shown"
    raise CatalogError(
        f"image {image.id} of {image.recipe} was not published, for {why}",
        where=Location(file=str(image.path)),
        fix=f"test it: imagebuilder test {image.recipe}; or publish it untested and say why",
    )


def contents(image: Image, evidence: TestEvidence | None) -> tuple[Content, ...]:
    """Return everything that a release of an image consists of, what boots last.

    Raises:
        CatalogError: the image's folder has other facts by now than the image that was opened,
            or the image lacks what a machine boots.
    """
    where = Location(file=str(image.path / image_module.FACTS))
    try:
        facts = (image.path / image_module.FACTS).read_bytes()
        same = ImageFacts.model_validate_json(facts) == image.facts
    except (OSError, ValidationError) as error:
        raise CatalogError(f"cannot be read: {error}", where=where) from error
    if not same:
        raise CatalogError(
            "changed after the image was opened, so it was not published",
            where=where,
            fix="run the same command again",
        )
    found = [_from_bytes(image_module.FACTS, "facts", facts)]
    if evidence:
        found.append(_from_bytes(REPORT_NAME, "test-report", evidence.report))
    for each in image.facts.artefacts:
        artefact = ReleaseArtefact(
            name=each.name,
            role=_ROLES.get(each.name, "other"),
            size=each.size,
            sha256=each.sha256,
        )
        found.append(Content(artefact=artefact, source=image.path / each.name))
    lacking = [role for role in UNIT if all(each.artefact.role != role for each in found)]
    if lacking:
        raise CatalogError(
            f"the image has no {' and no '.join(lacking)}, so no machine could boot it",
            where=where,
            fix=f"build it again: imagebuilder build -B {image.recipe}",
        )
    # The rootfs comes last: whatever of a publication is cut off, it is never there alone.
    return tuple(sorted(found, key=lambda each: each.artefact.role in UNIT))


def make_release(
    image: Image,
    artefacts: Sequence[ReleaseArtefact],
    *,
    evidence: TestEvidence | None,
    override: str,
    by: str,
    git_commit: str,
    when: datetime,
) -> Release:
    """Return the manifest of a new release."""
    facts = image.facts
    report = next((each.sha256 for each in artefacts if each.role == "test-report"), "")
    passed = bool(evidence and evidence.passed)
    return Release(
        name=facts.recipe,
        version=f"{when.strftime(_VERSION_TIME)}-{facts.id}",
        image=facts.id,
        created=as_time(when),
        built=clean(facts.created),
        by=by,
        summary=clean(facts.summary),
        distro=clean(facts.distro),
        engine=clean(facts.engine),
        kernel_release=clean(facts.kernel_release),
        kernel_args=facts.kernel_args,
        package_count=facts.package_count,
        tree_size=facts.tree_size,
        tools={clean(name): clean(version) for name, version in facts.tools.items()},
        git_commit=clean(git_commit),
        artefacts=tuple(artefacts),
        evidence=Evidence(passed=evidence.passed, summary=clean(evidence.summary), report=report)
        if evidence
        else None,
        override=None if passed else Override(reason=clean(override), by=by),
    )


def check_is_of(image: Image, release: Release, url: str) -> None:
    """Make sure that a manifest says of an image what is true, and brings no other files.

    Whoever signs a release vouches for the manifest that the store has; this compares it with
    the image that is at hand.

    Raises:
        CatalogError: it differs; what does is named.
    """
    said = make_release(
        image,
        release.artefacts,
        evidence=None,
        override="",
        by="",
        git_commit="",
        when=datetime.now(UTC),
    )
    differing = [name for name in _OF_IMAGE if getattr(said, name) != getattr(release, name)]
    there = {each.name: each for each in release.artefacts}
    for each in contents(image, None):
        found = there.pop(each.artefact.name, None)
        if found != each.artefact:
            differing.append(each.artefact.name)
    differing += [each.name for each in there.values() if each.role not in _ABOUT]
    if differing:
        raise CatalogError(
            f"is not the manifest of image {image.id}: it differs in {', '.join(differing)}",
            where=Location(file=url),
            fix="nothing was signed: publish the image again with --force, and see who wrote there",
        )


def version_time(after: str | None) -> datetime:
    """Return the time for a new version: now, or just after another version's time.

    The second holds when the clock of whoever published that one is ahead: versions sort by
    time, and the newest release must be the last.
    """
    now = datetime.now(UTC).replace(microsecond=0)
    if after is None:
        return now
    last = datetime.strptime(after.partition("-")[0], _VERSION_TIME).replace(tzinfo=UTC)
    return max(now, last + timedelta(seconds=1))


def as_time(when: datetime) -> str:
    """Return a time as the models have it: RFC 3339, UTC, whole seconds."""
    return when.strftime("%Y-%m-%dT%H:%M:%SZ")


def now() -> str:
    """Return the time as the models have it."""
    return as_time(datetime.now(UTC))


def whoami() -> str:
    """Return who runs this process, as ``user@host``."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container's user need not be in /etc/passwd
        user = f"uid{os.getuid()}"
    return clean(f"{user}@{socket.gethostname()}")


def clean(text: str) -> str:
    """Return the text as one printable line that fits the models."""
    return "".join(sign if sign.isprintable() else " " for sign in text)[:LINE_LIMIT].strip()


def _from_bytes(name: str, role: Role, data: bytes) -> Content:
    digest = hashlib.sha256(data).hexdigest()
    artefact = ReleaseArtefact(name=name, role=role, size=len(data), sha256=digest)
    return Content(artefact=artefact, source=data)
