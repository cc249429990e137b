"""A recipe that is not built as one side of a comparison: what its image would have."""

from __future__ import annotations

from imagebuilder.comparison.side import Reader, Side, of_image
from imagebuilder.engines import IndexedEngine
from imagebuilder.errors import InputError
from imagebuilder.image import Package, PackageList, rootfs_of
from imagebuilder.plan import Plan


def of_plan(plan: Plan, *, with_files: bool = True) -> Side:
    """Return what is known of a recipe's image: of the image itself, if it is there.

    Otherwise packages are what the package index says that they come to, and of files nothing
    is known.

    Raises:
        InputError: what its packages come to is known only once it is built.
        StepError: the index is not there and cannot be fetched.
    """
    if plan.image:
        return of_image(plan.image, with_files=with_files)
    if not isinstance(plan.engine, IndexedEngine):
        raise InputError(
            f"which packages {plan.name} comes to is known only once it is built",
            fix=f"run: imagebuilder build {plan.name}",
        )
    label = f"{plan.name} (not built)"
    read = Reader(label, lambda _: None)
    resolved = plan.resolved
    found = plan.engine.packages(plan.request)
    if resolved.recipe.files:
        read.notes.append(f"{label}: the files that it copies are compared once it is built")
    return Side(
        recipe=plan.name,
        label=label,
        distro=resolved.distro.id,
        kernel_args=plan.kernel_args,
        rootfs=rootfs_of(resolved.recipe.image.filesystem),
        packages=PackageList(
            manager="dpkg" if resolved.distro.package_manager == "apt" else "rpm",
            packages=tuple(
                Package(name=name, version=version, arch="") for name, version in found.items()
            ),
        ),
        kickstart=read.parsed(plan.kickstart.redacted(), resolved.distro.id),
        notes=tuple(read.notes),
    )
