"""Catalog: the releases and channels in one place."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Self

from imagebuilder.catalog import moves, read
from imagebuilder.catalog import publish as publishing
from imagebuilder.catalog import pull as pulling
from imagebuilder.catalog import verify as verifying
from imagebuilder.catalog.manifest import TestEvidence
from imagebuilder.catalog.model import Channel, IndexEntry, Move, Release, check_channel
from imagebuilder.catalog.stores import ObjectStore, open_store
from imagebuilder.catalog.verify import Verification
from imagebuilder.errors import CatalogError, Location
from imagebuilder.image import Image
from imagebuilder.progress import Cancel, Observer, Reporter, ignore
from imagebuilder.recipe import check_name


@dataclass(frozen=True, slots=True, kw_only=True)
class Catalog:
    """Releases and channels on an object store.

    All methods raise :class:`~imagebuilder.errors.CatalogError` when the store cannot be
    reached, refuses, or holds what it must not hold, and
    :class:`~imagebuilder.errors.InputError` for a name that cannot be one.
    """

    store: ObjectStore

    @classmethod
    def open(cls, url: str) -> Self:
        """Return the catalog at a URL; nothing is read, made or reached yet.

        Args:
            url: ``file:///absolute/folder``, the plain path of a folder, or
                ``s3://bucket/prefix``.

        Raises:
            InputError: the URL is none of these.
        """
        return cls(store=open_store(url))

    @property
    def url(self) -> str:
        """Where the catalog is."""
        return self.store.url

    def publish(
        self,
        image: Image,
        *,
        channel: str,
        evidence: TestEvidence | None,
        override: str = "",
        force: bool = False,
        git_commit: str = "",
        by: str = "",
        observer: Observer = ignore,
        cancel: Cancel | None = None,
    ) -> Release:
        """Make an image a release, and let a channel name it.

        An image that is published already is not published again, unless ``force`` is given or
        this is the first passing test of it that is shown; the channel is moved to the release
        that there is.  What is missing of that release is stored again.

        Args:
            image: what to publish; each file must still be what its facts say.
            channel: the channel to move; made if need be.
            evidence: what a test of exactly this image found.
            override: why the image is published though no passing test is shown.
            force: send everything and make a new release in any case.
            git_commit: the commit of the recipes.
            by: who publishes; by default ``user@host`` of this process.
            observer: gets the steps ``upload`` (in bytes) and ``release``.
            cancel: looked at all the time.

        Raises:
            CatalogError: no passing test is shown and no override given; or a file of the image
                is not what its facts say; or the store failed.  The channel is as it was.
        """
        return publishing.publish(
            self.store,
            image,
            channel=channel,
            evidence=evidence,
            override=override,
            force=force,
            git_commit=git_commit,
            by=by,
            reporter=_reporter(image.recipe, observer, cancel),
        )

    def releases(self, name: str | None = None) -> tuple[IndexEntry, ...]:
        """Return all releases, or those of one recipe, by name and then age, the oldest first."""
        if name is not None:
            check_name(name)
        read.check_marker(self.store)
        found = read.index(self.store)
        return found if name is None else tuple(each for each in found if each.name == name)

    def show(self, name: str, version_or_channel: str) -> Release:
        """Return the release of that version, or the one that the channel names."""
        check_name(name)
        read.check_marker(self.store)
        return read.resolve(self.store, name, version_or_channel)

    def channels(self, name: str) -> tuple[Channel, ...]:
        """Return the channels of a recipe, by name."""
        check_name(name)
        read.check_marker(self.store)
        return read.channels(self.store, name)

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

    def promote(
        self,
        name: str,
        version_or_channel: str,
        *,
        to: str,
        reason: str = "",
        by: str = "",
        expected_generation: int | None = None,
        observer: Observer = ignore,
        cancel: Cancel | None = None,
    ) -> Channel:
        """Let a channel name a release that is published: ``testing`` → ``stable``.

        Nothing happens when it names that release already.

        Args:
            name: the recipe's name.
            version_or_channel: the release, or the channel that names it.
            to: the channel to move; made if need be.
            reason: kept in the channel's history.
            by: who does it; by default ``user@host`` of this process.
            expected_generation: refuse when the channel was moved since (0: it must not exist).
            observer: gets the step ``promote``.
            cancel: looked at before each write.

        Returns:
            The channel as it is now.

        Raises:
            CatalogError: there is no such release, or a blob of it is missing, or the channel
                is not at the expected generation.  The channel is as it was.
        """
        read.check_marker(self.store)
        return moves.promote(
            self.store,
            name,
            version_or_channel,
            to=to,
            reason=reason,
            by=by,
            expected=expected_generation,
            reporter=_reporter(name, observer, cancel),
        )

    def rollback(
        self,
        name: str,
        channel: str,
        *,
        to: str = "",
        reason: str = "",
        by: str = "",
        expected_generation: int | None = None,
        observer: Observer = ignore,
        cancel: Cancel | None = None,
    ) -> Channel:
        """Take a channel back to what it named before: one write of its pointer.

        Going back twice goes back two steps.  The arguments are those of :meth:`promote`;
        ``to`` is a version that the channel has named, "" the one before the present one.

        Raises:
            CatalogError: there is nothing to go back to, or it is no longer whole, or the
                channel is not at the expected generation.  The channel is as it was.
        """
        read.check_marker(self.store)
        return moves.rollback(
            self.store,
            name,
            channel,
            to=to,
            reason=reason,
            by=by,
            expected=expected_generation,
            reporter=_reporter(name, observer, cancel),
        )

    def history(self, name: str, channel: str) -> tuple[Move, ...]:
        """Return all moves of a channel, the oldest first."""
        return read.history(self.store, self.channel(name, channel))

    def verify(
        self,
        *,
        contents: bool = True,
        observer: Observer = ignore,
        cancel: Cancel | None = None,
    ) -> Verification:
        """Look whether everything that something names is there, and is what it should be.

        Changes nothing, and can run while others publish.

        Args:
            contents: read every blob and compare its digest; otherwise its size alone.
            observer: gets the steps ``list`` and ``contents`` (in bytes).
            cancel: looked at all the time.

        Returns:
            What was found; a finding is no exception.

        Raises:
            CatalogError: there is no catalog, or the store cannot be reached.
        """
        reporter = _reporter("catalog", observer, cancel)
        return verifying.verify(self.store, contents=contents, reporter=reporter)

    def pull(
        self,
        name: str,
        version_or_channel: str,
        output_dir: Path,
        *,
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
            observer: gets the step ``pull`` (in bytes).
            cancel: looked at all the time.

        Returns:
            The folder, with symbolic links resolved.

        Raises:
            InputError: ``output_dir`` holds something else.
            CatalogError: an object is missing, cut short, or has other bytes than it must have.
            HostError: the folder cannot be written.
        """
        release = self.show(name, version_or_channel)
        reporter = _reporter(name, observer, cancel)
        return pulling.pull(self.store, release, output_dir, reporter)


def _reporter(subject: str, observer: Observer, cancel: Cancel | None) -> Reporter:
    return Reporter(subject=subject, observer=observer, cancel=cancel or Cancel())
