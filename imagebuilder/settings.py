"""``imagebuilder.toml``: what holds for all recipes of a project."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field
from pydantic import ValidationError as PydanticError

from imagebuilder.errors import InputError, Location
from imagebuilder.names import PROJECT_FILE
from imagebuilder.policies import ChannelPolicy, Exports, Retention
from imagebuilder.recipe import SecretName, SecretSource, Snapshot
from imagebuilder.remote import Mode
from imagebuilder.sizes import seconds_of, size_of
from imagebuilder.toml_lines import error_line, key_lines


def _seconds(value: Any) -> Any:
    """Read a span of time such as ``12h``."""
    if value == 0 or isinstance(value, float):
        return value
    try:
        return float(seconds_of(value if isinstance(value, str) else ""))
    except InputError:
        raise ValueError("a time is a number with m, h or d after it, such as 12h") from None


def _bytes(value: Any) -> Any:
    """Read a size such as ``20 GB``."""
    if not isinstance(value, str):
        raise ValueError(  # noqa: TRY004 - pydantic takes no other
            "a size is a number with MB, GB or TB after it, such as 20 GB"
        )
    try:
        return size_of(value)
    except InputError as error:
        raise ValueError(error.what) from error


class ProjectFile(BaseModel):
    """``imagebuilder.toml``: what holds for all recipes of a project.  It need not exist."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    catalog: str = Field(default="", description="where publish puts releases by default, a URL")
    channel: str = Field(default="testing", description="the channel that publish moves by default")
    mirrors: dict[str, list[str]] = Field(
        default_factory=dict,
        description="for a distro, lines of an apt sources.list that are used in place of the "
        "host's own; those with {snapshot} in them if a snapshot is named, else the others; for "
        "Fedora and its kin URLs for url and repo",
    )
    mirrors_age: Annotated[float, BeforeValidator(_seconds)] = Field(
        default=24 * 3600.0,
        description="for how long the package mirrors are not looked at again, such as `90m`, "
        "`12h` or `7d`; 0 looks at each plan",
    )
    cache: str = Field(
        default="",
        description="the remote cache, a URL as for `catalog`, or a folder below the project's: "
        "results of builds that machines share",
    )
    cache_mode: Mode = Field(
        default="read-write",
        description="whether what is built here is shared by the remote cache, or only taken from "
        "it: `read-write` or `read-only`",
    )
    executor: str = Field(
        default="",
        description="where images are made: `local`, which is the default, or `dask://HOST:PORT`, "
        "the scheduler of a cluster of Dask workers",
    )
    cache_limit: Annotated[int, BeforeValidator(_bytes)] = Field(
        default=30_000_000_000,
        description="how large the cache may be, such as `20 GB`: after a build what was not used "
        "for the longest time is removed",
    )
    snapshot: Snapshot = Field(
        default="",
        description="the moment at which packages are taken, such as `20261101T000000Z`, of "
        "recipes that name none: it takes the place of {snapshot} in the lines of `[mirrors]`",
    )
    locked: bool = Field(
        default=False,
        description="whether recipes that do not say themselves are built by their lock files",
    )
    retention: Retention = Field(
        default_factory=Retention, description="which releases catalog gc keeps"
    )
    exports: Exports = Field(
        default_factory=Exports,
        description="what is written beside the catalog for other tools; not if another catalog "
        "than the project's is named",
    )
    secrets: dict[SecretName, SecretSource] = Field(
        default_factory=dict,
        description="where what secret(NAME) stands for comes from; a recipe's own go first",
    )
    channels: dict[str, ChannelPolicy] = Field(
        default_factory=dict, description="for a channel, what may be promoted to it"
    )
    plain: list[str] = Field(
        default_factory=list,
        description="fragments that are no templates, as patterns below kickstarts/ such as "
        "`vendor/*`: they are taken as they stand",
    )

    def exports_of(self, catalog: str) -> Exports:
        """Return what is exported of a catalog: of another one than the project's nothing is."""
        return Exports() if self.catalog and catalog != self.catalog else self.exports


def read_settings(path: Path) -> ProjectFile:
    """Read a project file; one that is not there says nothing.

    Raises:
        InputError: it is wrong, with the line.
    """
    text = ""
    try:
        if path.exists() and not path.is_file():  # of a pipe nobody knows when it ends
            raise InputError("it is no file", where=Location(file=PROJECT_FILE))
        text = path.read_text(encoding="utf-8")
        data = tomllib.loads(text)
    except FileNotFoundError:
        return ProjectFile()
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError) as error:
        raise InputError(
            f"cannot be read: {error}",
            where=Location(
                file=PROJECT_FILE, line=error_line(error, text) or (1 if text else None)
            ),
        ) from error
    try:
        return ProjectFile.model_validate(data)
    except PydanticError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        raise InputError(
            f"{key}: {first['msg']}",
            where=Location(file=PROJECT_FILE, line=key_lines(text).get(key), key=key),
            fix=f"known keys are: {', '.join(ProjectFile.model_fields)}",
        ) from error
