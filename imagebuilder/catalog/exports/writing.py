"""Writing exports so that they follow the catalog, whoever else moves a channel meanwhile.

Nothing is kept of them: each file follows from the catalog's state, and is the same whoever
makes it.  A file is written with ``If-Match`` on what was there *before* the state was looked at
for the last time; so who saw an older state never replaces what follows from a newer one, but
looks again.  What a file names is written before it.
"""

from __future__ import annotations

import functools
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from pydantic import ValidationError

from imagebuilder.catalog import layout, read
from imagebuilder.catalog.exports import fcos, ims, matchbox, oci, page, simplestreams
from imagebuilder.catalog.exports.file import File
from imagebuilder.catalog.exports.place import Place
from imagebuilder.catalog.exports.view import AT_A_TIME, Reader, State
from imagebuilder.catalog.model import is_version
from imagebuilder.catalog.update import ATTEMPTS, let_others
from imagebuilder.errors import CatalogError, Location
from imagebuilder.policies import ExportFormat
from imagebuilder.progress import Reporter
from imagebuilder.stores import Conflict, FileStore, Object, ObjectStore, Stat
from imagebuilder.stores.base import download
from imagebuilder.stores.overlay import OverlayStore

_LONGEST_PAUSE = 1.0  # seconds
_AGAIN = "imagebuilder catalog export writes what is due; imagebuilder catalog verify says more"

_S = TypeVar("_S")


def write(
    store: ObjectStore,
    formats: Sequence[ExportFormat],
    place: Place,
    names: Sequence[str] | None,
    reporter: Reporter,
    *,
    target: ObjectStore | None = None,
    strict: bool,
) -> int:
    """Write the exports of recipes that are not as they should be.

    Args:
        store: the catalog.
        formats: which.
        place: where the files say that the catalog is.
        names: whose channels may have been moved; None: all.
        reporter: gets the step ``export``.
        target: where to; by default into the catalog.
        strict: whether it is an error when something of these recipes cannot be read; otherwise
            the observer is told.  What does not hang on that is written in any case.

    Returns:
        How many files were written.

    Raises:
        CatalogError: the store failed; or, if strict, something cannot be read.
    """
    target = target or store
    reader = Reader(store=store)
    problems: list[str] = []
    count = 0
    with reporter.step("export", " ".join(formats)):
        if names is None:
            names = [each.name for each in reader.states()]
        for name in names:
            render = _Recipe(store, target, formats, place, reader, reporter)
            count += _settle(
                store, target, functools.partial(reader.states, [name]), render, reporter
            )
            problems += render.problems
        if "simplestreams" in formats:
            count += _settle(store, target, reader.states, simplestreams.index, reporter)
        if "page" in formats:
            base = "" if target.url == store.url else place.base or None
            count += _settle(
                store,
                target,
                lambda: page.state_of(reader),
                lambda state: page.files(reader, state, base, reporter),
                reporter,
            )
    for each in [] if strict else problems:
        reporter.note("export", each)
    if problems and strict:
        raise CatalogError(
            "not all exports follow the catalog: " + "; ".join(problems),
            where=Location(file=store.url),
            fix=_AGAIN,
        )
    return count


def due(
    store: ObjectStore, formats: Sequence[ExportFormat], place: Place, reporter: Reporter
) -> tuple[str, ...]:
    """Return the keys of exports in a catalog that are not as they should be."""
    target = OverlayStore(store)
    write(store, formats, place, None, reporter, target=target, strict=False)
    return target.changed


def prune(store: ObjectStore, names: Iterable[str], reporter: Reporter) -> None:
    """Remove the exported files of releases that are no longer in the catalog's index."""
    listed = {(each.name, each.version) for each in read.index(store)}
    for name in sorted(set(names)):
        for key in [*_stale_ims(store, name, listed), *_stale_oci(store, name, listed)]:
            reporter.cancel.check()
            store.delete(key)


@dataclass(slots=True)
class _Recipe:
    """Makes the files of one recipe; knows what could not be read when it last did."""

    store: ObjectStore
    target: ObjectStore
    formats: Sequence[ExportFormat]
    place: Place
    reader: Reader
    reporter: Reporter
    problems: tuple[str, ...] = ()

    def __call__(self, states: tuple[State, ...]) -> Iterator[File]:
        view = self.reader.view(states[0])
        self.problems = view.problems
        if "oci" in self.formats:
            yield from oci.files(view, self.place)
        if "ims" in self.formats:
            yield from ims.files(view, self.place, self.store, self.target, self.reporter)
        if "fcos" in self.formats:
            yield from fcos.files(view, self.place)
        if "matchbox" in self.formats:
            yield from matchbox.files(view, self.place)
        if "simplestreams" in self.formats:
            yield from simplestreams.files(view)


def _settle(
    store: ObjectStore,
    target: ObjectStore,
    look: Callable[[], _S],
    render: Callable[[_S], Iterable[File]],
    reporter: Reporter,
) -> int:
    """Write what follows from a state, until the state is still that one when it is written."""
    for attempt in range(ATTEMPTS):
        reporter.cancel.check()
        state = look()
        files = list(render(state))
        there = _there(target, files)
        if files and look() != state:
            continue
        try:
            return _write_all(store, target, files, there, reporter)
        except Conflict:
            let_others(attempt, _LONGEST_PAUSE)
    raise CatalogError(
        f"the exports were changed by others {ATTEMPTS} times while this process tried to",
        where=Location(file=target.url),
        fix=_AGAIN,
    )


def _write_all(
    store: ObjectStore,
    target: ObjectStore,
    files: Sequence[File],
    there: Mapping[str, Object | Stat | None],
    reporter: Reporter,
) -> int:
    """Write the files that are not as they should be; return how many these were."""
    count = 0
    for each in files:
        reporter.cancel.check()
        current = there[each.key]
        if each.fixed or each.data is None:
            if current is None:
                _write_fixed(store, target, each, reporter)
                count += 1
        elif not isinstance(current, Object) or current.data != each.data:
            target.put(
                each.key,
                each.data,
                if_match=current.etag if isinstance(current, Object) else None,
                if_none_match=current is None,
                content_type=each.content_type,
            )
            count += 1
    return count


def _there(target: ObjectStore, files: Sequence[File]) -> dict[str, Object | Stat | None]:
    """Return what is there of some files; of those that never change only that it is."""

    def look(file: File) -> Object | Stat | None:
        return target.stat(file.key) if file.fixed else target.get(file.key)

    with ThreadPoolExecutor(AT_A_TIME) as pool:
        return dict(zip([each.key for each in files], pool.map(look, files), strict=True))


def _write_fixed(store: ObjectStore, target: ObjectStore, file: File, reporter: Reporter) -> None:
    if file.data is not None:
        target.put(file.key, file.data, content_type=file.content_type)
        return
    key = layout.blob_key(file.sha256)
    with tempfile.TemporaryDirectory(prefix="imagebuilder-export-") as folder:
        if isinstance(store, FileStore):
            source = Path(store.url_of(key))
        else:
            source = Path(folder) / file.sha256
            download(
                store,
                key,
                source,
                size=file.size,
                sha256=file.sha256,
                on_bytes=lambda _: None,
                cancel=reporter.cancel,
            )
        target.upload(
            file.key,
            source,
            size=file.size,
            sha256=file.sha256,
            on_bytes=lambda _: None,
            cancel=reporter.cancel,
        )


def _stale_ims(store: ObjectStore, name: str, listed: set[tuple[str, str]]) -> Iterator[str]:
    prefix = f"exports/ims/{name}/"
    for stat in store.list(prefix):
        version = stat.key.removeprefix(prefix).partition("/")[0]
        if is_version(version) and (name, version) not in listed:
            yield stat.key


def _stale_oci(store: ObjectStore, name: str, listed: set[tuple[str, str]]) -> Iterator[str]:
    for stat in store.list(f"{oci.folder(name)}/blobs/sha256/"):
        found = store.get(stat.key, limit=read.MANIFEST_LIMIT)
        if found is None:
            continue
        try:
            manifest = oci.OciManifest.model_validate_json(found.data)
        except ValidationError:
            continue  # the empty configuration
        version = manifest.annotations.get("org.opencontainers.image.version", "")
        if (name, version) not in listed:
            yield stat.key
