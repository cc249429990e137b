"""One run of the command: its arguments, its output, the request to stop."""

from __future__ import annotations

import argparse
from dataclasses import dataclass

from imagebuilder import pipeline
from imagebuilder.cli.output import Output
from imagebuilder.errors import InputError, listed
from imagebuilder.progress import Cancel
from imagebuilder.project import Project


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """One run of the command."""

    args: argparse.Namespace
    out: Output
    cancel: Cancel

    def project(self) -> Project:
        """Open the project that ``-C`` names."""
        return Project.open(self.args.directory)

    def options(self) -> pipeline.Options:
        """Return how the work is to be done."""
        return pipeline.Options.make(
            observer=self.out.observer(),
            cancel=self.cancel,
            again=getattr(self.args, "always", False),
            refresh=getattr(self.args, "refresh", False),
            accel=getattr(self.args, "accel", "auto"),
        )

    def names(self, project: Project) -> tuple[str, ...]:
        """Return the recipes that the command line names, refusing those that there are not."""
        if self.args.all:
            return project.names()
        if not self.args.names:
            raise InputError(
                "no recipe is named",
                fix=f"name some, or say --all: there are {listed(project.names())}",
            )
        return project.select(self.args.names)
