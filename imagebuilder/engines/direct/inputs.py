"""What the results of the steps follow from."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from functools import lru_cache

from imagebuilder import tools
from imagebuilder.command import redact
from imagebuilder.engines.base import Input, Request
from imagebuilder.engines.direct import fate, files, package_options, preseed
from imagebuilder.engines.direct.resolve import Resolution
from imagebuilder.engines.direct.sources import Sources
from imagebuilder.errors import InputError
from imagebuilder.kickstart import Script
from imagebuilder.names import EPOCH
from imagebuilder.secrets import names_in

_REVISION = "7"  # changed by hand whenever this engine would make something else of its inputs
_WITH_SECRETS = ("rootpw", "user", "sshpw")
# What these say stands among the inputs in another form, or among those of the whole image.
_ELSEWHERE = ("url", "repo", "bootloader")
# Scripts that the image follows from: the others run only when something has failed.
_SCRIPTS = ("pre", "pre-install", "post")

ENGINE = Input.of("engine", f"direct {_REVISION}", "the direct engine")


def of_packages(
    request: Request, sources: Sources, found: Resolution, answers: tuple[preseed.Answer, ...]
) -> tuple[Input, ...]:
    """Return what a package layer follows from, beside the layer below it.

    Args:
        request: the recipe.
        sources: where packages come from.
        found: the packages.
        answers: what debconf is told.

    Raises:
        InputError: a secret of a preseed line is not to be had, or ``SOURCE_DATE_EPOCH`` is none.
    """
    resolved, kickstart = request.resolved, request.kickstart
    options, epoch = package_options.left_out(kickstart), source_date_epoch()
    return (
        ENGINE,
        *of_tools("mmdebstrap", "apt"),
        Input.of("distro", f"{resolved.distro.id} {resolved.recipe.arch}", "the distro"),
        Input.of("sources", sources.identity(), "the package sources"),
        *_of_resolution(found),
        *(Input.of("left-out", each, f"what packages do not bring: {each}") for each in options),
        *preseed.inputs(answers, request.vault),
        *([] if epoch is None else [Input.of("epoch", str(epoch), "SOURCE_DATE_EPOCH")]),
    )


def of_tools(*packages: str) -> Iterator[Input]:
    """Give the versions of this host's tools: others may make other bytes.

    Args:
        packages: that the tools are of.
    """
    for package in packages:
        said = f"{package} {tools.installed_version(package)}"
        yield Input.of("tool", said, f"{said} of this host")


def source_date_epoch() -> int | None:
    """Return the time that the environment asks for, in seconds since the epoch.

    Without one an image has the time of its newest package, which follows from the packages as
    all else does: what the mirrors' indexes say of themselves changes each day, and would give
    one id to different bytes.

    Raises:
        InputError: it is no such time.
    """
    said = os.environ.get(EPOCH, "")
    if said and not re.fullmatch(r"[0-9]{1,11}", said):
        raise InputError(
            f"{EPOCH} is {said!r} in the environment",
            fix="it is a time in seconds since 1970, such as 1798761600; or take it out",
        )
    return int(said) if said else None


@lru_cache(maxsize=256)
def _of_resolution(found: Resolution) -> tuple[Input, ...]:
    return (
        Input.of("wishes", json.dumps(found.asked), "%packages"),
        *(
            Input.of("package", f"{name} {version}", f"package {name} {version}")
            for name, version in found.versions.items()
        ),
    )


def of_configure(request: Request, sources: Sources) -> tuple[Input, ...]:
    """Return what the configured tree follows from, beside the package layer.

    Raises:
        InputError: a secret is not to be had.
    """
    return (
        ENGINE,
        *_of_commands(request),
        *_of_sections(request),
        *of_files(request),
        *_of_apt(sources),
    )


def _of_commands(request: Request) -> Iterator[Input]:
    for each in request.kickstart.commands:
        if not fate.is_honoured(each.name) or each.name in _ELSEWHERE:
            continue
        text, label = each.text.strip(), f"{each.name} of {each.where}"
        if each.name in _WITH_SECRETS and not names_in(text):
            yield Input.of_secret(each.name, text, label)
        else:
            yield from Input.of_text(each.name, text, label, request.vault, each.where)


def _of_sections(request: Request) -> Iterator[Input]:
    for each in request.kickstart.scripts:
        if each.kind in _SCRIPTS:
            said, label = _of_script(each)
            yield from Input.of_text(f"%{each.kind}", said, label, request.vault, each.where)
    for section in request.kickstart.sections:
        if section.name == "%certificate":
            text = "\n".join([*section.words, *(line.text for line in section.body)])
            yield Input.of("%certificate", text, f"%certificate of {section.where}")


@lru_cache(maxsize=4096)
def _of_script(script: Script) -> tuple[str, str]:
    said = [script.body, script.interpreter, script.in_chroot, script.error_on_fail, script.log]
    return json.dumps(said), f"%{script.kind} of {script.where}"


def of_files(request: Request) -> Iterator[Input]:
    """Give what the files that a recipe copies come to."""
    for entry, where, copies in files.find(request.resolved):
        text = "\n".join(each.identity() for each in copies)
        label = f"{entry.source} of {where} for {entry.path}"
        yield from Input.of_text("file", text, label, request.vault, where)


def _of_apt(sources: Sources) -> Iterator[Input]:
    for each in sources.repositories:
        if each.keep and each.name:
            files_ = (f"{name} {file.digest}" for name, file in each.files)
            # As the image's apt will have them: without credentials.
            settings = [(name, redact(value)) for name, value in each.settings]
            said = json.dumps([each.name, each.identity(), settings, *files_])
            yield Input.of("apt", said, f"repo {each.name} of {each.where}")
