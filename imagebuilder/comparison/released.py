"""A release of a catalog as one side of a comparison: only what is needed is fetched.

A catalog may have been written by somebody else.  Sizes are bounded, each blob must have the
size and the digest that the manifest names, and what is written to the disk has names of ours.
"""

from __future__ import annotations

from pathlib import Path

from imagebuilder.catalog import Catalog, Release, layout
from imagebuilder.catalog.model import ReleaseArtefact, Role
from imagebuilder.comparison.boots import Boots
from imagebuilder.comparison.side import LIMIT, Reader, Side
from imagebuilder.errors import CatalogError, HostError, Location
from imagebuilder.image import EROFS, INITRD, KERNEL, KICKSTART, PACKAGES, ROOTFS, SBOM
from imagebuilder.progress import Reporter
from imagebuilder.stores import ObjectStore
from imagebuilder.stores.base import download, in_memory

_ROLES: dict[str, Role] = {
    KERNEL: "kernel",
    INITRD: "initrd",
    ROOTFS: "rootfs",
    PACKAGES: "packages",
    SBOM: "sbom",
    KICKSTART: "kickstart",
}
_REPORT: Role = "test-report"
_FETCHED = (INITRD, ROOTFS)  # what file differences need
_MOST = {INITRD: 1 << 30, ROOTFS: 64 << 30}  # bytes


def of_release(
    catalog: Catalog, release: Release, *, asked: str = "", into: Path | None, reporter: Reporter
) -> Side:
    """Return what is known of a release.

    Args:
        catalog: where it is.
        release: which one.
        asked: the channel that named it; "".
        into: an empty folder for its initrd and root file system, about as large as these; None:
            they are not fetched, and files are not compared.
        reporter: gets the step ``fetch`` (in bytes), and has the request to stop.

    Raises:
        CatalogError: an object is missing, too large, or has other bytes than it must have.
        InputError: its list of packages cannot be read.
        HostError: the folder cannot be written.
    """
    named = f"@{asked}" if asked and asked != release.version else ""
    label = f"{release.name}{named} {release.version}"
    store = catalog.store

    def get(name: str) -> bytes | None:
        artefact = _artefact(release, name)
        return None if artefact is None else _bytes(store, artefact, reporter)

    read = Reader(label, get)
    if into:
        _fetch(store, release, into, reporter)
    artefacts = {name: _artefact(release, name) for name in (KERNEL, INITRD, ROOTFS)}
    report = release.artefact(_REPORT)
    boots: Boots | None = None
    if report:
        boots = Boots.read(_bytes(store, report, reporter))
        if boots is None:
            read.notes.append(f"{label}: its test's report cannot be read")
    return Side(
        recipe=release.name,
        label=label,
        distro=release.distro,
        kernel=release.kernel_release,
        kernel_args=release.kernel_args,
        tree_size=release.tree_size,
        artefacts={name: (each.size, each.sha256) for name, each in artefacts.items() if each},
        rootfs=_rootfs_of(release),
        packages=read.packages(),
        kickstart=read.kickstart(release.distro),
        components=read.components(),
        boots=boots,
        folder=into,
        notes=tuple(read.notes),
    )


def _rootfs_of(release: Release) -> str:
    artefact = release.artefact("rootfs")
    return EROFS if artefact and artefact.name == EROFS else ROOTFS


def _artefact(release: Release, name: str) -> ReleaseArtefact | None:
    return release.artefact(_ROLES[name])


def _bytes(store: ObjectStore, artefact: ReleaseArtefact, reporter: Reporter) -> bytes:
    key = layout.blob_key(artefact.sha256)
    _check_size(store, key, artefact, LIMIT)
    return in_memory(store, key, size=artefact.size, sha256=artefact.sha256, cancel=reporter.cancel)


def _fetch(store: ObjectStore, release: Release, into: Path, reporter: Reporter) -> None:
    wanted = [(name, each) for name in _FETCHED if (each := _artefact(release, name))]
    for name, artefact in wanted:
        _check_size(store, layout.blob_key(artefact.sha256), artefact, _MOST[name])
    total, done = sum(each.size for _, each in wanted), 0

    def on_bytes(count: int) -> None:
        nonlocal done
        done += count
        reporter.progress("fetch", done, total, "bytes")

    with reporter.step("fetch", f"root file system and initrd of {release.version}"):
        for name, artefact in wanted:
            try:
                download(
                    store,
                    layout.blob_key(artefact.sha256),
                    into / (_rootfs_of(release) if name == ROOTFS else name),
                    size=artefact.size,
                    sha256=artefact.sha256,
                    on_bytes=on_bytes,
                    cancel=reporter.cancel,
                )
            except OSError as error:
                raise HostError(
                    f"cannot be written: {error.strerror or error}",
                    where=Location(file=str(into / name)),
                    fix="make room there, or compare without --files",
                ) from error


def _check_size(store: ObjectStore, key: str, artefact: ReleaseArtefact, most: int) -> None:
    if artefact.size > most:
        raise CatalogError(
            f"{artefact.name} is larger than {most >> 20} MiB, so it was not fetched",
            where=Location(file=store.url_of(key)),
        )
