"""Signatures: who signed, what exactly, until when, and that no old one is shown again."""

import base64
import json
import shutil
import stat
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from imagebuilder.catalog import Catalog, Release, Retention, signing
from imagebuilder.catalog.envelope import (
    CommandSigner,
    FileSigner,
    encoded,
    key_id,
    make_key,
    pem,
    read_public_key,
)
from imagebuilder.catalog.trust import Trust
from imagebuilder.cli.main import main
from imagebuilder.errors import CatalogError, HostError, ImageBuilderError, InputError, StepError

from .conftest import MakeImage, passing

NAMES = ("ann", "bob", "eve")


@pytest.fixture
def keys(tmp_path: Path) -> dict[str, FileSigner]:
    folder = tmp_path / "keys"
    folder.mkdir()
    for name in NAMES:
        make_key(folder / name)
    return {name: FileSigner.open(folder / name) for name in NAMES}


def trust(tmp_path: Path, keys: dict[str, FileSigner], *names: str, **change: object) -> Trust:
    return Trust.open(root_file(tmp_path, keys, *names, **change), tmp_path / "state/memory.json")


def root_file(tmp_path: Path, keys: dict[str, FileSigner], *names: str, **change: object) -> Path:
    named = [{"name": name, "public": pem(keys[name].public_key)} for name in names]
    known = change.pop("known", named)
    path = tmp_path / "trust.json"
    path.write_text(json.dumps({"keys": known} | change))
    return path


def test_a_signed_channel_is_read_and_an_unsigned_one_is_not(
    catalog: Catalog, two: list[Release], keys: dict[str, FileSigner], tmp_path: Path
) -> None:
    root = trust(tmp_path, keys, "ann")
    with pytest.raises(CatalogError, match="channel testing is not signed"):
        catalog.pull("base", "testing", tmp_path / "out", trust=root)
    assert not catalog.verify(trust=root).ok
    assert catalog.sign("base", "testing", signers=[keys["ann"]]) == (
        key_id(keys["ann"].public_key),
    )
    catalog.pull("base", "testing", tmp_path / "out", trust=root)
    assert catalog.show("base", two[1].version, trust=root) == two[1]
    with pytest.raises(CatalogError, match="is not signed"):
        catalog.show("base", two[0].version, trust=root)
    assert catalog.verify(trust=root).findings == ()
    # A channel that moved without a signature still is, to those who check, what was signed.
    catalog.rollback("base", "testing")
    assert catalog.show("base", "testing", trust=root) == two[1]
    assert any("signed at 2" in each.what for each in catalog.verify(trust=root).findings)
    catalog.sign("base", "testing", signers=[keys["ann"]])
    assert catalog.show("base", "testing", trust=root) == two[0]


def test_an_envelope_can_be_checked_with_nothing_of_ours(
    catalog: Catalog, root: Path, two: list[Release], keys: dict[str, FileSigner]
) -> None:
    catalog.sign("base", two[0].version, signers=[keys["ann"]])
    envelope = json.loads((root / f"signatures/base/{two[0].version}.json").read_text())
    payload = base64.b64decode(envelope["payload"])
    assert payload == (root / f"releases/base/{two[0].version}.json").read_bytes()
    kind = envelope["payloadType"]
    message = b" ".join(
        [b"DSSEv1", str(len(kind)).encode(), kind.encode(), str(len(payload)).encode(), payload]
    )
    signature = base64.b64decode(envelope["signatures"][0]["sig"])
    keys["ann"].public_key.verify(signature, message)
    # The example of the DSSE specification.
    assert encoded("http://example.com/HelloWorld", b"hello world") == (
        b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
    )


def test_several_must_sign(
    catalog: Catalog, two: list[Release], keys: dict[str, FileSigner], tmp_path: Path
) -> None:
    root = trust(tmp_path, keys, "ann", "bob", release_threshold=2, channel_threshold=2)
    catalog.sign("base", "testing", signers=[keys["ann"]])
    catalog.sign("base", "testing", signers=[keys["ann"], keys["eve"]])
    with pytest.raises(CatalogError, match="of 1 trusted keys, and needs 2"):
        catalog.show("base", "testing", trust=root)
    catalog.sign("base", "testing", signers=[keys["bob"]])
    assert catalog.show("base", "testing", trust=root) == two[1]


def test_keys_are_rotated(
    catalog: Catalog, two: list[Release], keys: dict[str, FileSigner], tmp_path: Path
) -> None:
    catalog.sign("base", "testing", signers=[keys["ann"]])
    catalog.sign("base", "testing", signers=[keys["bob"]])
    for names in (("ann",), ("ann", "bob"), ("bob",)):
        assert catalog.show("base", "testing", trust=trust(tmp_path, keys, *names)) == two[1]
    given_up = [
        {"name": "ann", "public": pem(keys["ann"].public_key), "until": "2020-01-01T00:00:00Z"},
        {"name": "eve", "public": pem(keys["eve"].public_key), "until": "2199-01-01T00:00:00Z"},
    ]
    with pytest.raises(CatalogError, match="of 0 trusted keys"):
        catalog.show("base", "testing", trust=trust(tmp_path, keys, known=given_up))


def test_what_was_changed_after_signing_is_refused(
    catalog: Catalog, root: Path, two: list[Release], keys: dict[str, FileSigner], tmp_path: Path
) -> None:
    catalog.sign("base", "testing", signers=[keys["ann"]])
    catalog.promote("base", two[0].version, to="stable")
    catalog.sign("base", "stable", signers=[keys["ann"]])
    believed = trust(tmp_path, keys, "ann")
    path = root / "signatures/base/testing.json"
    good = path.read_text()
    envelope = json.loads(good)

    def payload(change: dict[str, object]) -> str:
        old = json.loads(base64.b64decode(envelope["payload"]))
        new = base64.b64encode(json.dumps(old | change).encode()).decode()
        return json.dumps(envelope | {"payload": new})

    stable = (root / "signatures/base/stable.json").read_text()
    release = (root / f"signatures/base/{two[0].version}.json").read_text()
    for bad, why in (
        (payload({"release": two[0].version}), "of 0 trusted keys"),
        (payload({"expires": "2199-01-01T00:00:00Z"}), "of 0 trusted keys"),
        (stable, "signature of another channel"),
        (release, "is a signature of"),
        (json.dumps(envelope | {"signatures": []}), "of 0 trusted keys"),
        (json.dumps(envelope | {"payload": "a"}), "Base64"),
        (json.dumps(envelope | {"payload": "\u0000"}), "understands"),
        ("{", "understands"),
    ):
        path.write_text(bad)
        with pytest.raises(CatalogError, match=why) as caught:
            catalog.pull("base", "testing", tmp_path / "out", trust=believed)
        assert "signatures/base/testing.json" in str(caught.value)
        assert not (tmp_path / "out").exists()
    path.write_text(good)
    manifest = root / f"releases/base/{two[1].version}.json"
    manifest.write_text(manifest.read_text().replace("quiet", "debug"))
    with pytest.raises(CatalogError, match="not the manifest that was published"):
        catalog.show("base", "testing", trust=believed)


def test_an_old_signature_that_is_shown_again_is_noticed(
    catalog: Catalog, root: Path, two: list[Release], keys: dict[str, FileSigner], tmp_path: Path
) -> None:
    believed = trust(tmp_path, keys, "ann")
    catalog.sign("base", "testing", signers=[keys["ann"]])
    shutil.copytree(root, tmp_path / "old")
    catalog.rollback("base", "testing", reason="it has a hole")
    catalog.sign("base", "testing", signers=[keys["ann"]])
    assert catalog.show("base", "testing", trust=believed) == two[0]
    shutil.rmtree(root)
    (tmp_path / "old").rename(root)
    with pytest.raises(CatalogError, match="generation 3 was seen before"):
        catalog.show("base", "testing", trust=believed)
    # Who has never looked cannot know, and who remembers nothing neither.
    forgetful = Trust.open(tmp_path / "trust.json")
    assert catalog.show("base", "testing", trust=forgetful) == two[1]
    (tmp_path / "state/memory.json").write_text("[]")
    with pytest.raises(HostError, match="no memory"):
        catalog.show("base", "testing", trust=believed)


def test_an_old_pointer_is_not_signed_over_a_newer_signature(
    catalog: Catalog, root: Path, two: list[Release], keys: dict[str, FileSigner]
) -> None:
    pointer = root / "channels/base/testing.json"
    old = pointer.read_text()
    catalog.rollback("base", "testing")
    catalog.sign("base", "testing", signers=[keys["ann"]])
    pointer.write_text(old)
    with pytest.raises(CatalogError, match="was signed at generation 3"):
        catalog.sign("base", "testing", signers=[keys["ann"]])


def test_a_signature_expires_and_is_renewed(
    catalog: Catalog,
    two: list[Release],
    keys: dict[str, FileSigner],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Earlier(datetime):
        @classmethod
        def now(cls, tz: object = None) -> "Earlier":
            then = datetime.now(UTC) - timedelta(days=8)
            return cls.fromtimestamp(then.timestamp(), UTC)

    believed = trust(tmp_path, keys, "ann")
    monkeypatch.setattr(signing, "datetime", Earlier)
    catalog.sign("base", "testing", signers=[keys["ann"]], days=7)
    monkeypatch.undo()
    with pytest.raises(CatalogError, match="expired at") as caught:
        catalog.show("base", "testing", trust=believed)
    assert "catalog sign base --channel testing" in caught.value.fix
    assert any("expired at" in each.what for each in catalog.verify(trust=believed).findings)
    assert catalog.show("base", two[1].version, trust=believed) == two[1]
    catalog.sign("base", "testing", signers=[keys["ann"]], days=7)
    assert catalog.show("base", "testing", trust=believed) == two[1]
    for days in (0, -1, 1e9, float("nan")):
        with pytest.raises(InputError):
            catalog.sign("base", "testing", signers=[keys["ann"]], days=days)


def command_signer(tmp_path: Path, key: str) -> tuple[str, ...]:
    script = tmp_path / "kms.py"
    script.write_text(
        "import base64, sys\n"
        "from cryptography.hazmat.primitives.serialization import load_pem_private_key\n"
        "key = load_pem_private_key(open(sys.argv[1], 'rb').read(), None)\n"
        "print(base64.b64encode(key.sign(sys.stdin.buffer.read())).decode())\n"
    )
    return (sys.executable, str(script), str(tmp_path / "keys" / key))


def test_a_key_behind_a_command(
    catalog: Catalog, two: list[Release], keys: dict[str, FileSigner], tmp_path: Path
) -> None:
    argv = command_signer(tmp_path, "bob")
    bob = CommandSigner(argv=argv, public_key=keys["bob"].public_key)
    catalog.sign("base", "testing", signers=[bob])
    assert catalog.show("base", "testing", trust=trust(tmp_path, keys, "bob")) == two[1]
    other = CommandSigner(argv=argv, public_key=keys["ann"].public_key)
    with pytest.raises(CatalogError, match="gave no signature that fits"):
        catalog.sign("base", "testing", signers=[other])
    for argv in (("true",), ("echo", "x" * 88)):
        with pytest.raises(CatalogError, match="gave no signature"):
            CommandSigner(argv=argv, public_key=keys["bob"].public_key).sign(b"x")
    with pytest.raises(StepError):
        CommandSigner(argv=("false",), public_key=keys["bob"].public_key).sign(b"x")


def test_secret_keys_stay_secret(tmp_path: Path, keys: dict[str, FileSigner]) -> None:
    path = tmp_path / "keys/ann"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert "PRIVATE" not in (tmp_path / "keys/ann.pub").read_text()
    assert read_public_key(tmp_path / "keys/ann.pub") == keys["ann"].public_key
    secret = path.read_text()
    middle = secret.splitlines()[1]
    assert middle not in repr(keys["ann"])
    with pytest.raises(InputError, match="File exists"):
        make_key(path)
    assert path.read_text() == secret
    path.chmod(0o640)
    with pytest.raises(InputError, match="other users") as caught:
        FileSigner.open(path)
    assert middle not in str(caught.value)
    path.chmod(0o600)
    path.write_text(secret.replace("PRIVATE KEY", "RSA PRIVATE KEY"))
    with pytest.raises(InputError, match="holds no Ed25519 key") as caught:
        FileSigner.open(path)
    assert middle not in str(caught.value)
    with pytest.raises(InputError, match="cannot be read"):
        FileSigner.open(tmp_path / "nix")
    with pytest.raises(InputError, match="no public"):
        read_public_key(tmp_path / "keys/bob")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "no trust root"),
        ('{"keys": []}', "no trust root"),
        ('{"keys": [{"name": "a", "public": "x"}]}', "no public Ed25519 key"),
        ('{"keys": [{"name": "a", "public": "x"}], "channel_threshold": 2}', "more signatures"),
        ('{"keys": [], "more": 1}', "no trust root"),
    ],
)
def test_trust_roots_that_are_none(tmp_path: Path, text: str, why: str) -> None:
    path = tmp_path / "trust.json"
    path.write_text(text)
    with pytest.raises(InputError, match=why):
        Trust.open(path)
    with pytest.raises(InputError, match="cannot be read"):
        Trust.open(tmp_path / "nix")


def test_the_same_key_twice_counts_once(
    catalog: Catalog, two: list[Release], keys: dict[str, FileSigner], tmp_path: Path
) -> None:
    catalog.sign("base", "testing", signers=[keys["ann"], keys["ann"]])
    with pytest.raises(CatalogError, match="of 1 trusted keys, and needs 2"):
        catalog.show(
            "base", "testing", trust=trust(tmp_path, keys, "ann", "ann", channel_threshold=2)
        )


def test_signatures_go_with_their_release(
    catalog: Catalog, root: Path, two: list[Release], keys: dict[str, FileSigner]
) -> None:
    catalog.sign("base", two[0].version, signers=[keys["ann"]])
    catalog.promote("base", two[1].version, to="stable")
    (root / "channels/base/testing.json").unlink()
    strict = Retention(keep_last=1, keep_days=0, grace_hours=0)
    assert [each.version for each in catalog.gc(strict).releases] == [two[0].version]
    assert list((root / "signatures/base").iterdir()) == []


def test_what_cannot_be_signed(catalog: Catalog, two: list[Release]) -> None:
    signer = FileSigner(key=Ed25519PrivateKey.generate())
    for attempt in (
        lambda: catalog.sign("base", "nix", signers=[signer]),
        lambda: catalog.sign("base", "testing", signers=[]),
        lambda: catalog.sign("base", "20200101T000000Z-0123456789abcdef", signers=[signer]),
        lambda: catalog.sign("../x", "testing", signers=[signer]),
    ):
        with pytest.raises(ImageBuilderError):
            attempt()


def test_as_it_is_typed(
    catalog: Catalog,
    root: Path,
    two: list[Release],
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def run(*argv: str) -> int:
        return main(list(argv))

    monkeypatch.chdir(tmp_path)
    assert main(["catalog", "key", str(tmp_path / "k")]) == 0
    assert main(["catalog", "key", str(tmp_path / "k")]) == 2
    public = {"name": "k", "public": (tmp_path / "k.pub").read_text()}
    (tmp_path / "trust.json").write_text(json.dumps({"keys": [public]}))
    where = ["--catalog", str(root)]
    checked = [*where, "--trust", "trust.json", "--memory", "memory.json"]
    pull = ["catalog", "pull", "base", "--channel", "testing", "--output", "out"]
    assert run(*pull, *checked) == 4
    sign = ["catalog", "sign", "base", "--channel", "testing"]
    assert run(*sign, "--key", "k", *where) == 0
    assert run(*pull, *checked) == 0
    assert run("catalog", "verify", *checked) == 0
    assert run(*sign, *where) == 2
    assert run(*sign, "--key-command", "true", *where) == 2
    middle = (tmp_path / "k").read_text().splitlines()[1]
    seen = capfd.readouterr()
    assert middle not in seen.out + seen.err


def test_two_releases_at_the_same_generation_are_noticed(
    catalog: Catalog,
    root: Path,
    two: list[Release],
    keys: dict[str, FileSigner],
    tmp_path: Path,
    make_image: MakeImage,
) -> None:
    """A catalog that was restored from a backup goes on counting where the backup was."""
    believed = trust(tmp_path, keys, "ann")
    shutil.copytree(root, tmp_path / "backup")
    catalog.rollback("base", "testing")
    for _ in range(2):
        catalog.sign("base", "testing", signers=[keys["ann"]])
        assert catalog.show("base", "testing", trust=believed) == two[0]
    shutil.rmtree(root)
    (tmp_path / "backup").rename(root)
    other = make_image(seed=7)
    third = catalog.publish(other, channel="testing", evidence=passing(other))
    catalog.sign("base", "testing", signers=[keys["ann"]])
    with pytest.raises(CatalogError, match="at generation 3, and another release was seen"):
        catalog.show("base", "testing", trust=believed)
    catalog.rollback("base", "testing")
    catalog.promote("base", third.version, to="testing")
    catalog.sign("base", "testing", signers=[keys["ann"]])
    assert catalog.show("base", "testing", trust=believed) == third


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"kernel_args": ["init=/bin/sh"]}, "kernel_args"),
        ({"tools": {}}, "tools"),
        ("rootfs", r"rootfs\.squashfs"),
        ("more", r"extra\.img"),
    ],
)
def test_only_what_is_of_the_image_at_hand_is_signed(
    catalog: Catalog,
    root: Path,
    make_image: MakeImage,
    keys: dict[str, FileSigner],
    change: object,
    named: str,
) -> None:
    """Somebody who can write to the store puts another manifest there before it is signed."""
    image = make_image()
    release = catalog.publish(image, channel="testing", evidence=passing(image))
    signers = [keys["ann"]]
    assert catalog.sign("base", release.version, signers=signers, image=image)
    path = root / f"releases/base/{release.version}.json"
    said = json.loads(path.read_text())
    if change == "rootfs":
        next(each for each in said["artefacts"] if each["role"] == "rootfs")["size"] += 1
    elif change == "more":
        said["artefacts"].append(said["artefacts"][0] | {"name": "extra.img", "role": "other"})
    else:
        assert isinstance(change, dict)
        said |= change
    path.write_text(json.dumps(said))
    before = (root / f"signatures/base/{release.version}.json").read_bytes()
    with pytest.raises(CatalogError, match=rf"not the manifest of image .* in {named}") as caught:
        catalog.sign("base", release.version, signers=signers, image=image)
    assert path.name in str(caught.value)
    assert (root / f"signatures/base/{release.version}.json").read_bytes() == before
    with pytest.raises(CatalogError, match="not the manifest of image"):
        catalog.sign("base", release.version, signers=signers, image=make_image(seed=2))


def test_a_host_is_sent_only_to_what_was_signed(
    catalog: Catalog, two: list[Release], keys: dict[str, FileSigner], tmp_path: Path
) -> None:
    root = trust(tmp_path, keys, "ann")

    def choose() -> str:
        return catalog.choose("base", "testing", host="n1", trust=root).version

    with pytest.raises(CatalogError, match="not signed"):
        choose()
    catalog.sign("base", "testing", signers=[keys["ann"]])
    assert choose() == two[1].version
    catalog.dead_end("base", two[1].version, reason="it panics")
    with pytest.raises(CatalogError, match="not signed"):
        choose()  # the release before it is what it would get, and nobody has signed that
    catalog.sign("base", two[0].version, signers=[keys["ann"]])
    assert choose() == two[0].version
    catalog.rollback("base", "testing")
    with pytest.raises(CatalogError, match="was signed at 2"):
        choose()
