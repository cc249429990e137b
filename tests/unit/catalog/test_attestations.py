"""In-toto statements: what they say, who signed them, and what a channel may ask of them."""

import base64
import dataclasses
import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from imagebuilder.catalog import Catalog, ChannelPolicy, Release, Retention, TestEvidence
from imagebuilder.catalog.envelope import FileSigner, encoded, key_id, make_key, pem
from imagebuilder.catalog.statements import PROVENANCE, TEST_RESULT, UNNAMED_BUILDER
from imagebuilder.catalog.trust import Trust
from imagebuilder.cli.main import main
from imagebuilder.errors import CatalogError, InputError
from imagebuilder.image import Image
from imagebuilder.smoke.report import Accelerator, BootReport, CheckResult, SmokeReport

from .conftest import image_at

BUILDER = "https://ci.example.com/images"
COMMIT = "0123456789abcdef0123456789abcdef01234567"
PACKAGES = {"bash": "5.2.15-2+b7", "libc6": "2.36-9+deb12u4"}


def report(image: Image, *outcomes: tuple[str, str]) -> TestEvidence:
    passed = not any(outcome in ("failed", "not-run") for _, outcome in outcomes)
    checks = tuple(
        CheckResult(title=title, kind="unit", outcome=outcome)  # type: ignore[arg-type]
        for title, outcome in outcomes
    )
    found = SmokeReport(
        image=image.id,
        recipe=image.recipe,
        tested="ab" * 32,
        started="2026-01-02T03:04:05Z",
        seconds=12.0,
        passed=passed,
        boots=(
            BootReport(
                path="pxe-bios",
                passed=passed,
                seconds=11.0,
                accelerator=Accelerator(used="tcg", why="no kvm", cpu_model="max"),
                checks=checks,
                logs="pxe-bios",
            ),
        ),
    )
    return TestEvidence(
        image_id=image.id, passed=passed, report=found.model_dump_json().encode(), summary="x"
    )


@pytest.fixture
def image(tmp_path: Path) -> Image:
    return image_at(tmp_path / "build", packages=PACKAGES)


@pytest.fixture
def release(catalog: Catalog, image: Image) -> Release:
    return catalog.publish(
        image,
        channel="testing",
        evidence=report(image, ("ssh is up", "passed"), ("clock", "passed")),
        git_commit=COMMIT,
        builder=BUILDER,
    )


@pytest.fixture
def keys(tmp_path: Path) -> dict[str, FileSigner]:
    for name in ("ann", "bob"):
        make_key(tmp_path / name)
    return {name: FileSigner.open(tmp_path / name) for name in ("ann", "bob")}


def trust_file(tmp_path: Path, keys: dict[str, FileSigner], *names: str, **change: object) -> Path:
    named = [{"name": name, "public": pem(keys[name].public_key)} for name in names]
    path = tmp_path / "trust.json"
    path.write_text(json.dumps({"keys": named} | change))
    return path


def statement(root: Path, release: Release, name: str) -> dict[str, Any]:
    digest = next(each.sha256 for each in release.artefacts if each.name == name)
    found: dict[str, Any] = json.loads((root / f"blobs/sha256/{digest[:2]}/{digest}").read_bytes())
    return found


def bundle_of(root: Path, release: Release) -> Path:
    return root / f"attestations/{release.name}/{release.version}.intoto.jsonl"


def test_provenance_says_what_the_facts_say(root: Path, image: Image, release: Release) -> None:
    found = statement(root, release, "provenance.intoto.json")
    assert found["_type"] == "https://in-toto.io/Statement/v1"
    assert found["predicateType"] == "https://slsa.dev/provenance/v1"
    assert {each["name"]: each["digest"]["sha256"] for each in found["subject"]} == {
        each.name: each.sha256
        for each in release.artefacts
        if each.role not in ("provenance", "test-result", "test-report")
    }
    build, run = (found["predicate"][key] for key in ("buildDefinition", "runDetails"))
    kickstart = release.artefact("kickstart")
    assert kickstart
    asked = build["externalParameters"]
    assert (asked["recipe"], asked["distro"], asked["engine"]) == ("base", "debian-12", "direct")
    assert asked["kickstart"]["digest"] == {"sha256": kickstart.sha256}
    assert build["internalParameters"]["image"] == image.id
    assert build["resolvedDependencies"] == [
        {"name": "recipes", "digest": {"gitCommit": COMMIT}},
        {"uri": "pkg:deb/debian/bash@5.2.15-2%2Bb7?arch=amd64&distro=debian-12"},
        {"uri": "pkg:deb/debian/libc6@2.36-9%2Bdeb12u4?arch=amd64&distro=debian-12"},
    ]
    assert run["builder"] == {"id": BUILDER, "version": image.facts.tools}
    assert run["metadata"] == {"finishedOn": image.facts.created}


def test_a_test_result_names_the_checks(catalog: Catalog, root: Path, image: Image) -> None:
    evidence = report(image, ("ssh is up", "passed"), ("clock", "failed"), ("late", "not-run"))
    release = catalog.publish(image, channel="testing", evidence=evidence, override="we must")
    found = statement(root, release, "test-result.intoto.json")
    assert found["predicateType"] == "https://in-toto.io/attestation/test-result/v0.1"
    assert found["predicate"] == {
        "result": "FAILED",
        "configuration": [
            {"name": "checks", "digest": {"sha256": "ab" * 32}},
            {
                "name": "test-report.json",
                "digest": {"sha256": hashlib.sha256(evidence.report).hexdigest()},
            },
        ],
        "passedTests": ["boot pxe-bios", "ssh is up"],
        "warnedTests": [],
        "failedTests": ["clock", "late"],
    }
    booted = {release.artefact(role).sha256 for role in ("kernel", "initrd", "rootfs")}  # type: ignore[union-attr]
    assert booted <= {each["digest"]["sha256"] for each in found["subject"]}
    # What passed in a test that failed as a whole has not passed.
    assert [each.statement.passed for each in catalog.attestations("base", "testing")] == [
        frozenset(),
        frozenset(),
    ]


def test_who_builds_and_from_what_need_not_be_known(
    catalog: Catalog, root: Path, image: Image
) -> None:
    for bad in ("nobody", "https://a b", "https://x\n"):
        with pytest.raises(InputError, match="must be a URI"):
            catalog.publish(image, channel="testing", evidence=report(image), builder=bad)
    release = catalog.publish(
        image, channel="testing", evidence=None, override="why not", git_commit=f"{COMMIT}-dirty"
    )
    found = statement(root, release, "provenance.intoto.json")["predicate"]
    assert found["runDetails"]["builder"]["id"] == UNNAMED_BUILDER
    assert found["buildDefinition"]["resolvedDependencies"][0] == {
        "name": "recipes",
        "digest": {"gitCommit": COMMIT},
        "annotations": {"changedSince": True},
    }
    assert all(each.name != "test-result.intoto.json" for each in release.artefacts)


def test_another_builder_or_commit_makes_no_new_release(
    catalog: Catalog, image: Image, release: Release
) -> None:
    again = catalog.publish(
        image, channel="testing", evidence=report(image, ("other", "passed")), builder="urn:x:y"
    )
    assert again == release
    assert catalog.verify().findings == ()


def test_signing_a_release_signs_its_statements(
    catalog: Catalog, root: Path, release: Release, keys: dict[str, FileSigner], tmp_path: Path
) -> None:
    believed = Trust.open(trust_file(tmp_path, keys, "ann", "bob"))
    assert [each.signers for each in catalog.attestations("base", "testing")] == [frozenset()] * 2
    catalog.sign("base", "testing", signers=[keys["ann"]])
    first = bundle_of(root, release).read_bytes()
    catalog.sign("base", "testing", signers=[keys["ann"]])
    assert bundle_of(root, release).read_bytes() == first
    catalog.sign("base", "testing", signers=[keys["bob"]])
    lines = [json.loads(line) for line in bundle_of(root, release).read_bytes().splitlines()]
    assert [line["payloadType"] for line in lines] == ["application/vnd.in-toto+json"] * 2
    for line in lines:  # with nothing of ours but DSSE's encoding, which has a test of its own
        payload = base64.b64decode(line["payload"])
        message = encoded(line["payloadType"], payload)
        for name, signature in zip(("ann", "bob"), line["signatures"], strict=True):
            assert signature["keyid"] == key_id(keys[name].public_key)
            keys[name].public_key.verify(base64.b64decode(signature["sig"]), message)
    found = catalog.attestations("base", "testing", trust=believed)
    assert [each.statement.kind for each in found] == [PROVENANCE, TEST_RESULT]
    assert all(len(each.signers) == 2 for each in found)
    assert found[0].statement.builder == BUILDER
    assert catalog.verify(trust=believed).findings == ()


def test_verify_misses_signatures_of_statements(
    catalog: Catalog, root: Path, release: Release, keys: dict[str, FileSigner], tmp_path: Path
) -> None:
    path = trust_file(tmp_path, keys, "ann", "bob", release_threshold=2)
    catalog.sign("base", "testing", signers=[keys["ann"], keys["bob"]])
    assert catalog.verify(trust=Trust.open(path)).ok
    bundle = bundle_of(root, release)
    whole = bundle.read_bytes()
    lines = [json.loads(line) for line in whole.splitlines()]
    other = base64.b64encode(base64.b64decode(lines[0]["payload"]) + b" ").decode()
    without = [line | {"signatures": line["signatures"][:1]} for line in lines]
    for bad in (
        None,
        [],
        lines[:1],
        without,
        [lines[0] | {"payload": other}, lines[1]],
        [lines[0] | {"payloadType": "text/plain"}, lines[1]],
    ):
        bundle.unlink(missing_ok=True)
        if bad is not None:
            bundle.write_text("".join(json.dumps(line) + "\n" for line in bad))
        found = catalog.verify(trust=Trust.open(path)).findings
        assert len(found) == 1
        assert "trusted keys, and needs 2" in found[0].what
        assert "catalog sign base" in found[0].fix
    # What is not understood is passed over, and so is the order; both stay when somebody signs.
    stranger = b'{"payloadType": "text/plain", "payload": "eA==", "signatures": []}\nnoise\n'
    turned = b"".join(reversed(whole.splitlines(keepends=True)))
    bundle.write_bytes(stranger + turned)
    assert catalog.verify(trust=Trust.open(path)).ok
    catalog.sign("base", "testing", signers=[keys["ann"]])
    assert bundle.read_bytes() == stranger + turned


def test_a_statement_that_was_changed_is_found(
    catalog: Catalog, root: Path, release: Release
) -> None:
    digest = next(each.sha256 for each in release.artefacts if each.role == "provenance")
    blob = root / f"blobs/sha256/{digest[:2]}/{digest}"
    good = blob.read_text()
    blob.write_text(good.replace("ci.example.com", "ci.example.org"))
    assert [each.where for each in catalog.verify().findings] == [str(blob)]
    with pytest.raises(CatalogError, match="has other bytes"):
        catalog.attestations("base", "testing")
    blob.unlink()
    assert [each.what for each in catalog.verify().findings] == ["is missing"]


def resigned(root: Path, release: Release, change: dict[str, Any], signer: FileSigner) -> None:
    """Put a statement into the bundle as another tool would: no key's id, other spacing."""
    whole = statement(root, release, "provenance.intoto.json") | change
    payload = json.dumps(whole, indent=3).encode()
    kind = "application/vnd.in-toto+json"
    signature = base64.b64encode(signer.sign(encoded(kind, payload))).decode()
    line = {
        "payloadType": kind,
        "payload": base64.b64encode(payload).decode(),
        "signatures": [{"sig": signature}],
    }
    path = bundle_of(root, release)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        file.write(json.dumps(line) + "\n")


def test_what_was_waived_or_repeated_is_a_warning(
    catalog: Catalog, root: Path, image: Image, tmp_path: Path
) -> None:
    waived = report(image, ("ssh is up", "passed"), ("clock", "waived"), ("late", "skipped"))
    found = SmokeReport.model_validate_json(waived.report)
    (boot,) = found.boots
    repeated = found.model_copy(
        update={
            "flaky": True,
            "boots": (boot.model_copy(update={"passed": False}), boot),
        }
    )
    evidence = dataclasses.replace(waived, report=repeated.model_dump_json().encode())
    release = catalog.publish(image, channel="testing", evidence=evidence)
    predicate = statement(root, release, "test-result.intoto.json")["predicate"]
    assert predicate["result"] == "WARNED"
    assert predicate["passedTests"] == ["ssh is up"]
    assert predicate["warnedTests"] == ["boot pxe-bios", "clock", "late"]
    assert predicate["failedTests"] == []
    policy = ChannelPolicy(tested=True, passed=["ssh is up"])
    catalog.promote("base", "testing", to="stable", policy=policy, folder=tmp_path)
    with pytest.raises(CatalogError, match="waiver or when they were repeated: boot pxe-bios, clo"):
        catalog.promote(
            "base", "testing", to="best", policy=ChannelPolicy(clean=True), folder=tmp_path
        )


def test_what_a_channel_asks_of_statements(
    catalog: Catalog, root: Path, release: Release, keys: dict[str, FileSigner], tmp_path: Path
) -> None:
    trust_file(tmp_path, keys, "ann")

    def lacks(**policy: Any) -> str:
        try:
            catalog.promote(
                "base",
                "testing",
                to="stable",
                policy=ChannelPolicy(**policy),
                folder=tmp_path,
            )
        except CatalogError as error:
            return error.what
        catalog.promote("base", release.version, to="other")
        (root / "channels/base/stable.json").unlink()
        return ""

    scan = "https://example.com/scan/v1"
    # Without a trust root the statements count as they are.
    assert lacks(builders=[BUILDER, "urn:x:y"], passed=["clock", "boot pxe-bios"]) == ""
    assert f"(it names {BUILDER})" in lacks(builders=["urn:x:y"])
    assert "these passed: disk" in lacks(passed=["clock", "disk"])
    assert f"no statement of type {scan}" in lacks(predicates=[PROVENANCE, scan])
    # With one, only what is signed.
    assert lacks(clean=True) == ""
    asked = {"builders": [BUILDER], "passed": ["clock"], "trust": "trust.json"}
    said = lacks(**asked)
    assert "no provenance that trusted keys have signed" in said
    assert "no test result that trusted keys have signed" in said
    catalog.sign("base", "testing", signers=[keys["bob"]])
    assert "no provenance that trusted keys" in lacks(**asked)
    catalog.sign("base", "testing", signers=[keys["ann"]])
    assert lacks(**asked) == ""
    assert "no provenance that trusted keys" in lacks(**asked, signatures=2)
    # A statement by another tool counts if it is about this release, and by a trusted key.
    wanted = {"predicates": [scan], "trust": "trust.json"}
    other = [{"name": "x", "digest": {"sha256": "0" * 64}}]
    resigned(root, release, {"predicateType": scan}, keys["bob"])
    resigned(root, release, {"predicateType": scan, "subject": other}, keys["ann"])
    assert "no statement of type" in lacks(**wanted)
    resigned(root, release, {"predicateType": scan}, keys["ann"])
    assert lacks(**wanted) == ""


def test_a_channel_that_asks_for_statements_is_promoted_to(catalog: Catalog, image: Image) -> None:
    with pytest.raises(CatalogError, match="nothing is published to channel"):
        catalog.publish(
            image,
            channel="stable",
            evidence=report(image),
            policy=ChannelPolicy(builders=[BUILDER]),
        )


def test_bundles_go_with_their_release(
    catalog: Catalog, root: Path, release: Release, keys: dict[str, FileSigner], tmp_path: Path
) -> None:
    catalog.sign("base", release.version, signers=[keys["ann"]])
    newer = image_at(tmp_path / "build", seed=2)
    catalog.publish(newer, channel="stable", evidence=report(newer))
    (root / "channels/base/testing.json").unlink()
    strict = Retention(keep_last=1, keep_days=0, rollback_steps=1, grace_hours=0)
    assert [each.version for each in catalog.gc(strict).releases] == [release.version]
    assert not bundle_of(root, release).exists()


def test_as_it_is_typed(
    root: Path,
    release: Release,
    keys: dict[str, FileSigner],
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    where = ["--catalog", str(root)]
    show = ["catalog", "attestations", "base", "--version", release.version, *where]
    assert main(show) == 0
    said = capfd.readouterr().out
    assert BUILDER in said
    assert "passed   ssh is up" in said
    assert "signer" not in said
    checked = [*show, "--trust", str(trust_file(tmp_path, keys, "ann"))]
    assert main(checked) == 4
    sign = ["catalog", "sign", "base", "--version", release.version, "--key", str(tmp_path / "ann")]
    assert main([*sign, *where]) == 0
    capfd.readouterr()
    assert main(checked) == 0
    assert f"signer   {key_id(keys['ann'].public_key)}" in capfd.readouterr().out
