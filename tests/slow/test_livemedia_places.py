"""livemedia-creator in a container, in a mock chroot, on another host: run, watched, ended."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from livemedia import places
from livemedia.bench import KICKSTART, in_use, stays
from livemedia.rig import RELEASE, Rig, small_tree

import imagebuilder

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(os.geteuid() != 0, reason="livemedia-creator needs root"),
]

_CONTAINER = 'where = "container"\ncontainer_image = "registry.example/lorax:9"\n'
PLACES = {
    "podman": _CONTAINER,
    "docker": f'{_CONTAINER}container_command = ["docker"]\n',
    "mock": 'where = "mock"\nmock_config = "alma+epel-9-x86_64"\n',
    "ssh": 'where = "ssh"\nssh_host = "builder.example"\nremote_dir = "{folder}/there"\n',
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """Programs that lead elsewhere, and a project that uses them."""

    folder: Path
    tree: Path

    def write(self, name: str, place: str, more: str = "", **moods: str) -> Path:
        """Write a project; return its folder."""
        folder = self.folder / name
        told = {"LIVEMEDIA_VERSION": "40.5.19-1", **moods}
        rig = Rig(folder=folder, tree=self.tree, told=told).write()
        for each in ("recipes", "kickstarts", "there"):
            (folder / each).mkdir(exist_ok=True)
        (folder / "recipes/r.toml").write_text(
            'distro = "almalinux-9"\nengine = "livemedia"\nkickstarts = ["a.ks"]\n'
            f'[livemedia]\nprogram = "{rig.program}"\n{place}{more}\n'.replace(
                "{folder}", str(folder)
            )
        )
        (folder / "kickstarts/a.ks").write_text(KICKSTART)
        return folder

    def build(self, folder: Path) -> imagebuilder.Image:
        """Build it."""
        options = imagebuilder.Options.make(cache_dir=folder / "cache")
        return imagebuilder.build_image(imagebuilder.Project.open(folder), "r", options)

    def calls(self) -> list[list[str]]:
        """Return the calls of the programs, with their names."""
        return [
            json.loads(each) for each in (self.folder / "programs/calls").read_text().splitlines()
        ]


@pytest.fixture(scope="module")
def site(host_tools: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("places")
    made = Site(folder=folder, tree=small_tree(folder / "tree"))
    places.write(folder / "programs", folder / "socket")
    with pytest.MonkeyPatch.context() as patch, places.daemon(folder / "socket"):
        patch.setenv("PATH", f"{folder}/programs:{os.environ['PATH']}")
        yield made


@pytest.mark.parametrize("place", ["podman", "mock", "ssh"])
def test_an_image_is_made_there(site: Site, place: str) -> None:
    folder = site.write(place, PLACES[place])
    image = site.build(folder)
    image.verify()
    assert image.facts.kernel_release == RELEASE
    logs = image.path / "logs"
    assert "Starting package installation" in (logs / "anaconda/anaconda.log").read_text()
    assert "mkfs.ext4" in (logs / "program.log").read_text()
    assert "SUMMARY" in (logs / "livemedia.log").read_text()
    assert [each[0] for each in site.calls()].count(place) >= 3  # it was asked twice, and run
    assert list((folder / "there").iterdir()) == []
    assert stays(folder) == []
    # It is known by its version: nothing is called, and nothing made.
    before = len(site.calls())
    assert site.build(folder).path == image.path
    assert len(site.calls()) == before


def test_a_failure_there_is_told_by_its_cause(site: Site) -> None:
    line = "ERR packaging: Missed: NoSuchPackage: bash"
    folder = site.write("fails", PLACES["ssh"], ANACONDA_MOOD=f"line:{line}")
    with pytest.raises(imagebuilder.StepError, match=r"kickstarts/a\.ks:9: .*to be had: bash"):
        site.build(folder)
    assert line in (folder / "build/r/failed/anaconda/anaconda.log").read_text()
    assert list((folder / "there").iterdir()) == []
    assert stays(folder) == []


@pytest.mark.parametrize(
    ("place", "change", "said"),
    [
        ("podman", ("lorax:9", "none:1"), "asking livemedia-creator of the container image"),
        ("ssh", ("builder.example", "nobody.example"), "asking livemedia-creator of nobody"),
    ],
)
def test_a_place_that_is_not_there_is_told(
    site: Site, place: str, change: tuple[str, str], said: str
) -> None:
    folder = site.write(f"no-{place}", PLACES[place].replace(*change))
    with pytest.raises(imagebuilder.HostError, match=said) as caught:
        site.build(folder)
    assert "see that this works: " in caught.value.fix


@pytest.mark.parametrize("place", ["docker", "ssh"])
def test_a_kill_reaches_what_runs_there(site: Site, place: str) -> None:
    folder = site.write(f"{place}-killed", PLACES[place], ANACONDA_MOOD="hang")
    process = subprocess.Popen(
        [sys.executable, "-m", "imagebuilder.cli", "build", "--json", "r"],
        cwd=folder,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "IMAGEBUILDER_CACHE": str(folder / "cache")},
    )
    assert process.stdout
    for text in process.stdout:
        if "Anaconda installs" in text:
            break
    time.sleep(0.3)
    before = in_use(folder)
    process.kill()
    process.communicate(timeout=30)
    assert any("loop" in each for each in before)
    assert stays(folder) == []
    assert list((folder / "there").iterdir()) == []
    assert not list(Path("/dev/shm").glob("imagebuilder-*.ks"))


def test_silence_there_ends_it(site: Site) -> None:
    folder = site.write("mute", PLACES["ssh"], "silence = 0.1", LIVEMEDIA_MOOD="mute")
    with pytest.raises(imagebuilder.StepError, match="it gave no sign of life"):
        site.build(folder)
    assert stays(folder) == []
    assert list((folder / "there").iterdir()) == []
