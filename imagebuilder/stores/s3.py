"""A catalog in an S3 bucket: Amazon's, MinIO, Ceph, SeaweedFS and others, through boto3."""

from __future__ import annotations

import functools
import hashlib
import random
import re
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Self
from urllib.parse import parse_qsl, quote, unquote, urlsplit

from botocore.exceptions import ClientError

from imagebuilder.command import redact
from imagebuilder.errors import CatalogError, InputError, Location
from imagebuilder.progress import Cancel
from imagebuilder.stores.base import (
    METADATA_LIMIT,
    PROBE,
    Conflict,
    Object,
    OnBytes,
    Patience,
    Sink,
    Stat,
    check_key,
    check_received,
    is_key,
    missing,
)
from imagebuilder.stores.s3_client import (
    FAILURES,
    Options,
    connect,
    is_absent,
    reported,
)
from imagebuilder.stores.s3_upload import clear_unfinished, upload

_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_CHUNK = 1 << 20
_AT_ONCE = 8
_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 5.0  # seconds
_BODY_ATTEMPTS = 6  # without a byte between them; boto3 does not retry a body that was cut


class S3Store:
    """Objects in a bucket, below a prefix (which may be "")."""

    def __init__(self, bucket: str, prefix: str, options: Options) -> None:
        self._bucket = bucket
        self._prefix = f"{prefix}/" if prefix else ""
        self._options = options

    @classmethod
    def from_url(cls, url: str, patience: Patience | None = None) -> Self:
        """Return the store of ``s3://bucket/prefix``.

        Endpoint, region, profile and credentials come from where boto3 users expect them
        (``AWS_ENDPOINT_URL``, ``AWS_PROFILE``, ``~/.aws/config``…).  The first three can also
        stand in the URL: ``s3://bucket/prefix?endpoint=http://host:8333&region=x&profile=y``.

        Raises:
            InputError: the URL has another form, or credentials in it.
        """
        parts = urlsplit(url)
        shown = redact(url)
        form = "write s3://bucket/prefix, and perhaps ?endpoint=URL&region=NAME&profile=NAME"
        if "@" in parts.netloc:
            raise InputError(
                f"{shown}: credentials do not belong in a URL",
                fix="set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
            )
        prefix = unquote(parts.path).strip("/")
        options = dict(parse_qsl(parts.query, keep_blank_values=True))
        endpoint = urlsplit(options.get("endpoint", "http://x"))
        if (
            not _BUCKET.fullmatch(parts.netloc)
            or (prefix and not is_key(prefix))
            or set(options) - {"endpoint", "region", "profile"}
            or parts.fragment
            or endpoint.scheme not in ("http", "https")
            or not endpoint.hostname
            or "@" in endpoint.netloc
        ):
            raise InputError(f"{shown} names no bucket and prefix", fix=form)
        return cls(parts.netloc, prefix, Options(**options, patience=patience))

    @property
    def url(self) -> str:
        """The bucket and prefix."""
        return f"s3://{self._bucket}/{self._prefix}".rstrip("/")

    @property
    def public_url(self) -> str:
        """Where the objects are for readers that speak plain HTTP."""
        endpoint = urlsplit(self._client.meta.endpoint_url)
        style = (self._client.meta.config.s3 or {}).get("addressing_style")
        if style == "path" or "." in self._bucket:  # a dot does not go with TLS certificates
            host, path = endpoint.netloc, f"{self._bucket}/{self._prefix}"
        else:
            host, path = f"{self._bucket}.{endpoint.netloc}", self._prefix
        return f"{endpoint.scheme}://{host}/{path}"

    @property
    def at_once(self) -> int:
        """Several: each takes its time on the way, and the client has connections for them."""
        return _AT_ONCE

    def url_of(self, key: str) -> str:
        """Return the object's URL."""
        return f"s3://{self._bucket}/{quote(self._prefix + key)}"

    def get(self, key: str, *, limit: int = METADATA_LIMIT) -> Object | None:
        """Read a small object; None when there is none."""
        url = self.url_of(key)
        pauses = _pauses()
        with reported(url, "read"):
            while True:
                try:
                    answer = self._client.get_object(**self._where(key))
                except ClientError as error:
                    if is_absent(error):
                        return None
                    raise
                try:
                    data = b"".join(_chunks(answer["Body"], limit + 1))
                    _check_not_cut(
                        len(data), min(int(_said(answer, "ContentLength", url)), limit + 1)
                    )
                    break
                except FAILURES:
                    if not next(pauses, False):
                        raise
        if len(data) > limit:
            raise CatalogError(
                f"is larger than the {limit} bytes that such an object may have",
                where=Location(file=url),
            )
        return Object(key=key, data=data, etag=str(_said(answer, "ETag", url)))

    def put(
        self,
        key: str,
        data: bytes,
        *,
        if_match: str | None = None,
        if_none_match: bool = False,
        content_type: str = "application/json",
    ) -> None:
        """Write a small object, under a condition if one is given."""
        condition: dict[str, str] = {}
        if if_match is not None:
            condition["IfMatch"] = if_match
        if if_none_match:
            condition["IfNoneMatch"] = "*"
        with reported(self.url_of(key), "written"):
            try:
                self._client.put_object(
                    **self._where(key), Body=data, ContentType=content_type, **condition
                )
            except ClientError as error:
                if if_match is not None and is_absent(error):
                    raise Conflict(key) from error
                raise

    def upload(
        self, key: str, source: Path, *, size: int, sha256: str, on_bytes: OnBytes, cancel: Cancel
    ) -> None:
        """Send a file, in parts if it is large."""
        with reported(self.url_of(key), "written"):
            upload(
                self._client,
                **self._lower(key),
                source=source,
                size=size,
                sha256=sha256,
                on_bytes=on_bytes,
                cancel=cancel,
            )

    def fetch(
        self,
        key: str,
        sink: Sink,
        *,
        size: int,
        sha256: str,
        on_bytes: OnBytes,
        cancel: Cancel,
    ) -> None:
        """Read an object; a connection that is cut is taken up where it ended."""
        url = self.url_of(key)
        digest = hashlib.sha256()
        got, etag, pauses = 0, "", _pauses()
        with reported(url, "read"):
            while True:
                rest = {"Range": f"bytes={got}-", "IfMatch": etag} if got else {}
                try:
                    answer = self._client.get_object(**self._where(key), **rest)
                except ClientError as error:
                    if is_absent(error):
                        raise missing(url) from None
                    raise
                etag = str(_said(answer, "ETag", url))
                before, end = got, got + int(_said(answer, "ContentLength", url))
                try:
                    for data in _chunks(answer["Body"], size + 1 - got):
                        cancel.check()
                        digest.update(data)
                        got += len(data)
                        sink(data)
                        on_bytes(len(data))
                    _check_not_cut(got, min(end, size + 1))
                    break
                except FAILURES:
                    if got > before:
                        pauses = _pauses()
                    if not next(pauses, False):
                        raise
        check_received(url, size=size, sha256=sha256, got=got, digest=digest.hexdigest())

    def stat(self, key: str) -> Stat | None:
        """Return size and time of an object; None when there is none."""
        with reported(self.url_of(key), "read"):
            try:
                found = self._client.head_object(**self._where(key))
            except ClientError as error:
                if is_absent(error):
                    return None
                raise
        url = self.url_of(key)
        return Stat(
            key=key,
            size=_said(found, "ContentLength", url),
            modified=_said(found, "LastModified", url).timestamp(),
            etag=str(_said(found, "ETag", url)),
        )

    def list(self, prefix: str) -> Iterator[Stat]:
        """Go through the objects below a prefix, a thousand with each request."""
        if prefix:
            check_key(prefix.rstrip("/"))
        token: dict[str, str] = {}
        while True:
            with reported(self.url_of(prefix), "listed"):
                page = self._client.list_objects_v2(
                    Bucket=self._bucket, Prefix=self._prefix + prefix, **token
                )
            for each in page.get("Contents", ()):
                key = each["Key"].removeprefix(self._prefix)
                # Nothing but what was asked for, whatever a server that is not trusted names.
                if is_key(key) and each["Key"].startswith(self._prefix + prefix):
                    yield Stat(
                        key=key,
                        size=each["Size"],
                        modified=each["LastModified"].timestamp(),
                        etag=str(each.get("ETag", "")),
                    )
            if not page.get("IsTruncated"):
                return
            before, token = token, {"ContinuationToken": page.get("NextContinuationToken", "")}
            if token == before or not token["ContinuationToken"]:
                raise CatalogError(
                    "cannot be listed: the server says that there is more, and gives the same "
                    "page again",
                    where=Location(file=self.url_of(prefix)),
                )

    def delete(self, key: str) -> None:
        """Remove an object."""
        with reported(self.url_of(key), "deleted"):
            self._client.delete_object(**self._where(key))

    def presigned_url(self, key: str, *, seconds: int) -> str:
        """Return a URL that is signed (signature version 4) for so many seconds."""
        with reported(self.url_of(key), "signed"):
            url: str = self._signer.generate_presigned_url(
                "get_object", Params=self._where(key), ExpiresIn=seconds
            )
        return url

    def clear(self, before: float, *, dry_run: bool, cancel: Cancel) -> int:
        """Abort uploads in parts: what was sent of them takes room, and no list shows it."""
        with reported(self.url_of("blobs"), "cleared of unfinished uploads"):
            return clear_unfinished(
                self._client, self._bucket, f"{self._prefix}blobs/", before, dry_run, cancel
            )

    def prepare(self, cancel: Cancel) -> None:
        """Make sure, by trial, that the server honours the conditions of conditional writes."""
        cancel.check()
        conditions: tuple[dict[str, Any], ...] = (
            {"if_none_match": True},
            {"if_match": '"00000000000000000000000000000000"'},
        )
        try:
            self.put(PROBE, b"{}\n", if_none_match=True)
        except Conflict:  # the probe is there, and the first condition was honoured
            conditions = conditions[1:]
        for condition in conditions:
            try:
                self.put(PROBE, b"{}\n", **condition)
            except Conflict:
                continue
            raise CatalogError(
                "this server ignores the conditions of conditional writes (If-Match, "
                "If-None-Match), so that publishers could overwrite each other's work",
                where=Location(file=self.url),
                fix="use a server that honours them: Amazon S3, MinIO, Ceph from 19 on, SeaweedFS "
                "from 4 on",
            )

    # ----- how -----------------------------------------------------------------------------

    @functools.cached_property
    def _client(self) -> Any:
        return connect(self._options)

    @functools.cached_property
    def _signer(self) -> Any:
        # Version 2, which boto3 takes for URLs by default, is refused by newer regions.
        return connect(self._options, signature="s3v4")

    def _where(self, key: str) -> dict[str, str]:
        return {"Bucket": self._bucket, "Key": self._prefix + check_key(key)}

    def _lower(self, key: str) -> dict[str, str]:
        return {name.lower(): value for name, value in self._where(key).items()}


def _said(answer: Mapping[str, Any], name: str, url: str) -> Any:
    """Return a field of an answer that every S3 server gives.

    Raises:
        CatalogError: this one does not.
    """
    if name not in answer:
        raise CatalogError(
            f"cannot be read: the server's answer has no {name}",
            where=Location(file=url),
            fix="see that no proxy before the server changes or compresses its answers",
        )
    return answer[name]


def _pauses() -> Iterator[bool]:
    """Wait a little longer each time; end when it is enough."""
    for attempt in range(_BODY_ATTEMPTS - 1):
        pause = min(_LONGEST_PAUSE, _FIRST_PAUSE * 2**attempt)
        time.sleep(random.uniform(0.5, 1.0) * pause)  # noqa: S311
        yield True


def _check_not_cut(got: int, announced: int) -> None:
    if got < announced:
        raise ConnectionError(f"the connection was cut after {got} of {announced} bytes")


def _chunks(body: Any, limit: int) -> Iterator[bytes]:
    with body:
        left = limit
        while left and (data := body.read(min(_CHUNK, left))):
            left -= len(data)
            yield data
