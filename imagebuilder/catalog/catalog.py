"""Catalog: the releases and channels in one place."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from imagebuilder.catalog import collect, moves, read, running
from imagebuilder.catalog import publish as publishing
from imagebuilder.catalog import sync as syncing
from imagebuilder.catalog.collect import Freed
from imagebuilder.catalog.manifest import TestEvidence
from imagebuilder.catalog.model import Channel, Release
from imagebuilder.catalog.reader import reporter_of
from imagebuilder.catalog.records import ReleaseName, Running
from imagebuilder.catalog.steering import CatalogSteering
from imagebuilder.catalog.sync import Synced
from imagebuilder.image import Image
from imagebuilder.policies import ChannelPolicy, Retention
from imagebuilder.progress import Cancel, Observer, ignore

if TYPE_CHECKING:
    from imagebuilder.catalog.envelope import Signer


@dataclass(frozen=True, slots=True, kw_only=True)
class Catalog(CatalogSteering):
    """Releases and channels on an object store.

    All methods raise :class:`~imagebuilder.errors.CatalogError` when the store cannot be
    reached, refuses, or holds what it must not hold, and
    :class:`~imagebuilder.errors.InputError` for a name that cannot be one.
    """

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
        builder: str = "",
        policy: ChannelPolicy | None = None,
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
            builder: the URI of who built it, for the release's provenance.
            policy: what the channel asks for.
            observer: gets the steps ``upload`` (in bytes) and ``release``.
            cancel: looked at all the time.

        Raises:
            CatalogError: no passing test is shown and no override given; or a file of the image
                is not what its facts say; or the store failed.  The channel is as it was.
        """
        self._check_exports()
        reporter = reporter_of(image.recipe, observer, cancel)
        release = publishing.publish(
            self.store,
            image,
            channel=channel,
            evidence=evidence,
            override=override,
            force=force,
            git_commit=git_commit,
            by=by,
            builder=builder,
            policy=policy,
            reporter=reporter,
        )
        self._export([image.recipe], reporter)
        return release

    def promote(
        self,
        name: str,
        version_or_channel: str,
        *,
        to: str,
        reason: str = "",
        by: str = "",
        expected_generation: int | None = None,
        policy: ChannelPolicy | None = None,
        folder: Path | None = None,
        override: str = "",
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
            policy: what the channel asks of a release.
            folder: where the policy's trust root is; by default the working directory.
            override: why the policy does not count this time; kept in the history.
            observer: gets the step ``promote``.
            cancel: looked at before each write.

        Returns:
            The channel as it is now.

        Raises:
            CatalogError: there is no such release, or a blob of it is missing, or it lacks what
                the policy asks for, or the channel is pinned, or not at the expected
                generation.  The channel is as it was.
        """
        read.check_marker(self.store)
        self._check_exports()
        reporter = reporter_of(name, observer, cancel)
        moved = moves.promote(
            self.store,
            name,
            version_or_channel,
            to=to,
            reason=reason,
            by=by,
            expected=expected_generation,
            policy=policy,
            folder=folder or Path(),
            override=override,
            reporter=reporter,
        )
        self._export([name], reporter)
        return moved

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
        self._check_exports()
        reporter = reporter_of(name, observer, cancel)
        moved = moves.rollback(
            self.store,
            name,
            channel,
            to=to,
            reason=reason,
            by=by,
            expected=expected_generation,
            reporter=reporter,
        )
        self._export([name], reporter)
        return moved

    def gc(
        self,
        policy: Retention | None = None,
        *,
        dry_run: bool = False,
        observer: Observer = ignore,
        cancel: Cancel | None = None,
    ) -> Freed:
        """Delete the releases that a policy does not keep, and blobs that no release names.

        Safe while others publish, promote, roll back and read.

        Args:
            policy: what is kept; by default that of a project file that says nothing.
            dry_run: change nothing, and only say what would be deleted (by this machine's
                clock; otherwise the store's is what counts).
            observer: gets the steps ``list`` and ``delete``.
            cancel: looked at before each deletion.

        Returns:
            What was deleted, what is kept and why, and what could not be deleted.

        Raises:
            CatalogError: another collection is at work; or something cannot be read, so that
                what it keeps is not known; or the store failed.
        """
        reporter = reporter_of("catalog", observer, cancel)
        self._check_exports()

        def unlisted(doomed: Sequence[ReleaseName]) -> None:
            self._export(sorted({each.name for each in doomed}), reporter)

        freed = collect.collect(
            self.store,
            policy or Retention(),
            dry_run=dry_run,
            unlisted=unlisted,
            reporter=reporter,
        )
        if self.exports.formats and freed.releases and not dry_run:
            from imagebuilder.catalog import exports

            exports.prune(self.store, (each.name for each in freed.releases), reporter)
        return freed

    def sync(
        self,
        to: Catalog,
        *,
        names: Sequence[str] = (),
        dry_run: bool = False,
        observer: Observer = ignore,
        cancel: Cancel | None = None,
    ) -> Synced:
        """Mirror this catalog: another one gets the releases and channels that it lacks.

        The mirror is whole at any time.  Its channels have the generations and the history of
        this catalog's, so that signatures hold for it; rollouts, barriers and dead ends become
        those of this catalog; pins stay as they are.  What the mirror has beyond that is left
        alone.  A sync that was cut off goes on where it ended.

        Args:
            to: the mirror; made if there is nothing yet.
            names: the recipes; none means all.
            dry_run: only find out what would be done; nothing is written, and no blob is read.
            observer: gets the step ``sync``.
            cancel: looked at all the time.

        Returns:
            What was done, and what could not be mirrored, such as a channel that was moved in
            the mirror by itself.

        Raises:
            InputError: both are the same place.
            CatalogError: a store cannot be reached, refuses, or is no catalog.
            HostError: there is no room for a blob in the folder for temporary files.
        """
        reporter = reporter_of("catalog", observer, cancel)
        to._check_exports()
        done = syncing.sync(self.store, to.store, names=names, dry_run=dry_run, reporter=reporter)
        if not dry_run:
            to._export(names or None, reporter)
        return done

    def report_running(self, name: str, version_or_image: str, *, host: str) -> Running:
        """Note that a host runs a release, so that garbage collection keeps it for a while.

        Args:
            name: the recipe's name.
            version_or_image: the release, or the id of its image: then its newest release.
            host: the host's name.

        Raises:
            InputError: the host's name cannot be one.
            CatalogError: there is no such release.
        """
        read.check_marker(self.store)
        return running.report(self.store, name, version_or_image, host)

    def sign(
        self,
        name: str,
        version_or_channel: str,
        *,
        signers: Sequence[Signer],
        days: float = 30.0,
        image: Image | None = None,
        observer: Observer = ignore,
        cancel: Cancel | None = None,
    ) -> tuple[str, ...]:
        """Sign a release; given a channel, also that the channel names it.

        Signatures of other keys stay.

        Args:
            name: the recipe's name.
            version_or_channel: the release, or the channel that names it.
            signers: the keys, see :class:`~imagebuilder.catalog.envelope.FileSigner`.
            days: how long what the channel names is signed for.
            image: the image that the release must be of, compared with the manifest and all
                digests in it; None: what the catalog has is signed as it is.
            observer: gets the step ``sign``.
            cancel: looked at before each write.

        Returns:
            The ids of the keys.

        Raises:
            CatalogError: there is no such release, it is not of that image, or the channel was
                moved meanwhile.
        """
        from imagebuilder.catalog import signing  # cryptography takes a while to import

        reporter = reporter_of(name, observer, cancel)
        self._check_exports()
        keys = signing.sign(
            self.store,
            name,
            version_or_channel,
            signers=signers,
            days=days,
            image=image,
            reporter=reporter,
        )
        self._export([name], reporter)
        return keys
