"""In-toto statements about a release: how it was built, and what a test of it found.

They say in words that other tools read what an image's facts, its packages and its test report
say in ours; they are made from those, and say nothing else.  The same image from the same commit
gives the same bytes.

Formats: https://in-toto.io/Statement/v1, https://slsa.dev/spec/v1.0/provenance and
https://in-toto.io/attestation/test-result/v0.1.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from imagebuilder import distro, sbom
from imagebuilder.catalog import layout
from imagebuilder.catalog.manifest import REPORT_NAME, Content, TestEvidence, clean
from imagebuilder.catalog.model import UNIT, Release, ReleaseArtefact, Role
from imagebuilder.errors import CatalogError, InputError, Location
from imagebuilder.image import PACKAGES, Image, ImageFacts, PackageList
from imagebuilder.progress import Cancel
from imagebuilder.stores import ObjectStore

STATEMENT = "https://in-toto.io/Statement/v1"
PROVENANCE = "https://slsa.dev/provenance/v1"
TEST_RESULT = "https://in-toto.io/attestation/test-result/v0.1"
PAYLOAD_TYPE = "application/vnd.in-toto+json"  # of a statement in a DSSE envelope
PROVENANCE_NAME, TEST_RESULT_NAME = "provenance.intoto.json", "test-result.intoto.json"
BUILD_TYPE = "urn:imagebuilder:build:1"
UNNAMED_BUILDER = "urn:imagebuilder:builder:unnamed"  # nobody said who builds
LIMIT = 4 << 20  # bytes of a statement

_KINDS: dict[Role, str] = {"provenance": PROVENANCE, "test-result": TEST_RESULT}
# What says something about a release, and is not of it.
_ABOUT: frozenset[Role] = frozenset({"provenance", "test-result", "test-report"})
_BOOTED: frozenset[Role] = frozenset({*UNIT, "boot-script"})
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")
_COMMIT = re.compile(r"([0-9a-f]{40}|[0-9a-f]{64})(-dirty)?")
_URI = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:[!-~]{1,400}")


class Described(BaseModel):
    """A thing that a statement names (a ResourceDescriptor), as far as it matters here."""

    model_config = ConfigDict(frozen=True)  # fields that are not known are to be ignored

    name: str = Field(default="", max_length=1000)
    digest: dict[str, str] = Field(default_factory=dict, max_length=20)


class Statement(BaseModel):
    """An in-toto statement, by whomever."""

    model_config = ConfigDict(frozen=True)

    type: Literal["https://in-toto.io/Statement/v1"] = Field(alias="_type")
    subject: tuple[Described, ...] = Field(min_length=1, max_length=1000)
    kind: str = Field(alias="predicateType", min_length=1, max_length=1000)
    predicate: dict[str, Any]

    def is_about(self, release: Release) -> bool:
        """Whether its subjects are what machines boot of that release, all three."""
        named = {each.digest.get("sha256") for each in self.subject}
        return all((found := release.artefact(role)) and found.sha256 in named for role in UNIT)

    @property
    def title(self) -> str:
        """What it is, for people."""
        known = {PROVENANCE: "the provenance", TEST_RESULT: "the test result"}
        return known.get(self.kind, f"a statement of type {clean(self.kind)}")

    @property
    def builder(self) -> str:
        """Who built it, if this is provenance that says so; a URI."""
        run = self.predicate.get("runDetails") if self.kind == PROVENANCE else None
        builder = run.get("builder") if isinstance(run, dict) else None
        found = builder.get("id") if isinstance(builder, dict) else None
        return found if isinstance(found, str) else ""

    @property
    def passed(self) -> frozenset[str]:
        """The tests that passed, by name, if this is the result of one that passed as a whole."""
        return self._tests("passedTests")

    @property
    def warned(self) -> frozenset[str]:
        """The tests that passed with a warning: checks that were waived, boots that were repeated.

        Empty as well if the whole did not pass.
        """
        return self._tests("warnedTests")

    def _tests(self, key: str) -> frozenset[str]:
        if self.kind != TEST_RESULT or self.predicate.get("result") not in ("PASSED", "WARNED"):
            return frozenset()
        found = self.predicate.get(key)
        names = found if isinstance(found, list) else ()
        return frozenset(each for each in names if isinstance(each, str))


@dataclass(frozen=True, slots=True, kw_only=True)
class Attestation:
    """A statement and who signed it.

    Attributes:
        statement: the statement.
        payload: its bytes.
        signers: the ids of the trusted keys that signed exactly these bytes.
    """

    statement: Statement
    payload: bytes
    signers: frozenset[str] = frozenset()


def check_builder(uri: str) -> str:
    """Return the text if it can be the id of a builder.

    Raises:
        InputError: it is no URI.
    """
    if not _URI.fullmatch(uri):
        raise InputError(
            f"{uri[:120]!r} is no builder: it must be a URI",
            fix="write what names the place that builds, such as https://ci.example.com/images",
        )
    return uri


def contents(
    image: Image,
    parts: Sequence[Content],
    evidence: TestEvidence | None,
    *,
    git_commit: str,
    builder: str,
) -> tuple[Content, ...]:
    """Return the statements about a release as artefacts of it.

    Args:
        image: the image.
        parts: everything else of the release.
        evidence: what its test found.
        git_commit: the commit of the recipes; ends in ``-dirty`` if they were changed since.
        builder: who built it, a URI; "" if nobody said.

    Raises:
        CatalogError: the image's list of packages cannot be read.
    """
    artefacts = [each.artefact for each in parts]
    made = [
        _content(
            PROVENANCE_NAME,
            "provenance",
            _statement(
                PROVENANCE,
                (each for each in artefacts if each.role not in _ABOUT),
                _provenance(image, artefacts, git_commit, builder or UNNAMED_BUILDER),
            ),
        )
    ]
    if evidence:
        made.append(
            _content(
                TEST_RESULT_NAME,
                "test-result",
                _statement(
                    TEST_RESULT,
                    (each for each in artefacts if each.role in _BOOTED),
                    _test_result(evidence),
                ),
            )
        )
    return tuple(made)


def of_release(store: ObjectStore, release: Release) -> tuple[tuple[Statement, bytes], ...]:
    """Read the statements that a release's manifest names, with their bytes.

    Raises:
        CatalogError: one is missing, or is not what the manifest names, or is about another
            release.
    """
    found: list[tuple[Statement, bytes]] = []
    for artefact in release.artefacts:
        kind = _KINDS.get(artefact.role)
        if kind is None:
            continue
        key = layout.blob_key(artefact.sha256)
        url = store.url_of(key)
        if artefact.size > LIMIT:
            raise CatalogError(
                f"is larger than the {LIMIT} bytes of a statement", where=Location(file=url)
            )
        data = bytearray()
        store.fetch(
            key,
            data.extend,
            size=artefact.size,
            sha256=artefact.sha256,
            on_bytes=lambda _: None,
            cancel=Cancel(),
        )
        statement = parse(bytes(data), url)
        check(statement, release, kind, url)
        found.append((statement, bytes(data)))
    return tuple(found)


def parse(data: bytes, url: str) -> Statement:
    """Read a statement.

    Raises:
        CatalogError: it is none.
    """
    try:
        return Statement.model_validate_json(data)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        raise CatalogError(
            f"is no in-toto statement: {first['msg']}", where=Location(file=url, key=key or None)
        ) from error


def check(statement: Statement, release: Release, kind: str, url: str) -> None:
    """Make sure that a statement of a release is about it and nothing else.

    Raises:
        CatalogError: it is about something else.
    """
    wrong = ""
    known = {each.sha256 for each in release.artefacts}
    if statement.kind != kind:
        wrong = f"is a statement of type {clean(statement.kind)}, not {kind}"
    elif any(each.digest.get("sha256") not in known for each in statement.subject):
        wrong = "is a statement about files that its release has not"
    elif not statement.is_about(release):
        wrong = "is no statement about all that machines boot of its release"
    if wrong:
        raise CatalogError(
            wrong,
            where=Location(file=url),
            fix="publish the image again with --force",
        )


def _provenance(
    image: Image, artefacts: Sequence[ReleaseArtefact], git_commit: str, builder: str
) -> dict[str, Any]:
    facts = image.facts
    kickstart = next((each for each in artefacts if each.role == "kickstart"), None)
    metadata = {"finishedOn": facts.created} if _TIME.fullmatch(facts.created) else {}
    return {
        "buildDefinition": {
            "buildType": BUILD_TYPE,
            "externalParameters": {
                "recipe": facts.recipe,
                "distro": facts.distro,
                "engine": facts.engine,
                "params": facts.params,
                "kernelArgs": list(facts.kernel_args),
                "kickstart": _described(kickstart) if kickstart else None,
            },
            "internalParameters": {
                "image": facts.id,
                "steps": [{"name": each.name, "id": each.id} for each in facts.steps],
            },
            "resolvedDependencies": [*_recipes(git_commit), *_packages(image, facts)],
        },
        "runDetails": {
            "builder": {"id": builder, "version": dict(facts.tools)},
            "metadata": metadata,
        },
    }


def _recipes(git_commit: str) -> list[dict[str, Any]]:
    found = _COMMIT.fullmatch(git_commit)
    if not found:
        return []
    changed = {"annotations": {"changedSince": True}} if found[2] else {}
    return [{"name": "recipes", "digest": {"gitCommit": found[1]}, **changed}]


def _packages(image: Image, facts: ImageFacts) -> list[dict[str, Any]]:
    try:
        installed: PackageList = image.packages()
    except (OSError, ValidationError) as error:
        raise CatalogError(
            f"cannot be read: {clean(str(error))}", where=Location(file=str(image.path / PACKAGES))
        ) from error
    try:
        vendor = distro.find(facts.distro).name
    except InputError:
        vendor = ""
    return [
        {"uri": str(sbom.purl(each, installed.manager, vendor, facts.distro))}
        for each in installed.packages
    ]


def _test_result(evidence: TestEvidence) -> dict[str, Any]:
    from imagebuilder.smoke.report import (  # takes a while to import
        SmokeReport,
        passed_only_again,
    )

    digest = hashlib.sha256(evidence.report).hexdigest()
    configuration: list[dict[str, Any]] = [{"name": REPORT_NAME, "digest": {"sha256": digest}}]
    passed: list[str] = []
    warned: list[str] = []
    failed: list[str] = []
    try:
        report = SmokeReport.model_validate_json(evidence.report)
    except ValidationError:
        pass  # a report of somebody else's, whose tests have no names here
    else:
        configuration.insert(0, {"name": "checks", "digest": {"sha256": report.tested}})
        for boot in report.last_boots:
            boots = [each for each in report.boots if each.name == boot.name]
            again = boot.passed and passed_only_again(boots)
            where = failed if boot.failure else warned if again else passed
            where.append(f"boot {boot.name}")
        # What holds over one path and not over another does not hold.
        outcomes: dict[str, set[str]] = {}
        for each in report.checks:
            outcomes.setdefault(each.title, set()).add(each.outcome)
        for title, found in outcomes.items():
            where = passed if found == {"passed"} else failed
            # What was waived, and what was not looked at since it needs that.
            where = warned if evidence.passed and where is failed else where
            where.append(title)
    result = "WARNED" if warned else "PASSED"
    return {
        "result": result if evidence.passed else "FAILED",
        "configuration": configuration,
        "passedTests": passed,
        "warnedTests": warned,
        "failedTests": failed,
    }


def _statement(
    kind: str, subjects: Iterable[ReleaseArtefact], predicate: Mapping[str, Any]
) -> bytes:
    whole = {
        "_type": STATEMENT,
        "subject": [_described(each) for each in subjects],
        "predicateType": kind,
        "predicate": predicate,
    }
    return json.dumps(whole, separators=(",", ":"), ensure_ascii=False).encode() + b"\n"


def _described(artefact: ReleaseArtefact) -> dict[str, Any]:
    return {"name": artefact.name, "digest": {"sha256": artefact.sha256}}


def _content(name: str, role: Role, data: bytes) -> Content:
    digest = hashlib.sha256(data).hexdigest()
    artefact = ReleaseArtefact(name=name, role=role, size=len(data), sha256=digest)
    return Content(artefact=artefact, source=data)
