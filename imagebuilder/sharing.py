"""Images that come from a remote cache, and go there; what must not leave this machine."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from pydantic import ValidationError

from imagebuilder import image, names
from imagebuilder.engines import Engine, Request, SharingEngine, Step
from imagebuilder.errors import InputError, Location
from imagebuilder.image import Image, ImageFacts
from imagebuilder.options import Options
from imagebuilder.private import why_image_private
from imagebuilder.project import Project
from imagebuilder.remote import Gift, Item, Manifest, Mode, Remote, opened, outage

STEP = "image"  # the step that puts an image together: under its id the image is shared

_MODES: Mapping[str, Mode] = {"read-write": "read-write", "read-only": "read-only"}
_LIMIT = 64 << 20  # bytes of an image's facts


def remote_of(project: Project, options: Options) -> Remote | None:
    """Return the remote cache that work on a project uses, or None.

    The options say which, else ``IMAGEBUILDER_REMOTE_CACHE`` in the environment (``off``: none),
    else the project file.

    Raises:
        InputError: what says so names none.
    """
    if options.offline:
        return None
    settings = project.settings
    where = Location(file=names.REMOTE_CACHE)
    if options.remote_cache is not None:
        url = options.remote_cache
    elif url := os.environ.get(names.REMOTE_CACHE, ""):
        url = "" if url == "off" else url
    else:
        url, where = settings.cache, project.place("cache")
        if url and "://" not in url:
            url = str(project.root / url)
    mode = os.environ.get(names.REMOTE_CACHE_MODE) or settings.cache_mode
    if mode not in _MODES:
        raise InputError(
            f"{mode!r} is no way to use the remote cache",
            where=Location(file=names.REMOTE_CACHE_MODE),
            fix=f"known are: {', '.join(_MODES)}",
        )
    if not url:
        return None
    if url == settings.catalog:
        raise InputError(
            "the remote cache and the catalog cannot be in one place",
            where=where,
            fix="give each a prefix of its own: garbage collection removes what it does not know",
        )
    # Who asks for a look at what is out there gets one.
    noted = None if options.refresh else options.cache_dir / outage.FOLDER
    return opened(url, _MODES[mode], where, noted=noted)


def private_steps(request: Request, engine: Engine) -> Mapping[str, str]:
    """Return what is not shared with the remote cache: for each step what and why, in words."""
    found: dict[str, str] = {}
    if isinstance(engine, SharingEngine) and (why := engine.why_private(request)):
        found[engine.shared_step()] = f"the package layer is not shared: {why}"
    why = why_image_private(request.resolved, request.kickstart, request.vault)
    if why:
        found[STEP] = f"the image is not shared with the remote cache: {why}"
    return found


def is_there(request: Request, engine: Engine, step: str, step_id: str) -> bool:
    """Whether the remote cache has the result of a single step.

    Raises:
        Interrupted: somebody asked to stop.
    """
    if not request.remote or not isinstance(engine, SharingEngine):
        return False
    if step != engine.shared_step() or engine.why_private(request):
        return False
    return request.remote.look("packages", step_id, request.reporter) is not None


def fetch_image(
    request: Request, manifest: Manifest, image_id: str, steps: Sequence[Step], into: Path
) -> bool:
    """Take an image from the remote cache.

    Args:
        request: the recipe.
        manifest: what the remote cache says that it has.
        image_id: the image's id.
        steps: of the plan: those of the image must be the same.
        into: an empty folder.

    Returns:
        whether the image is in the folder, whole; if not, it was said why, and what is there is
        of no use.

    Raises:
        Interrupted: somebody asked to stop.
        OSError: the disk is full.
    """
    remote, reporter = request.remote, request.reporter
    assert remote
    rootfs = image.rootfs_of(request.resolved.recipe.image.filesystem)
    why = _wrong_names(manifest, rootfs)
    if not why:
        if not remote.fetch(manifest, into, reporter):
            return False
        why = _wrong_facts(into, manifest, request.resolved.name, image_id, steps)
    if why:
        remote.distrust("image", manifest.id, why, reporter)
        return False
    return True


def _wrong_names(manifest: Manifest, rootfs: str) -> str:
    expected = sorted((*image.artefact_names(rootfs), image.FACTS))
    if sorted(each.name for each in manifest.items) != expected:
        return "it has other files than an image has"
    if any(each.name == image.FACTS and each.size > _LIMIT for each in manifest.items):
        return f"its {image.FACTS} is too large"
    return ""


def _wrong_facts(
    folder: Path, manifest: Manifest, name: str, image_id: str, steps: Sequence[Step]
) -> str:
    """Return what is wrong with an image that was fetched, or ""."""
    try:
        facts = ImageFacts.model_validate_json((folder / image.FACTS).read_bytes())
    except ValidationError:
        return f"its {image.FACTS} cannot be read"
    if (facts.recipe, facts.id) != (name, image_id):
        return f"it is the image {facts.id} of {facts.recipe}"
    if [(each.name, each.id) for each in facts.steps] != [(each.name, each.id) for each in steps]:
        return "it was made in other steps"
    # The bytes were compared with the manifest's digests: with the facts' they are now, too.
    fetched = {(each.name, each.size, each.sha256) for each in manifest.items}
    named = {(each.name, each.size, each.sha256) for each in facts.artefacts}
    if len(facts.artefacts) != len(image.ARTEFACTS) or not named <= fetched:
        return f"its files are not those that its {image.FACTS} names"
    return ""


def share_image(request: Request, step_id: str, made: Image, *, replace_it: bool = False) -> None:
    """Give an image to the remote cache, unless that has it; logs stay here.

    Args:
        request: the recipe.
        step_id: the id under which it is shared.
        made: the image.
        replace_it: give it in any case.

    Raises:
        Interrupted: somebody asked to stop.
    """
    remote, reporter = request.remote, request.reporter
    if not remote or not remote.writes:
        return
    if why_image_private(request.resolved, request.kickstart, request.vault):
        return
    if not replace_it and remote.has("image", step_id, reporter):
        return
    facts = made.path / image.FACTS
    files = [
        (made.path / each.name, Item(name=each.name, size=each.size, sha256=each.sha256))
        for each in made.facts.artefacts
    ]
    files.append(
        (
            facts,
            Item(name=facts.name, size=facts.stat().st_size, sha256=image.sha256_of(facts)),
        )
    )
    gift = Gift(kind="image", id=step_id, recipe=made.recipe, files=tuple(files), facts={})
    remote.share(gift, reporter)
