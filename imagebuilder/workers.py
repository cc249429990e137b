"""Workers: Python processes in namespaces of their own, each for one job.

A worker loads for some tenths of a second what it needs.  So that nobody waits for that, it can
be started before its job is known.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress

from imagebuilder import command, sandbox
from imagebuilder.errors import ImageBuilderError
from imagebuilder.progress import Cancel

# By engine, those that are worth it.  Here, since to load an engine takes as long as its worker.
MODULES = {"direct": "imagebuilder.engines.direct.worker"}
TIMEOUT = 6 * 3600.0  # seconds for a whole image; each step of it has a limit of its own


class Worker:
    """A worker's process, which waits for its job.

    Args:
        module: what it runs; it reads the job from its standard input.
        network: whether it has the host's network.
        cancel: the wish to stop it.
        timeout: seconds that it may live.
    """

    def __init__(self, module: str, *, network: bool, cancel: Cancel, timeout: float) -> None:
        self._job = command.Later()
        self._on_line: Callable[[str], None] = lambda _: None
        self._is_over = False
        self._ended: Future[command.Result] = Future()

        def run() -> None:
            try:
                result = command.run(
                    sandbox.enclose([sys.executable, "-P", "-m", module], network=network),
                    timeout=timeout,
                    stdin=self._job,
                    cancel=cancel,
                    on_line=lambda line: self._on_line(line),
                    until=lambda: self._is_over,
                    raw=True,  # the worker masks secrets itself; masked here, its JSON could break
                    check=False,
                    what="building",
                    grace=0.0,  # what it would tidy up goes with its namespaces
                )
            except BaseException as error:  # it is raised where the end is waited for
                self._job.close()
                self._ended.set_exception(error)
            else:
                self._job.close()
                self._ended.set_result(result)

        # The process dies with the thread that started it, which has nothing else to do.
        threading.Thread(target=run, name=module, daemon=True).start()

    @property
    def is_there(self) -> bool:
        """Whether it has not ended."""
        return not self._ended.done()

    def work(self, job: bytes, on_line: Callable[[str], None]) -> command.Result:
        """Give it its job, and wait for its end.

        Args:
            job: what it reads.
            on_line: called with each line that it says, from a thread of its own.

        Raises:
            ImageBuilderError: as :func:`imagebuilder.command.run` does.
        """
        self._on_line = on_line
        self._job.give(job)
        try:
            return self._ended.result()
        except BaseException:
            self.end()
            raise

    def end(self) -> None:
        """End it, whatever it does."""
        self._is_over = True
        self._job.give(b"")
        with suppress(ImageBuilderError):
            self._ended.result()


_Kind = tuple[str, bool, Cancel, float]
_waiting: list[tuple[_Kind, Worker]] = []
_lock = threading.Lock()


@contextmanager
def ahead(
    module: str, *, network: bool, cancel: Cancel, timeout: float = TIMEOUT
) -> Iterator[None]:
    """Have a worker that waits for a job; if nobody has taken it by the end, it is ended.

    The arguments are those of :class:`Worker`.
    """
    kind = (module, network, cancel, timeout)
    mine = (kind, Worker(module, network=network, cancel=cancel, timeout=timeout))
    with _lock:
        _waiting.append(mine)
    try:
        yield
    finally:
        with _lock:
            is_left = mine in _waiting
            if is_left:
                _waiting.remove(mine)
        if is_left:
            mine[1].end()


def take(module: str, *, network: bool, cancel: Cancel, timeout: float) -> Worker:
    """Return a worker that was started ahead, or a new one.

    The arguments are those of :class:`Worker`.
    """
    kind = (module, network, cancel, timeout)
    with _lock:
        for each in _waiting:
            if each[0] == kind and each[1].is_there:
                _waiting.remove(each)
                return each[1]
    return Worker(module, network=network, cancel=cancel, timeout=timeout)
