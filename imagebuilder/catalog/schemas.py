"""The JSON Schemas of what stands in a catalog, for readers that are not this library."""

from __future__ import annotations

import json

from imagebuilder.catalog.model import (
    CatalogMarker,
    Channel,
    ChannelIndex,
    HistoryPage,
    Index,
    Model,
    Release,
)
from imagebuilder.catalog.records import Approval, Collection, Lease, Running
from imagebuilder.catalog.rules import Rules
from imagebuilder.catalog.signed import Envelope, SignedChannel, TrustRoot

_PUBLISHED: dict[str, type[Model]] = {
    "catalog-marker.json": CatalogMarker,
    "catalog-release.json": Release,
    "catalog-channel.json": Channel,
    "catalog-history.json": HistoryPage,
    "catalog-index.json": Index,
    "catalog-channels.json": ChannelIndex,
    "catalog-rules.json": Rules,
    "catalog-approval.json": Approval,
    "catalog-lease.json": Lease,
    "catalog-gc.json": Collection,
    "catalog-host.json": Running,
    "catalog-signature.json": Envelope,
    "catalog-signed-channel.json": SignedChannel,
    "catalog-trust-root.json": TrustRoot,
}


def schemas() -> dict[str, str]:
    """Return the text of each schema by the name of its file."""
    dialect = {"$schema": "https://json-schema.org/draft/2020-12/schema"}
    return {
        name: json.dumps({**dialect, **model.model_json_schema()}, indent=2) + "\n"
        for name, model in _PUBLISHED.items()
    }
