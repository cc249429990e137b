"""Where the files that a guest asks for come from: this host, or a store of published images."""

from __future__ import annotations

import http.client
import shutil
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlsplit

from imagebuilder.errors import InputError, StepError

_ANSWER_SECONDS = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """A file that is given out.

    Attributes:
        name: what it is called in an image: vmlinuz, initrd.img…
        source: a file of this host, or an HTTP URL.
    """

    name: str
    source: Path | str

    def __post_init__(self) -> None:
        if isinstance(self.source, str) and urlsplit(self.source).scheme not in ("http", "https"):
            raise InputError(f"{self.source} is no HTTP URL")


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a source answers to a request.

    Attributes:
        status: of HTTP; 502 where nobody answered, or the answer does not say how long it is.
        size: bytes that follow.
        headers: those that the guest is told as well.
        body: gives them; None if there are none to give.
    """

    status: int
    size: int = 0
    headers: Mapping[str, str] = field(default_factory=dict)
    body: IO[bytes] | http.client.HTTPResponse | None = None


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any) -> None:
        """Follow nowhere: a guest reaches the one server that the test is about."""


_opener = urllib.request.build_opener(_NoRedirect)


def ask(url: str, byte_range: str = "") -> Answer:
    """Ask a server for a file.

    Args:
        url: where it is.
        byte_range: the header ``Range`` of the request, if it has one.
    """
    request = urllib.request.Request(url)  # noqa: S310 - Served takes HTTP URLs only
    if byte_range:
        request.add_header("Range", byte_range)
    try:
        answer = _opener.open(request, timeout=_ANSWER_SECONDS)
    except urllib.error.HTTPError as error:
        error.close()
        return Answer(status=error.code)
    except (OSError, http.client.HTTPException):
        return Answer(status=502)
    if answer.length is None:  # it might never end, and what is served on has a length
        answer.close()
        return Answer(status=502)
    kept = ("Content-Range", "Accept-Ranges")
    return Answer(
        status=answer.status,
        size=answer.length,
        headers={name: answer.headers[name] for name in kept if name in answer.headers},
        body=answer,
    )


def copy(served: Served, target: Path) -> None:
    """Copy a file to this host, from wherever it is.

    Raises:
        StepError: it is not there.
    """
    if isinstance(served.source, Path):
        shutil.copyfile(served.source, target)
        return
    answer = ask(served.source)
    if answer.body is None:
        raise StepError(f"{served.name} could not be fetched: the server answers {answer.status}")
    with answer.body, target.open("wb") as file:
        shutil.copyfileobj(answer.body, file, 1 << 20)
    if target.stat().st_size != answer.size:
        raise StepError(f"{served.name} could not be fetched: it was cut short")
