"""Images that are made by the workers of a Dask cluster (dask.distributed).

The scheduler gives each image to a worker, and to another one if that one dies.  What they make
they give to the remote cache; from there it comes here.  Events travel as the cluster's own.
"""

from __future__ import annotations

import os
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

from imagebuilder.build import build, take
from imagebuilder.engines import SharingEngine
from imagebuilder.errors import ImageBuilderError, InputError, StepError
from imagebuilder.executors import errand
from imagebuilder.executors.parcel import wrap
from imagebuilder.image import Image
from imagebuilder.options import default_cache_dir
from imagebuilder.plan import Plan
from imagebuilder.progress import Cancel, Event, Reporter
from imagebuilder.sharing import private_steps

STEP = "executor"

_CONNECT = 15.0  # seconds until the scheduler must have answered
_POLL = 0.2  # seconds between two looks at the work and at the wish to stop
_WAITING = 5.0  # seconds after which it is said that no worker has begun
_ENDING = 30.0  # seconds for a worker to end what nobody wants any more
_QUIET = 0.5  # seconds between two events of progress of one step


class DaskExecutor:
    """Has images made by the workers of a cluster.

    Args:
        url: ``dask://HOST:PORT``, the scheduler's place; TLS and all else as Dask's own
            configuration says.

    Raises:
        InputError: the URL is none, or Dask is not installed here.
    """

    def __init__(self, url: str) -> None:
        place = urlsplit(url)
        try:
            port = place.port
        except ValueError:
            port = None
        if not place.hostname or not port or place.path not in ("", "/"):
            raise InputError(f"{url!r} names no scheduler", fix="write dask://HOST:PORT")
        try:
            import distributed
        except ImportError as error:
            raise InputError(
                "Dask is not installed", fix="run: pip install 'imagebuilder[dask]'"
            ) from error
        self._distributed: Any = distributed
        self._address = f"{place.hostname}:{port}"
        self._lock = threading.Lock()
        self._client: Any = None
        self._layers: dict[str, threading.Lock] = {}

    def build(self, plan: Plan, *, again: bool = False) -> Image:
        """Return the image of a plan, made by a worker; see :class:`executors.Executor`.

        Raises:
            InputError: there is no remote cache by which the image could come here.
            StepError: the scheduler cannot be reached, or the workers died.
            ImageBuilderError: what was raised where the image was made.
        """
        request, reporter = plan.request, plan.request.reporter
        if not again and (plan.image or plan.found):
            return build(plan)
        if request.offline:
            return build(plan, again=again)
        remote = request.remote
        if remote is None:
            raise InputError(
                "images that are made on other machines come by way of a remote cache, and "
                "none is named",
                fix='say cache = "s3://bucket/prefix" in imagebuilder.toml',
            )
        if why := _why_here(plan):
            reporter.note(STEP, f"it is made here: {why}")
            return build(plan, again=again)
        order = errand.order_of(plan, remote.source, locked=request.lock is not None, again=again)
        parcel = wrap(plan.resolved)
        with self._alone(plan, reporter), reporter.step(STEP, "on the cluster"):
            errand.received(self._ask(order, parcel, reporter), plan)
        made = take(plan)
        if made is None:
            raise StepError(
                "the image was made on another machine, and could not be taken from the remote "
                f"cache {remote.url}",
                fix="see the notes above",
            )
        return made

    def close(self) -> None:
        """Leave the cluster, with the threads that listen to it; a later build joins it again."""
        with self._lock:
            client, self._client = self._client, None
        if client is not None:
            client.close()

    @contextmanager
    def _alone(self, plan: Plan, reporter: Reporter) -> Iterator[None]:
        """Let each package layer be made for one image; those that have it, too, begin then.

        It is in the remote cache then: it is installed once, not once on each worker.  A layer
        comes after those below it, so that nobody waits in a circle.
        """
        remote, engine = plan.request.remote, plan.engine
        wanted = engine.shared_results(plan.request) if isinstance(engine, SharingEngine) else ()
        mine: list[threading.Lock] = []
        try:
            for each in wanted:
                if remote and remote.look("packages", each, reporter):
                    continue
                with self._lock:
                    is_first = each not in self._layers
                    lock = self._layers.setdefault(each, threading.Lock())
                    if is_first:
                        lock.acquire()
                        mine.append(lock)
                if not is_first:
                    self._wait_for(lock, reporter)
            yield
        finally:
            for lock in mine:
                lock.release()

    def _wait_for(self, lock: threading.Lock, reporter: Reporter) -> None:
        said = False
        while not lock.acquire(timeout=_POLL):
            if not said:
                reporter.note(STEP, "waiting for another image that has the same packages")
                said = True
            reporter.cancel.check()
        lock.release()

    def _ask(self, order: errand.Order, parcel: bytes, reporter: Reporter) -> errand.Delivery:
        """Have an image made, and return what came of it."""
        client = self._connected()
        topic = f"imagebuilder-{uuid.uuid4().hex}"
        relay = _Relay(reporter)
        client.subscribe_topic(topic, relay.take)
        future = client.submit(
            work, order.model_dump_json(), parcel, topic, key=topic, pure=False, retries=0
        )
        try:
            self._wait(client, future, relay, reporter)
            return errand.Delivery.model_validate_json(future.result())
        except ImageBuilderError:
            raise
        except self._distributed.KilledWorker as error:
            raise StepError(
                f"the workers that made {order.recipe} died, one after the other",
                fix="look at their logs: often the machine has no memory or disk left",
            ) from error
        except BaseException as error:
            reporter.cancel.check()
            if not isinstance(error, Exception):
                raise
            raise StepError(
                f"the cluster could not have {order.recipe} made: {type(error).__name__}: {error}",
                fix="see that imagebuilder with the extra dask, of this version, is installed "
                "on all workers, and that the scheduler runs",
            ) from error
        finally:
            relay.close()
            client.unsubscribe_topic(topic)

    def _wait(self, client: Any, future: Any, relay: _Relay, reporter: Reporter) -> None:
        began, said = time.monotonic(), False
        while not future.done():
            if reporter.cancel.is_set:
                # The worker sees that its task is not wanted any more.
                client.cancel([future], force=True)
                deadline = time.monotonic() + _ENDING
                while relay.is_running and time.monotonic() < deadline:
                    time.sleep(_POLL)
                reporter.cancel.check()
            if not said and not relay.is_running and time.monotonic() - began > _WAITING:
                reporter.note(STEP, "waiting for a worker that is free")
                said = True
            time.sleep(_POLL)

    def _connected(self) -> Any:
        with self._lock:
            if self._client is None or self._client.status != "running":
                try:
                    self._client = self._distributed.Client(
                        self._address, timeout=_CONNECT, set_as_default=False, name="imagebuilder"
                    )
                except (OSError, TimeoutError, ValueError) as error:
                    raise StepError(
                        f"the scheduler {self._address} cannot be reached: {error}",
                        fix="start it (dask scheduler), or correct the URL of the executor",
                    ) from error
            return self._client


def _why_here(plan: Plan) -> str:
    """Return why an image cannot be made elsewhere, or "" if it can."""
    private = private_steps(plan.request, plan.engine)
    if private:
        return "; ".join(private.values())
    try:
        told = plan.resolved.project.resolve(plan.name)
    except InputError:
        told = None
    if told is None or told.recipe != plan.resolved.recipe:
        return "the recipe stands in no file of the project, which is what workers are sent"
    return ""


class _Relay:
    """Hands on what a worker says, and says what became of it."""

    def __init__(self, reporter: Reporter) -> None:
        self._reporter = reporter
        self._lock = threading.Lock()
        self._open: dict[str, int] = {}
        self._is_closed = False
        self.is_running = False

    def take(self, event: tuple[float, Any]) -> None:
        """Take an event of the cluster."""
        _, message = event
        with self._lock:
            if self._is_closed:
                return
            if "began" in message:
                self._begin(str(message["began"]))
            elif "event" in message:
                self._pass(Event(**message["event"]))
            elif "ended" in message:
                self.is_running = False

    def close(self) -> None:
        """Hand on nothing more; steps of a worker that died are over."""
        with self._lock:
            self._end_steps("the worker ended")
            self._is_closed = True

    def _begin(self, worker: str) -> None:
        if self.is_running:
            self._reporter.note(STEP, "the worker died: another one begins again")
            self._end_steps("the worker died")
        self.is_running = True
        self._reporter.note(STEP, f"it is made by the worker {worker}")

    def _pass(self, event: Event) -> None:
        if event.kind == "started":
            self._open[event.step] = self._open.get(event.step, 0) + 1
        elif event.kind in ("finished", "failed") and event.step in self._open:
            self._open[event.step] -= 1
        self._reporter.observer(event)

    def _end_steps(self, why: str) -> None:
        for step, count in self._open.items():
            for _ in range(count):
                self._reporter.observer(
                    Event(
                        kind="failed",
                        subject=self._reporter.subject,
                        step=step,
                        text=why,
                        seconds=0.0,
                    )
                )
        self._open.clear()


# ----- on a worker -------------------------------------------------------------------------------


def work(order: str, parcel: bytes, topic: str) -> str:
    """Make an image on a worker: the task that the scheduler hands out.

    Returns:
        a :class:`~imagebuilder.executors.errand.Delivery` as JSON.
    """
    from distributed import get_worker

    worker = get_worker()
    key = worker.get_current_task()
    cancel = Cancel()
    ended = threading.Event()

    def say(message: dict[str, Any]) -> None:
        worker.log_event(topic, message)

    def watch() -> None:
        # Dask does not end a task that runs.  It notes that nobody wants it any more: because it
        # was cancelled, or because who wanted it is gone.
        while not ended.wait(1.0):
            state = worker.state.tasks.get(key)
            if state is None or state.state != "executing":
                cancel.set("nobody waits for it any more")
                return

    say({"began": f"{worker.name} ({worker.address}, process {os.getpid()})"})
    threading.Thread(target=watch, name="imagebuilder-watch", daemon=True).start()
    try:
        delivery = errand.run(
            errand.Order.model_validate_json(order),
            parcel,
            default_cache_dir(),
            _quieted(lambda event: say({"event": event.to_dict()})),
            cancel,
        )
    finally:
        ended.set()
        say({"ended": True})
    return delivery.model_dump_json()


def _quieted(observe: Callable[[Event], None]) -> Callable[[Event], None]:
    """Pass on events, of progress not more than a scheduler can take."""
    last: dict[str, float] = {}

    def take(event: Event) -> None:
        now = time.monotonic()
        if event.kind == "progress":
            is_end = event.total is not None and event.done == event.total
            if not is_end and now - last.get(event.step, 0.0) < _QUIET:
                return
            last[event.step] = now
        observe(event)

    return take
