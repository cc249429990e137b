"""UEFI firmware for the machine: found as QEMU's own descriptions name it.

Distributions put the same firmware in different places; each has a description of it in JSON
(QEMU, docs/interop/firmware.json), which virtual machine managers go by as well.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from imagebuilder.errors import HostError
from imagebuilder.smoke.network import quoted

# In the order in which QEMU's documentation has them: what an administrator adds comes first.
FOLDERS = (Path("/etc/qemu/firmware"), Path("/usr/share/qemu/firmware"))

# As Debian has it, and as Fedora.
IPXE_PROGRAMS = (
    Path("/usr/lib/ipxe/snponly.efi"),
    Path("/usr/share/ipxe/ipxe-snponly-x86_64.efi"),
)

_ARCH, _BOARD = "x86_64", "pc-q35-"
# Secure Boot wants keys, and system management mode to guard them; a test without has neither.
_SECURE = {"enrolled-keys", "requires-smm", "secure-boot"}
_UNWANTED = {"amd-sev-es", "intel-tdx"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Firmware:
    """A UEFI firmware.

    Attributes:
        code: the file with its program.
        variables: the file with its variables as they are at first.
        format: of both files: raw or qcow2.
    """

    code: Path
    variables: Path
    format: str

    def argv(self, folder: Path) -> list[str]:
        """Return QEMU's arguments for it; what the guest writes goes to a copy in a folder."""
        own = folder / f"variables.{self.format}"
        shutil.copyfile(self.variables, own)
        return [
            "-drive",
            f"if=pflash,unit=0,format={self.format},readonly=on,file={quoted(self.code)}",
            "-drive",
            f"if=pflash,unit=1,format={self.format},file={quoted(own)}",
        ]


def find_uefi(*, secure: bool = False) -> Firmware:
    """Return the host's UEFI firmware.

    Args:
        secure: with Secure Boot and the keys that machines are sold with; else without.

    Raises:
        HostError: there is none.
    """
    for path in _descriptions():
        try:
            found = _suitable(json.loads(path.read_bytes()), secure=secure)
        except (OSError, ValueError, LookupError, TypeError, AttributeError):
            continue  # one that cannot be read, or says things in another way, is none
        if found and found.code.exists() and found.variables.exists():
            return found
    raise HostError(
        f"there is no UEFI firmware for QEMU{' with Secure Boot' if secure else ''}",
        fix="install it: ovmf on Debian and Ubuntu, edk2-ovmf on Fedora",
    )


def find_ipxe() -> Path:
    """Return iPXE as a UEFI program, which works with the network driver of the firmware.

    Raises:
        HostError: there is none.
    """
    found = next((path for path in IPXE_PROGRAMS if path.exists()), None)
    if found is None:
        raise HostError(
            "there is no iPXE for firmware that boots over HTTP",
            fix="install it: ipxe on Debian and Ubuntu, ipxe-bootimgs-x86 on Fedora",
        )
    return found


def _descriptions() -> Iterator[Path]:
    """Give the descriptions in the order of their names; one hides its namesakes further on."""
    first: dict[str, Path] = {}
    for folder in FOLDERS:
        for path in folder.glob("*.json"):
            first.setdefault(path.name, path)
    for name in sorted(first):
        yield first[name]


def _suitable(said: dict[str, Any], *, secure: bool) -> Firmware | None:
    mapping, features = said["mapping"], set(said["features"])
    if (
        "uefi" not in said["interface-types"]
        or mapping["device"] != "flash"
        or mapping.get("mode", "split") != "split"
        or _UNWANTED & features
        or _SECURE & features != (_SECURE if secure else set())
        or not any(_fits(target) for target in said["targets"])
    ):
        return None
    code, variables = mapping["executable"], mapping["nvram-template"]
    if code["format"] != variables["format"]:
        return None
    return Firmware(
        code=Path(code["filename"]), variables=Path(variables["filename"]), format=code["format"]
    )


def _fits(target: dict[str, Any]) -> bool:
    boards = any(each.startswith(_BOARD) or each == "q35" for each in target["machines"])
    return target["architecture"] == _ARCH and boards
