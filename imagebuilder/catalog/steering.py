"""What people say of releases and channels: approvals, pins, dead ends, barriers, rollouts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from imagebuilder.catalog import channels, gate, read, rules
from imagebuilder.catalog.exporting import CatalogExporting
from imagebuilder.catalog.layout import channel_key
from imagebuilder.catalog.manifest import clean, now, whoami
from imagebuilder.catalog.model import Channel, Pin, Release, check_channel, is_version
from imagebuilder.catalog.moves import path_to
from imagebuilder.catalog.reader import reporter_of
from imagebuilder.catalog.records import Approval, check_host
from imagebuilder.catalog.rules import Choice, Rollout, Rules
from imagebuilder.errors import CatalogError, InputError, Location
from imagebuilder.names import check_name
from imagebuilder.policies import ChannelPolicy
from imagebuilder.progress import Cancel, ignore

if TYPE_CHECKING:
    from imagebuilder.catalog.trust import Trust


@dataclass(frozen=True, slots=True, kw_only=True)
class CatalogSteering(CatalogExporting):
    """What decides which release comes where."""

    def approve(self, name: str, version: str, *, who: str, reason: str = "") -> Approval:
        """Note that somebody approves a release, for channels whose policy asks for it.

        Raises:
            InputError: nobody can be called so.
            CatalogError: there is no such release.
        """
        read.check_marker(self.store)
        return gate.approve(self.store, name, version, who, reason)

    def lacking(
        self,
        name: str,
        version_or_channel: str,
        *,
        policy: ChannelPolicy,
        folder: Path | None = None,
    ) -> tuple[str, ...]:
        """Return what a release lacks of what a channel asks for; empty: it may come in.

        Args:
            name: the recipe's name.
            version_or_channel: the release, or the channel that names it.
            policy: what the channel asks of a release.
            folder: where the policy's trust root is; by default the working directory.

        Raises:
            CatalogError: there is no such release.
            InputError: the trust root cannot be read.
        """
        read.check_marker(self.store)
        release = read.resolve(self.store, name, version_or_channel)
        return gate.lacking(self.store, release, policy, folder or Path())

    def pin(self, name: str, channel: str, *, reason: str, by: str = "") -> Channel:
        """Keep a channel where it is: every move is refused until :meth:`unpin`.

        Raises:
            CatalogError: there is no such channel.
        """
        check_channel(channel)
        check_name(name)
        read.check_marker(self.store)
        mark = Pin(reason=clean(reason), by=clean(by) or whoami(), time=now())
        return self._pin(name, channel, mark)

    def unpin(self, name: str, channel: str) -> Channel:
        """Let a pinned channel move again; nothing happens if it is not pinned.

        Raises:
            CatalogError: there is no such channel.
        """
        check_channel(channel)
        check_name(name)
        read.check_marker(self.store)
        return self._pin(name, channel, None)

    def dead_end(self, name: str, version: str, *, reason: str | None) -> Rules:
        """Say that a release must not be booted any more; without a reason, that it may.

        No channel is moved to a dead end any more; one that names it already stays until it is
        moved, and :meth:`choose` passes over it.

        Raises:
            CatalogError: there is no such release.
        """
        release = self._release(name, version)

        def decide(before: Rules) -> Rules:
            marks = rules.marked(before.dead_ends, release.version, _said(reason))
            return before.model_copy(update={"dead_ends": marks})

        return self._rules(name, decide)

    def barrier(self, name: str, version: str, *, reason: str | None) -> Rules:
        """Say that hosts with an older release must boot this one before a newer one.

        Without a reason they need not any more.  A barrier is never deleted by :meth:`gc`.

        Raises:
            CatalogError: there is no such release.
        """
        release = self._release(name, version)

        def decide(before: Rules) -> Rules:
            marks = rules.marked(before.barriers, release.version, _said(reason))
            return before.model_copy(update={"barriers": marks})

        return self._rules(name, decide)

    def rollout(self, name: str, channel: str, *, minutes: int, percent: float = 0.0) -> Rules:
        """Let hosts get what a channel names now one after the other, see :meth:`choose`.

        Args:
            name: the recipe's name.
            channel: the channel.
            minutes: until all have it; 0 ends a rollout: all get it at once.
            percent: how many get it now.

        Raises:
            InputError: the numbers are none.
            CatalogError: there is no such channel.
        """
        pointer = self.channel(name, channel)
        if not 0 <= minutes <= 1_000_000 or not 0 <= percent <= 100:
            raise InputError(f"{minutes} minutes from {percent:g} % on is no rollout")
        made = Rollout(release=pointer.release, start=now(), minutes=minutes, percent=percent)

        def decide(before: Rules) -> Rules:
            others = {key: each for key, each in before.rollouts.items() if key != channel}
            return before.model_copy(
                update={"rollouts": {**others, channel: made} if minutes else others}
            )

        return self._rules(name, decide)

    def choose(
        self,
        name: str,
        channel: str,
        *,
        host: str,
        running: str = "",
        trust: Trust | None = None,
    ) -> Choice:
        """Say which release a host should boot.

        That is what the channel names, unless it is a dead end, its rollout has not come to
        this host yet, or the host must pass a barrier first.  The answer for a host changes
        only with the channel, the rules and the time.

        Args:
            name: the recipe's name.
            channel: the channel.
            host: the host's name.
            running: the release that it runs now, if that is known.
            trust: whose signatures are needed, of what the channel names and of the release;
                None: nobody's.  Rules are not signed: who can write them can send a host to
                another signed release that the channel has named, or to a barrier.

        Raises:
            InputError: the host's name cannot be one.
            CatalogError: there is no such channel, or nothing that can be booted, or nobody who
                is trusted has signed it.
        """
        check_host(host)
        pointer = self.channel(name, channel)
        if running and not is_version(running):
            raise InputError(f"{running!r} is no release's version")
        found = rules.get(self.store, name)
        path = path_to(pointer.history)
        choice = rules.choose(found, pointer, path, host, running, datetime.now(UTC))
        if trust:
            from imagebuilder.catalog import trust as trusting  # takes a while to import

            signed = trusting.channel(self.store, name, channel, trust)
            if signed.generation != pointer.generation:
                raise CatalogError(
                    f"channel {channel} is at generation {pointer.generation}, and what it names "
                    f"was signed at {signed.generation}",
                    where=Location(file=self.store.url_of(channel_key(name, channel))),
                    fix=f"sign it: imagebuilder catalog sign {name} --channel {channel} --key FILE",
                )
            trusting.resolve(self.store, name, choice.version, trust)
        return choice

    def _pin(self, name: str, channel: str, mark: Pin | None) -> Channel:
        self._check_exports()
        found = channels.pin(self.store, name, channel, mark, Cancel())
        self._export([name], reporter_of(name, ignore, None))
        return found

    def _rules(self, name: str, decide: Callable[[Rules], Rules]) -> Rules:
        self._check_exports()
        found = rules.change(self.store, name, decide, Cancel())
        self._export([name], reporter_of(name, ignore, None))
        return found

    def _release(self, name: str, version: str) -> Release:
        check_name(name)
        read.check_marker(self.store)
        return read.resolve(self.store, name, version)


def _said(reason: str | None) -> str | None:
    if reason is None:
        return None
    if not clean(reason):
        raise InputError("a reason must be given")
    return clean(reason)
