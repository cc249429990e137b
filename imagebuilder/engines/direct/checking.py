"""Everything about a recipe that this engine can refuse without an index, said at once."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from imagebuilder import distro
from imagebuilder.engines import erofs
from imagebuilder.engines.base import Request
from imagebuilder.engines.direct import (
    fate,
    files,
    firewall,
    network,
    preseed,
    resolve,
    selinux,
    values,
)
from imagebuilder.errors import ImageBuilderError, InputError, joined


def check(request: Request) -> tuple[str, ...]:
    """Return notes on what has no effect.

    Raises:
        InputError: with the file and line of everything that cannot be made.
    """
    resolved, kickstart = request.resolved, request.kickstart
    if resolved.distro.family != "debian":
        raise InputError(
            f"the direct engine makes no images of {resolved.distro.id}",
            where=resolved.place("distro"),
            fix="it makes Debian's; livemedia-creator makes those of Fedora, RHEL and their kin: "
            'engine = "livemedia"',
        )
    if resolved.recipe.arch != distro.host_arch():
        raise InputError(
            f"the direct engine makes no images for {resolved.recipe.arch} on this host: it "
            f"runs the image's own programs, and the host is {distro.host_arch()}",
            where=resolved.place("arch"),
            fix=f"build it on a host that is {resolved.recipe.arch}",
        )
    notes: list[str] = []
    errors: list[ImageBuilderError] = []
    looks: tuple[Callable[[], Iterable[str] | None], ...] = (
        lambda: fate.check(kickstart),
        lambda: resolve.check(kickstart),
        lambda: values.check(kickstart),
        lambda: network.check(kickstart.all("network")),
        lambda: firewall.check(kickstart.all("firewall")),
        lambda: _selinux(request),
        lambda: preseed.notes(preseed.answers(resolved)),
        lambda: _files(request),
        lambda: _filesystem(request),
    )
    for look in looks:
        try:
            notes += look() or ()
        except InputError as error:
            errors.append(error)
    if errors:
        raise joined(errors)
    return tuple(notes)


def _selinux(request: Request) -> None:
    args = (*request.resolved.recipe.kernel.args, *request.kickstart.kernel_args)
    problem = selinux.problem(request.kickstart, args)
    if problem:
        raise problem


def _filesystem(request: Request) -> None:
    resolved = request.resolved
    options = resolved.recipe.image
    why = erofs.why_not(options, resolved.distro) if options.filesystem == "erofs" else ""
    if why:
        raise InputError(
            why,
            where=resolved.place("image.filesystem"),
            fix='say compression = "lz4", take a newer Debian, or filesystem = "squashfs"',
        )


def _files(request: Request) -> None:
    files.find(request.resolved)
