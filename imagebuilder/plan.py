"""plan: which steps make an image, which of them must run, and why."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from imagebuilder import engines, lockfile, sharing
from imagebuilder.engines import (
    Engine,
    Input,
    LockingEngine,
    Request,
    Step,
    StepSpec,
    Watched,
    WatchedEngine,
)
from imagebuilder.engines.base import step_id
from imagebuilder.errors import InputError
from imagebuilder.image import FACTS, Image, StepRecord
from imagebuilder.kickstart import Kickstart, compose
from imagebuilder.lockfile import LockFile
from imagebuilder.names import why_no_argument
from imagebuilder.outlook import IN_CACHE, IN_REMOTE, NEVER_MADE, Outlook, OutlookStep, why_reused
from imagebuilder.progress import Reporter
from imagebuilder.project import Project, ResolvedRecipe
from imagebuilder.recipe import Recipe
from imagebuilder.remote import Manifest, Remote

_FORMAT = "1"  # of the image directory; changed when its layout is
_NAMED = 3  # how many changed inputs a reason names


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What must be done to have an image.

    Attributes:
        image_id: the image's id: follows from all inputs of all steps.
        request: what the engine is asked.
        engine: what makes the image.
        steps: all steps, in order.
        kernel_args: what the image will want on its kernel's command line.
        notes: what has no effect, what is deprecated.
        image: the image, if it is there already.
        private: for people: what of it is not shared with the remote cache, and why.
        found: the image's manifest in the remote cache, if it is to be taken from there.
        small: whether the image is made small, however long it takes.
    """

    image_id: str
    request: Request
    engine: Engine
    steps: tuple[Step, ...]
    kernel_args: tuple[str, ...]
    notes: tuple[str, ...]
    image: Image | None
    private: tuple[str, ...] = ()
    found: Manifest | None = None
    small: bool = False

    @property
    def name(self) -> str:
        """The recipe's name."""
        return self.request.resolved.name

    @property
    def resolved(self) -> ResolvedRecipe:
        """The recipe."""
        return self.request.resolved

    @property
    def kickstart(self) -> Kickstart:
        """The recipe's kickstart."""
        return self.request.kickstart

    @property
    def up_to_date(self) -> bool:
        """Whether nothing must be done."""
        return all(step.reused and not step.remote for step in self.steps)

    @property
    def folder(self) -> Path:
        """Where the image is, or will be."""
        return self.resolved.project.build_dir / self.name / self.image_id

    def outlook(self) -> Outlook:
        """Return what the plan comes to, for people."""
        return Outlook(
            name=self.name,
            image_id=self.image_id,
            steps=tuple(
                OutlookStep(
                    name=step.name,
                    text=step.text,
                    reused=step.reused,
                    reason=step.reason,
                    remote=step.remote,
                )
                for step in self.steps
            ),
            notes=(*self.notes, *self.private),
            image=self.image,
        )

    def watched(self) -> Watched | None:
        """Return what the plan followed from beside the project, or None if nobody can say.

        A secret is nothing that can be watched: what follows from one is planned each time.
        """
        if self.request.vault.values() or not isinstance(self.engine, WatchedEngine):
            return None
        return self.engine.watched(self.request)

    def to_dict(self) -> dict[str, Any]:
        """Return the plan as plain JSON data."""
        return {
            "recipe": self.name,
            "image_id": self.image_id,
            "engine": self.resolved.recipe.engine,
            "locked": self.request.lock is not None,
            "up_to_date": self.up_to_date,
            "kernel_args": list(self.kernel_args),
            "steps": [
                {
                    "name": step.name,
                    "id": step.id,
                    "reused": step.reused,
                    "remote": step.remote,
                    "reason": step.reason,
                    "text": step.text,
                    "inputs": [
                        {"kind": each.kind, "label": each.label, "digest": each.digest}
                        for each in step.inputs
                    ],
                }
                for step in self.steps
            ],
            "notes": [*self.notes, *self.private],
        }


def make_plan(
    project: Project,
    wanted: str | Recipe,
    *,
    cache_dir: Path,
    reporter: Reporter,
    refresh: bool = False,
    offline: bool = False,
    locked: bool | None = None,
    small: bool = False,
    again: bool = False,
    remote: Remote | None = None,
) -> Plan:
    """Resolve and compose a recipe, and find out what must be done to have its image.

    Args:
        project: where it belongs.
        wanted: its name, or a recipe made in Python.
        cache_dir: where results that several images share are kept.
        reporter: where progress goes.
        refresh: look at the package mirrors even if they were looked at a short while ago.
        offline: use no network: what is in the cache must do.
        locked: whether exactly the packages of the recipe's lock file are installed; None: as
            the recipe or the project says.
        small: make the image small, however long it takes.
        again: plan to run every step, whatever is there.
        remote: where results come from that other machines have made.

    Raises:
        InputError: the recipe or its kickstart is wrong; nothing was made.
        StepError: the package mirrors cannot be reached, or lack what is locked.
    """
    resolved = _resolved(project, wanted, small=small)
    engine = engines.find(resolved.recipe.engine, resolved.place("engine"))
    request = Request(
        resolved=resolved,
        kickstart=compose(resolved),
        cache_dir=cache_dir,
        reporter=reporter,
        refresh=refresh,
        offline=offline,
        vault=resolved.vault(reporter.cancel),
        lock=_lock(resolved, engine, locked),
        remote=remote,
    )
    _check_arguments(request.kickstart)
    notes = (*request.kickstart.warnings, *engine.check(request))
    args = (*request.kickstart.kernel_args, *resolved.recipe.kernel.args)
    specs = (*engine.steps(request), _last_step(resolved, args))
    ids = _ids(specs)
    image_id = ids[sharing.STEP][:16]
    image = _image(project.build_dir / resolved.name / image_id)
    latest = _image(project.build_dir / resolved.name / "latest")
    before = {each.name: each for each in latest.facts.steps} if latest else {}
    private = sharing.private_steps(request, engine) if remote and (again or not image) else {}
    found: Manifest | None = None
    if remote and not image and not again and sharing.STEP not in private:
        found = remote.look("image", ids[sharing.STEP], reporter)
    steps: list[Step] = []
    for spec in specs:
        is_here = is_there = False
        if again:
            reason = "asked to make everything again"
        elif image:
            is_here, reason = True, why_reused(image)
        elif engine.has(cache_dir, spec.name, ids[spec.name]):
            is_here, reason = True, IN_CACHE
        elif found or sharing.is_there(request, engine, spec.name, ids[spec.name]):
            is_there, reason = True, IN_REMOTE
        else:
            reason = _why(spec, before, steps)
        steps.append(
            Step(
                name=spec.name,
                id=ids[spec.name],
                inputs=spec.inputs,
                text=spec.text,
                reused=is_here or is_there,
                reason=reason,
                remote=is_there,
            )
        )
    if request.lock and isinstance(engine, LockingEngine):
        engine.check_lock(request, steps)
    return Plan(
        image_id=image_id,
        small=small,
        request=request,
        engine=engine,
        steps=tuple(steps),
        kernel_args=args,
        notes=notes,
        image=image if not again else None,
        private=tuple(private.values()) if remote and remote.writes else (),
        found=found,
    )


def _resolved(project: Project, wanted: str | Recipe, *, small: bool) -> ResolvedRecipe:
    """Return the recipe that is planned."""
    resolved = project.resolve(wanted)
    if resolved.recipe.abstract:
        raise InputError(
            f"{resolved.name!r} is abstract: it is only there to be extended",
            where=resolved.place("abstract"),
            fix="name a recipe that extends it, or take out: abstract = true",
        )
    if not small:
        return resolved
    options = resolved.recipe.image.made_small()
    return replace(resolved, recipe=resolved.recipe.model_copy(update={"image": options}))


def _last_step(resolved: ResolvedRecipe, args: Sequence[str]) -> StepSpec:
    """Return the step that is the same whatever engine makes the image."""
    return StepSpec(
        name=sharing.STEP,
        text="put the image together",
        inputs=(
            Input.of("format", _FORMAT, "the image's format"),
            Input.of("recipe", resolved.name, "the recipe's name"),
            Input.of("summary", resolved.recipe.summary, "the recipe's summary"),
            Input.of("kernel-args", " ".join(args), "the kernel arguments"),
        ),
    )


def _lock(resolved: ResolvedRecipe, engine: Engine, asked: bool | None) -> LockFile | None:
    """Return the lock file that a recipe is built by, or None if it is built without one."""
    wanted = resolved.is_locked if asked is None else asked
    if not wanted:
        return None
    root, name = resolved.project.root, resolved.name
    if not isinstance(engine, LockingEngine):
        raise InputError(
            f"the engine {resolved.recipe.engine!r} has no lock files",
            where=resolved.place("engine"),
        )
    lock = lockfile.read(root, name)
    if lock is None:
        raise InputError(
            f"{name!r} has no lock file",
            where=lockfile.place_of(root, name)[1],
            fix=f"run: imagebuilder lock {name}",
        )
    return lock


def _check_arguments(kickstart: Kickstart) -> None:
    for command in kickstart.all("bootloader"):
        for word in (command.data.appendLine or "").split():
            if why := why_no_argument(word):
                raise InputError(
                    f"bootloader --append: {why}",
                    where=command.where,
                    fix="take it out of the line",
                )


def _ids(specs: Sequence[StepSpec]) -> dict[str, str]:
    """Return the content id of each step; that of the last follows from all before it."""
    ids: dict[str, str] = {}
    for spec in specs:
        below = [ids[spec.after]] if spec.after else list(ids.values())
        ids[spec.name] = step_id(spec.name, below, spec.inputs)
    return ids


def _image(folder: Path) -> Image | None:
    if not os.path.exists(folder / FACTS):  # noqa: PTH110 - an error takes ten times as long
        return None
    try:
        return Image.open(folder)
    except InputError:
        return None


def _why(spec: StepSpec, before: dict[str, StepRecord], above: Sequence[Step]) -> str:
    old = before.get(spec.name)
    if old is None:
        return NEVER_MADE
    changes = changed(
        [(each.kind, each.label, each.digest) for each in old.inputs],
        [(each.kind, each.label, each.digest) for each in spec.inputs],
    )
    if changes:
        more = f" and {len(changes) - _NAMED} more" if len(changes) > _NAMED else ""
        return "; ".join(changes[:_NAMED]) + more
    ran = [step.name for step in above if step.id != getattr(before.get(step.name), "id", "")]
    if spec.after in ran or (not spec.after and ran):
        return f"{spec.after or ran[-1]} changed"
    return "its result is no longer there"


def changed(old: Sequence[tuple[str, str, str]], new: Sequence[tuple[str, str, str]]) -> list[str]:
    """Say in words how inputs, each (kind, label, digest), differ."""
    had = Counter((kind, digest) for kind, _, digest in old)
    has = Counter((kind, digest) for kind, _, digest in new)
    gone = [label for kind, label, digest in old if (kind, digest) not in has]
    gone_kinds = Counter(kind for kind, _, digest in old if (kind, digest) not in has)
    words: list[str] = []
    replaced: Counter[str] = Counter()
    for kind, label, digest in new:
        if (kind, digest) in had:
            continue
        if gone_kinds[kind] > replaced[kind]:
            replaced[kind] += 1
            words.append(f"{label} changed")
        else:
            words.append(f"{label} is new")
    lost = Counter(replaced)
    for kind, label, digest in old:
        if (kind, digest) in has:
            continue
        if lost[kind]:
            lost[kind] -= 1
            continue
        words.append(f"{label} is gone")
    if not words and not gone and [each[::2] for each in old] != [each[::2] for each in new]:
        words.append("the order changed")
    return words
