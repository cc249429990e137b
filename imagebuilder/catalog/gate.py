"""What a channel's policy asks of a release, and whether it has it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from imagebuilder.catalog import layout, leases, read, statements
from imagebuilder.catalog.manifest import TestEvidence, clean, now, whoami
from imagebuilder.catalog.model import Release, check_channel, dump, parse
from imagebuilder.catalog.records import Approval, check_who
from imagebuilder.errors import CatalogError, Location
from imagebuilder.policies import ChannelPolicy
from imagebuilder.stores import ObjectStore

_HOUR = 3600.0


def check(
    store: ObjectStore, release: Release, channel: str, policy: ChannelPolicy, folder: Path
) -> None:
    """Make sure that a release may come into a channel.

    Args:
        store: where.
        release: the release.
        channel: the channel.
        policy: what it asks for.
        folder: where the policy's trust root is looked for.

    Raises:
        CatalogError: it lacks something; all of it is named.
        InputError: the trust root cannot be read.
    """
    found = lacking(store, release, policy, folder)
    if found:
        raise CatalogError(
            f"release {release.version} may not come into channel {channel}: " + "; ".join(found),
            where=Location(file=store.url_of(layout.release_key(release.name, release.version))),
            fix="see to that, or promote it with --override REASON",
        )


def lacking(
    store: ObjectStore, release: Release, policy: ChannelPolicy, folder: Path
) -> tuple[str, ...]:
    """Return what a release lacks of what a channel's policy asks for.

    Args:
        store: where.
        release: the release.
        policy: what the channel asks for.
        folder: where the policy's trust root is looked for.

    Raises:
        InputError: the trust root cannot be read.
    """
    return (
        *_source(store, release, policy),
        *(
            ["no test of exactly this image has passed"]
            if policy.tested and not release.tested
            else []
        ),
        *_approvals(store, release, policy),
        *_signatures(store, release, policy, folder),
        *_statements(store, release, policy, folder),
    )


def check_publish(
    store: ObjectStore, channel: str, policy: ChannelPolicy | None, evidence: TestEvidence | None
) -> None:
    """Make sure that an image may be published to a channel.

    Raises:
        CatalogError: the channel's policy is against it.
    """
    if policy is None:
        return
    if policy.only_promotes:
        raise CatalogError(
            f"nothing is published to channel {channel}: what its policy asks for, only a release "
            "that is there can have",
            where=Location(file=store.url),
            fix=f"publish to channel {policy.source or 'testing'}, and promote from there",
        )
    if policy.tested and not (evidence and evidence.passed):
        raise CatalogError(
            f"channel {channel} takes only what has passed a test",
            where=Location(file=store.url),
            fix="test it, or publish it to another channel",
        )


def approve(store: ObjectStore, name: str, version: str, who: str, reason: str) -> Approval:
    """Note an approval; see :meth:`imagebuilder.catalog.Catalog.approve`."""
    release = read.resolve(store, name, version)
    approval = Approval(
        name=name,
        version=release.version,
        who=check_who(who),
        by=whoami(),
        reason=clean(reason),
        time=now(),
    )
    store.put(layout.approval_key(name, release.version, who), dump(approval))
    return approval


def _source(store: ObjectStore, release: Release, policy: ChannelPolicy) -> list[str]:
    if not policy.source:
        return []
    pointer = read.channel(store, release.name, check_channel(policy.source))
    if pointer is None or pointer.release != release.version:
        return [f"channel {policy.source} does not name it"]
    # The last write of the pointer is the move that made it name this release.
    written = store.stat(layout.channel_key(release.name, policy.source))
    hours = (leases.store_time(store) - written.modified) / _HOUR if written else 0.0
    if policy.minimum_hours and hours < policy.minimum_hours:
        return [
            f"channel {policy.source} has named it for {hours:.1f} hours, and "
            f"{policy.minimum_hours:g} are asked for"
        ]
    return []


def _approvals(store: ObjectStore, release: Release, policy: ChannelPolicy) -> list[str]:
    if not policy.approvals:
        return []
    found: set[str] = set()
    for each in store.list(f"approvals/{release.name}/{release.version}/"):
        current = store.get(each.key, limit=read.MANIFEST_LIMIT)
        if current:
            approval = parse(Approval, current.data, store.url_of(each.key))
            if each.key == layout.approval_key(release.name, release.version, approval.who):
                found.add(approval.who)
    if len(found) >= policy.approvals:
        return []
    return [f"{len(found)} people have approved it, and {policy.approvals} are asked for"]


def _signatures(
    store: ObjectStore, release: Release, policy: ChannelPolicy, folder: Path
) -> list[str]:
    if not policy.signatures:
        return []
    from imagebuilder.catalog import trust as trusting  # cryptography takes a while to import

    trust = trusting.Trust.open(folder / policy.trust)
    root = trust.root.model_copy(update={"release_threshold": policy.signatures})
    asked = trusting.Trust(root=root, keys=trust.keys)
    try:
        trusting.resolve(store, release.name, release.version, asked)
    except CatalogError as error:
        return [error.what]
    return []


def _warnings(
    found: Sequence[statements.Statement], policy: ChannelPolicy, signed: str
) -> list[str]:
    """Return what speaks against a release if its test must have passed without a warning."""
    if not policy.clean:
        return []
    if not any(each.kind == statements.TEST_RESULT for each in found):
        return [f"there is no test result about it{signed}"]
    warned: set[str] = set().union(*(each.warned for each in found))
    if not warned:
        return []
    names = ", ".join(sorted(map(clean, warned)))
    return [f"these passed only by a waiver or when they were repeated: {names}"]


def _statements(
    store: ObjectStore, release: Release, policy: ChannelPolicy, folder: Path
) -> list[str]:
    if not policy.asks_for_statements:
        return []
    if policy.trust:
        from imagebuilder.catalog import attest  # cryptography takes a while to import
        from imagebuilder.catalog import trust as trusting

        trust = trusting.Trust.open(folder / policy.trust)
        found = attest.believed(store, release, trust.keys, max(1, policy.signatures))
        signed = " that trusted keys have signed"
    else:
        found = tuple(statement for statement, _ in statements.of_release(store, release))
        signed = ""
    lacking: list[str] = []
    builders = {each.builder for each in found if each.builder}
    if policy.builders and builders.isdisjoint(policy.builders):
        says = f" (it names {', '.join(sorted(map(clean, builders)))})" if builders else ""
        lacking.append(
            f"no provenance{signed} says that {' or '.join(policy.builders)} built it{says}"
        )
    passed: set[str] = set().union(*(each.passed for each in found))
    missing = [each for each in policy.passed if each not in passed]
    if missing:
        lacking.append(f"no test result{signed} says that these passed: {', '.join(missing)}")
    kinds = {each.kind for each in found}
    lacking += _warnings(found, policy, signed)
    lacking += [
        f"there is no statement of type {each} about it{signed}"
        for each in policy.predicates
        if each not in kinds
    ]
    return lacking
