from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from imagebuilder.errors import HostError
from imagebuilder.smoke import secure
from imagebuilder.smoke.network import alone
from imagebuilder.smoke.paths import BOOT_PATHS


@pytest.fixture
def loaders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """The signed boot loaders that this host has."""
    shim, grub = tmp_path / "shim.signed", tmp_path / "grub.signed"
    shim.write_text("shim")
    grub.write_text("GRUB")
    monkeypatch.setattr(secure, "_SHIM", shim)
    monkeypatch.setattr(secure, "_GRUB", grub)
    monkeypatch.setattr(secure, "_PACKAGES", {shim: "shim-signed", grub: "grub-signed"})
    return shim, grub


def test_what_tftp_gives_out(tmp_path: Path, loaders: tuple[Path, Path]) -> None:
    kernel, initrd = tmp_path / "kernel", tmp_path / "initrd"
    kernel.write_text("kernel")
    initrd.write_text("initrd")
    wiring = alone(BOOT_PATHS["pxe-secure"].bootfile).wire(tmp_path)
    secure.put(wiring.tftp, kernel, initrd, "ip=dhcp a=$b")
    assert "bootfile=shimx64.efi" in wiring.cards[0].netdev
    found = {
        str(path.relative_to(wiring.tftp)): path.read_text()
        for path in wiring.tftp.rglob("*")
        if path.is_file()
    }
    config = found.pop("grub/grub.cfg")
    assert found == {
        "shimx64.efi": "shim",
        "grubx64.efi": "GRUB",
        "vmlinuz": "kernel",
        "initrd.img": "initrd",
    }
    assert "linux /vmlinuz 'ip=dhcp' 'a=$b'" in config


def test_what_is_missing_is_named(loaders: tuple[Path, Path]) -> None:
    assert secure.find_loaders().grub == loaders[1]
    loaders[1].unlink()
    with pytest.raises(HostError, match=r"grub\.signed") as caught:
        secure.find_loaders()
    assert "grub-signed" in caught.value.fix


def test_arguments_reach_the_kernel_as_they_are() -> None:
    """GRUB's shell takes single quotes as that of POSIX does."""
    args = """quiet a;b x="{1}" it's $PATH \\ #c | >d"""
    line = next(each for each in secure.configuration(args).splitlines() if "linux" in each)
    words = line.partition("linux ")[2].rpartition("; then")[0]
    said = subprocess.run(
        ["sh", "-c", f"printf '%s\\n' {words}"], capture_output=True, text=True, check=True
    )
    assert said.stdout.split("\n")[1:-1] == args.split()
