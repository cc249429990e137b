"""How the S3 store reaches its server, and what the server's refusals mean."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import urlsplit

import boto3
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    NoCredentialsError,
    PartialCredentialsError,
)
from urllib3.exceptions import HTTPError

from imagebuilder.command import redact
from imagebuilder.errors import CatalogError, Location
from imagebuilder.stores.base import Conflict, Patience

ATTEMPTS = 5  # of each request: boto3 waits between them, longer each time
CONNECT_SECONDS, READ_SECONDS = 10, 60
_CONNECTIONS = 16

# Settings of boto3, in the environment also with AWS_ before them.
_CHECKSUMS = ("request_checksum_calculation", "response_checksum_validation")

_CONFLICTS = {"PreconditionFailed", "ConditionalRequestConflict", "412", "409"}
_ABSENT = {"NoSuchKey", "404", "NotFound"}
_DENIED = (
    "check the credentials (AWS_PROFILE, AWS_ACCESS_KEY_ID, ~/.aws) and what they may do "
    "with this bucket"
)
_BUSY = "the server is overloaded: run the same command again later"
_FIXES = {
    "NoSuchBucket": "make the bucket (aws s3 mb s3://BUCKET), or correct the URL",
    "AccessDenied": _DENIED,
    "403": _DENIED,
    "InvalidAccessKeyId": _DENIED,
    "SignatureDoesNotMatch": _DENIED,
    "ExpiredToken": "get new credentials (aws sso login)",
    "RequestTimeTooSkewed": "set this machine's clock (timedatectl set-ntp true)",
    "SlowDown": _BUSY,
    "ServiceUnavailable": _BUSY,
    "503": _BUSY,
    "InternalError": _BUSY,
    "500": _BUSY,
    "NotImplemented": "this server lacks a feature that the catalog needs: choose another",
    "PermanentRedirect": "name the bucket's region (AWS_REGION)",
}

# What a request can fail with beside an answer; urllib3's come up while a body is read.
FAILURES = (BotoCoreError, HTTPError, ConnectionError, TimeoutError)


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Where an S3 server is and how it is spoken to; "" leaves it to boto3's own settings."""

    endpoint: str = ""
    region: str = ""
    profile: str = ""
    patience: Patience | None = None


def connect(options: Options, *, signature: str | None = None) -> Any:
    """Return a boto3 client.  Nothing is reached yet.

    Args:
        options: where the server is.
        signature: the version of signatures; by default boto3's own choice.

    Raises:
        CatalogError: boto3's own settings are wrong (a profile that does not exist).
    """
    try:
        session = boto3.session.Session(
            profile_name=options.profile or None, region_name=options.region or None
        )
        settings = session._session.get_scoped_config().get("s3") or {}
        chosen = settings.get("addressing_style")
        # As a rule only Amazon has a DNS name for each bucket.  A client takes long to make, so
        # it is made once where an endpoint is plainly set.
        likely = options.endpoint or os.environ.get("AWS_ENDPOINT_URL", "")
        style = _style(likely) if likely and not chosen else None
        client = _client(session, options, style, signature)
        if not chosen and (right := _style(client.meta.endpoint_url)) != style:
            client = _client(session, options, right, signature)
    except (BotoCoreError, ValueError) as error:
        raise CatalogError(
            f"boto3 cannot be set up: {redact(str(error))}",
            fix="check AWS_PROFILE, AWS_ENDPOINT_URL and ~/.aws/config",
        ) from error
    return client


def _style(endpoint: str) -> Literal["path"] | None:
    host = urlsplit(endpoint).hostname or ""
    return None if host.endswith((".amazonaws.com", ".amazonaws.com.cn")) else "path"


def _client(
    session: Any, options: Options, addressing: Literal["path"] | None, signature: str | None
) -> Any:
    checksums: dict[str, Any] = {}
    for name in _CHECKSUMS if addressing else ():
        known = f"AWS_{name.upper()}" in os.environ or name in session._session.get_scoped_config()
        if not known:
            checksums[name] = "when_required"
    patience = options.patience or Patience(
        attempts=ATTEMPTS, connect_seconds=CONNECT_SECONDS, read_seconds=READ_SECONDS
    )
    config = Config(
        signature_version=signature,
        connect_timeout=patience.connect_seconds,
        read_timeout=patience.read_seconds,
        retries={"mode": "standard", "total_max_attempts": patience.attempts},
        max_pool_connections=_CONNECTIONS,
        s3={"addressing_style": addressing} if addressing else None,
        **checksums,
        user_agent_extra="imagebuilder",
    )
    return session.client("s3", endpoint_url=options.endpoint or None, config=config)


def code_of(error: ClientError) -> str:
    """Return the code that the server gave."""
    return str(error.response.get("Error", {}).get("Code", ""))


def is_absent(error: ClientError) -> bool:
    """Whether the server says that there is no such object."""
    return code_of(error) in _ABSENT


@contextlib.contextmanager
def reported(url: str, verb: str) -> Iterator[None]:
    """Turn what boto3 raises into this library's errors.

    Raises:
        Conflict: a conditional write's condition does not hold.
        CatalogError: anything else; ``url`` says where.
    """
    try:
        yield
    except ClientError as error:
        code = code_of(error)
        if code in _CONFLICTS:
            raise Conflict(url) from error
        message = _line(str(error.response.get("Error", {}).get("Message", "")))
        said = f"{code} ({message})" if message else code or "an error without a code"
        raise CatalogError(
            f"cannot be {verb}: the server says {said}",
            where=Location(file=url),
            fix=_FIXES.get(code, ""),
        ) from error
    except KeyError as error:
        raise CatalogError(
            f"cannot be {verb}: the server's answer lacks {error}",
            where=Location(file=url),
            fix="look at what is between this machine and the server, and at the server's log",
        ) from error
    except (NoCredentialsError, PartialCredentialsError) as error:
        raise CatalogError(
            f"cannot be {verb}: there are no credentials for S3",
            where=Location(file=url),
            fix="set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
        ) from error
    except FAILURES as error:
        raise CatalogError(
            f"cannot be {verb}: {_line(redact(str(error)))}",
            where=Location(file=url),
            fix="check the network, AWS_ENDPOINT_URL, and that the server runs; then run the "
            "same command again: it goes on where this one ended",
        ) from error


def _line(text: str) -> str:
    return "".join(sign if sign.isprintable() else " " for sign in text)[:300]
