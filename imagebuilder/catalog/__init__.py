"""The catalog: releases that machines boot from, and channels that name them."""

from imagebuilder.catalog.catalog import Catalog
from imagebuilder.catalog.manifest import TestEvidence
from imagebuilder.catalog.model import Channel, IndexEntry, Move, Release, ReleaseArtefact
from imagebuilder.catalog.verify import Finding, Verification

__all__ = [
    "Catalog",
    "Channel",
    "Finding",
    "IndexEntry",
    "Move",
    "Release",
    "ReleaseArtefact",
    "TestEvidence",
    "Verification",
]
