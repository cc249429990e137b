"""Where exported files say that a catalog's objects are."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import quote

from imagebuilder.catalog import layout
from imagebuilder.errors import InputError
from imagebuilder.policies import Exports
from imagebuilder.stores import ObjectStore

_NEED_URL = ("fcos", "matchbox")


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where exported files say that a catalog's objects are.

    Attributes:
        base: the catalog's URL for readers by plain HTTP, ending in a slash; "" if not known.
        bucket: ``s3://bucket/prefix``, without a slash at the end; "" for a folder.
        whole: whether the files go to another place than the catalog, so that an OCI layout
            has to bring its blobs.
    """

    base: str
    bucket: str
    whole: bool = False

    def url(self, key: str) -> str:
        """Return the URL of an object."""
        return self.base + quote(key)

    def blob(self, sha256: str) -> str:
        """Return the URL of a blob."""
        return self.url(layout.blob_key(sha256))


def place_of(store: ObjectStore, exports: Exports, *, whole: bool = False) -> Place:
    """Return where exported files say that the objects of a catalog are.

    Raises:
        InputError: a format needs to know more of it; nothing was looked up.
    """
    base = exports.url or store.public_url
    bucket = store.url if store.url.startswith("s3://") else ""
    lacking = [each for each in exports.formats if each in _NEED_URL]
    if not whole and "oci" in exports.formats:
        lacking.append("oci")
    if lacking and not base:
        raise InputError(
            f"{' and '.join(lacking)} cannot be exported: under which URL this folder is reached "
            "is not known",
            fix='say it in imagebuilder.toml: [exports] url = "http://HOST/FOLDER/"; or --url URL',
        )
    if "ims" in exports.formats and not bucket:
        raise InputError(
            "ims cannot be exported: its manifests name objects on S3, and this is a folder",
            fix="use a catalog on S3 (s3://bucket/prefix), or leave ims out",
        )
    return Place(base=base, bucket=bucket, whole=whole)
