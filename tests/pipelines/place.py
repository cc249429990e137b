"""Where pipelines run here: a repository, clones of it, a catalog on a real S3 server.

What is not real: the containers and machines of the jobs (steps run on this host, one job after
the other, each in a clone of its own); the exchange of an OIDC token for keys (the server's keys
are in the environment); the actions and programs that talk to GitHub alone (``gh``, uploads),
which write down what they were given.  Everything that a step runs besides is what runs there.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from seaweed import ACCESS_KEY, SECRET_KEY, Server

ROOT = Path(__file__).resolve().parents[2]
PIPELINES = ROOT / "ci/pipelines"
BUCKET = "images"
_GIT = (
    "-c",
    "user.name=tester",
    "-c",
    "user.email=tester@example.org",
    "-c",
    "commit.gpgsign=false",
)

State = Literal["passed", "failed", "skipped"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ran:
    """A step that was run, or passed over.

    Attributes:
        job: the job's name.
        step: the step's.
        state: what came of it.
        log: what it printed.
    """

    job: str
    step: str
    state: State
    log: str = ""


@dataclass(kw_only=True)
class Place:
    """One place to run pipelines in.

    Attributes:
        folder: everything is below it.
        cache: the builder's cache, which its jobs share.
        server: the S3 server.
        seed: images that each clone has from the beginning, as of a builder that keeps its folder.
        say: takes lines while a step runs.
    """

    folder: Path
    cache: Path
    server: Server
    seed: Path | None = None
    say: Callable[[str], None] = lambda line: None
    ran: list[Ran] = field(default_factory=list)
    _clones: int = 0

    def __post_init__(self) -> None:
        self.home = self.folder / "home"
        self.home.mkdir(parents=True)
        (self.home / ".imagebuilder").symlink_to(Path(sys.executable).parent.parent)
        programs = self.folder / "programs"
        programs.mkdir()
        (programs / "gh").write_text(
            f'#!/bin/sh\n[ "$4" = --body-file ] && cp "$5" {self.comment}\n'
        )
        (programs / "gh").chmod(0o755)
        self.origin = self.folder / "origin"
        self.git("init", "-q", "-b", "main", str(self.origin), cwd=self.folder)

    @property
    def comment(self) -> Path:
        """What was said on the change."""
        return self.folder / "comment.md"

    @property
    def environment(self) -> dict[str, str]:
        """What every step finds in its environment."""
        mine = {
            "HOME": str(self.home),
            "PATH": f"{self.folder / 'programs'}:{os.environ['PATH']}",
            "CI": "true",
            "IMAGEBUILDER_CACHE": str(self.cache),
            "IMAGEBUILDER_VENV": str(self.home / ".imagebuilder"),
            "AWS_ENDPOINT_URL": self.server.endpoint,
            "AWS_ACCESS_KEY_ID": ACCESS_KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
            "AWS_REGION": "us-east-1",
        }
        kept = {key: os.environ[key] for key in ("LANG", "TMPDIR", "USER") if key in os.environ}
        return {**kept, **mine}

    @property
    def catalog(self) -> str:
        """The catalog's URL."""
        return f"s3://{BUCKET}/{self.folder.parent.name}"

    @property
    def remote_cache(self) -> str:
        """The URL of the remote cache."""
        return f"s3://{BUCKET}/cache"

    def git(self, *args: str, cwd: Path | None = None) -> str:
        """Run git in the repository."""
        done = subprocess.run(
            ["git", *_GIT, *args],
            cwd=cwd or self.origin,
            text=True,
            capture_output=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def commit(self, message: str, files: Mapping[str, str | Path] = {}) -> str:
        """Write files, or copy them, into the repository; return the commit with them."""
        for name, content in files.items():
            path = self.origin / name
            path.parent.mkdir(parents=True, exist_ok=True)
            if isinstance(content, Path):
                shutil.copytree(content, path) if content.is_dir() else shutil.copy(content, path)
            else:
                path.write_text(content)
        self.git("add", "-A")
        self.git("commit", "-q", "-m", message)
        return self.git("rev-parse", "HEAD")

    def clone(self, *, depth: int = 0) -> Path:
        """Return a clone of the repository for a job; without a depth with all of its history."""
        self._clones += 1
        path = self.folder / f"job-{self._clones}" / "repository"
        some = ("--depth", str(depth)) if depth else ()
        branch = self.git("rev-parse", "--abbrev-ref", "HEAD")
        self.git(
            "clone", "-q", *some, "-b", branch, self.origin.as_uri(), str(path), cwd=self.folder
        )
        if self.seed:
            shutil.copytree(self.seed, path / "build", symlinks=True, copy_function=_link)
        return path

    def run(self, job: str, step: str, script: str, cwd: Path, env: Mapping[str, str]) -> Ran:
        """Run a script with bash, as both systems do, and write down what came of it."""
        self.say(f"== {job}: {step}")
        with subprocess.Popen(
            ["bash", "-eo", "pipefail", "-c", script],
            cwd=cwd,
            env={**self.environment, **env},
            text=True,
            errors="replace",
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        ) as process:
            assert process.stdout
            lines: list[str] = []
            for line in process.stdout:
                lines.append(line)
                self.say(line.rstrip("\n"))
        ran = Ran(
            job=job,
            step=step,
            state="failed" if process.returncode else "passed",
            log="".join(lines),
        )
        self.ran.append(ran)
        return ran

    def note(self, job: str, step: str, state: State, log: str = "") -> None:
        """Write down a step that no shell runs."""
        self.say(f"== {job}: {step}: {state} {log}".rstrip())
        self.ran.append(Ran(job=job, step=step, state=state, log=log))


def _link(source: str, target: str) -> None:
    """Make a hard link where that can be: nothing of an image is ever changed in place."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)
