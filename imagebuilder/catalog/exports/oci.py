"""An OCI image layout for each recipe: its releases as artefacts, tagged with their channels.

The formats are those of the OCI image specification 1.1 (image layout, manifest, guidelines for
artefacts).  In the catalog itself the layout's large blobs are the catalog's, named by their
``urls``; what is exported to a folder has them as files.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Final, Literal

from imagebuilder.catalog.exports.file import ExportModel, File
from imagebuilder.catalog.exports.place import Place
from imagebuilder.catalog.exports.view import RecipeView
from imagebuilder.catalog.model import Release

ARTIFACT_TYPE = "application/vnd.imagebuilder.pxe.v1"
_MANIFEST: Final = "application/vnd.oci.image.manifest.v1+json"
_INDEX: Final = "application/vnd.oci.image.index.v1+json"
_EMPTY_TYPE, _EMPTY = "application/vnd.oci.empty.v1+json", b"{}"
_TITLE = "org.opencontainers.image.title"
_REF = "org.opencontainers.image.ref.name"


class Descriptor(ExportModel):
    """Names a blob."""

    mediaType: str  # noqa: N815 - the specification calls them so
    digest: str
    size: int
    urls: tuple[str, ...] | None = None
    annotations: dict[str, str] | None = None
    artifactType: str | None = None  # noqa: N815


class OciManifest(ExportModel):
    """The manifest of a release."""

    schemaVersion: Literal[2] = 2  # noqa: N815
    mediaType: Literal["application/vnd.oci.image.manifest.v1+json"] = _MANIFEST  # noqa: N815
    artifactType: str = ARTIFACT_TYPE  # noqa: N815
    config: Descriptor
    layers: tuple[Descriptor, ...]
    annotations: dict[str, str]


class OciIndex(ExportModel):
    """``index.json``: manifests by their tags."""

    schemaVersion: Literal[2] = 2  # noqa: N815
    mediaType: Literal["application/vnd.oci.image.index.v1+json"] = _INDEX  # noqa: N815
    manifests: tuple[Descriptor, ...]


class Layout(ExportModel):
    """``oci-layout``."""

    imageLayoutVersion: Literal["1.0.0"] = "1.0.0"  # noqa: N815


def folder(name: str) -> str:
    """Return where the layout of a recipe stands."""
    return f"exports/oci/{name}"


def files(view: RecipeView, place: Place) -> Iterator[File]:
    """Return a recipe's layout: blobs, then the index that names them."""
    if not view.releases:
        return
    top = folder(view.name)
    yield File(key=f"{top}/oci-layout", data=Layout().data(), fixed=True)
    yield _blob(top, _EMPTY)
    manifests: dict[str, Descriptor] = {}
    done: set[str] = set()
    for release in view.releases:
        if place.whole:
            for each in release.artefacts:
                if each.sha256 not in done:
                    done.add(each.sha256)
                    key = f"{top}/blobs/sha256/{each.sha256}"
                    yield File(key=key, data=None, fixed=True, sha256=each.sha256, size=each.size)
        data = _manifest(release, place).data()
        yield _blob(top, data)
        manifests[release.version] = Descriptor(
            mediaType=_MANIFEST,
            digest=_digest(data),
            size=len(data),
            artifactType=ARTIFACT_TYPE,
        )
    tags = {version: version for version in manifests}
    tags |= {channel.name: channel.release.version for channel in view.channels}
    index = OciIndex(
        manifests=tuple(
            manifests[version].model_copy(update={"annotations": {_REF: tag}})
            for tag, version in sorted(tags.items())
        )
    )
    yield File(key=f"{top}/index.json", data=index.data())


def _manifest(release: Release, place: Place) -> OciManifest:
    layers = tuple(
        Descriptor(
            mediaType=f"application/vnd.imagebuilder.{each.role}.v1",
            digest=f"sha256:{each.sha256}",
            size=each.size,
            urls=None if place.whole else (place.blob(each.sha256),),
            annotations={_TITLE: each.name},
        )
        for each in release.artefacts
    )
    annotations = {
        "org.opencontainers.image.created": release.created,
        "org.opencontainers.image.title": release.name,
        "org.opencontainers.image.version": release.version,
        "org.opencontainers.image.description": release.summary,
        "org.opencontainers.image.revision": release.git_commit,
    }
    return OciManifest(
        config=Descriptor(mediaType=_EMPTY_TYPE, digest=_digest(_EMPTY), size=len(_EMPTY)),
        layers=layers,
        annotations={key: text for key, text in annotations.items() if text},
    )


def _blob(top: str, data: bytes) -> File:
    digest = hashlib.sha256(data).hexdigest()
    key = f"{top}/blobs/sha256/{digest}"
    return File(key=key, data=data, fixed=True, content_type="application/octet-stream")


def _digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"
