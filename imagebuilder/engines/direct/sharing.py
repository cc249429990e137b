"""Package layers that come from a remote cache, and go there."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from pydantic import ValidationError

from imagebuilder import cache
from imagebuilder.command import redact
from imagebuilder.engines.base import Request
from imagebuilder.engines.direct import layers, packages, preseed
from imagebuilder.engines.direct.host_apt import host_proxies
from imagebuilder.engines.direct.job import LayerFacts
from imagebuilder.engines.direct.sources import find_sources
from imagebuilder.errors import StepError
from imagebuilder.image import sha256_of
from imagebuilder.private import has_debconf_password
from imagebuilder.remote import STEP, Gift, Item
from imagebuilder.secrets import names_in
from imagebuilder.sizes import human_size

ARCHIVE = "tree.tar.zst"
_LARGEST = 64 << 20  # bytes of what a layer changes
_APT = ("etc/apt",)  # folders of a layer in which no URL may have a password
_CREDENTIALS = re.compile(r"://([^/\s@]+)@")
_SHORTEST = 4  # characters: what is shorter stands in any tree by chance


def why_private(request: Request) -> str:
    """Return why the package layer of a recipe is not to be shared, or "" if it may be."""
    resolved = request.resolved
    if has_debconf_password(resolved):
        return "the recipe's preseed has a password, which debconf keeps in it"
    if any(names_in(line) for line in resolved.recipe.preseed):
        return "the recipe's preseed has the value of a secret, which debconf keeps in it"
    sources = find_sources(resolved, request.kickstart, request.vault)
    if any(redact(each) != each for each in (sources.text, *sources.settings())):
        return "the URL of a mirror or of its proxy has a password, which apt keeps in it"
    return ""


def fetch(request: Request, held: layers.Held, work: Path) -> layers.Held | None:
    """Take a layer from the remote cache, if it has it.

    Args:
        request: the recipe.
        held: where the layer is to be; it is held alone.
        work: an empty folder on the same disk.

    Returns:
        the layer, held so that others can use it; None if it is to be made.

    Raises:
        Interrupted: somebody asked to stop.
    """
    remote, reporter = request.remote, request.reporter
    manifest = remote.look("packages", held.layer.name, reporter) if remote else None
    if not remote or not manifest:
        return None
    # Loaded where it is needed: most plans and builds have no archive to do with.
    from imagebuilder.remote import worker
    from imagebuilder.remote.trees import RefusedError

    try:
        told = LayerFacts.model_validate(manifest.facts)
    except ValidationError:
        told = None
    if told is None or told.id != held.layer.name or not told.listing or not manifest.tree:
        remote.distrust("packages", held.layer.name, "it does not say what it is", reporter)
        return None
    folder = work / "fetched"
    folder.mkdir()
    needed = manifest.size + manifest.tree.size
    if shutil.disk_usage(folder).free < needed:
        reporter.note(STEP, f"the package layer is not fetched: it takes {human_size(needed)}")
        return None
    try:
        named = {each.name: each.size for each in manifest.items}
        has_changes = named.get(layers.CHANGES, _LARGEST) < _LARGEST
        wanted = [ARCHIVE, *([layers.CHANGES] if has_changes else [])]
        if not remote.fetch(manifest, folder, reporter, wanted):
            return None
        order = worker.Order(
            tree=held.fresh / "tree", archive=folder / ARCHIVE, limits=manifest.tree
        )
        order.tree.mkdir()
        with reporter.step(STEP, "unpacking the package layer"):
            try:
                worker.run_unpack(order, reporter.cancel)
            except StepError as error:
                if isinstance(error, RefusedError):
                    remote.distrust("packages", held.layer.name, error.what, reporter)
                else:
                    reporter.note(STEP, f"the package layer cannot be unpacked here: {error.what}")
                held.renew()
                return None
        if has_changes:
            shutil.copyfile(folder / layers.CHANGES, held.fresh / layers.CHANGES)
            (held.fresh / layers.CHANGES).chmod(0o600)
    finally:
        cache.remove_tree(folder)
    reporter.reused(packages.STEP, f"taken from the remote cache {remote.url}")
    return held.keep(told)


def share(request: Request, step_id: str) -> None:
    """Give the package layer to the remote cache, unless that has it.

    Raises:
        Interrupted: somebody asked to stop.
    """
    remote, reporter = request.remote, request.reporter
    if not remote or not remote.writes or why_private(request):
        return
    if remote.has("packages", step_id, reporter):
        return
    from imagebuilder.remote import worker

    with layers.shared(layers.place(request.cache_dir, step_id)) as layer:
        if layer is None:  # it was removed meanwhile, or its maker has it still
            return
        with cache.work_folder(request.cache_dir / "work", request.resolved.name) as work:
            order = worker.Order(
                tree=layer.place / "tree",
                archive=work / ARCHIVE,
                forbidden=_forbidden(request),
                checked=_APT,
            )
            try:
                with reporter.step(STEP, "packing the package layer for the remote cache"):
                    packed = worker.run_pack(order, reporter.cancel)
            except StepError as error:
                reporter.note(STEP, f"the package layer is not shared: {error.what}")
                return
            files = [(order.archive, Item(name=ARCHIVE, size=packed.size, sha256=packed.sha256))]
            changes = layer.place / layers.CHANGES
            if changes.exists():
                size, digest = changes.stat().st_size, sha256_of(changes)
                files.append((changes, Item(name=layers.CHANGES, size=size, sha256=digest)))
            gift = Gift(
                kind="packages",
                id=step_id,
                recipe=request.resolved.name,
                files=tuple(files),
                tree=packed.tree,
                facts=layer.facts.model_dump(mode="json"),
            )
            remote.share(gift, reporter)


def _forbidden(request: Request) -> tuple[str, ...]:
    """Return what must stand nowhere in a layer that is shared, whoever put it there."""
    sources = find_sources(request.resolved, request.kickstart, request.vault)
    found = {*request.vault.values(), *preseed.passwords(preseed.answers(request.resolved))}
    for text in (sources.text, *sources.settings(), *host_proxies()):
        for each in _CREDENTIALS.findall(text):
            found |= {each, each.partition(":")[2]}
    return tuple(sorted(each for each in found if len(each) >= _SHORTEST))
