"""A repository of Debian packages on this disk, signed: what a mirror is, and how it moves."""

from __future__ import annotations

import hashlib
import subprocess
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

CONTROL = """\
Package: {name}
Version: {version}
Architecture: all
Maintainer: Nobody <nobody@example.org>
Description: a package of the tests
"""
# What a tree needs to boot over the network, and what every Debian has.
BASE = {
    "base-files": "Essential: yes\nPriority: required\n",
    "apt": "",
    "curl": "",
    "dracut-core": "",
    "dracut-live": "",
    "dracut-network": "",
    "linux-image-amd64": "",
}


@cache
def _built(control: str) -> bytes:
    """Return a package that has nothing but its description."""
    with TemporaryDirectory() as folder:
        tree, file = Path(folder, "tree"), Path(folder, "x.deb")
        (tree / "DEBIAN").mkdir(parents=True)
        (tree / "DEBIAN/control").write_text(control)
        subprocess.run(
            ["dpkg-deb", "-Zxz", "--root-owner-group", "--build", str(tree), str(file)],
            check=True,
            capture_output=True,
            timeout=60,
        )
        return file.read_bytes()


@dataclass
class Signer:
    """A key of its own, in a folder of its own."""

    home: Path

    def __post_init__(self) -> None:
        self.home.mkdir(mode=0o700)
        self._gpg("--passphrase", "", "--quick-generate-key", "tests", "ed25519", "sign", "never")

    @property
    def key(self) -> Path:
        path = self.home / "key.asc"
        if not path.exists():
            self._gpg("--armor", "--output", str(path), "--export")
        return path

    def sign(self, release: Path) -> None:
        into = release.with_name("InRelease")
        into.unlink(missing_ok=True)
        self._gpg("--clearsign", "--output", str(into), str(release))

    def end(self) -> None:
        """End the agent that gpg leaves running."""
        subprocess.run(
            ["gpgconf", "--homedir", str(self.home), "--kill", "all"], check=True, timeout=20
        )

    def _gpg(self, *args: str) -> None:
        subprocess.run(
            ["gpg", "--homedir", str(self.home), "--batch", "--quiet", *args],
            check=True,
            capture_output=True,
            timeout=60,
        )


@dataclass
class AptRepository:
    """Packages by suite; :meth:`publish` makes the files."""

    root: Path
    signer: Signer
    suites: dict[str, list[tuple[str, str, str]]] = field(default_factory=dict)
    published: int = 0  # how many times

    def put(self, name: str, version: str, fields: str = "", suite: str = "bookworm") -> None:
        self.suites.setdefault(suite, []).append((name, version, fields))

    def take_out(self, name: str, version: str, suite: str = "bookworm") -> None:
        rows = self.suites[suite]
        (row,) = [each for each in rows if each[:2] == (name, version)]
        rows.remove(row)

    def publish(self, head: str = "Date: Thu, 01 Jan 2026 00:00:00 UTC\n") -> None:
        self.published += 1
        for suite, rows in self.suites.items():
            stanzas = "\n".join(self._stanza(*row) for row in rows)
            folder = self.root / "dists" / suite
            packages = folder / "main/binary-amd64/Packages"
            packages.parent.mkdir(parents=True, exist_ok=True)
            packages.write_text(stanzas)
            digest, size = hashlib.sha256(stanzas.encode()).hexdigest(), len(stanzas.encode())
            label = "Debian-Security" if suite.endswith("-security") else "Debian"
            release = folder / "Release"
            release.write_text(
                f"Origin: Debian\nLabel: {label}\nSuite: {suite}\nCodename: {suite}\n{head}"
                f"Components: main\nArchitectures: amd64\nSHA256:\n {digest} {size} "
                "main/binary-amd64/Packages\n"
            )
            self.signer.sign(release)

    def line(self, suite: str = "bookworm", root: str = "") -> str:
        return f"deb [signed-by={self.signer.key}] copy:{root or self.root} {suite} main"

    def _stanza(self, name: str, version: str, fields: str) -> str:
        control = CONTROL.format(name=name, version=version) + fields
        tag = hashlib.sha256(control.encode()).hexdigest()[:8]
        path = f"pool/{tag}/{name}_{version.partition(':')[2] or version}_all.deb"
        file = self.root / path
        if not file.exists():
            file.parent.mkdir(parents=True)
            file.write_bytes(_built(control))
        digest = hashlib.sha256(file.read_bytes()).hexdigest()
        return f"{control}Filename: {path}\nSize: {file.stat().st_size}\nSHA256: {digest}\n"
