"""A catalog in a bucket, copied into a folder to be looked at."""

import http.client
import json
from pathlib import Path
from typing import Any

import seaweed


def mirror(server: seaweed.Server, client: Any, url: str, folder: Path) -> Path:
    """Copy a catalog into a folder, with nothing of the code under test.

    What did not change since an earlier copy is not fetched again.  The server's own file
    interface hands out the bytes: boto3 would take longer than the publication that is tested.
    """
    notes = folder / "etags.json"
    before = json.loads(notes.read_text()) if notes.exists() else {}
    bucket, _, prefix = url.removeprefix("s3://").partition("/")
    pages = client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
    found = {each["Key"]: each["ETag"] for page in pages for each in page.get("Contents", ())}
    for key in set(before) - set(found):
        (folder / key).unlink()
    plain = http.client.HTTPConnection(server.filer, timeout=30)
    for key, etag in found.items():
        if before.get(key) != etag:
            target = folder / key
            target.parent.mkdir(parents=True, exist_ok=True)
            plain.request("GET", f"/buckets/{bucket}/{key}")
            answer = plain.getresponse()
            assert answer.status == 200
            target.write_bytes(answer.read())
    plain.close()
    notes.write_text(json.dumps(found))
    return folder / prefix
