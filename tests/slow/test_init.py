"""A new project, made and built by what a wheel of this repository installs."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
from support import ROOT

import imagebuilder

pytestmark = pytest.mark.slow

KICKSTART = """\
# The old way.
lang C.UTF-8
rootpw --plaintext old-password
%packages
hello
%end
"""


@pytest.fixture(scope="module")
def command(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Install a wheel into an environment of its own; its dependencies are those of this one."""
    work = tmp_path_factory.mktemp("wheel")
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    # Of a copy: what is built leaves things beside the sources.
    files = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout.split("\0")
    for name in filter(None, files):
        target = work / "source" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / name).exists():
            shutil.copy2(ROOT / name, target)
    wheel = [*pip, "wheel", "--no-deps", "--wheel-dir", str(work), str(work / "source")]
    subprocess.run(wheel, check=True, timeout=300)
    (made,) = work.glob("*.whl")
    environment = work / "environment"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(environment)], check=True)
    (packages,) = environment.glob("lib/python*/site-packages")
    (packages / "dependencies.pth").write_text(sysconfig.get_paths()["purelib"] + "\n")
    install = [*pip, "--python", str(environment), "install", "--no-deps", str(made)]
    subprocess.run(install, check=True, timeout=300)
    return environment / "bin/imagebuilder"


def test_a_new_project_builds_at_once(
    base_image: imagebuilder.Image, command: Path, cache_dir: Path, tmp_path: Path
) -> None:
    def run(*args: str, cwd: Path) -> str:
        environment = {**os.environ, "IMAGEBUILDER_CACHE": str(cache_dir)}
        environment.pop("PYTHONPATH", None)
        result = subprocess.run(
            [command, *args], cwd=cwd, env=environment, capture_output=True, text=True, timeout=900
        )
        assert result.returncode == 0, result.stderr
        return result.stdout

    python = command.with_name("python")
    where = subprocess.run(
        [python, "-c", "import imagebuilder; print(imagebuilder.__file__)"],
        cwd=tmp_path,
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    assert Path(where).is_relative_to(command.parents[1])

    run("init", "fleet", cwd=tmp_path)
    root = tmp_path / "fleet"
    assert run("list", cwd=root).split()[:2] == ["server", "debian-12"]
    assert run("lint", "--all", "--strict", cwd=root) == "nothing found\n"
    schema = root / ".imagebuilder/recipe.schema.json"
    assert run("schema", cwd=root) == schema.read_text()

    # Nothing is installed that the shipped base has not: its packages are there already.
    plan = json.loads(run("--json", "plan", "server", cwd=root).splitlines()[-1])["plan"]
    assert [step["name"] for step in plan["steps"] if step["reused"]] == ["packages"]
    run("build", "server", cwd=root)
    rootfs = root / "build/server/latest/rootfs.squashfs"
    motd = subprocess.run(
        ["unsquashfs", "-cat", str(rootfs), "etc/motd"], check=True, capture_output=True, text=True
    ).stdout
    assert motd.startswith("This is server, from memory")

    (tmp_path / "old.ks").write_text(KICKSTART)
    said = run("import", "../old.ks", cwd=root)
    assert "IMAGEBUILDER_SECRET_OLD_ROOTPW" in said
    assert run("list", cwd=root).splitlines()[0].startswith("old")
    assert "old-password" not in run("show", "old", cwd=root)
