"""The package index: which packages the mirrors have.

An apt of its own in the cache: nothing of the host's apt is read but its keys, nothing is
changed.  It is brought up to date at most once a day, so that a build with nothing changed
needs no network.
"""

from __future__ import annotations

import hashlib
import os
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from filelock import FileLock
from pydantic import BaseModel, ConfigDict, ValidationError

from imagebuilder import command
from imagebuilder.engines.base import digest_of
from imagebuilder.engines.direct.host_apt import host_proxies
from imagebuilder.engines.direct.sources import Sources
from imagebuilder.errors import StepError
from imagebuilder.progress import Reporter

MAX_AGE = 24 * 3600.0  # seconds


class _State(BaseModel):
    """``index.json``: when the index was last looked at, and what it was then."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    checked: float
    digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Index:
    """An index on disk, up to date.

    Attributes:
        folder: where it is.
        digest: follows from the signed release files of all sources.
        sources: where its packages come from.
    """

    folder: Path
    digest: str
    sources: Sources

    @property
    def lists(self) -> Path:
        """The folder with apt's package lists."""
        return self.folder / "lists"

    def epoch(self) -> int:
        """Return when the newest of its release files was made, in seconds since the epoch."""
        newest = 0
        for path in self.lists.glob("*Release"):
            found = re.search(r"^Date: (.+)$", path.read_text(errors="replace"), re.MULTILINE)
            if found:
                newest = max(newest, _seconds(found[1]))
        return newest


def _seconds(date: str) -> int:
    """Read the date of a Release file: ``Sat, 21 Nov 2026 02:10:46 UTC``."""
    try:
        read = datetime.strptime(date.strip(), "%a, %d %b %Y %H:%M:%S %Z")
    except ValueError:
        return 0
    return int(read.replace(tzinfo=UTC).timestamp())


def open_index(
    cache_dir: Path, sources: Sources, arch: str, reporter: Reporter, *, refresh: bool
) -> Index:
    """Return the index of some sources, looking at the mirrors if that was long ago.

    Raises:
        StepError: there is none yet, and the mirrors cannot be reached.
    """
    folder = cache_dir / "apt" / digest_of(sources.text + arch)[:16]
    (folder / "lists/partial").mkdir(parents=True, exist_ok=True)
    with FileLock(folder / "lock", timeout=600):
        state = _read_state(folder)
        if state and not refresh and 0 <= time.time() - state.checked < MAX_AGE:
            return Index(folder=folder, digest=state.digest, sources=sources)
        try:
            with reporter.step("index", f"looking at the package mirrors ({sources.origin})"):
                state = _update(folder, sources, arch, reporter)
        except StepError as error:
            if not state:
                raise
            reporter.note(
                "index",
                "the mirrors could not be reached; going on with the index of "
                f"{time.strftime('%F %R', time.gmtime(state.checked))} UTC ({error.what})",
            )
    return Index(folder=folder, digest=state.digest, sources=sources)


def _read_state(folder: Path) -> _State | None:
    try:
        return _State.model_validate_json((folder / "index.json").read_bytes())
    except (OSError, ValidationError):
        return None


def _update(folder: Path, sources: Sources, arch: str, reporter: Reporter) -> _State:
    _configure(folder, sources, arch)
    log = folder / "update.log"
    log.unlink(missing_ok=True)
    command.run(
        ["apt-get", "update", "--error-on=any"],
        timeout=600,
        cancel=reporter.cancel,
        env=environment(folder),
        log=log,
        what="fetching the package index",
        fix="see that the mirrors can be reached and their keys are known: the sources are in "
        f"{folder / 'sources.list'}",
    )
    summed = hashlib.sha256()
    for path in sorted((folder / "lists").glob("*Release")):
        summed.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    state = _State(checked=time.time(), digest=summed.hexdigest()[:32])
    write(folder / "index.json", state.model_dump_json())
    return state


def _configure(folder: Path, sources: Sources, arch: str) -> None:
    # The list may hold credentials for a mirror.
    private = os.open(folder / "sources.list", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(private, "w") as file:
        file.write(sources.text)
    (folder / "status").touch()
    for name in ("archives/partial", "empty"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    lines = [
        f'Dir "{folder}/empty/";',
        f'Dir::Etc "{folder}/empty/";',
        f'Dir::Etc::sourcelist "{folder}/sources.list";',
        f'Dir::Etc::sourceparts "{folder}/empty";',
        f'Dir::Etc::parts "{folder}/empty";',
        f'Dir::Etc::preferencesparts "{folder}/empty";',
        'Dir::Etc::trusted "/etc/apt/trusted.gpg";',
        'Dir::Etc::trustedparts "/etc/apt/trusted.gpg.d/";',
        'Dir::Etc::netrc "/etc/apt/auth.conf";',
        'Dir::Etc::netrcparts "/etc/apt/auth.conf.d/";',
        f'Dir::State "{folder}/";',
        f'Dir::State::lists "{folder}/lists/";',
        f'Dir::State::status "{folder}/status";',
        f'Dir::State::extended_states "{folder}/extended_states";',
        f'Dir::Cache "{folder}/";',
        f'Dir::Cache::archives "{folder}/archives/";',
        'Dir::Bin::methods "/usr/lib/apt/methods/";',
        'Acquire::Languages "none";',
        'Acquire::Retries "3";',
        f'APT::Architecture "{arch}";',
        f'APT::Architectures {{ "{arch}"; }};',
        'APT::Sandbox::User "root";',
        *host_proxies(),
    ]
    write(folder / "apt.conf", "".join(f"{line}\n" for line in lines))


def environment(folder: Path) -> Mapping[str, str]:
    """Return the environment in which apt works on the index in a folder, and on no other."""
    kept = ("HOME", "http_proxy", "https_proxy", "no_proxy", "SSL_CERT_FILE")
    return {
        **{name: os.environ[name] for name in kept if name in os.environ},
        "APT_CONFIG": str(folder / "apt.conf"),
        "LC_ALL": "C.UTF-8",
        "DEBIAN_FRONTEND": "noninteractive",
    }


def write(path: Path, text: str) -> None:
    """Write a file under another name and rename it."""
    temporary = path.with_name(f".{path.name}.new")
    temporary.write_text(text)
    temporary.rename(path)
