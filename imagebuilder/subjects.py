"""Tests of what this project did not just build: published releases, and images of any origin."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from imagebuilder.catalog import Catalog, layout
from imagebuilder.catalog.model import UNIT
from imagebuilder.checks import Check
from imagebuilder.checks.scripts import load_scripts
from imagebuilder.declaration import read
from imagebuilder.errors import CatalogError, InputError, Location
from imagebuilder.image import BOOT_SCRIPT, EROFS, INITRD, KERNEL, ROOTFS
from imagebuilder.names import check_name
from imagebuilder.options import Options
from imagebuilder.recipe import Recipe, SmokeOptions, Waiver
from imagebuilder.smoke import Served, SmokeReport, Subject, over_paths, smoke_test
from imagebuilder.smoke.sources import ask

if TYPE_CHECKING:
    from imagebuilder.project import Project

_SIGNED_SECONDS = 24 * 3600  # longer than any test
_NAMES = {"kernel": KERNEL, "initrd": INITRD, "rootfs": ROOTFS}


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What is asked of a machine.

    Attributes:
        checks: what must hold in it.
        machine: how it is booted.
        waivers: of checks that may fail.
        cpu_baseline: the x86-64 level that its programs need.
        arch: its architecture.
    """

    checks: Sequence[Check] = ()
    machine: SmokeOptions = field(default_factory=SmokeOptions)
    waivers: Sequence[Waiver] = ()
    cpu_baseline: str = "v1"
    arch: str = "x86_64"


def question_of_recipe(project: Project, name: str) -> Question:
    """Return what a recipe of a project asks of its image.

    Raises:
        InputError: there is no such recipe, or it is wrong.
    """
    resolved = project.resolve(name)
    return Question(
        checks=resolved.checks(),
        machine=resolved.recipe.smoke,
        waivers=resolved.check_waivers,
        cpu_baseline=resolved.distro.cpu_baseline,
        arch=resolved.recipe.arch,
    )


def question_of_file(path: Path) -> Question:
    """Read what is asked from a TOML file with ``[smoke]``, ``[[checks]]`` and ``[[waivers]]``.

    These tables are as in a recipe, without templates; scripts are looked for beside the file.

    Raises:
        InputError: the file is wrong; each with its line.
    """
    declared = read(path, str(path))
    strange = sorted(set(declared.data) - {"smoke", "checks", "waivers"})
    if strange:
        raise InputError(
            f"{strange[0]!r} is no part of what is asked of an image",
            where=declared.origins.get(strange[0], declared.origin),
            fix="such a file has the tables smoke, checks and waivers of a recipe",
        )
    recipe = Recipe.model_validate({**declared.data, "name": declared.name})
    return Question(
        checks=load_scripts(
            recipe.checks,
            path.parent,
            lambda key: declared.origins.get(key, declared.origin),
        ),
        machine=recipe.smoke,
        waivers=tuple(each for each in recipe.waivers if each.check),
    )


def smoke_subject(
    subject: Subject, question: Question, options: Options | None = None
) -> SmokeReport:
    """Boot what is there and look whether it holds what is asked.

    Raises:
        HostError, InputError, Interrupted: as :func:`imagebuilder.smoke_image` does.
    """
    options = options or Options.make()
    return smoke_test(
        subject,
        question.checks,
        over_paths(question.machine, options.paths),
        accel=options.accel,
        cache_dir=options.cache_dir,
        observer=options.observer,
        cancel=options.cancel,
        cpu_baseline=question.cpu_baseline,
        arch=question.arch,
        waivers=question.waivers,
        retries=options.retries,
        measure_memory=options.measure_memory,
    )


def smoke_release(
    wanted: str,
    catalog: str | Catalog,
    question: Question | None = None,
    options: Options | None = None,
    *,
    output: Path,
) -> SmokeReport:
    """Boot a published release as machines do: with its script, its bytes, from its URL.

    Nothing is written to the catalog; one that can only be read is enough.

    Args:
        wanted: ``NAME@CHANNEL`` or ``NAME@VERSION``.
        catalog: where it is.
        question: what is asked of it; None: that it comes up.
        options: how.
        output: the folder for the report and the logs.

    Raises:
        InputError: there is no such thing to be wanted.
        CatalogError: the catalog could not be read, or has no such release.
        HostError, Interrupted: as :func:`imagebuilder.smoke_image` does.
    """
    opened = Catalog.open(catalog) if isinstance(catalog, str) else catalog
    subject = release_subject(wanted, opened, output)
    return smoke_subject(subject, question or Question(), options)


def release_subject(wanted: str, catalog: Catalog, output: Path) -> Subject:
    """Return a published release as what is tested; see :func:`smoke_release`."""
    name, reference = split(wanted)
    release = catalog.show(name, reference)
    script = layout.script_key(name, reference)
    keys = {script: BOOT_SCRIPT} | {
        layout.blob_key(each.sha256): EROFS if each.name == EROFS else _NAMES[each.role]
        for each in release.artefacts
        if each.role in UNIT
    }
    public = catalog.store.public_url
    if not public:
        sources: dict[str, Path | str] = {key: Path(catalog.store.url_of(key)) for key in keys}
        source = catalog.store.url_of(script)
    else:
        sources = {key: _url(catalog, key) for key in keys}
        source = public + quote(script)
    return Subject(
        recipe=name,
        id=release.image,
        files={key: Served(name=keys[key], source=sources[key]) for key in keys},
        script=script,
        smoke_dir=output,
        sizes={_NAMES[each.role]: each.size for each in release.artefacts if each.role in UNIT},
        kernel_release=release.kernel_release,
        source=f"{source} ({release.version})",
    )


def split(wanted: str) -> tuple[str, str]:
    """Return the name and the channel or version of a release.

    Raises:
        InputError: it is no such name.
    """
    name, at, reference = wanted.partition("@")
    if not (at and reference):
        raise InputError(
            f"{wanted!r} names no release", fix="say NAME@CHANNEL, or NAME@VERSION: base@stable"
        )
    return check_name(name), reference


def _url(catalog: Catalog, key: str) -> str:
    """Return the URL of an object for plain HTTP: signed, if the bucket is not public."""
    url = catalog.store.public_url + quote(key)
    answer = ask(url, "bytes=0-0")
    if answer.body:
        answer.body.close()
    if answer.status in (401, 403):
        return catalog.store.presigned_url(key, seconds=_SIGNED_SECONDS)
    if answer.status == 502:
        raise CatalogError(
            "the store does not answer to plain HTTP",
            where=Location(file=url),
            fix="look whether machines reach it at this URL",
        )
    return url
