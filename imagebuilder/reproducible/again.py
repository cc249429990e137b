"""Builds a recipe again in other circumstances: a program of its own.

It reads an :class:`Order` from standard input and writes JSON lines to standard output: events,
then the folder of the image, or an error.  A process has one umask, one time zone and one
language: those of its caller are not to be touched.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from imagebuilder.build import build
from imagebuilder.errors import ImageBuilderError
from imagebuilder.options import Options
from imagebuilder.pipeline import plan_image
from imagebuilder.progress import Cancel, Event
from imagebuilder.project import Project

UMASK = 0o077


class Order(BaseModel):
    """What is to be built.

    Attributes:
        root: the folder of the project.
        recipe: its name.
        cache_dir: a cache without results.
        offline: use no network.
        locked: as for :class:`~imagebuilder.Options`.
        small: likewise.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    root: Path
    recipe: str
    cache_dir: Path
    offline: bool
    locked: bool | None
    small: bool = False


def main() -> int:
    """Run as a program: the order on standard input, messages on standard output."""
    cancel = Cancel()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: cancel.set())
    os.umask(UMASK)

    def say(kind: str, data: Any) -> None:
        sys.stdout.write(json.dumps({kind: data}) + "\n")
        sys.stdout.flush()

    def observe(event: Event) -> None:
        say("event", event.to_dict())

    order = Order.model_validate_json(sys.stdin.buffer.read())
    options = Options.make(
        observer=observe,
        cancel=cancel,
        cache_dir=order.cache_dir,
        offline=order.offline,
        locked=order.locked,
        small=order.small,
        remote_cache="",  # all of it is to be made here
    )
    try:
        # Not as the pipeline does: the cache's packages are the caller's, and not to be pruned.
        image = build(plan_image(Project.open(order.root), order.recipe, options))
    except ImageBuilderError as error:
        say("error", error.to_dict())
        return 1
    say("image", str(image.path))
    return 0


if __name__ == "__main__":
    sys.exit(main())
