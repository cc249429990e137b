"""The seam between the pipeline and what makes images."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from importlib import import_module
from pathlib import Path
from typing import Protocol, runtime_checkable

from imagebuilder.errors import InputError, Location
from imagebuilder.kickstart import Kickstart
from imagebuilder.lockfile import Change, LockedPackage, LockFile
from imagebuilder.progress import Reporter
from imagebuilder.project import ResolvedRecipe
from imagebuilder.remote import Remote
from imagebuilder.secrets import Vault, names_in

GROUP = "imagebuilder.engines"

# Our own engines stand here as well as among the entry points: looking through those of all
# installed packages takes a tenth of the time that a build with nothing to do may take.
_OWN = {
    "direct": "imagebuilder.engines.direct:DirectEngine",
    "livemedia": "imagebuilder.engines.livemedia:LivemediaEngine",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Input:
    """One thing that a step's result depends on.

    Attributes:
        kind: what sort of thing it is, the same wherever it stands: ``timezone``, ``%post``.
        label: for people: what it is, and where it stands.
        digest: follows from its value alone, never from where it stands.
    """

    kind: str
    label: str
    digest: str

    @classmethod
    def of(cls, kind: str, value: str, label: str = "") -> Input:
        """Make an input of a value."""
        return _input(kind, value, label or kind)

    @classmethod
    def of_secret(cls, kind: str, value: str, label: str = "") -> Input:
        """Make an input of a value that holds a secret.

        Digests are published with an image: this one is slow to compute (scrypt, RFC 7914,
        16 MiB), so that a password cannot be guessed from it at speed.
        """
        return cls(kind=kind, label=label or kind, digest=_slow_digest(value))

    @classmethod
    def of_text(
        cls, kind: str, text: str, label: str, vault: Vault, where: Location | None = None
    ) -> tuple[Input, ...]:
        """Make inputs of a text, and of the secrets that it refers to.

        Raises:
            InputError: a secret is not to be had.
        """
        referred = (
            cls.of_secret("secret", f"{name}={vault.value(name, where)}", f"secret {name}")
            for name in names_in(text)
        )
        return (cls.of(kind, text, label), *referred)


@lru_cache(maxsize=1 << 14)
def _input(kind: str, value: str, label: str) -> Input:
    """Make an input; recipes that are planned together share most of theirs."""
    return Input(kind=kind, label=label, digest=digest_of(value))


@lru_cache(maxsize=4096)
def _slow_digest(value: str) -> str:
    slow = hashlib.scrypt(value.encode(), salt=b"imagebuilder", n=1 << 14, r=8, p=1, dklen=16)
    return slow.hex()


def digest_of(value: str) -> str:
    """Return the digest by which a value is compared: 32 hexadecimal digits."""
    return hashlib.sha256(value.encode()).hexdigest()[:32]


def step_id(name: str, below: Iterable[str], inputs: Iterable[Input]) -> str:
    """Return the content id of a step.

    Args:
        name: the step's name.
        below: the ids of the steps whose results it builds on.
        inputs: what it depends on beside them.
    """
    words = [name, *below, *[f"{each.kind} {each.digest}" for each in inputs], ""]
    return digest_of("\n".join(words))


@dataclass(frozen=True, slots=True, kw_only=True)
class StepSpec:
    """A step of a build before it is known whether it must run.

    Attributes:
        name: the step's name.
        inputs: what its result depends on, beside the step that it builds on.
        text: for people: what the step does.
        after: the step whose result it builds on, or "".
    """

    name: str
    inputs: tuple[Input, ...]
    text: str
    after: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """A step of a plan.

    Attributes:
        name: the step's name.
        id: 32 hexadecimal digits that follow from all its inputs and the steps before it.
        inputs: what its result depends on.
        text: for people: what it does.
        reused: whether its result is there already.
        reason: for people: why it is reused, or why it must run.
        remote: whether its result is in the remote cache alone.
    """

    name: str
    id: str
    inputs: tuple[Input, ...]
    text: str
    reused: bool
    reason: str
    remote: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What an engine is asked to make.

    Attributes:
        resolved: the recipe.
        kickstart: its kickstart.
        cache_dir: where results that several images share are kept.
        reporter: where progress goes, with the request to stop.
        refresh: look at the package mirrors even if they were looked at a short while ago.
        offline: use no network: what is in the cache must do.
        vault: what the kickstart's secrets stand for.
        lock: exactly these packages are to be installed, and no others.
        remote: where results come from that other machines have made, and go to.
    """

    resolved: ResolvedRecipe
    kickstart: Kickstart
    cache_dir: Path
    reporter: Reporter
    refresh: bool = False
    offline: bool = False
    vault: Vault = field(default_factory=Vault)
    lock: LockFile | None = None
    remote: Remote | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """What an engine has made, beside the files.

    Attributes:
        kernel_release: what ``uname -r`` will say.
        tree_size: bytes of the unpacked root file system.
        package_count: how many packages it has.
        tools: the programs that made it, with versions.
        seconds: how long each step took.
        reused: the steps whose results were found, not made.
        notes: what the reader of a build should know.
    """

    kernel_release: str
    tree_size: int
    package_count: int
    tools: dict[str, str]
    seconds: dict[str, float]
    reused: frozenset[str] = field(default_factory=frozenset)
    notes: tuple[str, ...] = ()


class Engine(Protocol):
    """How a kickstart becomes an image."""

    def check(self, request: Request) -> tuple[str, ...]:
        """Refuse what this engine cannot make; return notes on what has no effect.

        Reads the recipe and kickstart only: it is quick, and starts nothing.

        Raises:
            InputError: with the file and line of everything that cannot be honoured.
        """
        ...

    def steps(self, request: Request) -> tuple[StepSpec, ...]:
        """Return the steps that make the image, in order, with their inputs.

        May ask the package index, but makes nothing.

        Raises:
            InputError: a package is unknown, or the packages cannot be installed together.
        """
        ...

    def has(self, cache_dir: Path, step: str, step_id: str) -> bool:
        """Return whether the result of a step is in the cache."""
        ...

    def make(self, request: Request, steps: tuple[Step, ...], into: Path, *, again: bool) -> Made:
        """Make the image's kernel, initrd, rootfs, package list and logs in a folder.

        Args:
            request: what to make.
            steps: the plan.
            into: an empty folder, to be filled with the files that ``image.py`` names.
            again: make every step, whatever is in the cache.

        Raises:
            StepError, HostError, Interrupted: nothing but files in ``into`` is left behind.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Units:
    """The systemd units that packages bring.

    Attributes:
        names: the units' full names; a SysV init script ``NAME`` counts as ``NAME.service``.
        unlisted: those of the packages whose files the archive does not list.
    """

    names: frozenset[str]
    unlisted: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Watched:
    """What the steps of an image follow from beside the project and the code.

    While all of it is the same, so are the steps: they need not be found anew.

    Attributes:
        paths: files, and folders with all that is in them.
        texts: small files, each with the SHA-256 of what it held when the steps were found.
        since: from when on this holds, in seconds since the epoch.
        until: up to when.
    """

    paths: tuple[str, ...]
    texts: tuple[tuple[str, str], ...]
    since: float
    until: float


@runtime_checkable
class WatchedEngine(Protocol):
    """An engine that knows what its steps follow from."""

    def watched(self, request: Request) -> Watched | None:
        """Return what the steps of a request that were just found follow from.

        Returns:
            None if that cannot be watched: a program was asked, something far away was.
        """
        ...


@runtime_checkable
class SharingEngine(Protocol):
    """An engine of which results of single steps are taken from a remote cache, and given to it.

    ``make`` takes what it lacks from ``request.remote``.
    """

    def shared_step(self) -> str:
        """Return the step whose result is shared; the remote cache keeps it as ``packages``."""
        ...

    def shared_results(self, request: Request) -> tuple[str, ...]:
        """Return the ids of the results that are shared, each before those that build on it."""
        ...

    def why_private(self, request: Request) -> str:
        """Return why the result of that step is not to be shared, or "" if it may be."""
        ...

    def share(self, request: Request, steps: Sequence[Step]) -> None:
        """Give the result of that step to the remote cache, unless that has it.

        Whatever goes wrong is said as a note.

        Raises:
            Interrupted: somebody asked to stop.
        """
        ...


@runtime_checkable
class LockingEngine(Protocol):
    """An engine that can install exactly the packages of a lock file."""

    def make_lock(self, request: Request, keep: Sequence[LockedPackage] = ()) -> LockFile:
        """Return a lock file for what a recipe asks for.

        Args:
            request: the recipe.
            keep: packages that stay as they are, as long as the mirrors have them.

        Raises:
            InputError: a package is unknown, or they cannot be installed together.
            StepError: the index is not there and cannot be fetched.
        """
        ...

    def security_of(self, request: Request, changes: Sequence[Change]) -> frozenset[str]:
        """Return the packages of which a change passes a security update."""
        ...

    def check_lock(self, request: Request, steps: Sequence[Step]) -> None:
        """Refuse a lock file whose packages are to be installed, and not to be had.

        Raises:
            StepError: naming each package that is missing, and what there is of it now.
        """
        ...


@runtime_checkable
class IndexedEngine(Protocol):
    """An engine that can be asked, before anything is made, what packages come to."""

    def packages(self, request: Request) -> Mapping[str, str]:
        """Return the packages that the image would get, with versions.

        Raises:
            InputError: a package is unknown, or they cannot be installed together.
            StepError: the index is not there and cannot be fetched.
        """
        ...

    def check_needs(self, request: Request, packages: Mapping[str, str]) -> None:
        """Refuse what the kickstart asks for and these packages cannot do.

        Raises:
            InputError: with the file and line of each command, and the package that it needs.
        """
        ...

    def units(self, request: Request, packages: Iterable[str]) -> Units:
        """Return the units that some packages bring.

        Raises:
            StepError: nothing lists the files of packages, or it cannot be fetched.
        """
        ...


def find(name: str, where: Location | None = None) -> Engine:
    """Return the engine of that name.

    Raises:
        InputError: there is none; ``where`` is the place that named it.
    """
    if name in _OWN:
        module, _, attribute = _OWN[name].partition(":")
        own: Engine = getattr(import_module(module), attribute)()
        return own
    from importlib.metadata import entry_points

    found = entry_points(group=GROUP, name=name)
    if not found:
        known = ", ".join(sorted(names()))
        raise InputError(f"unknown engine {name!r}", where=where, fix=f"known are: {known}")
    engine: Engine = next(iter(found)).load()()
    return engine


def names() -> Iterable[str]:
    """Return the names of all engines that are installed."""
    from importlib.metadata import entry_points

    return {*_OWN, *(each.name for each in entry_points(group=GROUP))}
