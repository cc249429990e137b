"""A git repository, asked through git itself: commits, what changed between them, their files."""

from __future__ import annotations

import ast
import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from imagebuilder import command
from imagebuilder.errors import HostError, InputError, StepError
from imagebuilder.progress import Cancel

_TIMEOUT = 120.0  # seconds for one question
_MOST_LINES = 1_000_000  # of an answer: paths of a repository
_TEXT = 64 << 10  # bytes of a file whose text is wanted
_LINK = "120000"  # the mode that git has for a symbolic link
_UNSHALLOW = "git fetch --unshallow"


@dataclass(frozen=True, slots=True, kw_only=True)
class Moved:
    """A path that differs between two states of a repository.

    Attributes:
        path: below the project's folder.
        before: what it was called before, if git takes it for a renamed file; else "".
        kind: ``added``, ``deleted`` or ``modified`` (a change of its mode is one).
        modes: what it is, before and after, as git has it: ``100644``; "" where it is not known.
    """

    path: str
    before: str = ""
    kind: str = "modified"
    modes: tuple[str, str] = ("", "")


class Repository:
    """The part of a git repository that a folder is.

    Args:
        folder: the folder: a project.
        cancel: the caller's wish to stop.

    Raises:
        InputError: it is in no repository.
        HostError: there is no git, or it refuses to look at the repository.
    """

    def __init__(self, folder: Path, cancel: Cancel | None = None) -> None:
        self._folder = folder
        self._cancel = cancel
        asked = self._git("rev-parse", "--show-prefix", check=False)
        if asked.returncode != 0:
            said = asked.stderr.strip().splitlines()
            if "not a git repository" in asked.stderr:
                raise InputError(
                    f"{folder} is in no git repository",
                    fix="name the files that changed with --files",
                )
            raise HostError(
                f"git does not look at {folder}: {said[0] if said else 'it does not say why'}",
                excerpt=asked.stderr.strip(),
            )
        self._prefix = _unquoted(asked.stdout.rstrip("\n"))

    def commit(self, revision: str) -> str:
        """Return the id of the commit that a revision names, 40 or 64 hexadecimal digits.

        Raises:
            InputError: it names none, or the clone has it not.
        """
        asked = self._git(
            "rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}",
            check=False,
        )  # fmt: skip
        found = asked.stdout.strip()
        if asked.returncode == 0 and found:
            return found
        shallow = self.is_shallow()
        raise InputError(
            f"git knows no commit {revision!r}"
            + (": this is a shallow clone, which lacks most of them" if shallow else ""),
            fix=f"fetch it: {_UNSHALLOW}, or git fetch --depth=1 origin {revision}"
            if shallow
            else "fetch it, or name another: a branch of the server is called origin/NAME here",
        )

    def base(self, revision: str, other: str = "HEAD") -> str:
        """Return the commit at which another revision left the line of a revision.

        That is the revision itself where the other builds on it.

        Raises:
            InputError: there is none, or a shallow clone lacks it.
        """
        asked = self._git("merge-base", self.commit(revision), self.commit(other), check=False)
        if asked.returncode == 0:
            return asked.stdout.split()[0]
        if self.is_shallow():
            raise InputError(
                f"what {revision!r} and {other!r} have in common is not in this shallow clone",
                fix=f"fetch more of its history: {_UNSHALLOW}, or git fetch --deepen=100",
            )
        raise InputError(
            f"{revision!r} and {other!r} have no commit in common",
            fix="name a revision of the same history",
        )

    def is_shallow(self) -> bool:
        """Return whether the clone lacks older commits."""
        asked = self._git("rev-parse", "--is-shallow-repository", check=False)
        return asked.stdout.strip() == "true"

    def moved(self, before: str, after: str | None) -> tuple[Moved, ...]:
        """Return what differs between a commit and another, or the files as they lie there.

        Args:
            before: a commit.
            after: another; None: the work tree, with files that git does not know yet and
                does not ignore.
        """
        asked = self._git(
            "diff", "--raw", "--find-renames", "--no-ext-diff", "--ignore-submodules=none",
            "--relative", before, *([after] if after else []), "--", ".",
        )  # fmt: skip
        found = {each.path: each for each in _moved(asked.stdout)}
        if after is None:
            for path in self._lines("ls-files", "--others", "--exclude-standard", "--", "."):
                found[path] = Moved(path=path, kind="added")
        return tuple(found.values())

    def text(self, commit: str, path: str) -> str | None:
        """Return the text of a small file.

        Args:
            commit: as it is there; "": as it lies in the work tree.
            path: below the project's folder.

        Returns:
            None if it is no text, is larger than 64 KiB, or is not there.
        """
        if not commit:
            data = _small(self._folder / path)
        else:
            name = f"{commit}:{self._prefix}{path}"
            size = self._git("cat-file", "-s", name, check=False).stdout.strip()
            if not size.isdigit() or int(size) > _TEXT:
                return None
            asked = self._git("cat-file", "blob", name, check=False)
            # What is no text has the sign for that in it by now.
            data = asked.stdout.encode() if asked.returncode == 0 else None
        if data is None or b"\0" in data or "\ufffd".encode() in data:
            return None
        try:
            return data.decode()
        except UnicodeDecodeError:
            return None

    def lay_out(self, commit: str, names: Sequence[str], into: Path, scratch: Path) -> None:
        """Write files of a commit into a folder, as a checkout would.

        Args:
            commit: the commit.
            names: files and folders below the project's; those that are not there are left out,
                and all links are taken along.
            into: a folder that is not there yet; it becomes the project's.
            scratch: another one, on the same file system; what it holds is of no use afterwards.
        """
        scratch.mkdir()
        index = {**os.environ, "GIT_INDEX_FILE": f"{scratch}/index"}
        self._git("read-tree", commit, env=index)
        asked = self._git("ls-files", "--full-name", "--stage", "--", ".", env=index).stdout
        listed = "".join(f"{path}\n" for path in self._wanted(asked, names))
        if listed:
            # Of the whole repository's paths, so that the project's own prefix comes along.
            self._git(
                "-C", self._git("rev-parse", "--show-toplevel").stdout.rstrip("\n"),
                "checkout-index", "--quiet", "--stdin", f"--prefix={scratch}/tree/",
                env=index, stdin=listed.encode(),
            )  # fmt: skip
            (scratch / "tree" / self._prefix).rename(into)
        else:
            into.mkdir()

    def _wanted(self, listed: str, names: Sequence[str]) -> list[str]:
        """Return the paths of an index that are to be laid out, as git wrote them.

        Links are, wherever they are: what they lead to is what is copied into an image.  If one
        of those that are named is a link, everything is: it may lead anywhere.
        """
        whole = {f"{self._prefix}{name}" for name in names}
        folders = tuple(f"{each}/" for each in whole)
        rows = [line.partition("\t") for line in listed.splitlines()]
        wanted: list[str] = []
        for facts, _, path in rows:
            plain, is_link = _unquoted(path), facts.startswith(_LINK)
            is_named = plain in whole or plain.startswith(folders)
            if is_named and is_link:
                return [each for _, _, each in rows]
            if is_named or is_link:
                wanted.append(path)
        return wanted

    def _lines(self, *argv: str) -> Iterator[str]:
        return map(_unquoted, self._git(*argv).stdout.splitlines())

    def _git(
        self,
        *argv: str,
        check: bool = True,
        env: dict[str, str] | None = None,
        stdin: bytes | None = None,
    ) -> command.Result:
        try:
            return command.run(
                # Paths are taken as they are, and are shown in ASCII, one a line.
                ["git", "--literal-pathspecs", "-c", "core.quotePath=true", *argv],
                timeout=_TIMEOUT,
                cancel=self._cancel,
                cwd=self._folder,
                env={
                    **(env or os.environ),
                    "LC_ALL": "C",
                    "GIT_OPTIONAL_LOCKS": "0",  # to look is not to write
                    "GIT_TERMINAL_PROMPT": "0",
                },
                stdin=stdin,
                check=check,
                keep=_MOST_LINES,
                what="asking git",
            )
        except StepError as error:
            raise StepError(error.what, excerpt=error.excerpt, fix="see what git says") from error


def _small(path: Path) -> bytes | None:
    try:
        facts = path.lstat()
        if stat.S_ISLNK(facts.st_mode):
            return os.fsencode(path.readlink())
        if not stat.S_ISREG(facts.st_mode) or facts.st_size > _TEXT:
            return None
        return path.read_bytes()
    except OSError:
        return None


def _moved(said: str) -> Iterator[Moved]:
    kinds = {"A": "added", "C": "added", "D": "deleted"}
    for line in said.splitlines():
        facts, *paths = line.removeprefix(":").split("\t")
        *modes, _, _, status = facts.split(" ")
        before, path = _unquoted(paths[0]), _unquoted(paths[-1])
        renamed = status[:1] == "R"
        yield Moved(
            path=path,
            before=before if renamed else "",
            kind=kinds.get(status[:1], "modified"),
            modes=(modes[0], modes[1]),
        )


def _unquoted(path: str) -> str:
    """Return a path that git may have quoted as C does (core.quotePath)."""
    if not (len(path) > 1 and path[0] == path[-1] == '"'):
        return path
    made: bytes = ast.literal_eval(f"b{path}")
    return os.fsdecode(made)
