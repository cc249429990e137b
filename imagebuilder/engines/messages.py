"""What a worker and the process that started it say to each other: lines of JSON over pipes.

A line is a table with one key: the kind of message, and what it says.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from typing import Any

from imagebuilder import command, workers
from imagebuilder.errors import ImageBuilderError, StepError
from imagebuilder.progress import Event, Reporter

Say = Callable[[str, Any], None]


def speaker() -> Say:
    """Return how a worker speaks; from then on nothing else comes between its messages."""
    out = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # whatever else prints
    os.umask(0o022)  # scripts are not to make other files for another caller

    def say(kind: str, data: Any) -> None:
        out.write(json.dumps({kind: _masked(data)}) + "\n")

    return say


def listener(
    observer: Callable[[Event], None], on: Mapping[str, Callable[[Any], None]]
) -> Callable[[str], None]:
    """Return what takes a worker's lines: events go to the observer, others by their kind."""

    def take(line: str) -> None:
        try:
            message = json.loads(line)
        except ValueError:
            return
        for kind, data in message.items() if isinstance(message, dict) else ():
            if kind == "event":
                observer(Event(**data))
            elif kind in on:
                on[kind](data)

    return take


def run_worker(
    module: str,
    job: str,
    reporter: Reporter,
    *,
    timeout: float,
    network: bool,
    on: Mapping[str, Callable[[Any], None]],
) -> Any:
    """Run a worker in namespaces of its own; return its outcome.

    Args:
        module: the worker.
        job: what it reads, JSON.
        reporter: where its events go, and the wish to stop comes from.
        timeout: seconds.
        network: whether it has the host's network.
        on: what is done with its other messages, by kind.

    Raises:
        ImageBuilderError: what it ended with.
        StepError: it ended without a word.
    """
    outcomes: list[Any] = []
    failures: list[Any] = []
    take = listener(reporter.observer, {**on, "outcome": outcomes.append, "error": failures.append})
    worker = workers.take(module, network=network, cancel=reporter.cancel, timeout=timeout)
    result = worker.work(job.encode(), take)
    if failures:
        raise ImageBuilderError.from_dict(failures[0])
    if not outcomes or result.returncode != 0:
        raise StepError(
            f"the worker ended without a result (exit status {result.returncode})",
            excerpt="\n".join(result.stderr.splitlines()[-15:]),
            fix="this is a fault of imagebuilder, or the system ended the worker for lack of "
            "memory: see dmesg",
        )
    return outcomes[0]


def _masked(data: Any) -> Any:
    """Return plain data with the secrets in its texts masked."""
    if isinstance(data, str):
        return command.redact(data)
    if isinstance(data, dict):
        return {key: _masked(each) for key, each in data.items()}
    return [_masked(each) for each in data] if isinstance(data, list | tuple) else data
