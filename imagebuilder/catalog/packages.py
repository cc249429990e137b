"""What is in releases: which have a package."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import ValidationError

from imagebuilder import distro
from imagebuilder.catalog import layout, read
from imagebuilder.catalog.model import IndexEntry, Release, ReleaseArtefact
from imagebuilder.debversion import DebianVersion
from imagebuilder.errors import CatalogError, InputError, Location
from imagebuilder.image import Package, PackageList
from imagebuilder.progress import Reporter
from imagebuilder.stores import ObjectStore
from imagebuilder.stores.base import in_memory

_LIMIT = 64 << 20  # bytes of a list of packages


@dataclass(frozen=True, slots=True, kw_only=True)
class Match:
    """A package in a release.

    Attributes:
        release: which release.
        package: the package as it is installed there.
        channels: the channels that name the release now.
    """

    release: IndexEntry
    package: Package
    channels: tuple[str, ...]


def search(
    store: ObjectStore,
    package: str,
    *,
    below: str,
    name: str | None,
    source: bool,
    reporter: Reporter,
) -> tuple[Match, ...]:
    """Find releases with a package; see :meth:`imagebuilder.catalog.CatalogReader.search`."""
    bound = DebianVersion(below) if below else None
    read.check_marker(store)
    entries = [each for each in read.index(store) if name is None or each.name == name]
    named: dict[tuple[str, str], list[str]] = {}
    for recipe in dict.fromkeys(each.name for each in entries):
        for channel in read.channels(store, recipe):
            named.setdefault((recipe, channel.release), []).append(channel.channel)
    lists: dict[str, tuple[Package, ...]] = {}  # many releases share one
    found: list[Match] = []
    with reporter.step("search", f"{len(entries)} releases"):
        for n, entry in enumerate(entries, 1):
            reporter.cancel.check()
            release = read.release(store, entry.name, entry.version, entry.manifest)
            artefact = release.artefact("packages")
            if artefact is None:
                continue
            if artefact.sha256 not in lists:
                everything = package_list(store, artefact, reporter)
                lists[artefact.sha256] = tuple(
                    each for each in everything if package in (each.name, source and each.source)
                )
            for each in lists[artefact.sha256]:
                if bound is None or _version(store, release, each) < bound:
                    channels = tuple(named.get((entry.name, entry.version), ()))
                    found.append(Match(release=entry, package=each, channels=channels))
            reporter.progress("search", n, len(entries), "releases")
    return tuple(found)


def _version(store: ObjectStore, release: Release, package: Package) -> DebianVersion:
    where = Location(file=store.url_of(layout.release_key(release.name, release.version)))
    try:
        if distro.find(release.distro).family == "debian":
            return DebianVersion(package.version)
    except InputError as error:
        raise CatalogError(f"its versions cannot be compared: {error.what}", where=where) from error
    raise CatalogError(
        f"how versions of {release.distro} are compared is not known here", where=where
    )


def package_list(
    store: ObjectStore, artefact: ReleaseArtefact, reporter: Reporter
) -> tuple[Package, ...]:
    """Read a release's list of packages.

    Raises:
        CatalogError: it is missing, damaged or too large.
    """
    key = layout.blob_key(artefact.sha256)
    where = Location(file=store.url_of(key))
    if artefact.size > _LIMIT:
        raise CatalogError(f"is larger than {_LIMIT >> 20} MiB", where=where)
    data = in_memory(store, key, size=artefact.size, sha256=artefact.sha256, cancel=reporter.cancel)
    try:
        return PackageList.model_validate_json(data).packages
    except ValidationError as error:
        raise CatalogError("is no list of packages", where=where) from error
