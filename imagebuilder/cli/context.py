"""One run of the command: its arguments, its output, the request to stop."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from typing import TYPE_CHECKING

from imagebuilder.cli.output import Output
from imagebuilder.options import Options
from imagebuilder.progress import Cancel

if TYPE_CHECKING:
    from imagebuilder.project import Project


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """One run of the command."""

    args: argparse.Namespace
    out: Output
    cancel: Cancel

    def project(self) -> Project:
        """Open the project that ``-C`` names."""
        from imagebuilder.project import Project

        return Project.open(self.args.directory)

    def options(self) -> Options:
        """Return how the work is to be done."""
        return Options.make(
            observer=self.out.observer(),
            cancel=self.cancel,
            again=getattr(self.args, "always", False),
            refresh=getattr(self.args, "refresh", False),
            offline=getattr(self.args, "offline", False),
            locked=getattr(self.args, "locked", None),
            small=getattr(self.args, "small", False),
            accel=getattr(self.args, "accel", "auto"),
            executor=getattr(self.args, "executor", None),
            paths=getattr(self.args, "paths", ()),
            retries=getattr(self.args, "retries", 0),
            measure_memory=getattr(self.args, "find_memory", False),
        )
