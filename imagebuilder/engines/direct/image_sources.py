"""What the image's own apt knows: the mirrors that it was made from.

Scripts can use them as the build does; credentials in their URLs are taken out when the image is
sealed.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from imagebuilder.command import redact
from imagebuilder.engines.direct import pins
from imagebuilder.engines.direct.repository import Repository
from imagebuilder.engines.direct.sources import Sources
from imagebuilder.engines.direct.tree import Tree

_KEYS = "/etc/apt/keyrings"  # sources.list(5), "signed-by": keys that the administrator adds
_HEAD = "# Where the packages of this image come from.\n"


class KeptFile(BaseModel):
    """A file of the image's apt: a list of sources, pins, settings.

    Attributes:
        path: where it is in the image.
        text: what stands in it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    path: str
    text: str


class KeptKey(BaseModel):
    """A key that is copied into the image, unless a package has brought it.

    Attributes:
        source: where it is on the host.
        path: where it is to be in the image.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    source: str
    path: str


class Kept(BaseModel):
    """All that the image's apt is to have."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    files: tuple[KeptFile, ...] = ()
    keys: tuple[KeptKey, ...] = ()


def kept(sources: Sources, targets: Sequence[pins.Target] = ()) -> Kept:
    """Return what the image's apt is to have.

    Mirrors stay, repositories with ``--install`` too; what is on the build host alone does not.

    Args:
        sources: what the image is made from.
        targets: what apt says of the indices, if repositories with pins stay.
    """
    staying = [each for each in sources.repositories if each.keep and not each.is_local]
    mirrors = [each.line(_keys(each)) for each in staying if not each.name]
    files = [
        KeptFile(
            path="/etc/apt/sources.list",
            text=_HEAD + "".join(f"{line}\n" for line in (*sources.kept, *mirrors)),
        )
    ]
    for each in staying:
        name = re.sub(r"[^A-Za-z0-9_-]", "-", each.name)
        if name:
            line = each.line(_keys(each))
            files.append(KeptFile(path=f"/etc/apt/sources.list.d/{name}.list", text=f"{line}\n"))
        settings = [
            f'{option} "{redact(_inside(value, each))}";\n'
            for option, value in each.configuration()
            if name
        ]
        if settings:
            files.append(
                KeptFile(path=f"/etc/apt/apt.conf.d/60{name}.conf", text="".join(settings))
            )
        text = pins.preferences([each], targets) if name else ""
        if text:
            files.append(KeptFile(path=f"/etc/apt/preferences.d/{name}", text=text))
    return Kept(files=tuple(files), keys=tuple(key for each in staying for key in _copied(each)))


def _keys(repository: Repository) -> dict[str, str]:
    return {each.said: _place(each.path) for each in repository.keys}


def _place(path: Path) -> str:
    """Return where a key is in the image: as on the host, if packages have it there."""
    return str(path) if path.is_relative_to("/usr/share/keyrings") else f"{_KEYS}/{path.name}"


def _copied(repository: Repository) -> list[KeptKey]:
    found = [*repository.keys]
    if repository.name:
        found += [each for _, each in repository.files]
    return [KeptKey(source=str(each.path), path=_place(each.path)) for each in found]


def _inside(value: str, repository: Repository) -> str:
    return next((_place(f.path) for _, f in repository.files if str(f.path) == value), value)


def configure(tree: Tree, wanted: Kept) -> None:
    """Write the files of the image's apt, in place of what the build was made with."""
    for each in wanted.files:
        tree.write(each.path, each.text)
    for key in wanted.keys:
        if not tree.exists(key.path):
            path = tree.path(key.path)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(Path(key.source).read_bytes())
            path.chmod(0o644)
