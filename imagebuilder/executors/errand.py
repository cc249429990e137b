"""What a machine does that makes an image for another one.

It gets the project and the id of the image.  What it plans must come to that id: the same
recipe, packages, options, code.  What it makes goes to the remote cache, where the other machine
takes it from.  What has a secret in it is not made so: the secret is not here, and its image
would not go there.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from imagebuilder import cache, sharing
from imagebuilder.build import FAILED, build
from imagebuilder.errors import HostError, ImageBuilderError, StepError
from imagebuilder.executors.parcel import unwrap
from imagebuilder.options import Options
from imagebuilder.plan import Plan, changed, make_plan
from imagebuilder.progress import Cancel, Event, Reporter
from imagebuilder.project import Project

_LOG_LIMIT = 1 << 20  # bytes of a log that travel: the last ones


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Order(_Model):
    """One image that is asked for.

    Attributes:
        version: of imagebuilder, on the machine that asks.
        recipe: the recipe's name.
        image_id: what the plan of the machine that asks came to.
        inputs: the inputs of all its steps: kind, label and digest.
        remote: the URL of the remote cache.
        locked: as for :class:`~imagebuilder.Options`.
        small: as for :class:`~imagebuilder.Options`.
        again: make it, whatever is there.
    """

    version: str
    recipe: str
    image_id: str
    inputs: tuple[tuple[str, str, str], ...]
    remote: str
    locked: bool | None
    small: bool = False
    again: bool


class Delivery(_Model):
    """What came of it.

    Attributes:
        error: ``ImageBuilderError.to_dict`` of what went wrong; None: the image is there.
        log: the log that the error names, and its name.
        log_name: "" if there is none.
    """

    error: dict[str, Any] | None = None
    log: str = ""
    log_name: str = ""


def order_of(plan: Plan, remote: str, *, locked: bool | None, again: bool) -> Order:
    """Return the order for the image of a plan."""
    return Order(
        version=version("imagebuilder"),
        recipe=plan.name,
        image_id=plan.image_id,
        inputs=_inputs(plan),
        remote=remote,
        locked=locked,
        small=plan.small,
        again=again,
    )


def run(
    order: Order, parcel: bytes, cache_dir: Path, observe: Callable[[Event], None], cancel: Cancel
) -> Delivery:
    """Make an image, and give it to the remote cache.

    Args:
        order: which image.
        parcel: the project.
        cache_dir: this machine's cache.
        observe: is told what happens.
        cancel: the request to stop.

    Returns:
        how it went: no error is raised but what is a fault of the program.
    """
    try:
        with cache.work_folder(cache_dir / "work", f"{order.recipe}-project") as work:
            try:
                _run(order, parcel, work, cache_dir, observe, cancel)
            except ImageBuilderError as error:
                return _failed(error)
            except OSError as error:
                place = f": {error.filename}" if error.filename else ""
                return _failed(StepError(f"{error.strerror or error}{place}"))
    except ImageBuilderError as error:  # the folder cannot be removed
        return _failed(error)
    return Delivery()


def _run(
    order: Order,
    parcel: bytes,
    work: Path,
    cache_dir: Path,
    observe: Callable[[Event], None],
    cancel: Cancel,
) -> None:
    own = version("imagebuilder")
    if own != order.version:
        raise HostError(
            f"this worker has imagebuilder {own}, and was asked by {order.version}",
            fix="install the same version on all machines",
        )
    root = work / "project"
    root.mkdir()
    unwrap(parcel, root)
    project = Project.open(root)
    options = Options.make(
        observer=observe,
        cancel=cancel,
        cache_dir=cache_dir,
        locked=order.locked,
        remote_cache=order.remote,
    )
    remote = sharing.remote_of(project, options)
    if not remote or not remote.writes:
        raise HostError(
            f"this worker may only read the remote cache {order.remote}",
            fix="let workers write to it: what they make goes there",
        )
    reporter = Reporter(subject=order.recipe, observer=observe, cancel=cancel)

    def planned(*, refresh: bool) -> Plan:
        return make_plan(
            project,
            order.recipe,
            cache_dir=cache_dir,
            reporter=reporter,
            refresh=refresh,
            locked=order.locked,
            small=order.small,
            again=order.again,
            remote=remote,
        )

    plan = planned(refresh=False)
    if plan.image_id != order.image_id:
        plan = planned(refresh=True)  # the mirrors may have moved since this machine looked
    if plan.image_id != order.image_id:
        words = changed(order.inputs, _inputs(plan))
        raise StepError(
            f"on this worker it would be another image: {'; '.join(words[:5]) or 'other steps'}",
            fix="give all machines the same code, mirrors (imagebuilder.toml: [mirrors]) and "
            "environment; look at the mirrors again with --refresh, or use a lock file",
        )
    build(plan, again=order.again)
    if not remote.has("image", plan.steps[-1].id, reporter):
        raise StepError(
            "the image was made, and the remote cache has not taken it",
            fix=f"see the notes of this worker on {remote.url}",
        )


def _inputs(plan: Plan) -> tuple[tuple[str, str, str], ...]:
    return tuple(
        (each.kind, each.label, each.digest) for step in plan.steps for each in step.inputs
    )


def _failed(error: ImageBuilderError) -> Delivery:
    log, text, name = error.log, "", ""
    if log:
        try:
            text, name = log.read_bytes()[-_LOG_LIMIT:].decode(errors="replace"), log.name
        except OSError:
            pass  # the error has an excerpt of it
    error.log = None
    return Delivery(error=error.to_dict(), log=text, log_name=name)


def received(delivery: Delivery, plan: Plan) -> None:
    """Raise what went wrong on another machine, with its log on this one.

    Raises:
        ImageBuilderError: as it was raised there.
    """
    if delivery.error is None:
        return
    error = ImageBuilderError.from_dict(delivery.error)
    if delivery.log_name:
        folder = plan.folder.parent / FAILED
        folder.mkdir(parents=True, exist_ok=True)
        error.log = folder / Path(delivery.log_name).name
        error.log.write_text(delivery.log, encoding="utf-8")
    raise error
