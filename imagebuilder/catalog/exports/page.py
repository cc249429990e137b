"""A page of the catalog for people: one file of HTML that needs nothing else.

Everything that comes from the store is escaped by the template; styles and script stand in the
page, and its policy (CSP) lets only these two run, by their digests.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from pydantic import ValidationError

from imagebuilder import webpage
from imagebuilder.catalog import layout, packages, read
from imagebuilder.catalog.exports.file import File
from imagebuilder.catalog.exports.view import AT_A_TIME, Reader, RecipeView, State
from imagebuilder.catalog.manifest import clean
from imagebuilder.catalog.model import IndexEntry, Move, Release
from imagebuilder.catalog.moves import path_to
from imagebuilder.catalog.rules import Rollout
from imagebuilder.catalog.signed import Envelope
from imagebuilder.errors import CatalogError
from imagebuilder.image import Package
from imagebuilder.progress import Reporter
from imagebuilder.stores import ObjectStore

KEY = "index.html"
_ROWS = 2000  # releases in the table
_RECIPES = 300  # recipes that are shown one by one
_LISTS = 40  # lists of packages
_PACKAGES = 3000  # packages of a list
_ALL_PACKAGES = 15_000  # of all lists together
_LIST_SIZE = 8 << 20  # bytes
_MOVES = 30  # of a channel's history


@dataclass(frozen=True, slots=True, kw_only=True)
class PageState:
    """What decides the page: the recipes, and which signatures there are."""

    states: tuple[State, ...]
    signed: frozenset[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A release in the table."""

    entry: IndexEntry
    channels: tuple[str, ...]
    signed: bool
    dead: str
    barrier: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelCard:
    """A channel: what it names, and what is known of that.

    Attributes:
        name: the channel's name.
        generation: how often it was moved.
        pinned: why it stays where it is; "".
        rollout: how the hosts get it, if not at once.
        release: what it names.
        keys: the first digits of the keys that signed the release.
        current: whether the channel's signature is about what it names.
        dead: why the release must not be booted; "".
        moves: its latest moves, the newest first.
        back: the versions that it can be taken back to.
        packages: what is installed, if it could be read.
        same: another channel of the recipe that has the same packages; "".
        more: how many packages are left out.
    """

    name: str
    generation: int
    pinned: str
    rollout: Rollout | None
    release: Release
    keys: tuple[str, ...]
    current: bool
    dead: str
    moves: tuple[Move, ...]
    back: frozenset[str]
    packages: tuple[Package, ...]
    same: str
    more: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """A recipe."""

    name: str
    summary: str
    releases: int
    channels: tuple[ChannelCard, ...]
    problems: tuple[str, ...]


def state_of(reader: Reader) -> PageState:
    """Read what decides the page."""
    signed = frozenset(each.key for each in reader.store.list("signatures/"))
    return PageState(states=reader.states(), signed=signed)


def files(reader: Reader, state: PageState, base: str | None, reporter: Reporter) -> Iterator[File]:
    """Return the page as a file beside the catalog's objects."""
    text = page(reader, state, base, reporter)
    yield File(key=KEY, data=text.encode(), content_type="text/html; charset=utf-8")


def page(reader: Reader, state: PageState, base: str | None, reporter: Reporter) -> str:
    """Return the page.

    Args:
        reader: of the catalog.
        state: what to show.
        base: before the links to the catalog's objects: "" if the page stands among them, None
            for no links.
        reporter: its request to stop is looked at.
    """
    shown = [each for each in state.states if each.channels or each.entries][:_RECIPES]
    views = reader.views(shown)
    lists = _lists(reader.store, views, reporter)
    cards: list[Card] = []
    room = _ALL_PACKAGES
    for view in views:
        cards.append(_card(reader.store, view, state.signed, lists, room))
        room -= sum(len(each.packages) for each in cards[-1].channels)
    entries = [entry for each in state.states for entry in each.entries]
    rows = sorted(_rows(state), key=lambda row: row.entry.version, reverse=True)
    # What a channel names is shown however old it is.
    kept = sorted(rows[:_ROWS] + [row for row in rows[_ROWS:] if row.channels], key=_order)
    blobs = {
        each.sha256: each.size for view in views for r in view.releases for each in r.artefacts
    }
    times = [each.history[-1].time for one in state.states for each in one.channels]
    return _PAGE.render(
        url=reader.store.url,
        base=base,
        cards=cards,
        hidden_recipes=len(state.states) - len(shown),
        rows=kept,
        hidden=len(rows) - len(kept),
        releases=len(entries),
        channels=sum(len(each.channels) for each in state.states),
        size=sum(blobs.values()),
        time=max(times, default=""),
    )


def _rows(state: PageState) -> Iterator[Row]:
    for one in state.states:
        named: dict[str, list[str]] = {}
        for channel in one.channels:
            named.setdefault(channel.release, []).append(channel.channel)
        dead = {each.version: each.reason for each in one.rules.dead_ends}
        barriers = {each.version: each.reason for each in one.rules.barriers}
        for entry in one.entries:
            key = layout.signature_key(entry.name, entry.version)
            yield Row(
                entry=entry,
                channels=tuple(named.get(entry.version, ())),
                signed=key in state.signed,
                dead=dead.get(entry.version, ""),
                barrier=barriers.get(entry.version, ""),
            )


def _order(row: Row) -> tuple[str, ...]:
    # By recipe, the newest first.
    return (row.entry.name, "".join(chr(0x10FFFF - ord(sign)) for sign in row.entry.version))


def _card(
    store: ObjectStore,
    view: RecipeView,
    signed: frozenset[str],
    lists: Mapping[str, tuple[Package, ...]],
    room: int,
) -> Card:
    dead = {each.version: each.reason for each in view.state.rules.dead_ends}
    channels: list[ChannelCard] = []
    shown: dict[str, str] = {}  # lists of packages, and where they are shown
    for each in view.channels:
        artefact = each.release.artefact("packages")
        digest = artefact.sha256 if artefact else ""
        same = shown.get(digest, "")
        found = () if same else lists.get(digest, ())
        listed = found[: max(0, min(_PACKAGES, room))]
        room -= len(listed)
        if listed:
            shown[digest] = each.name
        rollout = view.state.rules.rollouts.get(each.name)
        back = {move.release for move in path_to(each.pointer.history)} - {each.release.version}
        channels.append(
            ChannelCard(
                name=each.name,
                generation=each.pointer.generation,
                pinned=f"{each.pointer.pin.reason} ({each.pointer.pin.by})"
                if each.pointer.pin
                else "",
                rollout=rollout if rollout and rollout.release == each.release.version else None,
                release=each.release,
                keys=_keys(store, layout.signature_key(view.name, each.release.version), signed),
                current=layout.signature_key(view.name, each.name) in signed,
                dead=dead.get(each.release.version, ""),
                moves=tuple(reversed(each.pointer.history[-_MOVES:])),
                back=frozenset(back),
                packages=listed,
                same=same,
                more=len(found) - len(listed) if listed else 0,
            )
        )
    newest = max((r for c in view.channels for r in c.releases), key=_version, default=None)
    return Card(
        name=view.name,
        summary=newest.summary if newest else "",
        releases=len(view.state.entries),
        channels=tuple(channels),
        problems=view.problems,
    )


def _version(release: Release) -> str:
    return release.version


def _keys(store: ObjectStore, key: str, signed: frozenset[str]) -> tuple[str, ...]:
    """Return the keys that signed something, unchecked: who wants to know has a trust root."""
    if key not in signed:
        return ()
    try:
        found = store.get(key, limit=read.MANIFEST_LIMIT * 4)
        envelope = Envelope.model_validate_json(found.data) if found else None
    except (CatalogError, ValidationError):
        return ("unreadable",)
    return tuple(each.keyid[:12] for each in envelope.signatures) if envelope else ()


def _lists(
    store: ObjectStore, views: Sequence[RecipeView], reporter: Reporter
) -> dict[str, tuple[Package, ...]]:
    """Read the lists of packages of what channels name; those that cannot be read are missing."""
    wanted = {
        artefact.sha256: artefact
        for view in views
        for channel in view.channels
        if (artefact := channel.release.artefact("packages")) and artefact.size <= _LIST_SIZE
    }

    def one(digest: str) -> tuple[Package, ...]:
        try:
            return packages.package_list(store, wanted[digest], reporter)
        except CatalogError:
            return ()

    digests = list(wanted)[:_LISTS]
    with ThreadPoolExecutor(AT_A_TIME) as pool:
        return dict(zip(digests, pool.map(one, digests), strict=True))


_PAGE = webpage.load(Path(__file__).with_name("page.html"))
_PAGE.environment.filters["key"] = quote
_PAGE.environment.filters["line"] = clean
_PAGE.environment.globals.update(
    release_key=layout.release_key, script_key=layout.script_key, blob_key=layout.blob_key
)
