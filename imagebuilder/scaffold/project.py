"""``init``: the files of a new project."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from imagebuilder import distro, files
from imagebuilder.errors import InputError, StepError, listed
from imagebuilder.names import PROJECT_FILE, check_name
from imagebuilder.recipe import json_schema

SCHEMA = ".imagebuilder/recipe.schema.json"
# What a folder may have before it becomes a project; these stay as they are.
_OPTIONAL = (".gitignore", "README.md")


@dataclass(frozen=True, slots=True, kw_only=True)
class Scaffold:
    """What was made, or would be.

    Attributes:
        root: the project's folder.
        recipe: the name of its recipe.
        distro: the id of its distribution.
        files: the files that were written, as paths below the folder.
        kept: files that were there, and were left as they are.
    """

    root: Path
    recipe: str
    distro: str
    files: tuple[str, ...]
    kept: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain JSON data."""
        return {
            "root": str(self.root),
            "recipe": self.recipe,
            "distro": self.distro,
            "files": list(self.files),
            "kept": list(self.kept),
        }


def init_project(
    folder: Path | str,
    *,
    name: str = "server",
    distro_id: str = "debian-12",
    dry_run: bool = False,
) -> Scaffold:
    """Make a project: a recipe with a fragment of its own, on top of the ``base`` that we ship.

    Nothing that is there is changed, and if it cannot be made whole nothing of it stays.

    Args:
        folder: where; it need not exist, and may hold other files, such as those of git.
        name: what to call its recipe.
        distro_id: what it is to be an image of.
        dry_run: only say what would be written.

    Raises:
        InputError: a name is wrong, or the project would overwrite something.
        StepError: the folder cannot be written to.
    """
    check_name(name)
    found = distro.find(distro_id)
    if found.family != "debian":
        raise InputError(
            f"a new project builds at once, and the direct engine makes no images of {found.id}",
            fix=f"begin with one of {', '.join(each.id for each in distro.of_family('debian'))}",
        )
    root = Path(os.path.abspath(folder))  # noqa: PTH100 - resolve() would follow links
    texts = _texts(name, found.id)
    there = [path for path in texts if os.path.lexists(root / path)]
    kept = tuple(path for path in there if path in _OPTIONAL)
    _check(root, [path for path in there if path not in kept])
    texts = {path: text for path, text in texts.items() if path not in kept}
    if not dry_run:
        try:
            files.create(root, texts)
        except OSError as error:
            raise StepError(
                f"the project cannot be written: {error.strerror}: {error.filename or root}",
                fix="nothing of it was left behind",
            ) from error
    return Scaffold(root=root, recipe=name, distro=found.id, files=tuple(texts), kept=kept)


def _check(root: Path, there: list[str]) -> None:
    if os.path.lexists(root) and not root.is_dir():
        raise InputError(f"{root} is no folder", fix="name a folder, or one that is yet to be made")
    if there:
        is_project = PROJECT_FILE in there
        raise InputError(
            f"{root} has {listed(there)} already; nothing was written",
            fix="it is a project: a further recipe is a file in recipes/"
            if is_project
            else "name another folder, or another recipe with --name",
        )


def _texts(name: str, distro_id: str) -> dict[str, str]:
    """Return what the project is made of, by path."""
    values = {"@NAME@": name, "@DISTRO@": distro_id, "@SCHEMA@": SCHEMA}
    return {
        PROJECT_FILE: _template(PROJECT_FILE, values),
        f"recipes/{name}.toml": _template("recipe.toml", values),
        f"kickstarts/{name}/greeting.ks": _template("greeting.ks", values),
        SCHEMA: json.dumps(json_schema(), indent=1) + "\n",
        ".gitignore": _template("gitignore", values),
        "README.md": _template("README.md", values),
    }


def _template(name: str, values: Mapping[str, str]) -> str:
    text = (resources.files(__package__) / "files" / name).read_text(encoding="utf-8")
    for key, value in values.items():
        text = text.replace(key, value)
    return text
