"""Recipe: what an image is to be, as declared in ``recipes/NAME.toml`` or made in Python."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    JsonValue,
    StringConstraints,
    model_validator,
)
from pydantic import ValidationError as PydanticError

from imagebuilder import checks
from imagebuilder.checks import Check
from imagebuilder.errors import InputError, Location, joined
from imagebuilder.template import is_template
from imagebuilder.toml_lines import error_line, key_lines

NAME_PATTERN = r"^[a-z0-9][a-z0-9._+-]{0,62}$"
_SIZE_LIMIT = 1 << 20  # bytes of a recipe file


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


def _kernel_argument(value: str) -> str:
    if is_template(value):  # looked at again when it is rendered
        return value
    if not value or not value.isprintable() or any(sign.isspace() for sign in value):
        raise ValueError("a kernel argument is one word")
    return value


FragmentName = Annotated[str, AfterValidator(_fragment_name)]
RecipeName = Annotated[str, StringConstraints(pattern=NAME_PATTERN)]
KernelArgument = Annotated[str, AfterValidator(_kernel_argument)]
ParamName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]
ParamValue = JsonValue


class _Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class KernelOptions(_Table):
    """``[kernel]``: how the image's kernel is started."""

    args: tuple[KernelArgument, ...] = Field(
        default=(), description="kernel arguments, added to the parent's"
    )


class ImageOptions(_Table):
    """``[image]``: the form of the artefacts."""

    compression: Literal["zstd", "gzip", "xz", "lz4"] = Field(
        default="zstd", description="how the rootfs is compressed"
    )
    compression_level: int | None = Field(
        default=None, ge=1, le=22, description="the compressor's level (zstd and gzip only)"
    )

    @model_validator(mode="after")
    def _level_fits(self) -> Self:
        limit = {"zstd": 22, "gzip": 9}.get(self.compression)
        if self.compression_level is not None and (limit is None or self.compression_level > limit):
            takes = f"takes 1 to {limit}" if limit else "takes no level"
            raise ValueError(f"compression_level: {self.compression} {takes}")
        return self


class SmokeOptions(_Table):
    """``[smoke]``: the machine that the image is tested in."""

    memory_mib: int = Field(default=2048, ge=256, le=1 << 20, description="the guest's memory, MiB")
    cpus: int = Field(default=2, ge=1, le=256, description="the guest's processors")
    boot_timeout: float = Field(
        default=120.0,
        gt=0,
        le=7200,
        description="seconds from power-on to multi-user.target under KVM; "
        "five times that under software emulation",
    )


class Recipe(_Table):
    """A declared image.

    The same model holds a recipe as declared (it may name a parent in ``extends``) and as
    resolved (merged with its parents, templates rendered; ``extends`` is None).
    """

    name: RecipeName = Field(description="the recipe's name: that of its file")
    summary: str = Field(default="", max_length=200, description="one line for people")
    extends: RecipeName | None = Field(default=None, description="the recipe that this one adds to")
    distro: str = Field(default="", description="the distribution and release, such as debian-12")
    engine: str = Field(default="direct", description="what makes the image")
    kickstarts: tuple[FragmentName, ...] = Field(
        default=(), description="fragments below kickstarts/, added to the parent's"
    )
    params: dict[ParamName, ParamValue] = Field(
        default_factory=dict, description="variables for the templates; merged with the parent's"
    )
    kernel: KernelOptions = Field(default_factory=KernelOptions)
    image: ImageOptions = Field(default_factory=ImageOptions)
    smoke: SmokeOptions = Field(default_factory=SmokeOptions)
    checks: tuple[Check, ...] = Field(
        default=(), description="what must be true in the booted guest, added to the parent's"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Declaration:
    """A recipe as one source declares it: its plain data, and where each key stands."""

    name: str
    data: Mapping[str, Any]
    origins: Mapping[str, Location]
    origin: Location


def check_name(name: str, where: Location | None = None) -> str:
    """Return the name if a recipe may be called so.

    Raises:
        InputError: it may not; nothing was looked up.
    """
    if not re.fullmatch(NAME_PATTERN.strip("^$"), name):
        raise InputError(
            f"{name!r} is no recipe name",
            where=where,
            fix="a name has lower-case letters, digits and . _ + -, starts with a letter or "
            "digit, and has at most 63 characters",
        )
    return name


def declare(recipe: Recipe) -> Declaration:
    """Return the declaration of a recipe that was made in Python."""
    origin = Location(file=f"<recipe {recipe.name}>")
    data = recipe.model_dump(mode="python", exclude_unset=True, exclude={"name"})
    return Declaration(name=recipe.name, data=data, origins={}, origin=origin)


def read(path: Path, shown_as: str) -> Declaration:
    """Read and check one recipe file.

    Args:
        path: the file.
        shown_as: what to call it in errors.

    Raises:
        InputError: with the line of each key that is wrong.
    """
    name = check_name(path.stem, Location(file=shown_as))
    origin = Location(file=shown_as, line=1)
    try:
        if path.stat().st_size > _SIZE_LIMIT:
            raise InputError("a recipe has at most 1 MiB", where=origin)
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise InputError("not UTF-8 text", where=origin, fix="save it as UTF-8") from error
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}", where=origin) from error
    try:
        data = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise InputError(
            f"not valid TOML: {str(error) or 'nested too deeply'}",
            where=Location(file=shown_as, line=error_line(error, text)),
        ) from error
    origins = {
        key: Location(file=shown_as, line=line, key=key) for key, line in key_lines(text).items()
    }
    declaration = Declaration(name=name, data=data, origins=origins, origin=origin)
    if "name" in data:
        raise InputError(
            "a recipe's name is that of its file",
            where=origins.get("name", origin),
            fix="remove the key, or rename the file",
        )
    validate(declaration)
    return declaration


def validate(declaration: Declaration) -> Recipe:
    """Check the data of a declaration against the model.

    Raises:
        InputError: with the place of each key that is wrong.
    """
    try:
        return Recipe.model_validate({**declaration.data, "name": declaration.name})
    except PydanticError as error:
        raise joined(
            [
                _problem(declaration, each["loc"], each["type"], each["msg"])
                for each in error.errors()
            ]
        ) from error


def _problem(
    declaration: Declaration, loc: tuple[int | str, ...], kind: str, message: str
) -> InputError:
    # The tags of the check models stand in pydantic's path but not in the file.
    is_check = len(loc) > 2 and loc[0] == "checks"
    path = [str(part) for n, part in enumerate(loc) if not (is_check and n == 2)]
    key = ".".join(path)
    if kind == "extra_forbidden":
        what = f"unknown key {path[-1]!r}"
        known = checks.keys(str(loc[2])) if is_check else _siblings(path)
        fix = f"known here are: {', '.join(known)}" if known else ""
    else:
        what = f"{key}: {message.removeprefix('Value error, ')}"
        fix = ""
    return InputError(what, where=place(declaration, key), fix=fix)


def _siblings(path: list[str]) -> list[str]:
    model: Any = Recipe
    for part in path[:-1]:
        field = model.model_fields.get(part)
        model = field.annotation if field else None
        if not (isinstance(model, type) and issubclass(model, BaseModel)):
            return []
    return [name for name in model.model_fields if name != "name" or model is not Recipe]


def place(declaration: Declaration, key: str) -> Location:
    """Return where a key stands, or the nearest key above it that stands in the source."""
    path = key
    while path:
        if path in declaration.origins:
            found = declaration.origins[path]
            return Location(file=found.file, line=found.line, key=key)
        path = path.rpartition(".")[0]
    return Location(file=declaration.origin.file, line=declaration.origin.line, key=key)
