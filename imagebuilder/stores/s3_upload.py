"""Sending a file of any size to S3: in parts, several at a time, from where the last try ended.

A multipart upload becomes an object only when it is completed, and it is completed only after
the digest of all that was read turned out right.  Memory is bounded: a few parts at a time.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import IO, Any

from botocore.exceptions import ClientError

from imagebuilder.errors import CatalogError, Location
from imagebuilder.progress import Cancel
from imagebuilder.stores.base import OnBytes, check_sent, not_built
from imagebuilder.stores.s3_client import code_of, is_absent

PART_SIZE = 16 << 20  # bytes
_MOST_PARTS = 9000  # S3 allows 10000
_AT_ONCE = 4
_SHARED_ATTEMPTS = 5
_BINARY = "application/octet-stream"


def upload(
    client: Any,
    bucket: str,
    key: str,
    source: Path,
    *,
    size: int,
    sha256: str,
    on_bytes: OnBytes,
    cancel: Cancel,
) -> None:
    """Send a file.

    Raises:
        CatalogError: its size or SHA-256 is not what it must be; no object was made.
        ClientError: the server refused; what was sent so far is used by the next try.
    """
    try:
        file = source.open("rb")
    except FileNotFoundError:
        raise not_built(source) from None
    except OSError as error:
        raise CatalogError(
            f"cannot be read: {error.strerror}", where=Location(file=str(source))
        ) from error
    with file:
        if size <= PART_SIZE:
            data = file.read(size + 1)
            digest = hashlib.sha256(data).hexdigest()
            check_sent(source, size=size, sha256=sha256, got=len(data), digest=digest)
            client.put_object(Bucket=bucket, Key=key, Body=data, ContentType=_BINARY)
            on_bytes(size)
            return
        sender = _Sender(client, bucket, key, size, on_bytes, cancel)
        for attempt in range(1, _SHARED_ATTEMPTS + 1):
            file.seek(0)
            try:
                sender.send(file, source, sha256)
            except ClientError as error:
                if code_of(error) != "NoSuchUpload" or attempt == _SHARED_ATTEMPTS:
                    raise
            else:
                return
            # Somebody who publishes the same blob went on with the same upload, and completed
            # it.  That is done only with the right digest, so their object is ours as well.
            if sender.is_there():
                return


def clear_unfinished(
    client: Any, bucket: str, prefix: str, before: float, dry_run: bool, cancel: Cancel
) -> int:
    """Abort the uploads below a prefix that were begun before a time.

    Returns:
        the bytes of the parts that were there.

    Raises:
        ClientError: the server refused.
    """
    pages = client.get_paginator("list_multipart_uploads").paginate(Bucket=bucket, Prefix=prefix)
    found = [
        {"Bucket": bucket, "Key": each["Key"], "UploadId": each["UploadId"]}
        for page in pages
        for each in page.get("Uploads", ())
        if each["Key"].startswith(prefix) and each["Initiated"].timestamp() < before
    ]
    freed = 0
    for where in found:
        cancel.check()
        try:
            parts = client.get_paginator("list_parts").paginate(**where)
            size = sum(each["Size"] for page in parts for each in page.get("Parts", ()))
            if not dry_run:
                client.abort_multipart_upload(**where)
        except ClientError as error:
            if code_of(error) != "NoSuchUpload":  # otherwise it was ended meanwhile
                raise
        else:
            freed += size
    return freed


class _Sender:
    def __init__(
        self,
        client: Any,
        bucket: str,
        key: str,
        size: int,
        on_bytes: OnBytes,
        cancel: Cancel,
    ) -> None:
        self._client = client
        self._where = {"Bucket": bucket, "Key": key}
        self._size = size
        # It follows from the size alone, so that the next try cuts the file the same way.
        steps = -(-size // (_MOST_PARTS * PART_SIZE))
        self._part_size = PART_SIZE * steps
        self._on_bytes = on_bytes
        self._cancel = cancel

    def send(self, file: IO[bytes], source: Path, sha256: str) -> None:
        upload_id, there = self._begin()
        digest = hashlib.sha256()
        got = 0
        etags: dict[int, str] = {}
        pending: dict[Future[str], int] = {}
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            try:
                for number, data in enumerate(self._parts(file), 1):
                    self._cancel.check()
                    digest.update(data)
                    got += len(data)
                    if there.get(number) == (len(data), _md5(data) if number in there else ""):
                        etags[number] = f'"{_md5(data)}"'
                        self._on_bytes(len(data))
                        continue
                    while len(pending) >= _AT_ONCE:
                        self._collect(pending, etags)
                    pending[pool.submit(self._part, upload_id, number, data)] = number
                while pending:
                    self._collect(pending, etags)
            finally:
                for each in pending:
                    each.cancel()
        try:
            check_sent(source, size=self._size, sha256=sha256, got=got, digest=digest.hexdigest())
        except CatalogError:
            self._client.abort_multipart_upload(**self._where, UploadId=upload_id)
            raise
        parts = [{"PartNumber": n, "ETag": etag} for n, etag in sorted(etags.items())]
        self._client.complete_multipart_upload(
            **self._where, UploadId=upload_id, MultipartUpload={"Parts": parts}
        )

    def is_there(self) -> bool:
        """Whether the object exists in its full size."""
        try:
            found = self._client.head_object(**self._where)
        except ClientError as error:
            if is_absent(error):
                return False
            raise
        return bool(found["ContentLength"] == self._size)

    def _begin(self) -> tuple[str, dict[int, tuple[int, str]]]:
        """Return the upload to use, and the parts that are there: size and MD5 by number."""
        listed = self._client.list_multipart_uploads(
            Bucket=self._where["Bucket"], Prefix=self._where["Key"], MaxUploads=100
        )
        for each in listed.get("Uploads", ()):
            if each["Key"] == self._where["Key"]:
                upload_id = str(each["UploadId"])
                return upload_id, dict(self._parts_there(upload_id))
        made = self._client.create_multipart_upload(**self._where, ContentType=_BINARY)
        return str(made["UploadId"]), {}

    def _parts_there(self, upload_id: str) -> Iterator[tuple[int, tuple[int, str]]]:
        pages = self._client.get_paginator("list_parts").paginate(**self._where, UploadId=upload_id)
        for page in pages:
            for each in page.get("Parts", ()):
                yield each["PartNumber"], (each["Size"], each["ETag"].strip('"'))

    def _parts(self, file: IO[bytes]) -> Iterator[bytes]:
        left = self._size + 1  # one more than there must be: a file that grew is noticed
        while left and (data := file.read(min(self._part_size, left))):
            left -= len(data)
            yield data

    def _part(self, upload_id: str, number: int, data: bytes) -> str:
        self._cancel.check()
        answer = self._client.upload_part(
            **self._where, UploadId=upload_id, PartNumber=number, Body=data
        )
        self._on_bytes(len(data))
        return str(answer["ETag"])

    @staticmethod
    def _collect(pending: dict[Future[str], int], etags: dict[int, str]) -> None:
        done, _ = wait(pending, return_when=FIRST_COMPLETED)
        for each in done:
            etags[pending.pop(each)] = each.result()


def _md5(data: bytes) -> str:
    return hashlib.md5(data, usedforsecurity=False).hexdigest()
