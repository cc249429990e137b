"""Manifests for the Image Management Service of Cray System Management.

A boot session names such a manifest by its ``s3://`` URL.  IMS wants the MD5 of each file, which
a catalog does not have: a release's blobs are read once for it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Literal

from pydantic import ValidationError

from imagebuilder.catalog import layout
from imagebuilder.catalog.exports.file import ExportModel, File, root_of, when
from imagebuilder.catalog.exports.place import Place
from imagebuilder.catalog.exports.view import RecipeView
from imagebuilder.catalog.model import UNIT, Release, ReleaseArtefact, Role
from imagebuilder.progress import Reporter
from imagebuilder.stores import ObjectStore
from imagebuilder.stores.base import missing

_LIMIT = 1 << 20  # bytes of a manifest, for IMS
_TYPES: dict[Role, str] = {
    "kernel": "application/vnd.cray.image.kernel",
    "initrd": "application/vnd.cray.image.initrd",
    "rootfs": "application/vnd.cray.image.rootfs.",  # and what it is; IMS knows squashfs
}
_PARAMETERS = "application/vnd.cray.image.parameters.boot"


class Link(ExportModel):
    """Where a file is; its ``etag`` is the store's."""

    type: Literal["s3"] = "s3"
    path: str
    etag: str


class Artifact(ExportModel):
    """A file of an image."""

    type: str
    md5: str
    link: Link


class ImsManifest(ExportModel):
    """``manifest.json``."""

    version: Literal["1.0"] = "1.0"
    created: str
    artifacts: tuple[Artifact, ...]


def folder(name: str, version_or_channel: str) -> str:
    """Return where the manifest of a release, or of what a channel names, stands."""
    return f"exports/ims/{name}/{version_or_channel}"


def files(
    view: RecipeView, place: Place, store: ObjectStore, target: ObjectStore, reporter: Reporter
) -> Iterator[File]:
    """Return the manifests of a recipe's releases, then those of its channels."""
    manifests: dict[str, bytes] = {}
    for release in view.releases:
        parameters = (" ".join(release.kernel_args) + "\n").encode()
        key = f"{folder(view.name, release.version)}/boot_parameters"
        yield File(key=key, data=parameters, fixed=True, content_type="text/plain; charset=utf-8")
        md5 = hashlib.md5(parameters, usedforsecurity=False).hexdigest()
        link = Link(path=f"{place.bucket}/{key}", etag=md5)
        artifacts = [
            *_blobs(release, place, store, target, reporter),
            Artifact(type=_PARAMETERS, md5=md5, link=link),
        ]
        created = when(release.created).strftime("%Y-%m-%d %H:%M:%S.%f")
        manifests[release.version] = ImsManifest(created=created, artifacts=tuple(artifacts)).data()
        key = f"{folder(view.name, release.version)}/manifest.json"
        yield File(key=key, data=manifests[release.version])
    for channel in view.channels:
        key = f"{folder(view.name, channel.name)}/manifest.json"
        yield File(key=key, data=manifests[channel.release.version])


def _blobs(
    release: Release, place: Place, store: ObjectStore, target: ObjectStore, reporter: Reporter
) -> Iterator[Artifact]:
    known = _known(release, target)
    for each in release.artefacts:
        if each.role not in UNIT:
            continue
        key = layout.blob_key(each.sha256)
        found = store.stat(key)
        if found is None:
            raise missing(store.url_of(key))
        path = f"{place.bucket}/{key}"
        md5 = known.get(path) or _md5(store, each, reporter)
        link = Link(path=path, etag=found.etag.strip('"'))
        what = root_of(each.name) if each.role == "rootfs" else ""
        yield Artifact(type=_TYPES[each.role] + what, md5=md5, link=link)


def _known(release: Release, target: ObjectStore) -> dict[str, str]:
    """Return what an earlier manifest of the release says: a blob's bytes never change."""
    key = f"{folder(release.name, release.version)}/manifest.json"
    found = target.get(key, limit=_LIMIT)
    if found is None:
        return {}
    try:
        there = ImsManifest.model_validate_json(found.data)
    except ValidationError:
        return {}
    return {each.link.path: each.md5 for each in there.artifacts}


def _md5(store: ObjectStore, artefact: ReleaseArtefact, reporter: Reporter) -> str:
    digest = hashlib.md5(usedforsecurity=False)
    store.fetch(
        layout.blob_key(artefact.sha256),
        digest.update,
        size=artefact.size,
        sha256=artefact.sha256,
        on_bytes=lambda _: None,
        cancel=reporter.cancel,
    )
    return digest.hexdigest()
