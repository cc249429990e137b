"""What hosts report that they run."""

from __future__ import annotations

from imagebuilder.catalog import layout, read
from imagebuilder.catalog.manifest import now
from imagebuilder.catalog.model import dump, is_version
from imagebuilder.catalog.records import Running, check_host
from imagebuilder.errors import CatalogError, Location
from imagebuilder.names import check_name
from imagebuilder.stores import ObjectStore


def report(store: ObjectStore, name: str, version_or_image: str, host: str) -> Running:
    """Note what a host runs; see :meth:`imagebuilder.catalog.Catalog.report_running`."""
    check_name(name)
    check_host(host)
    version = version_or_image
    if not is_version(version):
        found = [
            each.version
            for each in read.index(store)
            if each.name == name and each.image == version_or_image
        ]
        if not found:
            raise CatalogError(
                f"no release of {name} has image {version_or_image[:80]!r}",
                where=Location(file=store.url),
                fix=f"imagebuilder catalog ls {name} lists what there is",
            )
        version = found[-1]
    read.release(store, name, version)
    record = Running(host=host, name=name, version=version, time=now())
    store.put(layout.host_key(name, host), dump(record))
    return record
