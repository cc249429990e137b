"""Stand-ins that the tests share; ``conftest.py`` has the fixtures that hand them out."""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from imagebuilder.command import Result
from imagebuilder.engines import Input, Made, Request, Step, StepSpec
from imagebuilder.engines.direct.tree import Tree
from imagebuilder.image import FACTS, ROOTFS, Image, ImageFacts, artefact_names, measure, rootfs_of
from imagebuilder.image import PACKAGES as PACKAGES_FILE
from imagebuilder.project import Project


class MakeProject(Protocol):
    def __call__(self, files: dict[str, str] | None = None, *, folder: str = ...) -> Project: ...


def written(folder: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text[1:]) if text.startswith("\n ") else text)


def small_image(folder: Path, *, kernel_args: tuple[str, ...] = (), rootfs: str = ROOTFS) -> Image:
    """Write an image into a folder: the facts are true, the artefacts are lines of text."""
    folder.mkdir(parents=True, exist_ok=True)
    names = artefact_names(rootfs)
    for name in names:
        (folder / name).write_text(f"this is {name}\n")
    (folder / PACKAGES_FILE).write_text(
        '{"format":1,"packages":[{"name":"a","version":"1","arch":"all"}]}'
    )
    facts = ImageFacts(
        id="0123456789abcdef",
        recipe="base",
        distro="debian-12",
        engine="direct",
        created="2026-01-01T00:00:00Z",
        kernel_release="6.1.0",
        kernel_args=kernel_args,
        tree_size=1,
        package_count=1,
        artefacts=tuple(measure(folder / name) for name in names),
        steps=(),
        tools={},
    )
    (folder / FACTS).write_text(facts.model_dump_json())
    return Image.open(folder)


@dataclass
class FakeEngine:
    """An engine that starts nothing: its image is the kickstart's text."""

    extra: dict[str, str] = field(default_factory=dict)
    cached: set[str] = field(default_factory=set)
    made: list[str] = field(default_factory=list)
    before_make: Callable[[Request, Path], None] = lambda request, into: None
    after_make: Callable[[Request, Path], None] = lambda request, into: None

    def check(self, request: Request) -> tuple[str, ...]:
        return ("a note of the engine",)

    def steps(self, request: Request) -> tuple[StepSpec, ...]:
        packages = [
            Input.of("package", wish.name, f"package {wish.name}")
            for wish in request.kickstart.packages
        ]
        commands = [
            Input.of(each.name, each.text, f"{each.name} of {each.where}")
            for each in request.kickstart.commands
        ]
        extra = [Input.of(kind, value) for kind, value in self.extra.items()]
        return (
            StepSpec(name="packages", inputs=(*packages, *extra), text="install"),
            StepSpec(name="configure", inputs=tuple(commands), text="apply", after="packages"),
        )

    def has(self, cache_dir: Path, step: str, step_id: str) -> bool:
        return step in self.cached

    def make(self, request: Request, steps: tuple[Step, ...], into: Path, *, again: bool) -> Made:
        self.made.append(request.resolved.name)
        (into / "logs").mkdir()
        (into / "logs/configure.log").write_text("what the tools said\n")
        self.before_make(request, into)
        rootfs = rootfs_of(request.resolved.recipe.image.filesystem)
        for name in ("vmlinuz", "initrd.img", rootfs):
            (into / name).write_text(f"{name} of\n{request.kickstart.text}")
        (into / "packages.json").write_text('{"format":1,"packages":[]}')
        self.after_make(request, into)
        return Made(
            kernel_release="6.1.0-1-amd64",
            tree_size=1,
            package_count=0,
            tools={},
            seconds={"packages": 1.0},
            reused=frozenset(self.cached),
            notes=("a note of the build",),
        )


@dataclass
class FakePrograms:
    """Stand-ins on PATH; each notes its command lines."""

    folder: Path

    def write(self, name: str, script: str) -> None:
        program = self.folder / name
        program.write_text(
            f'#!/bin/sh\necho "{name} $*" >>"${{0%/*}}/calls"\n{textwrap.dedent(script)}\n'
        )
        program.chmod(0o755)

    def calls(self) -> list[str]:
        path = self.folder / "calls"
        return path.read_text().splitlines() if path.exists() else []

    def forget(self) -> None:
        (self.folder / "calls").unlink(missing_ok=True)


# What the stand-in for apt-get would install: enough to boot over the network.
PACKAGES = {
    "base-files": "12.4",
    "curl": "7.88",
    "dracut-core": "059-4",
    "dracut-live": "059-4",
    "dracut-network": "059-4",
    "linux-image-amd64": "6.1.90-1",
}


def fake_apt(
    programs: FakePrograms, packages: dict[str, str] | None = None, date: str = "0"
) -> None:
    """Put an apt on PATH that knows these packages, and whatever it is asked to install."""
    known = PACKAGES if packages is None else packages
    rows = (f"Inst {name} ({version} Debian:12 [amd64])" for name, version in known.items())
    listed = "\n".join(rows)
    programs.write("apt-config", "exit 0")
    programs.write(
        "apt-cache", f"printf 'Package: %s\\nPriority: optional\\n\\n' {' '.join(known)}"
    )
    programs.write(
        "apt-get",
        f"""
        if [ "$1" = update ]; then
            lists=$(sed -n 's/^Dir::State::lists "\\(.*\\)";/\\1/p' "$APT_CONFIG")
            echo "Date: Thu, 01 Jan 1970 00:00:0{date} UTC" >"$lists/mirror_InRelease"
            exit 0
        fi
        cat <<'END'
        {listed}
        END
        """.replace("\n        ", "\n"),
    )


# As much of an image's tree as the commands of a kickstart look at.
TREE = {
    "etc/passwd": "root:x:0:0::/root:/bin/bash\nop:x:1000:1001::/home/op:/bin/sh\n",
    "etc/group": "root:x:0:\nsudo:x:27:\n",
    "etc/services": "ssh\t\t22/tcp\t\t\t# SSH\nntp\t123/udp\nssh2 23/tcp\n",
    "usr/lib/systemd/system/systemd-networkd.service": "",
    "usr/lib/systemd/system/ssh.service": "",
    "usr/lib/systemd/system/getty@.service": "",
    "bin/bash": "",
    "usr/lib/systemd/system/chrony.service": "",
    "etc/chrony/chrony.conf": "pool 2.debian.pool.ntp.org iburst\nsourcedir /x\n",
    "usr/sbin/locale-gen": "",
    "usr/share/i18n/SUPPORTED": "de_DE.UTF-8 UTF-8\nde_DE ISO-8859-1\n",
    "usr/share/zoneinfo/Europe/Berlin": "",
    "usr/share/zoneinfo/UTC": "",
}


class Guest(Tree):
    """A tree in which programs are noted, not run."""

    @classmethod
    def make(cls, folder: Path) -> Guest:
        written(folder / "root", TREE)
        return cls(root=folder / "root", log=folder / "log", epoch=0)

    def calls(self) -> list[str]:
        path = self.log.with_name("calls")
        return path.read_text().splitlines() if path.exists() else []

    def run(self, argv: Any, *, stdin: str | None = None, **_: Any) -> Any:
        said = ""
        if argv[0] == "perl":  # stands for crypt(3)
            setting, password = (stdin or "").splitlines()
            stdin, said = setting, f"{setting}$hash-of-{password}\n"
        with self.log.with_name("calls").open("a") as file:
            file.write(" ".join(argv) + (f" < {stdin.strip()}" if stdin else "") + "\n")
        return Result(argv=tuple(argv), returncode=0, stdout=said, stderr="", seconds=0.0)
