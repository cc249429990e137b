from __future__ import annotations

import json
from pathlib import Path

import pytest

from imagebuilder import doctor, sandbox
from imagebuilder.doctor import Finding
from imagebuilder.engines.direct.host_apt import HostSources
from imagebuilder.smoke import accel
from imagebuilder.smoke.accel import KvmVerdict


def found(cache: Path, root: Path | None = None) -> dict[str, Finding]:
    return {each.name: each for each in doctor.examine(cache, root)}


@pytest.fixture
def no_kvm(monkeypatch: pytest.MonkeyPatch) -> None:
    verdict = KvmVerdict(
        works=False,
        why="there is no /dev/kvm",
        cpu_model="x",
        trial="none",
        tested="2026-01-01T00:00:00Z",
    )
    monkeypatch.setattr(accel, "kvm_verdict", lambda *_: verdict)


def test_a_host_that_lacks_everything(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, no_kvm: None
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(doctor, "host_sources", lambda *_: HostSources(lines=(), origin=""))
    findings = found(tmp_path / "cache")
    for name in ("mmdebstrap", "mksquashfs", "unshare", "qemu-system-x86_64"):
        assert findings[name].state == "missing"
        assert findings[name].fix.startswith("sudo apt-get install ")
    assert findings["namespaces"].state == "missing"
    assert findings["the rack's network"].state == "warning"
    assert findings["kvm"].state == "warning"
    assert findings["erofs"].state == "warning"
    assert findings["erofs"].fix == "sudo apt-get install erofs-utils"
    assert findings["python"].state == "ok"
    assert "[mirrors]" in findings["packages of debian-12"].fix
    assert "trixie main" in findings["packages of debian-13"].fix
    assert not [name for name in findings if "fedora" in name or "rhel" in name]
    for each in findings.values():
        assert each.fix or each.state != "missing"
        json.dumps(each.to_dict())


def test_a_user_without_subordinate_ids(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, no_kvm: None
) -> None:
    monkeypatch.setattr(
        sandbox, "why_not_enclosed", lambda: "/etc/subuid gives no subordinate ids to kim"
    )
    finding = found(tmp_path)["namespaces"]
    assert finding.state == "missing"
    assert "--add-subuids" in finding.fix


def test_room_is_looked_at_where_the_folders_will_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, no_kvm: None
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    findings = found(tmp_path / "not/made/yet", tmp_path)
    assert str(tmp_path) in findings["cache folder"].text
    assert not (tmp_path / "not").exists()
    assert "project folder" in findings
    monkeypatch.setattr(doctor, "_ROOM_GIB", 1 << 40)
    monkeypatch.setattr(doctor, "_MEMORY_GIB", 1 << 40)
    findings = found(tmp_path)
    assert findings["cache folder"].state == "warning"
    assert "make room" in findings["cache folder"].fix
    assert findings["memory"].state == "warning"
