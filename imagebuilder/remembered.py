"""What was planned before, for as long as nothing that it followed from has changed.

To plan a recipe takes milliseconds, and loading what plans takes a third of a second: a
thousand recipes of which none changed need neither.  What plans followed from is looked at as
:mod:`imagebuilder.witness` does, twice: before the first plan of a process and after its last.
Only if both are the same, and older than a tick of the clock, are the plans kept.

Nothing of it is needed: if it is not there, cannot be read, or is of another version, all is
planned anew.  Recipes with secrets are never remembered: what they follow from is not to be kept.
"""

from __future__ import annotations

import hashlib
import os
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from imagebuilder import shipped, witness
from imagebuilder.errors import InputError
from imagebuilder.image import Image
from imagebuilder.names import EPOCH, REMOTE_CACHE
from imagebuilder.outlook import IN_CACHE, NEVER_MADE, Outlook, OutlookStep, why_reused

if TYPE_CHECKING:
    from imagebuilder.plan import Plan

_ENVIRONMENT = (EPOCH, REMOTE_CACHE)  # variables that plans follow from
# Packages whose version changes what a recipe comes to.
_RESTS_ON = ("jinja2", "pydantic", "pydantic_core", "pykickstart")


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Row(_Model):
    """What ``list`` says of a recipe; without a distro if it cannot be resolved."""

    name: str
    distro: str = ""
    arch: str = ""
    engine: str = ""
    extends: tuple[str, ...] = ()
    matrix: dict[str, str] = {}
    abstract: bool = False
    summary: str = ""


class _Step(_Model):
    name: str
    id: str
    text: str


class _Plan(_Model):
    image_id: str
    engine: str
    steps: tuple[_Step, ...]
    notes: tuple[str, ...]
    watched: int  # which of the memory's
    remote: bool = False  # whether there was a remote cache to ask for results


class _Watched(_Model):
    """What plans followed from beside the project; see ``engines.Watched``."""

    paths: tuple[str, ...]
    seen: str
    texts: tuple[tuple[str, str], ...]
    since: float
    until: float


class _Memory(_Model):
    """``plans/DIGEST.json`` in the cache: what is remembered of a project."""

    format: Literal[1] = 1
    common: str
    selected: dict[str, tuple[str, ...]] = {}
    rows: dict[str, tuple[Row, ...]] = {}
    plans: dict[str, _Plan] = {}
    watched: tuple[_Watched, ...] = ()


class Remembered:
    """The plans of a project that are remembered.

    Args:
        root: the project's folder.
        cache_dir: where results that images share are kept.
        manner: other plans follow from the same recipes if they are made in another manner.
    """

    def __init__(self, root: Path, cache_dir: Path, manner: str = "") -> None:
        self._root = root.absolute()
        self._cache_dir = cache_dir
        said = os.fsencode(self._root) + (f"\0{manner}" if manner else "").encode()
        name = hashlib.sha256(said).hexdigest()[:32]
        self._path = cache_dir / "plans" / f"{name}.json"
        self._common_paths = tuple(_common_paths(self._root))
        self._seen = witness.look(self._common_paths)
        self._began = time.time_ns()
        self._common = self._identity(self._seen)
        self._old = self._read()
        self._lock = threading.Lock()
        self._is_current: dict[int, bool] = {}
        self._selected = dict(self._old.selected)
        self._rows = dict(self._old.rows)
        self._plans: dict[str, _Plan] = {}
        self._watched: dict[_Watched, int] = {}
        self._looked: dict[tuple[str, ...], witness.Seen | None] = {}
        self._is_new = False

    def recall(self, name: str) -> Outlook | None:
        """Return what the plan of a recipe comes to, or None if it must be planned.

        Which of its results are there is looked up now, not remembered.
        """
        plan = self._old.plans.get(name)
        if plan is None or not self._holds(plan.watched):
            return None
        place = self._root / "build" / name
        image = _image(place / plan.image_id)
        if image is None and (plan.remote or (place / "latest").is_symlink()):
            # What the remote cache has is asked each time; why the image must be made is found
            # by comparing it with the latest.
            return None
        return Outlook(
            name=name,
            image_id=plan.image_id,
            steps=tuple(self._step(plan, each, image) for each in plan.steps),
            notes=plan.notes,
            image=image,
        )

    def selected(self, wanted: str) -> tuple[str, ...] | None:
        """Return the recipes that a name stands for ("": all recipes), or None if not known."""
        return self._old.selected.get(wanted)

    def rows(self, kind: str) -> tuple[Row, ...] | None:
        """Return what ``list`` says, or None if not known."""
        return self._old.rows.get(kind)

    def note_selected(self, wanted: str, names: Sequence[str]) -> None:
        """Remember the recipes that a name stands for."""
        with self._lock:
            self._selected[wanted] = tuple(names)
            self._is_new = True

    def note_rows(self, kind: str, rows: Sequence[Row]) -> None:
        """Remember what ``list`` says."""
        with self._lock:
            self._rows[kind] = tuple(rows)
            self._is_new = True

    def note(self, plan: Plan) -> None:
        """Remember a plan, if all that it followed from can be watched."""
        followed = plan.watched()
        if followed is None:
            return
        with self._lock:
            seen = self._looked_at(followed.paths)
            if seen is None or not seen.settled(self._began):
                return
            watched = _Watched(
                paths=followed.paths,
                seen=seen.digest,
                texts=followed.texts,
                since=followed.since,
                until=followed.until,
            )
            self._plans[plan.name] = _Plan(
                image_id=plan.image_id,
                engine=plan.resolved.recipe.engine,
                steps=tuple(
                    _Step(name=each.name, id=each.id, text=each.text) for each in plan.steps
                ),
                notes=plan.notes,
                watched=self._watched.setdefault(watched, len(self._watched)),
                remote=plan.request.remote is not None,
            )
            self._is_new = True

    def save(self) -> None:
        """Keep what was noted, if what it followed from was the same all the time."""
        with self._lock:
            seen = witness.look(self._common_paths)
            if not self._is_new or seen is None or not seen.settled(self._began):
                return
            if self._identity(seen) != self._common:
                return
            plans = dict(self._plans)
            watched = dict(self._watched)
            for name, plan in self._old.plans.items():
                if name not in plans and self._holds(plan.watched):
                    there = watched.setdefault(self._old.watched[plan.watched], len(watched))
                    plans[name] = plan.model_copy(update={"watched": there})
            memory = _Memory(
                common=self._common,
                selected=self._selected,
                rows=self._rows,
                plans=plans,
                watched=tuple(watched),
            )
            try:
                self._write(memory.model_dump_json())
            except OSError:
                pass  # a full disk: it is planned anew next time

    def _write(self, text: str) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        temporary = self._path.with_name(f".{self._path.name}.{os.getpid()}")
        try:
            temporary.write_text(text, encoding="utf-8")
            temporary.replace(self._path)
        finally:
            temporary.unlink(missing_ok=True)

    def _read(self) -> _Memory:
        nothing = _Memory(common=self._common)
        try:
            memory = _Memory.model_validate_json(self._path.read_bytes())
        except (OSError, ValidationError):
            return nothing
        return memory if self._common and memory.common == self._common else nothing

    def _identity(self, seen: witness.Seen | None) -> str:
        if seen is None:
            return ""
        said = "\n".join(
            (
                seen.digest,
                sys.version,
                str(os.geteuid()),
                str(self._cache_dir),
                *(os.environ.get(each, "") for each in _ENVIRONMENT),
            )
        )
        return hashlib.sha256(said.encode()).hexdigest()[:32]

    def _holds(self, number: int) -> bool:
        if number not in self._is_current:
            self._is_current[number] = self._still(self._old.watched[number])
        return self._is_current[number]

    def _still(self, watched: _Watched) -> bool:
        if not watched.since <= time.time() < watched.until:
            return False
        if any(text_digest(path) != digest for path, digest in watched.texts):
            return False
        seen = self._looked_at(watched.paths)
        return seen is not None and seen.digest == watched.seen

    def _looked_at(self, paths: tuple[str, ...]) -> witness.Seen | None:
        if paths not in self._looked:
            self._looked[paths] = witness.look(paths)
        return self._looked[paths]

    def _step(self, plan: _Plan, step: _Step, image: Image | None) -> OutlookStep:
        if image:
            reused, reason = True, why_reused(image)
        else:
            from imagebuilder import engines

            reused = engines.find(plan.engine).has(self._cache_dir, step.name, step.id)
            reason = IN_CACHE if reused else NEVER_MADE
        return OutlookStep(name=step.name, text=step.text, reused=reused, reason=reason)


@contextmanager
def opened(root: Path, cache_dir: Path, manner: str = "") -> Iterator[Remembered]:
    """Open what is remembered of a project; at the end keep what was noted."""
    memory = Remembered(root, cache_dir, manner)
    yield memory
    memory.save()


def text_digest(path: str) -> str:
    """Return the digest of a small file, or "" if it cannot be read."""
    try:
        return hashlib.sha256(Path(path).read_bytes()).hexdigest()
    except OSError:
        return ""


def _common_paths(root: Path) -> Iterator[str]:
    """Give what all recipes of a project follow from: the project, and the code."""
    yield from (f"{root}/{name}" for name in ("imagebuilder.toml", "recipes", "kickstarts"))
    yield str(Path(__file__).parent)
    yield from (str(shipped.folder(kind)) for kind in ("recipes", "kickstarts"))
    for name in _RESTS_ON:
        found = find_spec(name)
        if found and found.origin:
            yield found.origin


def _image(folder: Path) -> Image | None:
    try:
        return Image.open(folder)
    except InputError:
        return None
