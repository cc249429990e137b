"""Which release a host should boot: staged rollouts, barriers, dead ends."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from pydantic import Field

from imagebuilder.catalog import layout, read
from imagebuilder.catalog.model import (
    Channel,
    ChannelName,
    Line,
    Model,
    Move,
    Time,
    Version,
    dump,
    parse,
)
from imagebuilder.catalog.update import update
from imagebuilder.errors import CatalogError, Location
from imagebuilder.names import RecipeName
from imagebuilder.progress import Cancel
from imagebuilder.stores import Object, ObjectStore


class Mark(Model):
    """A release that something is to be known of."""

    version: Version
    reason: Line


class Rollout(Model):
    """How the hosts of a channel get the release that it names, some after the others."""

    release: Version = Field(description="only while the channel names this release")
    start: Time
    minutes: int = Field(ge=0, le=1_000_000, description="until all hosts get it")
    percent: float = Field(ge=0, le=100, description="how many get it at once")


class Rules(Model):
    """``rules/NAME.json``: what hosts are to pass, and must not boot."""

    format: Literal[1] = 1
    name: RecipeName
    dead_ends: tuple[Mark, ...] = Field(default=(), description="not to be booted any more")
    barriers: tuple[Mark, ...] = Field(
        default=(), description="hosts that run an older one must boot this one first"
    )
    rollouts: dict[ChannelName, Rollout] = Field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """Which release a host should boot, and why that one."""

    version: str
    reason: str


def get(store: ObjectStore, name: str) -> Rules:
    """Read a recipe's rules; those of one without any are empty.

    Raises:
        CatalogError: they cannot be read.
    """
    key = layout.rules_key(name)
    return _parsed(store, name, store.get(key, limit=read.MANIFEST_LIMIT))


def change(
    store: ObjectStore, name: str, decide: Callable[[Rules], Rules], cancel: Cancel
) -> Rules:
    """Change a recipe's rules by compare-and-swap; returns the new ones."""
    seen: list[Rules] = []

    def changed(current: Object | None) -> bytes | None:
        before = _parsed(store, name, current)
        seen.append(decide(before))
        return None if seen[-1] == before else dump(seen[-1])

    update(store, layout.rules_key(name), changed, cancel)
    return seen[-1]


def marked(marks: tuple[Mark, ...], version: str, reason: str | None) -> tuple[Mark, ...]:
    """Return the marks with one more, or (no reason) without that of the version."""
    others = tuple(each for each in marks if each.version != version)
    more = (Mark(version=version, reason=reason),) if reason is not None else ()
    return tuple(sorted((*others, *more), key=lambda each: each.version))


def check_alive(store: ObjectStore, name: str, version: str) -> None:
    """Make sure that a release is no dead end.

    Raises:
        CatalogError: it is one.
    """
    for each in get(store, name).dead_ends:
        if each.version == version:
            raise CatalogError(
                f"release {version} is a dead end: {each.reason}",
                where=Location(file=store.url_of(layout.rules_key(name))),
                fix=f"choose another, or: imagebuilder catalog dead-end {name} "
                f"--version {version} --remove",
            )


def choose(
    rules: Rules,
    pointer: Channel,
    path: tuple[Move, ...],
    host: str,
    running: str,
    at: datetime,
) -> Choice:
    """Decide what a host should boot.

    Args:
        rules: the recipe's rules.
        pointer: the channel.
        path: what the channel stands on, the newest last.
        host: the host's id.
        running: the release that it runs now, "" if that is not known.
        at: now.

    Raises:
        CatalogError: everything that it could boot is a dead end.
    """
    steps = [each.release for each in path]
    reason = f"channel {pointer.channel} names it"
    rollout = rules.rollouts.get(pointer.channel)
    if rollout and rollout.release == pointer.release and len(steps) > 1:
        share, turn = reached(rollout, at), position(pointer.name, pointer.release, host)
        if turn >= share and running != pointer.release:
            steps.pop()
            reason = (
                f"the rollout has come to {share:.1f} %, and this host's turn is at {turn:.1f} %"
            )
    dead = {each.version for each in rules.dead_ends}
    alive = [each for each in steps if each not in dead]
    if not alive:
        raise CatalogError(
            f"all that channel {pointer.channel} of {pointer.name} could name is a dead end",
            fix="publish or promote a release that can be booted",
        )
    if alive[-1] != steps[-1]:
        reason = f"{steps[-1]} is a dead end"
    goal = alive[-1]
    for each in rules.barriers:
        if running and running < each.version < goal and each.version not in dead:
            return Choice(version=each.version, reason=f"hosts must pass it: {each.reason}")
    return Choice(version=goal, reason=reason)


def reached(rollout: Rollout, at: datetime) -> float:
    """Return how many per cent of the hosts get the release at that time."""
    start = datetime.strptime(rollout.start, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
    minutes = (at - start).total_seconds() / 60
    if minutes < 0:
        return 0.0
    if minutes >= rollout.minutes:
        return 100.0
    return rollout.percent + (100 - rollout.percent) * minutes / rollout.minutes


def position(name: str, version: str, host: str) -> float:
    """Return where in a rollout a host's turn is, from 0 to 100 (below); always the same.

    Another release has another order, so that not the same hosts always go first.
    """
    digest = hashlib.sha256(f"{name} {version} {host}".encode()).digest()
    return int.from_bytes(digest[:6]) / (1 << 48) * 100


def _parsed(store: ObjectStore, name: str, current: Object | None) -> Rules:
    if current is None:
        return Rules(name=name)
    url = store.url_of(layout.rules_key(name))
    found = parse(Rules, current.data, url)
    if found.name != name:
        raise CatalogError(f"has the rules of {found.name}", where=Location(file=url))
    return found
