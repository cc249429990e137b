"""The remote cache: results of builds that other machines have made, and what this one gives.

It is a help, never a need: whatever is wrong with it (it cannot be reached, is slow, refuses, or
has other bytes than it says) is said once, and the build does the work itself.
"""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Literal, TypeVar

from pydantic import JsonValue, ValidationError

from imagebuilder.errors import CatalogError, InputError, Location
from imagebuilder.progress import Cancel, Reporter
from imagebuilder.remote.bounded import TooSlowError, bounded, each
from imagebuilder.remote.manifest import LIMIT, Item, Kind, Manifest, Tree, blob_key, entry_key
from imagebuilder.remote.outage import LASTS, Outage
from imagebuilder.sizes import human_size
from imagebuilder.stores import Conflict, ObjectStore, Patience, is_denied, open_store
from imagebuilder.stores.base import download

Mode = Literal["read-write", "read-only"]

STEP = "remote"  # the step that its events name

# A server that does not answer is given up soon: the build can do without.
_PATIENCE = Patience(attempts=2, connect_seconds=2, read_seconds=15)
_LOOK = 5.0  # seconds for a manifest
# Seconds for objects, and a second more for each so many bytes that have come or gone:
_FETCHING, _SHARING = 20.0, 60.0
_SLOWEST = 1 << 20
_AT_ONCE = 4
_SPARE = 64 << 20  # bytes of a disk that are left free

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Gift:
    """A result to be shared.

    Attributes:
        kind: what it is.
        id: the content id of the step that made it.
        recipe: for which recipe it was made.
        files: each object: its name, where it is, its size in bytes and SHA-256.
        tree: what the archive among them unpacks to.
        facts: what the engine noted of it.
    """

    kind: Kind
    id: str
    recipe: str
    files: tuple[tuple[Path, Item], ...]
    tree: Tree | None = None
    facts: Mapping[str, JsonValue]

    def manifest(self) -> Manifest:
        """Return the manifest of the result."""
        return Manifest(
            kind=self.kind,
            id=self.id,
            recipe=self.recipe,
            used=_today(),
            items=tuple(item for _, item in self.files),
            tree=self.tree,
            facts=dict(self.facts),
        )


class Remote:
    """A remote cache.

    Args:
        store: where it is.
        writes: whether results are shared with it.
        source: the URL that it was opened by, for other machines.
        outage: what is known of its being out of reach.
    """

    def __init__(
        self,
        store: ObjectStore,
        *,
        writes: bool = True,
        source: str = "",
        outage: Outage | None = None,
    ) -> None:
        self.store = store
        self.source = source or store.url
        self._writes = writes
        self._lock = threading.Lock()
        self._said: set[str] = set()
        self._outage = outage or Outage()
        self._bad: set[tuple[str, str]] = set()

    @property
    def url(self) -> str:
        """Where it is, for people."""
        return self.store.url

    @property
    def writes(self) -> bool:
        """Whether results are shared with it; not any more once it has refused."""
        return self._writes and not self._outage.is_now()

    def look(self, kind: Kind, entry_id: str, reporter: Reporter) -> Manifest | None:
        """Return what it has of a result, or None.

        Raises:
            Interrupted: somebody asked to stop.
        """
        key = entry_key(kind, entry_id)
        found = self._ask(lambda _: self.store.get(key, limit=LIMIT), _LOOK, reporter)
        if found is None:
            return None
        try:
            manifest = Manifest.model_validate_json(found.data)
        except ValidationError:
            self.distrust(kind, entry_id, "its manifest cannot be read", reporter)
            return None
        if (manifest.kind, manifest.id) != (kind, entry_id):
            why = f"its manifest is that of {manifest.kind} {manifest.id[:16]}"
            self.distrust(kind, entry_id, why, reporter)
            return None
        return manifest

    def fetch(
        self, manifest: Manifest, into: Path, reporter: Reporter, names: Iterable[str] = ()
    ) -> bool:
        """Bring the objects of a result into a folder, as files of their names.

        Args:
            manifest: what :meth:`look` gave.
            into: the folder; files that are there already are an error.
            reporter: told how far it is.
            names: which of them are wanted; by default all.

        Returns:
            whether all of them are there, each with the bytes that the manifest names.  If not
            the folder may have some of them; it was said why.

        Raises:
            Interrupted: somebody asked to stop.
            OSError: they cannot be written.
        """
        wanted = [each for each in manifest.items if not names or each.name in names]
        total = sum(each.size for each in wanted)
        what = f"fetching the {_WORDS[manifest.kind]} from the remote cache"
        counter = _Counter(reporter, total, what)

        def work(cancel: Cancel) -> None:
            def one(item: Item) -> None:
                download(
                    self.store,
                    blob_key(manifest.kind, manifest.id, item),
                    into / item.name,
                    size=item.size,
                    sha256=item.sha256,
                    on_bytes=counter.add,
                    cancel=cancel,
                )

            each(one, wanted, cancel, at_once=_AT_ONCE)

        if self._is_out(reporter):
            return False
        if shutil.disk_usage(into).free < total + _SPARE:
            reporter.note(STEP, f"{what}: there is no room for its {human_size(total)}")
            return False
        with reporter.step(STEP, what):
            try:
                bounded(work, seconds=lambda: _FETCHING + counter.seconds, cancel=reporter.cancel)
            except CatalogError as error:
                # What the way there, or the server, did wrong has a cause.
                if isinstance(error, TooSlowError) or error.__cause__:
                    self._out(error, reporter, is_told=True)
                else:
                    where = f"{error.where}: " if error.where else ""
                    self.distrust(manifest.kind, manifest.id, f"{where}{error.what}", reporter)
                return False
        self._renew(manifest, reporter)
        return True

    def distrust(self, kind: Kind, entry_id: str, why: str, reporter: Reporter) -> None:
        """Say that a result is not what it should be: it is made here, and shared anew."""
        with self._lock:
            self._bad.add((kind, entry_id))
        reporter.note(
            STEP, f"the {_WORDS[kind]} in the remote cache is not used, and made here: {why}"
        )

    def has(self, kind: Kind, entry_id: str, reporter: Reporter) -> bool:
        """Return whether a result need not be shared: it is there, and nothing is wrong with it.

        Raises:
            Interrupted: somebody asked to stop.
        """
        if (kind, entry_id) in self._bad:
            return False
        found = self.look(kind, entry_id, reporter)
        if found is None or (kind, entry_id) in self._bad:
            return False
        self._renew(found, reporter)
        return True

    def share(self, gift: Gift, reporter: Reporter) -> bool:
        """Give a result to other machines; return whether they have it now.

        Raises:
            Interrupted: somebody asked to stop.
        """
        if not self.writes or self._is_out(reporter):
            return False
        manifest = gift.manifest()
        is_bad = (gift.kind, gift.id) in self._bad
        what = f"sharing the {_WORDS[gift.kind]} with the remote cache"
        counter = _Counter(reporter, manifest.size, what)

        def work(cancel: Cancel) -> bool:
            def one(file: tuple[Path, Item]) -> None:
                path, item = file
                key = blob_key(gift.kind, gift.id, item)
                there = None if is_bad else self.store.stat(key)
                if there and there.size == item.size:
                    counter.add(item.size)
                    return
                self.store.upload(
                    key,
                    path,
                    size=item.size,
                    sha256=item.sha256,
                    on_bytes=counter.add,
                    cancel=cancel,
                )

            each(one, gift.files, cancel, at_once=_AT_ONCE)
            cancel.check()
            self.store.put(entry_key(gift.kind, gift.id), manifest.model_dump_json().encode())
            return True

        with reporter.step(STEP, what):
            done = self._write(work, lambda: _SHARING + counter.seconds, reporter)
        if done:
            with self._lock:
                self._bad.discard((gift.kind, gift.id))
        return bool(done)

    # ----- how -----------------------------------------------------------------------------

    def _ask(
        self, work: Callable[[Cancel], T | None], seconds: float, reporter: Reporter
    ) -> T | None:
        """Read something; None if it is not to be had, for whatever reason."""
        if self._is_out(reporter):
            return None
        try:
            found = bounded(work, seconds=seconds, cancel=reporter.cancel, grace=0)
        except CatalogError as error:
            if is_denied(error):
                # Who may read but not list is refused what is not there.
                self._say("does not let this user read", f"it {error.what}", reporter)
                return None
            self._out(error, reporter, is_told=True)
            return None
        self._outage.end()
        return found

    def _write(
        self,
        work: Callable[[Cancel], T],
        seconds: float | Callable[[], float],
        reporter: Reporter,
    ) -> T | None:
        """Write something; None if it cannot be."""
        try:
            return bounded(work, seconds=seconds, cancel=reporter.cancel)
        except Conflict:
            return None  # somebody else was quicker
        except CatalogError as error:
            if is_denied(error):
                self._writes = False
                self._say("gets nothing of what is made here", f"it {error.what}", reporter)
                return None
            # Others may still read: a disk that is full is no reason against that.
            self._out(error, reporter, is_told=False)
            return None

    def _renew(self, manifest: Manifest, reporter: Reporter) -> None:
        """Note that an entry is used, once a day; not if it was removed or written meanwhile."""
        if not self.writes or manifest.used == _today():
            return
        key = entry_key(manifest.kind, manifest.id)
        data = manifest.model_copy(update={"used": _today()}).model_dump_json().encode()

        def work(_: Cancel) -> None:
            there = self.store.get(key, limit=LIMIT)
            if there and there.data == manifest.model_dump_json().encode():
                self.store.put(key, data, if_match=there.etag)

        self._write(work, _LOOK, reporter)

    def _is_out(self, reporter: Reporter) -> bool:
        """Whether it is left alone; said once, if another command has found it out."""
        if self._outage.is_now():
            return True
        why = self._outage.told()
        if why is None:
            return False
        self._say("has been left alone for less than 5 minutes", why, reporter)
        return True

    def _out(self, error: CatalogError, reporter: Reporter, *, is_told: bool) -> None:
        self._outage.begin(error.what, is_told=is_told)
        self._say(f"is left alone for {LASTS / 60:.0f} minutes", f"it {error.what}", reporter)

    def _say(self, text: str, why: str, reporter: Reporter) -> None:
        with self._lock:
            if text in self._said:
                return
            self._said.add(text)
        reporter.note(STEP, f"the remote cache {self.url} {text}: {why}")


_WORDS: dict[Kind, str] = {"image": "image", "packages": "package layer", "initrd": "initrd"}


@lru_cache(maxsize=8)
def _opened(url: str, mode: Mode, noted: Path | None) -> Remote:
    return Remote(
        open_store(url, _PATIENCE),
        writes=mode == "read-write",
        source=url,
        outage=Outage(noted, url),
    )


def opened(
    url: str, mode: Mode, where: Location | None = None, *, noted: Path | None = None
) -> Remote:
    """Return the remote cache at a URL, for this process one and the same.

    Args:
        url: as that of a catalog.
        mode: whether results are shared with it.
        where: the place that named it.
        noted: the folder in which commands note that it cannot be reached, for one another;
            None: this one finds out by itself.

    Raises:
        InputError: the URL is none.
    """
    try:
        return _opened(url, mode, noted)
    except InputError as error:
        what = error.what.replace("catalog", "remote cache")
        raise InputError(what, where=where, fix=error.fix) from error


class _Counter:
    """Counts bytes that several threads move."""

    def __init__(self, reporter: Reporter, total: int, text: str) -> None:
        self._reporter, self._total, self._text = reporter, total, text
        self._lock = threading.Lock()
        self._done = 0

    def add(self, count: int) -> None:
        with self._lock:
            self._done += count
            done = self._done
        self._reporter.progress(STEP, min(done, self._total), self._total, "bytes", self._text)

    @property
    def seconds(self) -> float:
        """How long what has moved so far may have taken."""
        return self._done / _SLOWEST


def _today() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%d")
