"""The remote cache: results of builds, shared by machines on the object stores of catalogs."""

from imagebuilder.remote import outage
from imagebuilder.remote.manifest import Item, Kind, Manifest, Tree
from imagebuilder.remote.remote import STEP, Gift, Mode, Remote, opened
from imagebuilder.remote.upkeep import RemoteEntry, RemotePruned, prune_remote, remote_entries

__all__ = [
    "STEP",
    "Gift",
    "Item",
    "Kind",
    "Manifest",
    "Mode",
    "Remote",
    "RemoteEntry",
    "RemotePruned",
    "Tree",
    "opened",
    "outage",
    "prune_remote",
    "remote_entries",
]
