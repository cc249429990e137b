"""Image: one directory with everything that a machine boots, and the facts about it.

::

    build/NAME/IMAGE_ID/
      vmlinuz  initrd.img  rootfs.squashfs     what a machine loads (or rootfs.erofs)
      boot.ipxe                                how it loads them
      image.json                               the facts: this module's ImageFacts
      packages.json  sbom.cdx.json             what is installed
      kickstart.ks                             what it was made from, without secrets
      build.json                               why it was built, what took how long
      logs/                                    what the tools said
      smoke/                                   what tests found (written later)

A directory of that name is whole: it is made under another name and renamed at the end.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, JsonValue, StringConstraints, ValidationError

from imagebuilder.errors import InputError, Location
from imagebuilder.names import RecipeName

KERNEL, INITRD, ROOTFS = "vmlinuz", "initrd.img", "rootfs.squashfs"
# The root is one of these; that of others is called ROOTFS, whatever it is.
EROFS = "rootfs.erofs"
ROOTFS_NAMES = (ROOTFS, EROFS)
_FILESYSTEMS: Mapping[str, str] = {"squashfs": ROOTFS, "erofs": EROFS}
BOOT_SCRIPT, FACTS, PACKAGES, SBOM, KICKSTART = (
    "boot.ipxe",
    "image.json",
    "packages.json",
    "sbom.cdx.json",
    "kickstart.ks",
)

ARTEFACTS = (KERNEL, INITRD, ROOTFS, BOOT_SCRIPT, PACKAGES, SBOM, KICKSTART)  # with a squashfs

ImageId = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{16}$")]
Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Artefact(_Model):
    """A file of an image.  ``size`` is in bytes."""

    name: Literal[
        "vmlinuz",
        "initrd.img",
        "rootfs.squashfs",
        "rootfs.erofs",
        "boot.ipxe",
        "packages.json",
        "sbom.cdx.json",
        "kickstart.ks",
    ]
    size: int = Field(ge=0)
    sha256: Sha256


class Package(_Model):
    """An installed package.  ``size`` is its installed size in bytes."""

    name: str
    version: str
    arch: str
    source: str = ""
    size: int = 0


class PackageList(_Model):
    """``packages.json``: what is installed, sorted by name, and by which package manager."""

    format: Literal[1] = 1
    manager: Literal["dpkg", "rpm"] = "dpkg"
    packages: tuple[Package, ...]


class InputRecord(_Model):
    """One thing that a step depended on: what sort it is, for people what and where, its digest."""

    kind: str
    label: str
    digest: str


class StepRecord(_Model):
    """How one step of the build went.

    Comparing the ``inputs`` of two images says why a step had to run again.
    """

    name: str
    id: str
    reused: bool
    seconds: float
    inputs: tuple[InputRecord, ...]


class ImageFacts(_Model):
    """``image.json``."""

    format: Literal[1] = 1
    id: ImageId
    recipe: RecipeName
    summary: str = ""
    distro: str
    engine: str
    created: str = Field(description="when the build ended: RFC 3339, UTC")
    kernel_release: str = Field(description="what uname -r says in the booted image")
    kernel_args: tuple[str, ...] = Field(
        description="what the image wants on its kernel's command line, beside its root"
    )
    tree_size: int = Field(description="bytes of the files in the rootfs, unpacked")
    package_count: int
    artefacts: tuple[Artefact, ...]
    steps: tuple[StepRecord, ...]
    tools: dict[str, str] = Field(description="the programs that made it, with versions")
    params: dict[str, JsonValue] = Field(
        default_factory=dict, description="the recipe's params; what is a password is hidden"
    )
    notes: tuple[str, ...] = Field(
        default=(), description="what the reader of a build should know: commands without effect…"
    )

    @property
    def rootfs_name(self) -> str:
        """The name of the root file system: it says which one it is."""
        names = (each.name for each in self.artefacts if each.name in ROOTFS_NAMES)
        return next(names, ROOTFS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """A built image: where it is, and the facts about it."""

    path: Path
    facts: ImageFacts

    @classmethod
    def open(cls, path: Path) -> Self:
        """Open a built image.

        Raises:
            InputError: there is none, or its facts cannot be read.
        """
        file = path / FACTS
        try:
            facts = ImageFacts.model_validate_json(file.read_bytes())
        except FileNotFoundError as error:
            raise InputError(
                f"{path} holds no image (no {FACTS})", fix="build it: imagebuilder build NAME"
            ) from error
        except (OSError, ValidationError) as error:
            raise InputError(
                f"cannot be read as an image: {error}",
                where=Location(file=str(file)),
                fix="build it again: imagebuilder build -B NAME",
            ) from error
        return cls(path=path, facts=facts)

    @property
    def id(self) -> str:
        """The image's id: sixteen hexadecimal digits that follow from all its inputs."""
        return self.facts.id

    @property
    def recipe(self) -> str:
        """The name of the recipe that it was made from."""
        return self.facts.recipe

    @property
    def kernel(self) -> Path:
        """The kernel."""
        return self.path / KERNEL

    @property
    def initrd(self) -> Path:
        """The initial RAM disk."""
        return self.path / INITRD

    @property
    def rootfs(self) -> Path:
        """The root file system: a squashfs or an EROFS."""
        return self.path / self.facts.rootfs_name

    @property
    def smoke_dir(self) -> Path:
        """Where the reports of its tests are."""
        return self.path / "smoke"

    def packages(self) -> PackageList:
        """Read the list of installed packages."""
        return PackageList.model_validate_json((self.path / PACKAGES).read_bytes())

    def verify(self) -> None:
        """Compare every artefact with the digest that was noted when it was made.

        Raises:
            InputError: one differs or is missing.
        """
        for each in self.facts.artefacts:
            try:
                found = measure(self.path / each.name)
            except OSError as error:
                raise InputError(
                    f"{self.path / each.name} cannot be read: {error.strerror}",
                    fix=f"build it again: imagebuilder build -B {self.recipe}",
                ) from error
            if found != each:
                raise InputError(
                    f"{self.path / each.name} is not what was built: its digest is "
                    f"{found.sha256[:12]}…, not {each.sha256[:12]}…",
                    fix=f"build it again: imagebuilder build -B {self.recipe}",
                )


def rootfs_of(filesystem: str) -> str:
    """Return the name of a root file system: of a recipe's ``image.filesystem``."""
    return _FILESYSTEMS[filesystem]


def artefact_names(rootfs: str) -> tuple[str, ...]:
    """Return the names of all artefacts of an image, by that of its root file system."""
    return tuple(rootfs if name == ROOTFS else name for name in ARTEFACTS)


def common_name(name: str) -> str:
    """Return the name by which files of two images are compared: ROOTFS for either root."""
    return ROOTFS if name in ROOTFS_NAMES else name


def rootfs_in(folder: Path) -> str:
    """Return the name of the root file system in an image's folder."""
    return EROFS if (folder / EROFS).is_file() else ROOTFS


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def measure(path: Path) -> Artefact:
    """Return the size and digest of an artefact."""
    return Artefact.model_validate(
        {"name": path.name, "size": path.stat().st_size, "sha256": sha256_of(path)}
    )


def root_args(rootfs_url: str) -> tuple[str, ...]:
    """Return the kernel arguments with which dracut fetches and mounts the root.

    ``rd.live.overlay.overlayfs`` is dracut's name up to 102, ``rd.overlay`` the one since
    (dracut.cmdline(7)); each ignores the other's.
    """
    return (
        f"root=live:{rootfs_url}",
        "rd.live.image",
        "rd.live.overlay.overlayfs=1",
        "rd.overlay=1",
        "ip=dhcp",
        "rd.neednet=1",
    )


def check_args(sha256: str, size: int) -> tuple[str, ...]:
    """Return the kernel arguments by which an initrd of ours refuses any other root.

    Args:
        sha256: of the root file system, in hexadecimal.
        size: its bytes.
    """
    return (f"imagebuilder.rootfs.sha256={sha256}", f"imagebuilder.rootfs.size={size}")


def boot_script(
    *,
    title: str,
    base: str,
    kernel: str,
    initrd: str,
    rootfs: str,
    rootfs_sha256: str,
    rootfs_size: int,
    args: tuple[str, ...],
) -> str:
    """Return the iPXE script that boots an image.

    Whoever chains to it may set ``base`` (where the files are), ``extra-args`` (more kernel
    arguments: a host's network, say) and ``extra-initrd`` (a further initramfs archive, which
    the kernel unpacks over the first).  An iPXE from before 2021 does not know the folder of
    the script itself: there the caller must set ``base``.

    Args:
        title: what is shown while it boots.
        base: the URL of the files, ending in a slash; iPXE's ``${cwduri}`` is the folder of
            the script itself.
        kernel: the kernel's path below ``base``; so are ``initrd`` and ``rootfs``.
        initrd: the initrd's path.
        rootfs: the root file system's path.
        rootfs_sha256: its digest; the machine mounts no other.
        rootfs_size: its bytes.
        args: kernel arguments beside those that name the root.
    """
    root = (*root_args("${base}" + rootfs), *check_args(rootfs_sha256, rootfs_size))
    line = " ".join([*root, *args, "${extra-args}"])
    # initrd= names the archives, in their order, for UEFI (where the kernel asks for them by
    # name unless both it and iPXE are newer); on BIOS it has no effect.
    return f"""#!ipxe
# Settings that a caller may make before it chains here:
#   base          where the files are, a URL that ends in a slash
#   extra-args    more kernel arguments
#   extra-initrd  the URL of one more initramfs archive
isset ${{base}} || set base {base}
isset ${{base}} || goto no_base
set names initrd=initrd.img
isset ${{extra-initrd}} && set names initrd=initrd.img initrd=extra.img ||
echo {title}
kernel ${{base}}{kernel} ${{names}} {line} || goto failed
initrd --name initrd.img ${{base}}{initrd} || goto failed
isset ${{extra-initrd}} || goto start
initrd --name extra.img ${{extra-initrd}} || goto failed
:start
boot || goto failed

:failed
echo {title}: could not be loaded from ${{base}}
sleep 10
exit 1

:no_base
echo {title}: this iPXE is too old to know where the script came from
echo set base to the URL of its folder, ending in a slash, before chaining to it
sleep 10
exit 1
"""


def script_arguments(script: str, settings: Mapping[str, str]) -> str:
    """Return the kernel's command line that an image's iPXE script comes to.

    Args:
        script: what :func:`boot_script` made.
        settings: what a caller sets before it chains to it: ``base``, ``extra-args``.

    Raises:
        InputError: it has no line that loads a kernel.
    """
    for line in script.splitlines():
        words = line.partition(" || ")[0].split()
        if words[:1] != ["kernel"]:
            continue
        text = " ".join(words[2:])
        for name, value in settings.items():
            text = text.replace(f"${{{name}}}", value)
        # What is set nowhere is empty, for iPXE as well.
        return " ".join(re.sub(r"\$\{[^}]*\}", "", text).split())
    raise InputError(
        f"{BOOT_SCRIPT} loads no kernel: it has no line that begins with kernel",
        fix="build the image again, or test it over another boot path",
    )
