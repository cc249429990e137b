"""The package index: which packages the mirrors have.

An apt of its own in the cache: nothing of the host's apt is read but its keys, nothing is
changed.  It is brought up to date once a day, so that a build with nothing changed
needs no network; how often, the project says.
"""

from __future__ import annotations

import hashlib
import mmap
import os
import re
import secrets
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from filelock import FileLock
from pydantic import BaseModel, ConfigDict, ValidationError

from imagebuilder import command
from imagebuilder.engines.base import digest_of
from imagebuilder.engines.direct.host_apt import host_proxies
from imagebuilder.engines.direct.pins import Target, preferences, read_targets
from imagebuilder.engines.direct.sources import Sources
from imagebuilder.errors import HostError, StepError
from imagebuilder.progress import Reporter

DAY = 24 * 3600.0  # seconds
_STATE = "index.json"
PREFERENCES = "preferences"  # in the folder: what --includepkgs and --excludepkgs come to

# What apt says of a signature whose key it has not: with gpgv, and with sqv (apt from 3.0 on).
_NO_KEY = re.compile(r"NO_PUBKEY|Missing key [0-9A-F]+")


class State(BaseModel):
    """``index.json``: when the index was last looked at, and what it was then."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    checked: float
    digest: str
    required: tuple[str, ...]


# For the folder of an index, the state of it that was last used by this process.
_used: dict[Path, State] = {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Index:
    """An index on disk, up to date.

    Attributes:
        folder: where it is.
        digest: follows from the signed release files of all sources.
        required: the packages of priority ``required``, sorted: every Debian has them (Debian
            Policy 2.5), whether it names them or not.
        sources: where its packages come from.
    """

    folder: Path
    digest: str
    required: tuple[str, ...]
    sources: Sources

    @property
    def lists(self) -> Path:
        """The folder with apt's package lists."""
        return self.folder / "lists"

    @property
    def preferences(self) -> str:
        """The text of apt's preferences, or ""."""
        try:
            return (self.folder / PREFERENCES).read_text()
        except FileNotFoundError:
            return ""


# A line of sources.list(5) for a folder of this host: where it is, and the suite or folder.
_LOCAL_LINE = re.compile(r"^deb (?:\[[^\]]*\] )?copy:(/\S*) (\S+)", re.MULTILINE)
_LISTS = ("InRelease", "Release", "Packages", "Packages.gz", "Packages.xz")


def open_index(
    cache_dir: Path,
    sources: Sources,
    arch: str,
    reporter: Reporter,
    *,
    refresh: bool,
    offline: bool = False,
    max_age: float = DAY,
) -> Index:
    """Return the index of some sources, looking at the mirrors if that was long ago.

    Args:
        cache_dir: where results that images share are kept.
        sources: where packages come from.
        arch: the packages' architecture.
        reporter: where progress goes, with the request to stop.
        refresh: look at the mirrors now.
        offline: never look at them.
        max_age: for how many seconds they need not be looked at again.

    Raises:
        StepError: there is none yet, and the mirrors cannot be reached or must not be.
    """
    folder = _folder(cache_dir, sources, arch)
    # Nobody need wait for the lock who only reads: the state is renamed when it is whole.
    known = None if refresh else _read_state(folder)
    if known and (offline or _is_fresh(known, sources, max_age)):
        return _index(folder, known, sources)
    (folder / "lists/partial").mkdir(parents=True, exist_ok=True)
    with FileLock(folder / "lock", timeout=600):
        state = _read_state(folder)
        if state and ((_is_fresh(state, sources, max_age) and not refresh) or offline):
            return _index(folder, state, sources)
        if offline:
            raise StepError(
                "there is no package index in the cache, and none may be fetched",
                fix="run it once without --offline",
            )
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
    return _index(folder, state, sources)


def used(cache_dir: Path, sources: Sources, arch: str) -> tuple[Path, State] | None:
    """Return the file with the state of an index, and that state, if this process has used it.

    None if it has not, or if another process has brought the index up to date since.
    """
    folder = _folder(cache_dir, sources, arch)
    state = _used.get(folder)
    return (folder / _STATE, state) if state and state == _read_state(folder) else None


@lru_cache(maxsize=64)
def _folder(cache_dir: Path, sources: Sources, arch: str) -> Path:
    return Path(f"{cache_dir}/apt/{_name(sources, arch)}")


def _name(sources: Sources, arch: str) -> str:
    said = "\n".join((sources.text, sources.identity(), *sources.settings(), arch))
    return digest_of(said)[:16]


def _is_fresh(state: State, sources: Sources, max_age: float) -> bool:
    if not 0 <= time.time() - state.checked < max_age:
        return False
    # A repository of this host can be looked at each time.
    return not any(_changed(path) > state.checked for path in local_files(sources))


def local_files(sources: Sources) -> tuple[str, ...]:
    """Return the files that say what the repositories of this host have, if they are there."""
    folders = []
    for url, suite in _LOCAL_LINE.findall(sources.text):
        is_flat = suite.endswith("/")
        folders.append(os.path.normpath(f"{url}/{suite}" if is_flat else f"{url}/dists/{suite}"))
    return tuple(f"{folder}/{name}" for folder in dict.fromkeys(folders) for name in _LISTS)


def _changed(path: str) -> float:
    try:
        return Path(path).stat().st_ctime
    except OSError:
        return 0.0


def _index(folder: Path, state: State, sources: Sources) -> Index:
    _used[folder] = state
    return Index(folder=folder, digest=state.digest, required=state.required, sources=sources)


def _read_state(folder: Path) -> State | None:
    path = f"{folder}/{_STATE}"
    try:
        facts = os.stat(path)  # noqa: PTH116 - thrice for each of many recipes
        return _state(path, facts.st_mtime_ns, facts.st_ino)
    except (OSError, ValidationError):
        return None


@lru_cache(maxsize=64)
def _state(path: str, _changed: int, _inode: int) -> State:
    return State.model_validate_json(Path(path).read_bytes())


def _update(folder: Path, sources: Sources, arch: str, reporter: Reporter) -> State:
    _configure(folder, sources, arch)
    log = folder / "update.log"
    log.unlink(missing_ok=True)
    try:
        command.run(
            ["apt-get", "update", "--error-on=any"],
            timeout=600,
            cancel=reporter.cancel,
            env=environment(folder),
            log=log,
            what="fetching the package index",
            fix=f"see that the mirrors can be reached and have the release: the sources are in "
            f"{folder / 'sources.list'}, from {sources.origin}",
        )
    except StepError as error:
        if _NO_KEY.search(log.read_text(errors="replace")):
            raise HostError(
                f"this host does not know the key that signs the packages of {sources.origin}",
                excerpt=error.excerpt,
                log=log,
                fix="install the keys of newer releases: sudo apt-get update && sudo apt-get "
                "install debian-archive-keyring; for other repositories name a key: "
                "deb [signed-by=/FILE] URL SUITE COMPONENT",
            ) from error
        raise
    summed = hashlib.sha256()
    for path in sorted((folder / "lists").glob("*Release")):
        summed.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    _write_pins(folder, sources, reporter)
    required = tuple(sorted(set(_required(folder / "lists"))))
    state = State(checked=time.time(), digest=summed.hexdigest()[:32], required=required)
    write(folder / _STATE, state.model_dump_json())
    return state


def _write_pins(folder: Path, sources: Sources, reporter: Reporter) -> None:
    if not any(each.include or each.exclude for each in sources.repositories):
        (folder / PREFERENCES).unlink(missing_ok=True)
        return
    text = preferences(sources.repositories, targets(folder, reporter))
    write(folder / PREFERENCES, text)


def targets(folder: Path, reporter: Reporter) -> list[Target]:
    """Return what apt says of the indices in the folder of an index."""
    result = command.run(
        ["apt-get", "indextargets"],
        timeout=60,
        cancel=reporter.cancel,
        env=environment(folder),
        keep=1 << 16,
        what="asking apt for its indices",
    )
    return read_targets(result.stdout)


def _required(lists: Path) -> Iterator[str]:
    """Find the packages of priority ``required`` in apt's lists (deb822(5))."""
    for path in lists.glob("*_Packages"):
        if not path.stat().st_size:
            continue  # which cannot be mapped
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as text:
            for found in re.finditer(rb"^Priority: required$", text, re.MULTILINE):
                begin = text.rfind(b"\n\n", 0, found.start()) + 1
                name = re.compile(rb"^Package: (\S+)$", re.MULTILINE).search(text, begin)
                if name:
                    yield name[1].decode()


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
        f'Dir::Etc::preferences "{folder / PREFERENCES}";',
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
        *sources.settings(),
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
    """Write a file under a name that nobody else has, and rename it."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        temporary.write_text(text)
        temporary.rename(path)
    finally:
        temporary.unlink(missing_ok=True)
