"""The command line of livemedia-creator, made for the version that is there.

Options are written in full and as ``--NAME=VALUE``: argparse takes any beginning of a name that
fits one alone, which another version may read as another option.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from imagebuilder.engines.base import Request
from imagebuilder.engines.livemedia.program import Program
from imagebuilder.errors import ImageBuilderError, InputError, joined

RAW_IMAGE = "rootfs.img"  # the name of the disk image that it leaves beside its results
# Packs quickly what is unpacked again at once.
_QUICK = "lz4"
# lorax' defaults (DRACUT_DEFAULT in pylorax/creator.py) without --debug, whose log has megabytes,
# without modules that newer dracuts lack (to add one that is not there is an error), and without
# --xz: dracut takes a compressor that the image has.
_DRACUT = (
    "--add livenet dmsquash-live qemu qemu-net",
    "--omit plymouth",
    "--no-hostonly",
    "--no-early-microcode",
)
# By itself Debian's dracut takes systemd-networkd, which never fetches a root=live:http://…
_DRACUT_DEBIAN = (
    "--add livenet dmsquash-live network-legacy",
    "--omit plymouth systemd-networkd",
    "--no-hostonly",
    "--no-early-microcode",
)
OUR_DRACUT = (_DRACUT, _DRACUT_DEBIAN)
_PRODUCTS = {
    "almalinux": "AlmaLinux",
    "centos": "CentOS Stream",
    "debian": "Debian",
    "fedora": "Fedora",
    "rhel": "Red Hat Enterprise Linux",
    "rocky": "Rocky Linux",
}
# What we say ourselves, or what would make something else than a PXE live image.
_OURS = frozenset(
    {
        "compression",
        "dracut-arg",
        "disk-image",
        "fs-image",
        "help",
        "image-name",
        "image-only",
        "iso",
        "ks",
        "logfile",
        "macboot",
        "no-virt",
        "product",
        "project",
        "releasever",
        "resultdir",
        "timeout",
        "tmp",
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """Where a run reads and writes.

    Attributes:
        kickstart: the flat kickstart.
        results: a folder that is not there yet.
        tmp: a folder.
        logs: a folder.
    """

    kickstart: Path
    results: Path
    tmp: Path
    logs: Path


def arguments(request: Request, program: Program, places: Places) -> tuple[str, ...]:
    """Return the whole command line.

    Raises:
        InputError: the recipe asks for an option that this version does not have.
    """
    return (
        *program.argv,
        "--make-pxe-live",
        f"--ks={places.kickstart}",
        f"--resultdir={places.results}",
        f"--tmp={places.tmp}",
        f"--logfile={places.logs / 'livemedia.log'}",
        *chosen(request, program),
    )


def chosen(request: Request, program: Program) -> tuple[str, ...]:
    """Return the options that decide what is made, without those that say where.

    Raises:
        InputError: the recipe asks for an option that this version does not have.
    """
    asked = tuple(_asked(request))
    resolved = request.resolved
    lacking: list[ImageBuilderError] = []
    for key, argument in asked:
        name = argument.removeprefix("--").partition("=")[0]
        if name not in program.options:
            lacking.append(
                InputError(
                    f"{program.shown()} has no option --{name}",
                    where=resolved.place(f"livemedia.{key}"),
                    fix="take it out, or build where lorax is of another version",
                )
            )
        elif key == "extra_args" and (name in _OURS or name.startswith("make-")):
            lacking.append(
                InputError(
                    f"--{name} is given by imagebuilder itself",
                    where=resolved.place("livemedia.extra_args"),
                    fix="take it out; docs/livemedia.md has the recipe's keys",
                )
            )
    if lacking:
        raise joined(lacking)
    own = (each for each in _own(request, program) if _name(each) in program.options)
    return (*own, *(argument for _, argument in asked))


def _name(argument: str) -> str:
    return argument.removeprefix("--").partition("=")[0]


def _own(request: Request, program: Program) -> Iterator[str]:
    """Give what is said in any case; an option that this version lacks is left out."""
    resolved = request.resolved
    options = resolved.recipe.livemedia
    # From 46 on it makes an image for Apple's machines by default, and wants a tool for that.
    yield "--nomacboot"
    yield f"--image-name={RAW_IMAGE}"
    product = _PRODUCTS.get(resolved.distro.name, resolved.distro.name)
    yield f"--project={options.project or product}"
    yield f"--releasever={options.releasever or resolved.distro.version}"
    yield f"--timeout={math.ceil(options.phase_timeouts.get('install', options.timeout))}"
    if program.templates:
        yield f"--lorax-templates={program.templates}"
    if is_image_only(request, program):
        yield "--image-only"
        return
    yield from _compression(request, program)
    yield from (f"--dracut-arg={each}" for each in dracut_arguments(request))


def is_image_only(request: Request, program: Program) -> bool:
    """Return whether it ends with the disk image, of which we make the rest.

    So the nested squashfs, which is unpacked at once, is not made at all, nor an initrd for each
    kernel.  With virt the disk image has partitions: there it makes the whole.
    """
    options = request.resolved.recipe.livemedia
    wanted = options.image_only and options.flat and options.mode == "no-virt"
    return wanted and "image-only" in program.options


def dracut_arguments(request: Request) -> tuple[str, ...]:
    """Return dracut's arguments, each as one text."""
    is_debian = request.resolved.distro.family == "debian"
    ours = _DRACUT_DEBIAN if is_debian else _DRACUT
    return request.resolved.recipe.livemedia.dracut_args or ours


def _compression(request: Request, program: Program) -> Iterator[str]:
    if request.resolved.recipe.livemedia.flat:
        yield f"--compression={_QUICK}"
        return
    image = request.resolved.recipe.image
    yield f"--compression={image.compression}"
    # 28 takes --compress-arg and does not hand it on to mksquashfs.
    if image.compression_level is not None and program.major > 28:
        yield f"--compress-arg=-Xcompression-level {image.compression_level}"


def _asked(request: Request) -> Iterator[tuple[str, str]]:
    """Give what the recipe asks for, each with the key that does."""
    options = request.resolved.recipe.livemedia
    if options.mode == "no-virt":
        yield "mode", "--no-virt"
        for each in options.anaconda_args:
            yield "anaconda_args", f"--anaconda-arg={each}"
    else:
        yield "iso", f"--iso={_below(request, options.iso)}"
        yield "memory_mib", f"--ram={options.memory_mib}"
        if options.location:
            yield "location", f"--location={options.location}"
        if options.cpus is not None:
            yield "cpus", f"--vcpus={options.cpus}"
        if not options.kvm:
            yield "kvm", "--no-kvm"
        if options.uefi:
            yield "uefi", "--virt-uefi"
        if options.vnc:
            yield "vnc", f"--vnc={options.vnc}"
        if options.installer_kernel_args:
            yield "installer_kernel_args", f"--kernel-args={options.installer_kernel_args}"
        if options.rootfs_size_gib is not None:
            yield "rootfs_size_gib", f"--live-rootfs-size={options.rootfs_size_gib}"
    if options.proxy:
        yield "proxy", f"--proxy={options.proxy}"
    for each in options.extra_args:
        yield "extra_args", each


def _below(request: Request, path: str) -> Path:
    return request.resolved.project.root.absolute() / Path(path).expanduser()
