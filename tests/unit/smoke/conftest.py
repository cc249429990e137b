from __future__ import annotations

import json
import os
import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest
from fakes import small_image
from runnerkit import Guest, make_guest
from smoke_support import Descriptions

from imagebuilder.image import (
    Image,
)
from imagebuilder.smoke import firmware


@pytest.fixture
def image(tmp_path: Path) -> Image:
    """An image whose artefacts are no artefacts: for tests that boot nothing."""
    return small_image(tmp_path / "image")


@pytest.fixture
def fake_qemu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Puts a stand-in for QEMU on PATH; what stands in the returned file is its script.

    Each of its command lines is added to ``calls`` beside it.
    """
    folder = tmp_path / "fake"
    folder.mkdir()
    program = folder / "qemu-system-x86_64"
    program.write_text(
        "#!/bin/sh\n"
        f'echo "$*" >>{folder}/calls\n'
        '[ "$1" = --version ] && { echo QEMU 9.9; exit 0; }\n'
        f'[ "$1" = -L ] && {{ echo {folder}; exit 0; }}\n'
        f". {folder}/script\n"
    )
    program.chmod(0o755)
    (folder / "pxe-virtio.rom").touch()
    (folder / "efi-virtio.rom").touch()
    (folder / "script").write_text("exit 0\n")
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    return folder / "script"


@pytest.fixture
def descriptions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Descriptions:
    """Lets this host have the UEFI firmwares that the test describes, and no others."""
    folder = tmp_path / "firmware"
    folder.mkdir()
    (folder / "CODE.fd").write_text("code")
    (folder / "VARS.fd").write_text("variables")
    monkeypatch.setattr(firmware, "FOLDERS", (tmp_path / "none", folder))

    def describe(
        name: str,
        *,
        architecture: str = "x86_64",
        machines: Sequence[str] = ("pc-q35-*",),
        features: Sequence[str] = ("acpi-s3",),
        mode: str = "split",
    ) -> Path:
        file = {"filename": str(folder / "CODE.fd"), "format": "raw"}
        said = {
            "interface-types": ["uefi"],
            "mapping": {
                "device": "flash",
                "mode": mode,
                "executable": file,
                "nvram-template": file | {"filename": str(folder / "VARS.fd")},
            },
            "targets": [{"architecture": architecture, "machines": list(machines)}],
            "features": list(features),
        }
        (folder / name).write_text(json.dumps(said))
        return folder

    return describe


@pytest.fixture(params=["dash", "bash", "busybox"])
def guest(request: pytest.FixtureRequest, tmp_path: Path) -> Guest:
    if request.param == "dash":
        return make_guest(tmp_path)
    program = shutil.which(request.param)
    if program is None and os.environ.get("CI") != "true":
        pytest.skip(f"{request.param} is not installed; run ci/setup")
    assert program
    return make_guest(tmp_path, (program, "sh") if request.param == "busybox" else (program,))
