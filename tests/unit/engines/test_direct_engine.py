"""What the direct engine refuses before anything is looked at or made."""

from __future__ import annotations

from pathlib import Path

import pytest
from fakes import FakePrograms, MakeProject

from imagebuilder import Options, distro, plan_image
from imagebuilder.errors import InputError


def refusal(make_project: MakeProject, tmp_path: Path, recipe: str) -> InputError:
    project = make_project(
        {
            "recipes/r.toml": f'kickstarts = ["a.ks"]\n{recipe}\n',
            "kickstarts/a.ks": "lang C.UTF-8\n%packages\nbash\n%end\n",
        }
    )
    with pytest.raises(InputError) as caught:
        plan_image(project, "r", Options.make(cache_dir=tmp_path / "cache"))
    return caught.value


@pytest.mark.parametrize("name", ["fedora-43", "almalinux-9.6", "centos-stream-10"])
def test_other_families_are_refused_with_their_line(
    make_project: MakeProject, tmp_path: Path, fake_programs: FakePrograms, name: str
) -> None:
    error = refusal(make_project, tmp_path, f'distro = "{name}"')
    assert name in error.what
    assert str(error.where) == "recipes/r.toml:2 (distro)"
    assert fake_programs.calls() == []


def test_another_architecture_is_refused_with_its_line(
    make_project: MakeProject, tmp_path: Path, fake_programs: FakePrograms
) -> None:
    other = next(each for each in ("x86_64", "aarch64") if each != distro.host_arch())
    error = refusal(make_project, tmp_path, f'distro = "debian-13"\narch = "{other}"')
    assert f"no images for {other} on this host" in error.what
    assert distro.host_arch() in error.what
    assert str(error.where) == "recipes/r.toml:3 (arch)"
    assert fake_programs.calls() == []
