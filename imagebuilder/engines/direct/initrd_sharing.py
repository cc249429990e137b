"""Initrds that come from a remote cache, and go there, beside the package layers.

One is shared under the id of the layer that its image is on.  It is taken into those that are kept
here, and used if dracut would make it again; see :mod:`imagebuilder.engines.direct.initrd_reuse`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from pydantic import ValidationError

from imagebuilder import cache, image
from imagebuilder.engines.base import Request, Step
from imagebuilder.engines.direct import initrd, initrd_reuse, inputs
from imagebuilder.errors import InputError
from imagebuilder.image import Image
from imagebuilder.private import why_image_private
from imagebuilder.remote import Gift, Item, Manifest

_LARGEST = 64 << 20  # bytes of what is noted of an initrd


def fetch(request: Request, layer_ids: Iterable[str]) -> None:
    """Take an initrd from the remote cache into those that are kept here, if it has one.

    Args:
        request: the recipe.
        layer_ids: the layers of its packages; an initrd of the first that has one is taken.

    Raises:
        Interrupted: somebody asked to stop.
        OSError: the disk is full.
    """
    remote = request.remote
    if not remote:
        return
    for layer_id in layer_ids:
        manifest = remote.look("initrd", layer_id, request.reporter)
        if manifest and manifest.facts == _ours():
            _take(request, manifest)
            return


def _take(request: Request, manifest: Manifest) -> None:
    remote, reporter = request.remote, request.reporter
    assert remote
    named = {each.name: each for each in manifest.items}
    about = named.get(initrd_reuse.FACTS)
    if set(named) != {initrd_reuse.FILE, initrd_reuse.FACTS} or about is None:
        remote.distrust("initrd", manifest.id, "it has other files than an initrd has", reporter)
        return
    if about.size > _LARGEST:
        remote.distrust("initrd", manifest.id, f"its {about.name} is too large", reporter)
        return
    store = initrd_reuse.place(request.cache_dir)
    if list(store.glob(f"*/{about.sha256[:16]}")):
        return
    with cache.work_folder(request.cache_dir / "work", request.resolved.name) as work:
        if not remote.fetch(manifest, work, reporter):
            return
        try:
            kept = initrd_reuse.Kept.model_validate_json((work / initrd_reuse.FACTS).read_bytes())
        except ValidationError:
            kept = None
        if not kept or not kept.family or kept.sha256 != named[initrd_reuse.FILE].sha256:
            remote.distrust("initrd", manifest.id, "it does not say what it is", reporter)
            return
        initrd_reuse.adopt(store / kept.family, work, about.sha256[:16])


def share(request: Request, steps: Iterable[Step], layer_id: str) -> None:
    """Give the initrd of the recipe's image to the remote cache, unless that has one.

    One that was made for another recipe and taken for this image is what dracut would have made
    for this one; what is noted of it beside the image is of this image alone.  It has nothing that
    the image has not; what must not leave this machine with the image stays.

    Args:
        request: the recipe, whose layers may be shared.
        steps: of the image.
        layer_id: the layer that the image is on.

    Raises:
        Interrupted: somebody asked to stop.
    """
    remote, reporter = request.remote, request.reporter
    resolved = request.resolved
    if not remote or not remote.writes:
        return
    if why_image_private(resolved, request.kickstart, request.vault):
        return
    try:
        made = Image.open(resolved.project.build_dir / resolved.name / "latest")
        kept = initrd_reuse.Kept.model_validate_json((made.path / initrd_reuse.RECORD).read_bytes())
    except (InputError, OSError, ValidationError):
        return  # it is of an older program, or was taken whole from a remote cache
    planned = {(each.name, each.id) for each in steps}
    if {(each.name, each.id) for each in made.facts.steps} != planned:
        return  # another one was made meanwhile
    if remote.has("initrd", layer_id, reporter):
        return
    file = next(each for each in made.facts.artefacts if each.name == image.INITRD)
    with cache.work_folder(request.cache_dir / "work", resolved.name) as work:
        about = work / initrd_reuse.FACTS
        about.touch(mode=0o600)
        about.write_text(kept.model_copy(update={"sha256": file.sha256}).model_dump_json())
        items = (
            (
                made.path / image.INITRD,
                Item(name=initrd_reuse.FILE, size=file.size, sha256=file.sha256),
            ),
            (
                about,
                Item(name=about.name, size=about.stat().st_size, sha256=image.sha256_of(about)),
            ),
        )
        gift = Gift(kind="initrd", id=layer_id, recipe=resolved.name, files=items, facts=_ours())
        remote.share(gift, reporter)


def _ours() -> Mapping[str, str]:
    """Return what of this program an initrd follows from."""
    return {"engine": inputs.ENGINE.digest, "fetching": initrd.module_digest()}
