"""Reading a catalog: what is there, what is it, is it whole."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Self

from imagebuilder.catalog import channel_index, packages, read, statements
from imagebuilder.catalog import pull as pulling
from imagebuilder.catalog import verify as verifying
from imagebuilder.catalog.model import (
    Channel,
    ChannelEntry,
    IndexEntry,
    Move,
    Release,
    check_channel,
)
from imagebuilder.catalog.packages import Match
from imagebuilder.catalog.statements import Attestation
from imagebuilder.catalog.verify import Verification
from imagebuilder.errors import CatalogError, Location
from imagebuilder.names import check_name
from imagebuilder.policies import Exports
from imagebuilder.progress import Cancel, Observer, Reporter, ignore
from imagebuilder.stores import ObjectStore, open_store

# Imported in place where it is used: cryptography takes a while to import.
if TYPE_CHECKING:
    from imagebuilder.catalog.trust import Trust


@dataclass(frozen=True, slots=True, kw_only=True)
class CatalogReader:
    """What can be done with a catalog without writing to it."""

    store: ObjectStore
    exports: Exports = field(default_factory=Exports)

    @classmethod
    def open(cls, url: str, *, exports: Exports | None = None) -> Self:
        """Return the catalog at a URL; nothing is read, made or reached yet.

        Args:
            url: ``file:///absolute/folder``, the plain path of a folder, or
                ``s3://bucket/prefix``.
            exports: what is written for other tools with each change.

        Raises:
            InputError: the URL is none of these.
        """
        return cls(store=open_store(url), exports=exports or Exports())

    @property
    def url(self) -> str:
        """Where the catalog is."""
        return self.store.url

    def releases(self, name: str | None = None) -> tuple[IndexEntry, ...]:
        """Return all releases, or those of one recipe, by name and then age, the oldest first."""
        if name is not None:
            check_name(name)
        read.check_marker(self.store)
        found = read.index(self.store)
        return found if name is None else tuple(each for each in found if each.name == name)

    def show(self, name: str, version_or_channel: str, *, trust: Trust | None = None) -> Release:
        """Return the release of that version, or the one that the channel names.

        Args:
            name: the recipe's name.
            version_or_channel: which release.
            trust: whose signatures are needed; None: nobody's.
        """
        check_name(name)
        read.check_marker(self.store)
        if trust:
            from imagebuilder.catalog import trust as trusting

            return trusting.resolve(self.store, name, version_or_channel, trust)
        return read.resolve(self.store, name, version_or_channel)

    def channels(self, name: str | None = None) -> tuple[Channel, ...]:
        """Return all channels, or those of one recipe, by name.

        Takes a request for a thousand channels, and one for each of them.
        """
        if name is not None:
            check_name(name)
        read.check_marker(self.store)
        return read.channels(self.store, name)

    def named(self, name: str | None = None) -> tuple[ChannelEntry, ...]:
        """Return which release each channel names, of all recipes or of one, by name.

        Takes few requests, however many channels there are: see :mod:`.channel_index`.
        """
        if name is not None:
            check_name(name)
        read.check_marker(self.store)
        return channel_index.named(self.store, name)

    def channel(self, name: str, channel: str) -> Channel:
        """Return one channel of a recipe."""
        check_name(name)
        check_channel(channel)
        read.check_marker(self.store)
        found = read.channel(self.store, name, channel)
        if found is None:
            raise CatalogError(
                f"{name} has no channel {channel!r}",
                where=Location(file=self.store.url),
                fix=f"imagebuilder catalog ls {name} lists what there is",
            )
        return found

    def history(self, name: str, channel: str) -> tuple[Move, ...]:
        """Return all moves of a channel, the oldest first."""
        return read.history(self.store, self.channel(name, channel))

    def verify(
        self,
        *,
        contents: bool = True,
        trust: Trust | None = None,
        observer: Observer = ignore,
        cancel: Cancel | None = None,
    ) -> Verification:
        """Look whether everything that something names is there, and is what it should be.

        Changes nothing, and can run while others publish.

        Args:
            contents: read every blob and compare its digest; otherwise its size alone.
            trust: whose signatures each channel needs; None: nobody's.
            observer: gets the steps ``list`` and ``contents`` (in bytes).
            cancel: looked at all the time.

        Returns:
            What was found; a finding is no exception.

        Raises:
            CatalogError: there is no catalog, or the store cannot be reached.
        """
        reporter = reporter_of("catalog", observer, cancel)
        found = verifying.verify(self.store, contents=contents, reporter=reporter)
        if trust:
            from imagebuilder.catalog import trust as trusting

            more = trusting.findings(self.store, trust)
            found = replace(found, findings=(*found.findings, *more))
        return found

    def attestations(
        self, name: str, version_or_channel: str, *, trust: Trust | None = None
    ) -> tuple[Attestation, ...]:
        """Return the in-toto statements about a release.

        Args:
            name: the recipe's name.
            version_or_channel: which release.
            trust: whose signatures count: what none of its keys has signed is left out.  None:
                the statements that the release's manifest names, signed or not.

        Raises:
            CatalogError: there is no such release, or a statement is not what it should be.
        """
        release = self.show(name, version_or_channel, trust=trust)
        if trust:
            from imagebuilder.catalog import attest

            found = attest.attestations(self.store, release, trust.keys)
            return tuple(each for each in found if each.statement.is_about(release))
        return tuple(
            Attestation(statement=statement, payload=payload)
            for statement, payload in statements.of_release(self.store, release)
        )

    def search(
        self,
        package: str,
        *,
        below: str = "",
        name: str | None = None,
        source: bool = False,
        observer: Observer = ignore,
        cancel: Cancel | None = None,
    ) -> tuple[Match, ...]:
        """Find the releases that have a package.

        Args:
            package: the package's name.
            below: only versions that are earlier than this one.
            name: only releases of this recipe.
            source: take what is built from a source package of that name, too.
            observer: gets the step ``search`` (in releases).
            cancel: looked at for each release.

        Raises:
            InputError: ``below`` is no version.
            CatalogError: a release or its list of packages cannot be read.
        """
        if name is not None:
            check_name(name)
        reporter = reporter_of("catalog", observer, cancel)
        return packages.search(
            self.store, package, below=below, name=name, source=source, reporter=reporter
        )

    def pull(
        self,
        name: str,
        version_or_channel: str,
        output_dir: Path,
        *,
        trust: Trust | None = None,
        observer: Observer = ignore,
        cancel: Cancel | None = None,
    ) -> Path:
        """Fetch a release into a folder, which is then an image's folder with ``release.json``.

        Everything is fetched into a folder beside it, sizes and digests are checked, and that
        folder is renamed.  When the release is there already and whole, nothing is done; when
        another release was pulled there before, the two folders change places at once.

        Args:
            name: the recipe's name.
            version_or_channel: which release.
            output_dir: the folder; what no pull has made there is left alone.
            trust: whose signatures are needed; None: nobody's.
            observer: gets the step ``pull`` (in bytes).
            cancel: looked at all the time.

        Returns:
            The folder, with symbolic links resolved.

        Raises:
            InputError: ``output_dir`` holds something else.
            CatalogError: an object is missing, cut short, or has other bytes than it must have.
            HostError: the folder cannot be written.
        """
        release = self.show(name, version_or_channel, trust=trust)
        reporter = reporter_of(name, observer, cancel)
        return pulling.pull(self.store, release, output_dir, reporter)


def reporter_of(subject: str, observer: Observer, cancel: Cancel | None) -> Reporter:
    """Return the reporter of a call."""
    return Reporter(subject=subject, observer=observer, cancel=cancel or Cancel())
