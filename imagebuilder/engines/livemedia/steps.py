"""The steps of an image, and what each follows from."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from imagebuilder.engines import squashfs
from imagebuilder.engines.base import Input, Request, StepSpec
from imagebuilder.engines.direct.initrd import module_digest
from imagebuilder.engines.direct.inputs import of_files
from imagebuilder.engines.livemedia import initrd, mend, place, program, repack, watch
from imagebuilder.engines.livemedia.arguments import chosen, dracut_arguments, is_image_only

_ENGINE = Input.of("engine", "livemedia 1", "the livemedia engine")  # changed when its results do
# Options that say how it is done, and not what is made.
_HOW = ("timeout", "lorax-templates", "iso")


def steps(request: Request) -> tuple[StepSpec, ...]:
    """Return install, initrd and repack.

    There is an initrd to make where livemedia-creator is to leave its disk image alone.

    Raises:
        HostError: the program is not there, or cannot be driven.
        InputError: it lacks an option that the recipe asks for.
    """
    found = program.find(request)
    image, options = request.resolved.recipe.image, request.resolved.recipe.livemedia
    how = " ".join(squashfs.arguments(image)) if options.flat else "as it is"
    return (
        StepSpec(
            name=watch.STEP,
            text=f"install with {found.shown()}",
            inputs=tuple(_of_install(request, found)),
        ),
        *(_initrd_step(request) if is_image_only(request, found) else ()),
        StepSpec(
            name=repack.STEP,
            after=watch.STEP,
            text=f"pack the root again with {image.compression}"
            if options.flat
            else "take the root as it is",
            inputs=(
                _ENGINE,
                Input.of("compression", how),
                Input.of("kernel", options.kernel, "the kernel to boot"),
                Input.of("guard", module_digest(), "what compares the root with its digest"),
                *of_files(request),
            ),
        ),
    )


def _initrd_step(request: Request) -> Iterator[StepSpec]:
    yield StepSpec(
        name=initrd.STEP,
        after=watch.STEP,
        text="make the initrd with dracut, if anything that dracut reads has changed",
        inputs=(
            _ENGINE,
            *(
                Input.of("dracut", each, f"dracut's argument {each}")
                for each in dracut_arguments(request)
            ),
            Input.of("kernel", request.resolved.recipe.livemedia.kernel, "the kernel to boot"),
        ),
    )


def _of_install(request: Request, found: program.Program) -> Iterator[Input]:
    resolved = request.resolved
    yield _ENGINE
    yield Input.of("distro", f"{resolved.distro.id} {resolved.recipe.arch}", "the distro")
    yield Input.of("program", found.identity, found.shown())
    for each in chosen(request, found):
        name, _, value = each.removeprefix("--").partition("=")
        if name not in _HOW:
            yield Input.of(f"--{name}", value, f"option --{name}")
    options = resolved.recipe.livemedia
    if options.where in ("container", "mock"):  # another image has another Anaconda
        named = options.container_image or options.mock_config
        yield Input.of("place", named, place.title(options))
    iso = options.iso
    if iso:
        facts = resolved.project.root.absolute() / Path(iso).expanduser()
        stamp = f"{facts.stat().st_size} {facts.stat().st_mtime_ns}" if facts.is_file() else ""
        yield Input.of("iso", stamp, f"the installer {iso}")
    for line in mend.mend(request).kickstart.lines:
        if line.text.strip() and not line.text.lstrip().startswith("#"):
            yield from Input.of_text(
                "kickstart", line.text, f"kickstart line {line.where}", request.vault, line.where
            )
