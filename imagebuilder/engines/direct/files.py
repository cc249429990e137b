"""``[[files]]``: files and folders of the project that are copied into the image.

Before any work starts they are looked through: what would be copied, with mode and digest.  In
the worker they are copied, and are still what was looked at, or the build fails.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from imagebuilder import template
from imagebuilder.engines.direct.tree import Tree
from imagebuilder.errors import InputError, Location, StepError, joined
from imagebuilder.project import ResolvedRecipe
from imagebuilder.recipe import FileEntry
from imagebuilder.secrets import Vault, check_whole, names_in

_MOST = 1 << 16  # entries of one recipe
_LARGEST = 4 << 30  # bytes of all files of one recipe: an image is held in memory
_LARGEST_TEMPLATE = 1 << 20  # bytes
_CHUNK = 1 << 20
# What is mounted over these when the image boots would hide the files.
_HIDDEN = ("/dev", "/proc", "/run", "/sys", "/tmp")  # noqa: S108


class Copy(BaseModel):
    """One file, link or folder of the image.

    Attributes:
        path: where it is to be, absolute.
        kind: what it is.
        source: the file of the project; "" for a text, a link or a folder.
        mode: its permissions.
        owner: ``USER`` or ``USER:GROUP``, names of the image.
        text: what stands in a file that was a template.
        target: where a link leads to.
        digest: SHA-256 of what a file holds, 64 hexadecimal digits.
        where: the recipe's line, as in :meth:`~imagebuilder.errors.Location.to_dict`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    path: str
    kind: Literal["file", "text", "link", "folder"]
    source: str = ""
    mode: int = 0
    owner: str
    text: str = ""
    target: str = ""
    digest: str = ""
    where: dict[str, Any]

    def identity(self) -> str:
        """Return all that its place in the image follows from."""
        owner = "" if self.kind == "folder" and not self.owner else self.owner
        return "\0".join(
            (self.path, self.kind, f"{self.mode:o}", owner, self.text, self.target, self.digest)
        )

    def revealed(self, vault: Vault) -> Copy:
        """Return it with the values of the secrets that its text refers to."""
        if not names_in(self.text):
            return self
        text = vault.reveal_script(self.text, Location.from_dict(self.where))
        return self.model_copy(update={"text": text})


def find(resolved: ResolvedRecipe) -> tuple[tuple[FileEntry, Location, tuple[Copy, ...]], ...]:
    """Return for each entry of a recipe what it comes to.

    Raises:
        InputError: a source is missing, leaves the project, or is of a kind that an image does
            not have; with the place of each entry.
    """
    found: list[tuple[FileEntry, Location, tuple[Copy, ...]]] = []
    problems: list[InputError] = []
    count = size = 0
    for n, entry in enumerate(resolved.recipe.files):
        where = resolved.place(f"files.{n}")
        try:
            copies = tuple(_copies(entry, where, resolved.project.root, resolved.values))
        except InputError as error:
            problems.append(error)
            continue
        count += len(copies)
        size += sum(_size(each) for each in copies)
        if count > _MOST or size > _LARGEST:
            raise InputError(
                f"the recipe copies more than {_MOST} files, or {_LARGEST >> 30} GiB",
                where=where,
                fix="an image is held in memory: make a package of them, or fetch them at boot",
            )
        found.append((entry, where, copies))
    if problems:
        raise joined(problems)
    return tuple(found)


def _size(copy: Copy) -> int:
    return Path(copy.source).stat().st_size if copy.source else len(copy.text)


def _copies(
    entry: FileEntry, where: Location, root: Path, values: Mapping[str, Any]
) -> Iterator[Copy]:
    if any(entry.path == each or entry.path.startswith(f"{each}/") for each in _HIDDEN):
        raise InputError(
            f"{entry.path} would not be seen: what is below {entry.path.split('/')[1]} is made "
            "at boot",
            where=where,
            fix="copy it elsewhere; systemd-tmpfiles can put it there at boot, tmpfiles.d(5)",
        )
    source = root / entry.source
    try:
        found = source.resolve(strict=True)
    except (OSError, RuntimeError) as error:
        raise InputError(
            f"there is no file {entry.source!r} in the project", where=where, fix=f"make {source}"
        ) from error
    if not found.is_relative_to(root.resolve()):
        raise InputError(
            f"{entry.source!r} leads out of the project, to {found}",
            where=where,
            fix="copy what it leads to into the project",
        )
    said = where.to_dict()
    if not found.is_dir():
        yield _copy(entry, found, entry.path, said, where, values, root)
        return
    for path in _walk(found, where):
        inside = f"{entry.path.rstrip('/')}/{path.relative_to(found)}".removesuffix("/.")
        if path.is_symlink():
            target = str(path.readlink())
            yield Copy(path=inside, kind="link", owner=entry.owner, target=target, where=said)
        elif path.is_dir():
            yield Copy(path=inside, kind="folder", owner=entry.owner, mode=0o755, where=said)
        else:
            yield _copy(entry, path, inside, said, where, values, root)


def _walk(folder: Path, where: Location) -> Iterator[Path]:
    """Return a folder and what is in it, each folder before what it has, in order of names."""
    waiting = [folder]
    for _ in range(_MOST + 1):
        if not waiting:
            return
        path = waiting.pop()
        yield path
        if path.is_dir() and not path.is_symlink():
            try:
                waiting += sorted(path.iterdir(), reverse=True)
            except OSError as error:
                raise InputError(f"{path} cannot be read: {error.strerror}", where=where) from error


def _copy(
    entry: FileEntry,
    source: Path,
    path: str,
    said: dict[str, Any],
    where: Location,
    values: Mapping[str, Any],
    root: Path,
) -> Copy:
    shown = source.relative_to(root.resolve())
    if not path.isprintable():
        raise InputError(f"the name of {str(shown)!r} has control characters", where=where)
    try:
        facts = source.stat()
        if not stat.S_ISREG(facts.st_mode):
            raise InputError(
                f"{str(shown)!r} is no file, folder or link",
                where=where,
                fix="devices, pipes and sockets are made at boot: systemd-tmpfiles can, "
                "tmpfiles.d(5)",
            )
        runs = bool(facts.st_mode & stat.S_IXUSR)
        mode = int(entry.mode, 8) if entry.mode else (0o755 if runs else 0o644)
        if entry.template:
            text = _rendered(source, str(shown), facts.st_size, values)
            return Copy(path=path, kind="text", mode=mode, owner=entry.owner, text=text, where=said)
        # The time of the inode's last change is one that no program can set back.
        digest = _digest(source, facts.st_ctime_ns, facts.st_size, facts.st_ino, facts.st_dev)
    except OSError as error:
        raise InputError(f"{str(shown)!r} cannot be read: {error.strerror}", where=where) from error
    return Copy(
        path=path,
        kind="file",
        source=str(source),
        mode=mode,
        owner=entry.owner,
        digest=digest,
        where=said,
    )


def _rendered(source: Path, shown: str, size: int, values: Mapping[str, Any]) -> str:
    where = Location(file=shown)
    if size > _LARGEST_TEMPLATE:
        raise InputError(f"a template has at most {_LARGEST_TEMPLATE >> 20} MiB", where=where)
    try:
        text = source.read_bytes().decode("utf-8")
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise InputError(
            "not UTF-8 text", where=Location(file=shown, line=line), fix="take out template = true"
        ) from error
    rendered = template.render(text, values, shown)
    for each in rendered:
        check_whole(each.text, Location(file=shown, line=each.line))
    return "".join(f"{each.text}\n" for each in rendered)


@lru_cache(maxsize=1 << 14)
def _digest(path: Path, _changed: int, _size: int, _inode: int, _device: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def copy_all(tree: Tree, copies: tuple[Copy, ...]) -> None:
    """Copy into the tree what :func:`find` found.

    Raises:
        StepError: an owner is not in the image, something of another kind stands at a path, or
            a file is no longer what it was; with the recipe's line.
    """
    users, groups = _ids(tree, "/etc/passwd"), _ids(tree, "/etc/group")
    for each in copies:
        where = Location.from_dict(each.where)
        try:
            _put(tree, each, _owner(each.owner, users, groups, where), where)
        except OSError as error:
            raise StepError(
                f"{each.path} cannot be copied: {error.strerror or error}",
                where=where,
                fix="see what stands there in the image",
            ) from error


def _ids(tree: Tree, table: str) -> dict[str, tuple[int, int]]:
    """Return for each name of a table its id, and for a user that of the user's group."""
    rows = [line.split(":") for line in tree.read(table).splitlines()]
    return {
        row[0]: (int(row[2]), int(row[3]) if len(row) > 4 else 0) for row in rows if len(row) > 2
    }


def _owner(
    text: str,
    users: Mapping[str, tuple[int, int]],
    groups: Mapping[str, tuple[int, int]],
    where: Location,
) -> tuple[int, int]:
    user, colon, group = text.partition(":")
    uid, gid = users.get(user, (-1, 0))
    if uid < 0:
        uid = _number(user, "user", where)
    if colon:
        gid = groups[group][0] if group in groups else _number(group, "group", where)
    return uid, gid


def _number(name: str, what: str, where: Location) -> int:
    if name.isdecimal():
        return int(name)
    raise StepError(
        f"there is no {what} {name!r} in the image",
        where=where,
        fix=f"add the package that brings it, or a line: {what} --name={name}",
    )


def _put(tree: Tree, copy: Copy, owner: tuple[int, int], where: Location) -> None:
    path = tree.path(copy.path)
    _make_folders(path.parent, tree.root)
    if copy.kind == "folder":
        if path.is_symlink():  # /lib may be one to usr/lib: what it leads to is the folder
            path = tree.path(f"{copy.path}/x").parent
        if not path.exists():
            path.mkdir()
            path.chmod(copy.mode)
            os.chown(path, *owner)
        elif not path.is_dir():
            raise StepError(f"{copy.path} is to be a folder, and is none", where=where)
        return
    if path.is_dir() and not path.is_symlink():
        raise StepError(f"{copy.path} is a folder of the image", where=where)
    path.unlink(missing_ok=True)
    if copy.kind == "link":
        path.symlink_to(copy.target)
        os.chown(path, *owner, follow_symlinks=False)
        return
    if copy.kind == "text":
        path.write_text(copy.text, encoding="utf-8")
    else:
        _write(Path(copy.source), path, copy, where)
    os.chown(path, *owner)
    path.chmod(copy.mode)  # last: chown takes setuid away


def _make_folders(folder: Path, root: Path) -> None:
    missing = []
    while not folder.exists() and folder != root:
        missing.append(folder)
        folder = folder.parent
    for each in reversed(missing):
        each.mkdir(mode=0o755)


def _write(source: Path, path: Path, copy: Copy, where: Location) -> None:
    with source.open("rb") as file, path.open("xb") as into:
        shutil.copyfileobj(file, into, _CHUNK)
    with path.open("rb") as made:
        digest = hashlib.file_digest(made, "sha256").hexdigest()
    if digest != copy.digest:
        raise StepError(
            f"{source.name} changed while the image was made", where=where, fix="build again"
        )
