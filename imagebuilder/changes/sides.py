"""A project before and after a change: what of it is laid out to be looked at, and where."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from imagebuilder.changes.compare import Copied
from imagebuilder.changes.git import Moved, Repository
from imagebuilder.changes.reach import KICKSTARTS, RECIPES
from imagebuilder.errors import StepError
from imagebuilder.kickstart.fragment import unchanging
from imagebuilder.names import PROJECT_FILE
from imagebuilder.project import Project

# What of a project is laid out to be rendered; of what is copied into images, git's word will do.
_LAID_OUT = ("recipes", "kickstarts", PROJECT_FILE)

# Where files live in memory, tmpfs(5): to make a thousand there costs a tenth of the time.
_IN_MEMORY = "/dev/shm"  # noqa: S108 - what is made there has a name that nobody can guess
_PREFIX = "imagebuilder-side-"

_READ = 200  # changed files whose texts are read


@dataclass(frozen=True)
class Sides:
    """A project before and after, and what changed in between.

    ``old`` is the folder, since what was there before may be no project; ``repository`` is there
    if it is wanted how they differ.
    """

    old: Path | None
    new: Project
    moved: tuple[Moved, ...]
    before: str = ""
    after: str = ""
    repository: Repository | None = None

    @cached_property
    def copied(self) -> tuple[Copied, ...]:
        """What changed beside recipes and fragments, with the texts before and after."""
        ours = (RECIPES, KICKSTARTS)
        found = [each for each in self.moved if not each.path.startswith(ours)]
        return tuple(
            Copied(
                path=each.path,
                kind=each.kind,
                texts=self._texts(each) if n < _READ else None,
                modes=each.modes,
            )
            for n, each in enumerate(found)
        )

    def _texts(self, each: Moved) -> tuple[str, str] | None:
        assert self.repository
        old = new = ""
        if each.kind != "added":
            said = self.repository.text(self.before, each.before or each.path)
            if said is None:
                return None
            old = said
        if each.kind != "deleted":
            said = self.repository.text(self.after, each.path)
            if said is None:
                return None
            new = said
        return old, new


@contextmanager
def laid_out(repository: Repository, commit: str) -> Iterator[Path]:
    """Give a folder with what recipes are made of, as it is in a commit.

    It is in memory where there is room, and it is gone afterwards; what others left there that
    were killed goes with the next one.
    """
    with ExitStack() as stack:
        for place in (_IN_MEMORY, None):
            if place and not os.access(place, os.W_OK | os.X_OK):
                continue
            folder = stack.enter_context(_own_folder(place))
            try:
                repository.lay_out(commit, _LAID_OUT, folder / "project", folder / "scratch")
            except (StepError, OSError):
                if place is None:
                    raise
                continue  # there may be no room: a container's memory for this is small
            (folder / "project/recipes").mkdir(exist_ok=True)
            with unchanging(folder.resolve()):
                yield folder / "project"
            return


@contextmanager
def _own_folder(place: str | None) -> Iterator[Path]:
    where = Path(place or tempfile.gettempdir())
    for left in where.glob(f"{_PREFIX}*"):
        with suppress(OSError), _locked(left):
            shutil.rmtree(left, ignore_errors=True)
    made = Path(tempfile.mkdtemp(prefix="imagebuilder-new-", dir=where))
    folder = made.with_name(made.name.replace("imagebuilder-new-", _PREFIX, 1))
    try:
        with _locked(made):
            made.rename(folder)  # only now: what has this name and no lock is nobody's
            yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        with suppress(OSError):
            made.rmdir()


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold a folder of this user's own for as long as this process lives.

    Raises:
        OSError: somebody else holds it, or it is none of ours.
    """
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        if os.fstat(fd).st_uid != os.geteuid():
            raise PermissionError(f"{folder} is somebody else's")
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(fd)
