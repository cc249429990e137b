"""What must hold for a reader at any moment, checked without the code under test."""

import hashlib
import json
import re
from pathlib import Path


def broken_promises(root: Path) -> list[str]:
    """Return what a reader of a catalog's folder would stumble over."""
    wrong: list[str] = []

    def blob(digest: str, size: int | None, who: str) -> None:
        path = root / "blobs/sha256" / digest[:2] / digest
        if not path.exists():
            wrong.append(f"{who}: no blob {digest[:8]}")
        elif hashlib.sha256(path.read_bytes()).hexdigest() != digest:
            wrong.append(f"{who}: blob {digest[:8]} has other bytes")
        elif size is not None and path.stat().st_size != size:
            wrong.append(f"{who}: blob {digest[:8]} has another size")

    def release(path: Path, who: str) -> None:
        if not path.exists():
            wrong.append(f"{who}: no {path}")
            return
        for each in json.loads(path.read_bytes())["artefacts"]:
            blob(each["sha256"], each["size"], who)

    for path in root.glob("releases/*/*.json"):
        release(path, str(path))
    for path in root.glob("channels/*/*.json"):
        pointer = json.loads(path.read_bytes())
        manifest = root / "releases" / pointer["name"] / f"{pointer['release']}.json"
        release(manifest, str(path))
        if hashlib.sha256(manifest.read_bytes()).hexdigest() != pointer["manifest"]:
            wrong.append(f"{path}: another manifest")
        generations = [each["generation"] for each in pointer["history"]]
        first = generations[0]
        if generations != list(range(first, pointer["generation"] + 1)):
            wrong.append(f"{path}: history {generations}")
        index = json.loads((root / "index.json").read_bytes())
        if pointer["release"] not in [each["version"] for each in index["releases"]]:
            wrong.append(f"{path}: not in the index")
    for path in root.glob("boot/*/*.ipxe"):
        digests = re.findall(r"blobs/sha256/../([0-9a-f]{64})", path.read_text())
        if len(set(digests)) != 3:
            wrong.append(f"{path}: names {len(set(digests))} blobs")
        for digest in digests:
            blob(digest, None, str(path))
    return wrong
