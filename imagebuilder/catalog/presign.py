"""Booting from a bucket that is not public: a script whose URLs carry a signature for a while."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from urllib.parse import quote

from imagebuilder.catalog import layout
from imagebuilder.catalog.manifest import as_time
from imagebuilder.catalog.model import UNIT, Release, Role
from imagebuilder.errors import CatalogError, InputError, Location
from imagebuilder.stores import ObjectStore
from imagebuilder.stores.base import missing

LONGEST = (
    7 * 24 * 3600
)  # seconds; the bound of signature version 4 (AWS, "Authenticating Requests")
# The smallest bound of the architectures: COMMAND_LINE_SIZE of x86 and arm64, without the NUL.
_LINE_LIMIT = 2047


@dataclass(frozen=True, slots=True, kw_only=True)
class Presigned:
    """How a release can be booted without credentials until a moment.

    Attributes:
        release: which.
        script: an iPXE script.
        urls: those of kernel, initrd and rootfs, by the names of the files.
        expires: from then on the server refuses them (RFC 3339, UTC); sooner if the credentials
            that signed them end sooner.
    """

    release: Release
    script: str
    urls: Mapping[str, str]
    expires: str


def presign(store: ObjectStore, release: Release, title: str, seconds: int) -> Presigned:
    """Sign URLs of a release; see :meth:`imagebuilder.catalog.Catalog.presign`."""
    if not 1 <= seconds <= LONGEST:
        raise InputError(
            f"{seconds} seconds is no time that a URL can be signed for",
            fix="S3 allows from a second to 7 days",
        )
    until = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=seconds)
    unit = {each.role: each for each in release.artefacts if each.role in UNIT}
    urls: dict[str, str] = {}
    paths: dict[Role, str] = {}
    base = ""
    for role in UNIT:
        key = layout.blob_key(unit[role].sha256)
        # The signature does not tell whether there is anything.
        found = store.stat(key)
        if found is None or found.size != unit[role].size:
            raise missing(store.url_of(key))
        url = store.presigned_url(key, seconds=seconds)
        place, _, query = url.partition("?")
        base = place.removesuffix(quote(key))
        urls[unit[role].name] = url
        paths[role] = f"{quote(key)}?{query}"
    script = layout.presigned_script(release, title, base, paths)
    _check_length(store, script)
    return Presigned(release=release, script=script, urls=urls, expires=as_time(until))


def _check_length(store: ObjectStore, script: str) -> None:
    base = next(line for line in script.splitlines() if " set base " in line).split()[-1]
    kernel = next(line for line in script.splitlines() if line.startswith("kernel "))
    line = kernel.partition(" ${names} ")[2].replace("${base}", base)
    if len(line) > _LINE_LIMIT:
        raise CatalogError(
            f"the kernel's command line would have {len(line)} characters, and kernels take "
            f"{_LINE_LIMIT}: the rootfs' signed URL is long, as that of temporary credentials is",
            where=Location(file=store.url),
            fix="sign with an access key that has no session token",
        )
