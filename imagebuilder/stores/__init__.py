"""The places that a catalog can be kept in, and how a URL names one."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import unquote, urlsplit

from imagebuilder.command import redact
from imagebuilder.errors import InputError
from imagebuilder.stores.base import Conflict, Object, ObjectStore, Patience, Stat, is_denied
from imagebuilder.stores.file import FileStore

__all__ = [
    "Conflict",
    "FileStore",
    "Object",
    "ObjectStore",
    "Patience",
    "Stat",
    "is_denied",
    "open_store",
]

_KNOWN = "known are: file:///a/folder, the plain path of a folder, s3://bucket/prefix"


def open_store(url: str, patience: Patience | None = None) -> ObjectStore:
    """Return the store that a URL names.  Nothing is read, made or reached yet.

    Args:
        url: ``file:///absolute/folder``, the plain path of a folder (absolute or not), or
            ``s3://bucket/prefix``.
        patience: how long a server that does not answer is asked; None: as a publisher would.

    Raises:
        InputError: the URL is none of these.
    """
    shown = redact(url)
    if not url or not url.isprintable():
        raise InputError(f"{shown!r} is no catalog URL", fix=_KNOWN)
    found = re.match(r"([A-Za-z][A-Za-z0-9+.-]*):(//)?", url)
    if not found:
        return FileStore(Path(url))
    scheme = found[1].lower()
    if scheme not in ("file", "s3") or not found[2]:
        raise InputError(f"{shown}: a catalog cannot be on {scheme}:", fix=_KNOWN)
    parts = urlsplit(url)
    if scheme == "file":
        path = unquote(parts.path)
        if parts.netloc not in ("", "localhost"):
            raise InputError(
                f"{shown} names a host, {redact(parts.netloc)!r}, and a catalog's folder is on "
                "this one",
                fix="write file:///absolute/folder, or the plain path of the folder",
            )
        if not path.startswith("/") or not path.isprintable() or parts.query or parts.fragment:
            raise InputError(f"{shown} names no folder", fix=_KNOWN)
        return FileStore(Path(path))
    from imagebuilder.stores.s3 import S3Store  # boto3 takes 0.3 s to import

    return S3Store.from_url(url, patience)
