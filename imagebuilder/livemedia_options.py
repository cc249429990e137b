"""``[livemedia]``: how livemedia-creator is run, in a recipe that is made with it."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

Phase = Literal["image", "install", "post", "squashfs", "initrd", "copy"]
PHASES: tuple[Phase, ...] = ("image", "install", "post", "squashfs", "initrd", "copy")


def _word(value: str) -> str:
    if not value or not value.isprintable():
        raise ValueError("an argument of printable characters")
    return value


def _extra(value: str) -> str:
    if not value.startswith("--") or not value.isprintable():
        raise ValueError("an option in full: --NAME or --NAME=VALUE")
    return value


Word = Annotated[str, AfterValidator(_word)]
ExtraArgument = Annotated[str, AfterValidator(_extra)]
Minutes = Annotated[float, Field(gt=0, le=7 * 24 * 60)]


class LivemediaOptions(BaseModel):
    """``[livemedia]``: how livemedia-creator is run; of effect with ``engine = "livemedia"``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    program: str = Field(
        default="",
        description="the program: a name on PATH, a path, or one below the project's folder; "
        "unset: that of the variable IMAGEBUILDER_LIVEMEDIA_CREATOR, else livemedia-creator",
    )
    python_path: tuple[str, ...] = Field(
        default=(),
        description="folders in which the program finds its Python modules; a checkout of lorax "
        "needs none",
    )
    lorax_templates: str = Field(default="", description="the folder of lorax' templates")
    where: Literal["host", "container", "mock", "ssh"] = Field(
        default="host",
        description="where it runs: on this host, in a container, in a mock chroot, or on another "
        "host",
    )
    container_image: str = Field(default="", description="the image with lorax (container)")
    container_command: tuple[Word, ...] = Field(
        default=("podman",),
        min_length=1,
        description="what runs containers, with arguments that come before run (container)",
    )
    container_args: tuple[Word, ...] = Field(
        default=(), description="further arguments of its run (container)"
    )
    mock_config: str = Field(
        default="", description="the chroot's configuration, as of mock -r (mock)"
    )
    mock_args: tuple[Word, ...] = Field(default=(), description="further arguments (mock)")
    ssh_host: str = Field(default="", description="the other host: [USER@]NAME (ssh)")
    ssh_command: tuple[Word, ...] = Field(
        default=("ssh",), min_length=1, description="what connects to it (ssh)"
    )
    ssh_args: tuple[Word, ...] = Field(
        default=(), description="further arguments, before the host's name (ssh)"
    )
    ssh_become: tuple[Word, ...] = Field(
        default=(), description="what makes root of who logs in, such as sudo -n (ssh)"
    )
    remote_dir: str = Field(
        default="/var/tmp",  # noqa: S108 - the folder in it has a name that is no other's
        description="where it works on the other host; needs the room that an image does (ssh)",
    )
    mode: Literal["no-virt", "virt"] = Field(
        default="no-virt",
        description="whether Anaconda runs on the build host itself, or in a virtual machine",
    )
    iso: str = Field(default="", description="the installer's boot.iso (virt)")
    location: str = Field(
        default="", description="the folder or URL of the installer's second stage (virt)"
    )
    memory_mib: int = Field(
        default=4096, ge=1024, le=1 << 20, description="the installer's memory, MiB (virt)"
    )
    cpus: int | None = Field(
        default=None, ge=1, le=256, description="the installer's processors (virt)"
    )
    kvm: bool = Field(default=True, description="whether KVM is used where it is (virt)")
    uefi: bool = Field(default=False, description="whether the machine boots with UEFI (virt)")
    vnc: str = Field(default="", description="the installer's display, for QEMU (virt)")
    installer_kernel_args: str = Field(
        default="", description="kernel arguments of the installer (virt)"
    )
    root_size_mib: int = Field(
        default=8192,
        ge=1024,
        le=1 << 24,
        description="MiB of the root file system that is installed to, where the kickstart has "
        "no part /; takes disk only for what is in it",
    )
    rootfs_size_gib: int | None = Field(
        default=None, ge=1, le=1 << 14, description="GiB of the nested root file system (virt)"
    )
    flat: bool = Field(
        default=True,
        description="whether the root is packed again as a plain squashfs, as [image] says: "
        "smaller, and its overlay is not bounded by the nested ext4",
    )
    image_only: bool = Field(
        default=True,
        description="whether livemedia-creator ends with the disk image, of which imagebuilder "
        "makes initrd and squashfs at the same time: quicker, and another initrd needs no "
        "Anaconda (no-virt, flat)",
    )
    kernel: str = Field(
        default="", description="the release of the kernel to boot; unset: the newest"
    )
    dracut_args: tuple[Word, ...] = Field(
        default=(), description="dracut's arguments, in place of ours; each as one text"
    )
    anaconda_args: tuple[Word, ...] = Field(
        default=(), description="further arguments of Anaconda, each as one text (no-virt)"
    )
    project: str = Field(
        default="", description="what Anaconda takes for the product; unset: the distribution"
    )
    releasever: str = Field(
        default="", description="what Anaconda takes for its version; unset: the distribution's"
    )
    proxy: str = Field(default="", description="the proxy for Anaconda, a URL")
    timeout: Minutes = Field(default=180.0, description="minutes for the whole run")
    phase_timeouts: dict[Phase, Minutes] = Field(
        default_factory=dict, description="minutes for a phase, beside that for the whole"
    )
    silence: Minutes = Field(
        default=30.0, description="minutes without a sign of life after which the run is ended"
    )
    tmp_dir: str = Field(
        default="", description="where its images are while it works; unset: the cache"
    )
    result_dir: str = Field(
        default="", description="where it leaves its results at first; unset: the cache"
    )
    extra_args: tuple[ExtraArgument, ...] = Field(
        default=(), description="further options of livemedia-creator, in full"
    )

    def seconds(self, phase: Phase, default: float) -> float:
        """Return how many seconds a phase may take."""
        minutes = self.phase_timeouts.get(phase)
        return default if minutes is None else 60 * minutes

    @model_validator(mode="after")
    def _virt_has_an_iso(self) -> Self:
        if self.mode == "virt" and not self.iso:
            raise ValueError("mode virt needs iso, the installer's boot.iso")
        return self

    @model_validator(mode="after")
    def _a_place_has_a_name(self) -> Self:
        needed = {"container": "container_image", "mock": "mock_config", "ssh": "ssh_host"}
        key = needed.get(self.where)
        if key and not getattr(self, key):
            raise ValueError(f'where = "{self.where}" needs {key}')
        if key and getattr(self, key).startswith("-"):
            raise ValueError(f"{key} must not begin with a dash")
        if self.where != "host" and self.mode == "virt":
            raise ValueError(f'mode virt runs on the host, not with where = "{self.where}"')
        return self
