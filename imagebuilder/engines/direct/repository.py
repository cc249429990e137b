"""One repository of apt, as ``url``, ``repo`` or a line of the project file names it."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from imagebuilder.command import redact
from imagebuilder.errors import InputError, Location

_URL = re.compile(r"^[a-z][a-z0-9+.-]*:/\S*$")
_LINE = re.compile(r"^(?:deb\s+)?(?:\[(?P<options>[^\]]*)\]\s+)?(?P<rest>\S.*)$")
_FINGERPRINT = re.compile(r"^[0-9A-Fa-f]{16,40}!?$")
_ARMOUR = b"-----BEGIN PGP"
_LARGEST = 1 << 20  # bytes of a key or certificate
# Where a build host has files that the machine which boots the image has not.
LOCAL = ("file:", "copy:", "cdrom:")

# sources.list(5), "THE DEB AND DEB-SRC TYPES: OPTIONS".
OPTIONS = (
    "allow-downgrade-to-insecure",
    "allow-insecure",
    "allow-weak",
    "arch",
    "by-hash",
    "check-date",
    "check-valid-until",
    "date-max-future",
    "inrelease-path",
    "lang",
    "pdiffs",
    "signed-by",
    "snapshot",
    "target",
    "trusted",
    "valid-until-max",
    "valid-until-min",
)
_FORMS = (
    "write http://…, https://… or file:///…, with SUITE COMPONENT… or ./ after it, or a whole "
    "line: deb [signed-by=KEY] URL SUITE COMPONENT"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    """A file of the host that apt uses: a key, a certificate.

    Attributes:
        path: where it is.
        said: as the kickstart names it.
        digest: of what it holds.
    """

    path: Path
    said: str
    digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Repository:
    """A repository, and how apt gets at it.

    Attributes:
        url: where it is.  It may hold credentials.
        suite: the archive's name for the release, or a folder that ends in ``/``.
        components: such as ``main``; none for a flat repository.
        options: what stands in brackets, with names of files as they were said.
        keys: the files among ``signed-by``.
        name: ``repo --name``, or "".
        cost: of the same version in several repositories, that of the cheapest is taken.
        include: patterns of packages; if any, no others come from it.
        exclude: patterns of packages that do not come from it.
        keep: whether the image's own apt knows it.
        settings: what apt is told of its host: ``Proxy``, ``Verify-Peer``…
        files: the same, where it is the name of a file.
        where: the line that names it.
        said: what its identity has in place of the line, if there is a secret in it.
    """

    url: str
    suite: str
    components: tuple[str, ...]
    options: tuple[tuple[str, str], ...] = ()
    keys: tuple[File, ...] = ()
    name: str = ""
    cost: int = 1000
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    keep: bool = True
    settings: tuple[tuple[str, str], ...] = ()
    files: tuple[tuple[str, File], ...] = ()
    where: Location | None = None
    said: str = ""

    @property
    def host(self) -> str:
        """The host that it is fetched from, or "" if it is none."""
        return urlsplit(self.url).hostname or ""

    @property
    def is_local(self) -> bool:
        """Whether it is on the build host alone."""
        return self.url.startswith(LOCAL)

    def line(self, keys: dict[str, str] | None = None) -> str:
        """Return the line of a sources.list.

        Args:
            keys: where each key is, by the name that it was given; by default where it is found.
        """
        paths = {each.said: str(each.path) for each in self.keys} | (keys or {})
        options = [
            f"{name}={','.join(paths.get(each, each) for each in value.split(','))}"
            for name, value in self.options
        ]
        brackets = [f"[{' '.join(options)}]"] if options else []
        return " ".join(["deb", *brackets, self.url, self.suite, *self.components])

    def identity(self) -> str:
        """Return what decides which packages come from it: no credentials, no paths of keys."""
        said = [
            self.said or redact(self.line({each.said: each.digest for each in self.keys})),
            *(f"+{each}" for each in self.include),
            *(f"-{each}" for each in self.exclude),
        ]
        return " ".join(said)

    def configuration(self) -> Iterator[tuple[str, str]]:
        """Return apt's settings for its host, by name, with their values.

        Of TLS they are below ``Acquire::https::HOST``, where apt looks for them, not at the end
        of the name as apt-transport-https(1) has it.
        """
        for name, value in (*self.settings, *((name, str(f.path)) for name, f in self.files)):
            if name == "Proxy":
                yield f"Acquire::http::Proxy::{self.host}", value
                yield f"Acquire::https::Proxy::{self.host}", value
            else:
                yield f"Acquire::https::{self.host}::{name}", value


def read(text: str, suite: str, root: Path, where: Location) -> Repository:
    """Make a repository of a URL, of ``URL SUITE COMPONENT…``, or of a whole ``deb`` line.

    Args:
        text: what was written.
        suite: the release's name in the archive, if the text names none.
        root: the folder that relative paths of keys start from.
        where: the place of the text.

    Raises:
        InputError: it is none of these, or a key cannot be read.
    """
    found = _LINE.match(text.strip())
    if found is None or "\n" in text:
        raise InputError("a package source is one URL", where=where, fix=_FORMS)
    url, *rest = found["rest"].partition("#")[0].split()
    if not _URL.match(url):
        raise InputError(f"{redact(url)!r} is no URL of a package source", where=where, fix=_FORMS)
    _check_credentials(url, where)
    named, *components = rest or [suite, "main"]
    if named.endswith("/") and components:
        raise InputError(f"{named} is a folder, which has no components", where=where, fix=_FORMS)
    if not named.endswith("/") and not components:
        raise InputError(
            f"{redact(url)} {named} names no component", where=where, fix=f"add one: {named} main"
        )
    options = tuple(_options(found["options"] or "", where))
    return Repository(
        # dpkg in the tree cannot see what a file: URL leads to; apt hands it copies instead.
        url=re.sub("^(file|copy):/+", "copy:/", url),
        suite=named,
        components=tuple(components),
        options=options,
        keys=tuple(
            host_file(each, root, where, what="key")
            for name, value in options
            if name == "signed-by"
            for each in value.split(",")
            if not _FINGERPRINT.match(each)
        ),
        where=where,
    )


def _check_credentials(url: str, where: Location) -> None:
    """Refuse what apt would read as a host: it decodes a URL, and then splits it once more."""
    said, at, _ = url.partition("://")[2].partition("/")[0].rpartition("@")
    if at and set("/@%") & set(unquote(said)):
        raise InputError(
            f"{redact(url)}: apt cannot take a user or password with / @ or % in a URL",
            where=where,
            fix="choose another password for the mirror",
        )


def _options(text: str, where: Location) -> Iterator[tuple[str, str]]:
    for word in text.split():
        name, equals, value = word.partition("=")
        plain = name.rstrip("+-")
        if not equals or not value or plain not in OPTIONS:
            raise InputError(
                f"[{word}] is no option of a package source",
                where=where,
                fix=f"sources.list(5) has: {', '.join(OPTIONS)}",
            )
        yield name, value


def host_file(name: str, root: Path, where: Location, *, what: str) -> File:
    """Return a file that apt is to use.

    Args:
        name: a path of the host, or below the project's folder.
        root: the project's folder.
        where: the place that names it.
        what: "key" or "certificate", for errors.

    Raises:
        InputError: it cannot be read, or is none.
    """
    path = Path(os.path.normpath(root / name))
    if not Path(name).is_absolute() and not path.resolve().is_relative_to(root.resolve()):
        raise InputError(f"{what} {name!r} lies outside the project", where=where)
    try:
        with path.open("rb") as file:
            data = file.read(_LARGEST + 1)
    except OSError as error:
        raise InputError(
            f"{what} {name!r} cannot be read: {error.strerror}",
            where=where,
            fix=f"it is looked for at {path}",
        ) from error
    if not data or len(data) > _LARGEST:
        raise InputError(f"{what} {name!r} is empty, or larger than 1 MiB", where=where)
    if what == "key" and data.lstrip().startswith(_ARMOUR) != (path.suffix == ".asc"):
        raise InputError(
            f"key {name!r} is not what its name says",
            where=where,
            fix="apt wants .asc for a key in ASCII armour, and .gpg for one without",
        )
    return File(path=path, said=name, digest=hashlib.sha256(data).hexdigest()[:32])
