"""Recipe: what an image is to be, as declared in ``recipes/NAME.toml`` or made in Python."""

from __future__ import annotations

from datetime import date
from functools import lru_cache
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    JsonValue,
    StringConstraints,
    Tag,
    model_validator,
)

from imagebuilder.checks import Check
from imagebuilder.kernel_options import KernelArgument as KernelArgument
from imagebuilder.kernel_options import KernelOptions as KernelOptions
from imagebuilder.livemedia_options import LivemediaOptions
from imagebuilder.names import NAME_PATTERN, RecipeName
from imagebuilder.params import Declared
from imagebuilder.smoke_options import BootPathName as BootPathName
from imagebuilder.smoke_options import Nic as Nic
from imagebuilder.smoke_options import SmokeOptions as SmokeOptions
from imagebuilder.template import is_template

SHIPPED = "imagebuilder/"  # before the name of a recipe that comes with imagebuilder


@lru_cache(maxsize=1 << 12)
def _fragment_name(value: str) -> str:
    parts = value.split("/")
    if (
        not value.endswith(".ks")
        or value.startswith("/")
        or any(part in ("", ".", "..") for part in parts)
        or not value.isprintable()
        or "\\" in value
    ):
        raise ValueError("a fragment's name is a path below kickstarts/ that ends in .ks")
    return value


def _package(value: str) -> str:
    if is_template(value):
        return value
    if not value.strip("- ") or not value.isprintable() or any(s.isspace() for s in value.strip()):
        raise ValueError("one package, @group or pattern, as in a line of %packages")
    return value.strip()


def _in_project(value: str) -> str:
    parts = value.removesuffix("/").split("/")
    if value.startswith("/") or any(part in ("", "..") for part in parts) or "\0" in value:
        raise ValueError("a path below the project's folder")
    return value


def _in_image(value: str) -> str:
    if is_template(value):
        return value
    parts = value[1:].split("/")
    if not value.startswith("/") or any(part in ("", ".", "..") for part in parts):
        raise ValueError("an absolute path without . and ..")
    if not value.isprintable():
        raise ValueError("a path of printable characters")
    return value


def _preseed(value: str) -> str:
    if is_template(value):
        return value
    words = value.split(None, 3)
    if "\n" in value or len(words) < 3 or value.startswith("#"):
        raise ValueError("a line as of debconf-set-selections(1): PACKAGE QUESTION TYPE VALUE")
    return value


def _param_name(value: str) -> str:
    if value in STANDING:
        raise ValueError(f"{value} has a meaning of its own in templates: choose another name")
    return value


FragmentName = Annotated[str, AfterValidator(_fragment_name)]
# A parent: a recipe of the project, or one that comes with imagebuilder.
ParentName = Annotated[
    str, StringConstraints(pattern=NAME_PATTERN.replace("^", f"^({SHIPPED})?", 1))
]
PackageLine = Annotated[str, AfterValidator(_package)]
PreseedLine = Annotated[str, AfterValidator(_preseed)]
AxisValue = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9._+-]*$")]
SecretName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_-]*$")]
Axis = Literal["distro", "arch", "flavour"]
# What a recipe has from its parents, and so can take out or replace.
Inherited = Literal[
    "kickstarts",
    "packages",
    "params",
    "declare",
    "secrets",
    "kernel",
    "preseed",
    "files",
    "image",
    "livemedia",
    "smoke",
    "checks",
    "waivers",
    "matrix",
]
# What templates know beside the params: a param of that name would hide it.
STANDING = ("recipe", "distro", "arch", "matrix", "secret")
ParamName = Annotated[
    str,
    StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$"),
    AfterValidator(_param_name),
]
ParamValue = JsonValue
# A moment as snapshot mirrors of Debian have it in their URLs: year to second, UTC.
Snapshot = Annotated[str, StringConstraints(pattern=r"^([0-9]{8}T[0-9]{6}Z)?$")]


class _Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


# Measured: docs/builds.md, "Compression".
_SMALL_LEVELS = {"squashfs": {"zstd": 19, "gzip": 9}, "erofs": {"zstd": 15, "lz4": 12}}
# By file system and compressor; 0: it takes none.  mksquashfs(1), mkfs.erofs(1).
_HIGHEST_LEVELS = {
    "squashfs": {"zstd": 22, "gzip": 9, "xz": 0, "lz4": 0},
    "erofs": {"lz4": 12, "zstd": 22, "xz": 9},
}


class ImageOptions(_Table):
    """``[image]``: the form of the artefacts."""

    filesystem: Literal["squashfs", "erofs"] = Field(
        default="squashfs", description="what the rootfs is; erofs with the direct engine only"
    )
    compression: Literal["zstd", "gzip", "xz", "lz4"] = Field(
        default="zstd", description="how the rootfs is compressed"
    )
    compression_level: int | None = Field(
        default=None,
        ge=1,
        le=22,
        description="the compressor's level (zstd and gzip only; in an EROFS zstd, lz4 and xz)",
    )
    small_level: int | None = Field(
        default=None,
        ge=1,
        le=22,
        description="the level with `--small` (as above; default 19 of zstd, 9 of gzip; in an "
        "EROFS 15 of zstd, 12 of lz4)",
    )

    @model_validator(mode="after")
    def _level_fits(self) -> Self:
        highest = _HIGHEST_LEVELS[self.filesystem]
        if self.compression not in highest:
            known = ", ".join(highest)
            raise ValueError(f"compression: {self.filesystem} is made with {known} here")
        limit = highest[self.compression]
        for key in ("compression_level", "small_level"):
            level = getattr(self, key)
            if level is not None and level > limit:
                takes = f"takes 1 to {limit}" if limit else "takes no level"
                raise ValueError(f"{key}: {self.compression} {takes}")
        return self

    def made_small(self) -> Self:
        """Return the options of an image that is to be small, however long it takes."""
        level = self.small_level or _SMALL_LEVELS[self.filesystem].get(self.compression)
        return self.model_copy(update={"compression_level": level})


class FileEntry(_Table):
    """``[[files]]``: a file or folder of the project that is copied into the image.

    It is there before the kickstart's scripts run.
    """

    source: Annotated[str, AfterValidator(_in_project)] = Field(
        description="the file or folder, below the project's folder"
    )
    path: Annotated[str, AfterValidator(_in_image)] = Field(
        description="where it is to be in the image, absolute"
    )
    mode: str = Field(
        default="",
        pattern=r"^([0-7]{3,4})?$",
        description="permissions of the file, or of each file of the folder, in octal; unset: "
        "0755 for what its owner can run, else 0644",
    )
    owner: str = Field(
        default="root:root",
        pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]*(:[A-Za-z0-9_][A-Za-z0-9_.-]*)?$",
        description="user, or user:group, of the image",
    )
    template: bool = Field(
        default=False, description="whether it is rendered with the recipe's values"
    )


class SecretSource(_Table):
    """``[secrets.NAME]``: where a secret comes from; the first of these that is there."""

    env: str = Field(
        default="", pattern=r"^[A-Za-z0-9_]*$", description="an environment variable that has it"
    )
    file: str = Field(
        default="",
        description="a file that has it, without its last newline; relative to the project's "
        "folder, or below ~",
    )
    command: tuple[str, ...] = Field(
        default=(),
        description="a program, with arguments, that prints it; it is run in the project's folder",
    )

    @model_validator(mode="after")
    def _has_one(self) -> Self:
        if not (self.env or self.file or self.command):
            raise ValueError("a secret comes from env, file or command")
        return self


class Waiver(_Table):
    """``[[waivers]]``: a finding of lint, or a check that fails, that is accepted for a time."""

    code: str = Field(
        default="", pattern=r"^([A-Z]{2}[0-9]{3})?$", description="the code of lint's finding"
    )
    check: str = Field(default="", description="or the check, by what reports call it")
    reason: str = Field(min_length=1, description="why it is accepted")
    until: date = Field(description="the last day on which it is, such as 2027-06-30")
    match: str = Field(
        default="", description="what the finding's place or text must contain; unset: anything"
    )

    @model_validator(mode="after")
    def _is_for_one(self) -> Self:
        if bool(self.code) == bool(self.check):
            raise ValueError("a waiver is for a code or for a check")
        if self.check and self.match:
            raise ValueError("match is for findings of lint: a check has its name")
        return self


class Content(_Table):
    """What a recipe has from its parents, and what a variant can add."""

    kickstarts: tuple[FragmentName, ...] = Field(
        default=(), description="fragments below kickstarts/, added to the parent's"
    )
    packages: tuple[PackageLine, ...] = Field(
        default=(),
        description="packages beside those of the fragments, as lines of %packages",
    )
    params: dict[ParamName, ParamValue] = Field(
        default_factory=dict, description="variables for the templates; merged with the parent's"
    )
    declare: dict[ParamName, Declared] = Field(
        default_factory=dict, description="types and defaults of params"
    )
    secrets: dict[SecretName, SecretSource] = Field(
        default_factory=dict, description="where what secret(NAME) stands for comes from"
    )
    kernel: KernelOptions = Field(default_factory=KernelOptions)
    preseed: tuple[PreseedLine, ...] = Field(
        default=(),
        description="answers for debconf, as lines of debconf-set-selections(1), given before "
        "the packages are installed (Debian)",
    )
    files: tuple[FileEntry, ...] = Field(
        default=(), description="files of the project that are copied into the image"
    )
    image: ImageOptions = Field(default_factory=ImageOptions)
    livemedia: LivemediaOptions = Field(default_factory=LivemediaOptions)
    smoke: SmokeOptions = Field(default_factory=SmokeOptions)
    checks: tuple[Check, ...] = Field(
        default=(), description="what must be true in the booted guest, added to the parent's"
    )
    waivers: tuple[Waiver, ...] = Field(
        default=(),
        description="what is accepted though lint or a test finds it, added to the parent's",
    )


class Overlay(Content):
    """``[matrix.AXIS.VALUE]``: what a value of an axis adds to the recipe."""

    engine: str | None = Field(default=None, description="what makes the image")
    summary: str | None = Field(default=None, max_length=200, description="one line for people")
    remove: dict[Inherited, JsonValue] = Field(
        default_factory=dict, description="as a recipe's own"
    )
    replace: dict[Inherited, JsonValue] = Field(
        default_factory=dict, description="as a recipe's own"
    )


AxisValues = Annotated[
    Annotated[tuple[AxisValue, ...], Tag("(list)")]
    | Annotated[dict[AxisValue, Overlay], Tag("(table)")],
    Discriminator(
        lambda value: "(table)" if isinstance(value, dict) else "(list)",
    ),
]


class Matrix(_Table):
    """``[matrix]``: the recipe stands for one variant for each combination of the axes' values.

    An axis is a list of values, or a table that has for each value what it adds to the recipe.
    """

    name: str = Field(
        default="",
        description="a template for the variants' names; unset: the recipe's name and the value "
        "of each axis, joined by -",
    )
    distro: AxisValues = Field(default=(), description="distributions")
    arch: AxisValues = Field(default=(), description="architectures")
    flavour: AxisValues = Field(default=(), description="whatever else differs")
    exclude: tuple[dict[Axis, AxisValue], ...] = Field(
        default=(), description="combinations that there are not; an axis left out is any value"
    )


class Recipe(Content):
    """A declared image.

    The same model holds a recipe as declared (it may name a parent in ``extends``) and as
    resolved (merged with its parents, templates rendered; ``extends``, ``matrix``, ``remove``
    and ``replace`` are unset).
    """

    name: RecipeName = Field(description="the recipe's name: that of its file")
    summary: str = Field(default="", max_length=200, description="one line for people")
    abstract: bool = Field(
        default=False, description="whether it is only there to be extended; not inherited"
    )
    extends: ParentName | None = Field(
        default=None,
        description="the recipe that this one adds to; imagebuilder/NAME is one that comes with "
        "imagebuilder",
    )
    distro: str = Field(default="", description="the distribution and release, such as debian-12")
    arch: Literal["x86_64", "aarch64"] = Field(
        default="x86_64", description="the machine's architecture"
    )
    engine: str = Field(default="direct", description="what makes the image")
    snapshot: Snapshot | None = Field(
        default=None,
        description="the moment at which packages are taken, such as `20261101T000000Z`: it "
        'takes the place of {snapshot} in the lines of `[mirrors]`; "": what the mirrors have '
        "now; unset: as imagebuilder.toml says",
    )
    locked: bool | None = Field(
        default=None,
        description="whether exactly the packages of `recipes/NAME.lock.json` are installed; "
        "unset: as imagebuilder.toml says",
    )
    matrix: Matrix | None = Field(
        default=None, description="the recipe stands for several variants"
    )
    remove: dict[Inherited, JsonValue] = Field(
        default_factory=dict,
        description="what is taken out of what the parent gave: for a list, the items to take "
        "out; for a table, the names of keys",
    )
    replace: dict[Inherited, JsonValue] = Field(
        default_factory=dict,
        description="what takes the place of what the parent gave, where a list would be added "
        "to the parent's and a table merged",
    )


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema of a recipe file, for editors."""
    made = Recipe.model_json_schema()
    made["properties"].pop("name")  # a recipe's name is that of its file
    made["required"] = [name for name in made.get("required", []) if name != "name"]
    return made
