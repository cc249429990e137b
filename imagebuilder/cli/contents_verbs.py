"""``imagebuilder catalog search`` and ``sync``."""

from __future__ import annotations

from dataclasses import asdict

from imagebuilder.cli import export_verbs
from imagebuilder.cli.context import Context
from imagebuilder.cli.named import opened
from imagebuilder.errors import CatalogError, Location
from imagebuilder.sizes import human_size


def search(context: Context) -> int:
    """``catalog search``."""
    args = context.args
    found = opened(context).search(
        args.package,
        below=args.below,
        name=args.recipe or None,
        source=args.source,
        observer=context.out.observer(),
        cancel=context.cancel,
    )
    context.out.close()
    rows: list[list[str]] = []
    for each in found:
        release, package = each.release, each.package
        context.out.data(
            "match",
            {
                "name": release.name,
                "version": release.version,
                "channels": list(each.channels),
                "package": package.model_dump(mode="json"),
            },
        )
        channels = " ".join(each.channels)
        rows.append([release.name, release.version, package.name, package.version, channels])
    context.out.table(rows)
    return 0


def sync(context: Context) -> int:
    """``catalog sync``."""
    from imagebuilder.catalog import Catalog

    args = context.args
    wanted = export_verbs.exports_of(args.export, args.url)
    done = Catalog.open(args.source).sync(
        Catalog.open(args.target, exports=wanted),
        names=args.recipe,
        dry_run=args.dry_run,
        observer=context.out.observer(),
        cancel=context.cancel,
    )
    context.out.close()
    moved = "would move" if args.dry_run else "moved"
    for channel in done.channels:
        context.out.say(f"{moved:<10}  {channel}")
    for each in done.findings:
        context.out.error(CatalogError(each.what, where=Location(file=each.where), fix=each.fix))
    context.out.data("synced", asdict(done))
    got = "would get" if args.dry_run else "got"
    context.out.say(
        f"{args.target}: {got} {done.releases} releases, {done.blobs} blobs "
        f"({human_size(done.bytes)}), {len(done.channels)} channels, {done.records} records"
    )
    return CatalogError.exit_status if done.findings else 0
