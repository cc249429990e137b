"""What exports are made of: the releases that channels name, and those just before them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from imagebuilder.catalog import read, rules
from imagebuilder.catalog.model import CHANNEL_PATTERN, Channel, IndexEntry, Release
from imagebuilder.catalog.moves import path_to
from imagebuilder.catalog.rules import Rules
from imagebuilder.errors import CatalogError
from imagebuilder.names import NAME_PATTERN
from imagebuilder.stores import ObjectStore

STEPS = 5  # releases of a channel: what it names, and those that it can be taken back to
AT_A_TIME = 8  # requests

_POINTER = re.compile(
    rf"channels/({NAME_PATTERN.strip('^$')})/({CHANNEL_PATTERN.strip('^$')})\.json"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """What decides the exports of a recipe; two states are equal if their exports are.

    Attributes:
        name: the recipe's name.
        entries: its releases, the oldest first.
        channels: its channels, by name.
        rules: its dead ends, barriers and rollouts.
        problems: what could not be read, as ``place: what``.
    """

    name: str
    entries: tuple[IndexEntry, ...]
    channels: tuple[Channel, ...]
    rules: Rules
    problems: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelView:
    """A channel with its releases.

    Attributes:
        pointer: its pointer.
        release: what it names.
        before: what it can be taken back to, the newest first: listed, no dead ends.
    """

    pointer: Channel
    release: Release
    before: tuple[Release, ...]

    @property
    def name(self) -> str:
        """The channel's name."""
        return self.pointer.channel

    @property
    def moved(self) -> str:
        """When it was moved to what it names."""
        return self.pointer.history[-1].time

    @property
    def releases(self) -> tuple[Release, ...]:
        """What it names, and then what it can be taken back to."""
        return (self.release, *self.before)


@dataclass(frozen=True, slots=True, kw_only=True)
class RecipeView:
    """A recipe: its state, and the channels that could be read."""

    state: State
    channels: tuple[ChannelView, ...]
    problems: tuple[str, ...]

    @property
    def name(self) -> str:
        """The recipe's name."""
        return self.state.name

    @property
    def releases(self) -> tuple[Release, ...]:
        """All releases of its channels, each once, the newest first."""
        found = {each.version: each for channel in self.channels for each in channel.releases}
        return tuple(found[version] for version in sorted(found, reverse=True))


@dataclass(slots=True, kw_only=True)
class Reader:
    """Reads views; a manifest is read once, since it never changes."""

    store: ObjectStore
    known: dict[tuple[str, str, str], Release] = field(default_factory=dict)

    def states(self, names: Sequence[str] | None = None) -> tuple[State, ...]:
        """Read the states of recipes; of all that are in the index or have a channel if None."""
        index = read.index(self.store)
        found: dict[str, list[str]] = {}
        prefixes = ["channels/"] if names is None else [f"channels/{each}/" for each in names]
        for prefix in prefixes:
            for stat in self.store.list(prefix):
                match = _POINTER.fullmatch(stat.key)
                if match:  # nothing else can be a pointer of ours
                    found.setdefault(match[1], []).append(match[2])
        wanted = sorted({each.name for each in index} | set(found)) if names is None else names
        entries: dict[str, list[IndexEntry]] = {}
        for each in index:
            entries.setdefault(each.name, []).append(each)

        def one(name: str) -> State:
            return self._state(name, tuple(entries.get(name, ())), sorted(found.get(name, ())))

        with ThreadPoolExecutor(AT_A_TIME) as pool:
            return tuple(pool.map(one, wanted))

    def view(self, state: State) -> RecipeView:
        """Read the manifests of a recipe's channels."""
        channels: list[ChannelView] = []
        problems = list(state.problems)
        for pointer in state.channels:
            try:
                channels.append(self._channel(state, pointer))
            except CatalogError as error:
                problems.append(_said(error))
        return RecipeView(state=state, channels=tuple(channels), problems=tuple(problems))

    def views(self, states: Sequence[State]) -> tuple[RecipeView, ...]:
        """Read the manifests of several recipes' channels."""
        with ThreadPoolExecutor(AT_A_TIME) as pool:
            return tuple(pool.map(self.view, states))

    def _state(self, name: str, entries: tuple[IndexEntry, ...], channels: list[str]) -> State:
        pointers: list[Channel] = []
        problems: list[str] = []
        for channel in channels:
            try:
                found = read.channel(self.store, name, channel)
            except CatalogError as error:
                problems.append(_said(error))
                continue
            if found:
                pointers.append(found)
        try:
            steering = rules.get(self.store, name)
        except CatalogError as error:
            problems.append(_said(error))
            steering = Rules(name=name)
        return State(
            name=name,
            entries=entries,
            channels=tuple(pointers),
            rules=steering,
            problems=tuple(problems),
        )

    def _channel(self, state: State, pointer: Channel) -> ChannelView:
        listed = {each.version for each in state.entries}
        dead = {each.version for each in state.rules.dead_ends}
        steps = {
            each.release: each.manifest
            for each in path_to(pointer.history)
            if each.release in listed - dead and each.release != pointer.release
        }
        before: list[Release] = []
        for version in reversed(steps):
            if len(before) == STEPS - 1:
                break
            try:
                before.append(self._release(state.name, version, steps[version]))
            except CatalogError:
                continue  # nobody boots it, and verify says what is the matter
        release = self._release(state.name, pointer.release, pointer.manifest)
        return ChannelView(pointer=pointer, release=release, before=tuple(before))

    def _release(self, name: str, version: str, manifest: str) -> Release:
        key = (name, version, manifest)
        if key not in self.known:
            self.known[key] = read.release(self.store, name, version, manifest)
        return self.known[key]


def _said(error: CatalogError) -> str:
    return f"{error.where.file}: {error.what}" if error.where else error.what
