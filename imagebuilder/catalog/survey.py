"""What of a catalog a policy keeps, and what nothing keeps."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from pydantic import ValidationError

from imagebuilder.catalog import layout, leases, read, rules
from imagebuilder.catalog.model import Channel, Release, parse
from imagebuilder.catalog.moves import path_to
from imagebuilder.catalog.records import Lease, ReleaseName, Running
from imagebuilder.errors import CatalogError, Location
from imagebuilder.policies import Retention
from imagebuilder.progress import Reporter
from imagebuilder.stores import ObjectStore, Stat

_DAY, _HOUR = 86400.0, 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey:
    """What there is.

    Attributes:
        kept: the reason for each release that stays.
        releases: the releases that nothing keeps, each with the size of its manifest in bytes.
        blobs: digest and size of the blobs that no kept release and nobody at work names.
        manifests: all releases.
    """

    kept: Mapping[ReleaseName, str]
    releases: Mapping[ReleaseName, int]
    blobs: Mapping[str, int]
    manifests: Mapping[ReleaseName, Release]


def survey(
    store: ObjectStore,
    policy: Retention,
    *,
    at: float,
    known: dict[ReleaseName, Release],
    remove_dead: bool,
    reporter: Reporter,
) -> Survey:
    """Find out what is kept.

    Args:
        store: where.
        policy: what is to be kept.
        at: the store's time now, seconds since the epoch.
        known: manifests that were read before, since they never change; is added to.
        remove_dead: remove the leases of those who are dead.
        reporter: its request to stop is looked at.

    Raises:
        CatalogError: something cannot be read, so that what it keeps is not known.
    """
    # Leases first: who has none any more has done all its writing, so that it is found below.
    alive = leases.leases(store, at, remove_dead=remove_dead)
    claims = list(_claims(store, policy, at))
    there = {_name(store, each.key): each for each in store.list("releases/")}
    for name in there:
        reporter.cancel.check()
        if name not in known:
            known[name] = read.release(store, name.name, name.version)
    kept: dict[ReleaseName, str] = {}
    for name, reason in (*claims, *_newest(there, policy), *_young(there, policy, at, alive)):
        if name in there:
            kept.setdefault(name, reason)
    named = {artefact.sha256 for name in kept for artefact in known[name].artefacts}
    named.update(digest for each in alive for digest in each.digests)
    blobs = {
        digest: each.size
        for each in store.list("blobs/")
        if (digest := each.key.rpartition("/")[2]) not in named
        and each.key == layout.blob_key(digest)
        and at - each.modified >= policy.grace_hours * _HOUR
    }
    return Survey(
        kept=kept,
        releases={name: stat.size for name, stat in there.items() if name not in kept},
        blobs=blobs,
        manifests={name: known[name] for name in there},
    )


def _claims(store: ObjectStore, policy: Retention, at: float) -> Iterator[tuple[ReleaseName, str]]:
    """Give the releases that something in the catalog names, each with the reason that it stays."""
    channels = [_channel(store, each.key) for each in store.list("channels/")]
    for channel in channels:
        yield _release(channel, channel.release), f"channel {channel.channel} names it"
    for channel in channels:
        for each in reversed(path_to(channel.history)[-1 - policy.rollback_steps : -1]):
            reason = f"channel {channel.channel} can be taken back to it"
            yield _release(channel, each.release), reason
    for recipe in [_recipe(stat.key) for stat in store.list("rules/")]:
        for barrier in rules.get(store, recipe).barriers:
            yield ReleaseName(name=recipe, version=barrier.version), "hosts must pass it"
    for report in _running(store, policy, at):
        yield ReleaseName(name=report.name, version=report.version), f"host {report.host} runs it"


def _newest(there: Iterable[ReleaseName], policy: Retention) -> Iterator[tuple[ReleaseName, str]]:
    versions: dict[str, list[str]] = {}
    for name in there:
        versions.setdefault(name.name, []).append(name.version)
    for recipe, each in versions.items():
        for version in sorted(each)[-policy.keep_last :]:
            reason = f"one of the newest {policy.keep_last} of its recipe"
            yield ReleaseName(name=recipe, version=version), reason


def _young(
    there: Mapping[ReleaseName, Stat], policy: Retention, at: float, alive: Sequence[Lease]
) -> Iterator[tuple[ReleaseName, str]]:
    """Give the releases that are new, or that somebody is at work on."""
    for name, stat in there.items():
        age = at - stat.modified
        if age < policy.keep_days * _DAY:
            yield name, f"younger than {policy.keep_days:g} days"
        if age < policy.grace_hours * _HOUR:
            yield name, f"younger than {policy.grace_hours:g} hours"
        if any(leases.keeps(each, name.name, name.version) for each in alive):
            yield name, "somebody is publishing or promoting it"


def _channel(store: ObjectStore, key: str) -> Channel:
    name, _, channel = key.removeprefix("channels/").removesuffix(".json").partition("/")
    found = store.get(key)
    # Nobody deletes a pointer; if somebody did, what it kept would not be known.
    return read.as_channel(store, name, channel, found.data if found else b"")


def _recipe(key: str) -> str:
    return key.removeprefix("rules/").removesuffix(".json")


def _running(store: ObjectStore, policy: Retention, at: float) -> list[Running]:
    found: list[Running] = []
    for each in store.list("hosts/"):
        if at - each.modified < policy.running_days * _DAY:
            report = store.get(each.key, limit=read.MANIFEST_LIMIT)
            if report:
                found.append(parse(Running, report.data, store.url_of(each.key)))
    return found


def _name(store: ObjectStore, key: str) -> ReleaseName:
    name, _, file = key.removeprefix("releases/").partition("/")
    try:
        return ReleaseName(name=name, version=file.removesuffix(".json"))
    except ValidationError:
        raise CatalogError(
            "is no release's manifest, so that what it keeps is not known",
            where=Location(file=store.url_of(key)),
            fix="somebody wrote to the catalog by hand: remove it",
        ) from None


def _release(channel: Channel, version: str) -> ReleaseName:
    return ReleaseName(name=channel.name, version=version)
