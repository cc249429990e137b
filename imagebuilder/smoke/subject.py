"""What is tested: an image of this project, a published release, or files of any origin."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from imagebuilder.errors import InputError
from imagebuilder.image import (
    BOOT_SCRIPT,
    INITRD,
    KERNEL,
    ROOTFS,
    Image,
    common_name,
    root_args,
    sha256_of,
)
from imagebuilder.names import check_name
from imagebuilder.smoke.sources import Served

# In the arguments of an image that somebody else built: where its root file system is, and the
# folder that all files are in.
ROOTFS_WORD, BASE_WORD = "{rootfs}", "{base}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """What is tested.

    Attributes:
        recipe: what reports call it.
        id: sixteen hexadecimal digits that follow from what it is.
        files: what a machine may ask for, by path; of the names of an image's files.
        script: the path of its boot script.
        smoke_dir: the folder for the report and the logs.
        sizes: the bytes of kernel, initrd and root file system, by their names; the last by
            ROOTFS, whatever it is.
        text: the boot script, where ``files`` has none.
        kernel_release: what ``uname -r`` should say; "" if that is not known.
        source: where it comes from, for the reader of the report; "" for an image of the project.
        verify: raises InputError if it is not what it was.
    """

    recipe: str
    id: str
    files: Mapping[str, Served]
    script: str
    smoke_dir: Path
    sizes: Mapping[str, int] = field(default_factory=dict)
    text: str = ""
    kernel_release: str = ""
    source: str = ""
    verify: Callable[[], None] = lambda: None

    @classmethod
    def of_image(cls, image: Image) -> Subject:
        """Return an image of this project as what is tested."""
        return cls(
            recipe=image.recipe,
            id=image.id,
            files={
                name: Served(name=name, source=image.path / name)
                for name in (BOOT_SCRIPT, KERNEL, INITRD, image.facts.rootfs_name)
            },
            script=BOOT_SCRIPT,
            smoke_dir=image.smoke_dir,
            sizes={
                common_name(each.name): each.size
                for each in image.facts.artefacts
                if common_name(each.name) in (KERNEL, INITRD, ROOTFS)
            },
            kernel_release=image.facts.kernel_release,
            verify=image.verify,
        )

    @classmethod
    def of_files(
        cls,
        *,
        kernel: Path,
        initrd: Path,
        rootfs: Path | None = None,
        args: str = "",
        name: str = "image",
        kernel_release: str = "",
        output: Path,
    ) -> Subject:
        """Return files that any tool made as what is tested.

        Args:
            kernel: the kernel.
            initrd: its initramfs; for checks it must be one of dracut's.
            rootfs: the root file system that the initrd fetches, if it fetches one.
            args: the kernel's arguments.  ``{rootfs}`` stands for the URL of the root file
                system, ``{base}`` for that of the folder of all files.  If they name no root
                and have no ``{rootfs}``, and there is a root file system, those for dracut's live
                image come before them.
            name: what the report calls it; as a recipe's name.
            kernel_release: what ``uname -r`` should say.
            output: the folder for the report and the logs.

        Raises:
            InputError: a file cannot be read, or the name or the arguments cannot be.
        """
        check_name(name)
        if not args.isprintable():
            raise InputError("kernel arguments are one line of printable characters")
        if rootfs is None and ROOTFS_WORD in args:
            raise InputError(
                f"the arguments have {ROOTFS_WORD} in them, and no root file system is given",
                fix="name its file: --rootfs FILE",
            )
        parts = {KERNEL: kernel, INITRD: initrd} | ({ROOTFS: rootfs} if rootfs else {})
        digests: list[str] = []
        for what, path in parts.items():
            try:
                digests.append(f"{what} {sha256_of(path)}")
            except OSError as error:
                raise InputError(f"{path} cannot be read: {error.strerror}") from error
        words = args.split()
        named = ROOTFS_WORD in args or any(word.startswith("root=") for word in words)
        if rootfs and not named:
            words = [*root_args(ROOTFS_WORD), *words]
        line = " ".join(words)
        identity = hashlib.sha256("\n".join([*digests, line]).encode()).hexdigest()
        return cls(
            recipe=name,
            id=identity[:16],
            files={what: Served(name=what, source=path) for what, path in parts.items()},
            script=BOOT_SCRIPT,
            smoke_dir=output,
            sizes={what: path.stat().st_size for what, path in parts.items()},
            text=_script(line),
            kernel_release=kernel_release,
            source=", ".join(str(path) for path in parts.values()),
        )

    def local(self, name: str) -> Path | None:
        """Return a file of it, by its name in an image, if it is on this host."""
        for each in self.files.values():
            if each.name == name and isinstance(each.source, Path):
                return each.source
        return None

    def served(self, name: str) -> Served:
        """Return a file of it by its name in an image.

        Raises:
            InputError: it has none of that name.
        """
        for each in self.files.values():
            if each.name == name:
                return each
        raise InputError(f"{self.recipe} has no {name}")


def subject_of(what: Image | Subject) -> Subject:
    """Return what is tested."""
    return Subject.of_image(what) if isinstance(what, Image) else what


def _script(args: str) -> str:
    """Return a boot script for files that have none; see :func:`imagebuilder.image.boot_script`."""
    line = args.replace(BASE_WORD, "${base}").replace(ROOTFS_WORD, "${base}" + ROOTFS)
    return f"""#!ipxe
set names initrd={INITRD} initrd=extra.img
kernel ${{base}}{KERNEL} ${{names}} {line} ${{extra-args}} || goto failed
initrd --name {INITRD} ${{base}}{INITRD} || goto failed
initrd --name extra.img ${{extra-initrd}} || goto failed
boot || goto failed

:failed
echo the image could not be loaded from ${{base}}
sleep 10
exit 1
"""
