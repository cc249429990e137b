"""The seam between plans and the machines that carry them out."""

from __future__ import annotations

import os
from functools import lru_cache
from importlib import import_module
from typing import Protocol

from imagebuilder import names
from imagebuilder.build import build
from imagebuilder.command import redact
from imagebuilder.errors import InputError, Location, listed
from imagebuilder.image import Image
from imagebuilder.options import Options
from imagebuilder.plan import Plan
from imagebuilder.project import Project

GROUP = "imagebuilder.executors"

# Our own stand here as well as among the entry points, as engines do.
_OWN = {"dask": "imagebuilder.executors.dask:DaskExecutor"}


class Executor(Protocol):
    """Where images are made.

    Several images may be asked for at a time, from threads of their own.
    """

    def build(self, plan: Plan, *, again: bool = False) -> Image:
        """Return the image of a plan, in the project's folder; made if it is not there.

        Progress goes to the plan's reporter, whose request to stop ends the work wherever it is
        done.

        Args:
            plan: what to make.
            again: make it though it is there.

        Raises:
            ImageBuilderError: as :func:`imagebuilder.build.build` does, wherever it happened.
        """
        ...


class Local:
    """Makes images on this machine, in processes of their own."""

    def build(self, plan: Plan, *, again: bool = False) -> Image:
        """Return the image of a plan, made here; see :class:`Executor`."""
        return build(plan, again=again)


def of_options(project: Project, options: Options) -> Executor:
    """Return the executor of work on a project.

    The options say which, else ``IMAGEBUILDER_EXECUTOR`` in the environment, else the project
    file; if none does, it is this machine.

    Raises:
        InputError: there is none of that kind, or what it needs is not installed.
    """
    if options.executor is not None:
        url, where = options.executor, None
    elif url := os.environ.get(names.EXECUTOR, ""):
        where = Location(file=names.EXECUTOR)
    else:
        url, where = project.settings.executor, project.place("executor")
    return find(url, where)


def find(url: str, where: Location | None = None) -> Executor:
    """Return the executor that a URL names; for each URL there is one in a process.

    Args:
        url: ``SCHEME://PLACE``, where an entry point of the group ``imagebuilder.executors`` has
            the scheme as its name; "" or ``local`` is this machine.
        where: the place that named it.

    Raises:
        InputError: there is none of that kind, or what it needs is not installed.
    """
    if url in ("", names.LOCAL):
        return Local()
    try:
        return _found(url)
    except InputError as error:
        raise InputError(error.what, where=where or error.where, fix=error.fix) from error


@lru_cache(maxsize=8)
def _found(url: str) -> Executor:
    scheme = url.partition("://")[0]
    if scheme in _OWN:
        module, _, attribute = _OWN[scheme].partition(":")
        own: Executor = getattr(import_module(module), attribute)(url)
        return own
    from importlib.metadata import entry_points

    found = entry_points(group=GROUP, name=scheme)
    if "://" not in url or not found:
        known = sorted({*_OWN, *(each.name for each in entry_points(group=GROUP))})
        raise InputError(
            f"{redact(url)!r} is no executor",
            fix=f"write {names.LOCAL}, or SCHEME://PLACE; schemes are: {listed(known)}",
        )
    executor: Executor = next(iter(found)).load()(url)
    return executor
