"""Plans of the recipes that a command line names: remembered ones where nothing has changed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from imagebuilder import workers
from imagebuilder.cli.context import Context
from imagebuilder.errors import ImageBuilderError, InputError, listed
from imagebuilder.image import Image
from imagebuilder.names import EXECUTOR, LOCAL
from imagebuilder.options import Options
from imagebuilder.outlook import Outlook
from imagebuilder.progress import Reporter
from imagebuilder.remembered import Remembered
from imagebuilder.remembered import opened as memory_opened

# What plans is loaded only when something is to be planned.
if TYPE_CHECKING:
    from imagebuilder.plan import Plan
    from imagebuilder.project import Project

_ALL = ""  # by this name the memory knows all recipes


class Planning:
    """The project of a command line, and what is to be done for its recipes."""

    def __init__(self, context: Context, memory: Remembered) -> None:
        self._context = context
        self.memory = memory
        self.options: Options = context.options()

    @cached_property
    def project(self) -> Project:
        """The project; opening it loads what reads recipes."""
        return self._context.project()

    def names(self) -> tuple[str, ...]:
        """Return the recipes that the command line names.

        Raises:
            InputError: none is named, or there is none of a name.
        """
        args = self._context.args
        if args.all:
            return self._selected(_ALL)
        if not args.names:
            raise InputError(
                "no recipe is named",
                fix=f"name some, or say --all: there are {listed(self._selected(_ALL))}",
            )
        found = dict.fromkeys(name for each in args.names for name in self._selected(each))
        return tuple(found)

    def _selected(self, wanted: str) -> tuple[str, ...]:
        known = self.memory.selected(wanted)
        if known is None:
            known = self.project.names() if wanted == _ALL else self.project.select([wanted])
            self.memory.note_selected(wanted, known)
        return known

    def outlook(self, name: str, *, refresh: bool = False) -> Outlook:
        """Return what must be done for a recipe.

        Args:
            name: its name.
            refresh: look at the package mirrors now, if the command line says so.

        Raises:
            InputError: the recipe or its kickstart is wrong.
        """
        return self._recalled(name) or self.plan(name, refresh=refresh).outlook()

    def plan(self, name: str, *, refresh: bool = False) -> Plan:
        """Return the plan for a recipe, made now; see :meth:`outlook`."""
        from imagebuilder import pipeline

        options = self.options if refresh else replace(self.options, refresh=False)
        plan = pipeline.plan_image(self.project, name, options)
        self.memory.note(plan)
        return plan

    def image(self, name: str) -> Image:
        """Return the image of a recipe, made if it is not there.

        Raises:
            ImageBuilderError: as :func:`imagebuilder.build_image` does.
        """
        known = self._recalled(name)
        if known and known.image:
            reporter = Reporter(subject=name, observer=self.options.observer)
            reporter.reused("image", f"{known.image_id}: {known.steps[-1].reason}")
            return known.image
        with self._worker_ahead(name):
            from imagebuilder import pipeline

            return pipeline.carry_out(self.plan(name, refresh=True), self.options)

    def _worker_ahead(self, name: str) -> AbstractContextManager[None]:
        """Start the worker that is most likely wanted, before what plans is even loaded."""
        try:
            recipe = self.project.resolve(name).recipe
        except ImageBuilderError:
            return nullcontext()  # what is wrong is said where it is planned
        module = workers.MODULES.get(recipe.engine)
        where = (self.options.executor, os.environ.get(EXECUTOR), self.project.settings.executor)
        if not module or any(each not in (None, "", LOCAL) for each in where):
            return nullcontext()
        options = self.options
        return workers.ahead(module, network=not options.offline, cancel=options.cancel)

    def _recalled(self, name: str) -> Outlook | None:
        if self.options.again or self.options.refresh:
            return None
        return self.memory.recall(name)


@contextmanager
def planning(context: Context) -> Iterator[Planning]:
    """Open what is remembered of the project, and keep at the end what was planned."""
    options = context.options()
    manner = {None: "", True: "locked", False: "unlocked"}[options.locked]
    manner += " small" if options.small else ""
    with memory_opened(Path(context.args.directory), options.cache_dir, manner) as memory:
        yield Planning(context, memory)
