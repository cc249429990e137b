from __future__ import annotations

import pytest
from smoke_support import Descriptions

from imagebuilder.errors import HostError
from imagebuilder.smoke.firmware import find_uefi
from imagebuilder.smoke.paths import BOOT_PATHS, find_tools


def test_the_first_description_that_fits_is_taken(descriptions: Descriptions) -> None:
    descriptions("10-other.json", architecture="aarch64")
    descriptions("20-secure.json", features=["secure-boot", "requires-smm"])
    descriptions("30-stateless.json", mode="stateless")
    descriptions("40-board.json", machines=["pc-i440fx-*"])
    folder = descriptions("60-plain.json")
    descriptions("70-later.json")
    (folder / "05-broken.json").write_text("{")
    (folder / "06-odd.json").write_text('{"mapping": []}')
    found = find_uefi()
    assert found.code == folder / "CODE.fd"
    assert found.variables == folder / "VARS.fd"
    assert found.format == "raw"


def test_secure_boot_is_taken_where_it_is_asked_for(descriptions: Descriptions) -> None:
    descriptions("10-plain.json")
    descriptions("20-keyless.json", features=["secure-boot", "requires-smm"])
    with pytest.raises(HostError, match="with Secure Boot"):
        find_uefi(secure=True)
    folder = descriptions(
        "30-keys.json", features=["enrolled-keys", "secure-boot", "requires-smm", "amd-sev"]
    )
    assert find_uefi(secure=True).code == folder / "CODE.fd"


def test_firmware_that_is_described_but_gone_is_none(
    descriptions: Descriptions, fake_qemu: object
) -> None:
    (descriptions("60-plain.json") / "VARS.fd").unlink()
    with pytest.raises(HostError, match="no UEFI firmware") as caught:
        find_uefi()
    assert "ovmf" in caught.value.fix
    find_tools([BOOT_PATHS["pxe-bios"]])
    with pytest.raises(HostError, match="no UEFI firmware"):
        find_tools([BOOT_PATHS["pxe-uefi"]])
