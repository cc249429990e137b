"""The catalog: releases that machines boot from, and channels that name them."""

from imagebuilder.catalog.catalog import Catalog
from imagebuilder.catalog.collect import Freed
from imagebuilder.catalog.manifest import TestEvidence
from imagebuilder.catalog.model import Channel, IndexEntry, Move, Release, ReleaseArtefact
from imagebuilder.catalog.packages import Match
from imagebuilder.catalog.presign import Presigned
from imagebuilder.catalog.records import Approval, ReleaseName, Running
from imagebuilder.catalog.rules import Choice, Rules
from imagebuilder.catalog.statements import Attestation, Statement
from imagebuilder.catalog.sync import Synced
from imagebuilder.catalog.verify import Finding, Verification
from imagebuilder.policies import ChannelPolicy, Retention

__all__ = [
    "Approval",
    "Attestation",
    "Catalog",
    "Channel",
    "ChannelPolicy",
    "Choice",
    "Finding",
    "Freed",
    "IndexEntry",
    "Match",
    "Move",
    "Presigned",
    "Release",
    "ReleaseArtefact",
    "ReleaseName",
    "Retention",
    "Rules",
    "Running",
    "Statement",
    "Synced",
    "TestEvidence",
    "Verification",
]
