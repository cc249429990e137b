"""Files with what tests found, for ``--report``: written whatever came of them."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from imagebuilder.errors import HostError, ImageBuilderError, Interrupted

if TYPE_CHECKING:
    from imagebuilder.smoke import SmokeReport
    from imagebuilder.smoke.formats import Results


class SmokeReports:
    """Collects what came of the recipes of one run, and writes it when the run ends.

    Args:
        wanted: formats and files; ``{recipe}`` in a file's name makes one for each recipe.
        names: the recipes, in their order.
    """

    def __init__(self, wanted: Sequence[tuple[str, Path]], names: Sequence[str]) -> None:
        self._wanted = wanted
        self._names = tuple(dict.fromkeys(names))
        self._reports: dict[str, SmokeReport] = {}
        self._errors: dict[str, ImageBuilderError] = {}
        self._lock = threading.Lock()

    def add(self, report: SmokeReport) -> None:
        """Note what a test found."""
        with self._lock:
            self._reports[report.recipe] = report

    @contextmanager
    def of(self, name: str) -> Iterator[None]:
        """Note the error that ends the work on a recipe before its image was tested."""
        try:
            yield
        except Interrupted:
            raise
        except ImageBuilderError as error:
            with self._lock:
                self._errors[name] = error
            raise

    @contextmanager
    def written(self) -> Iterator[None]:
        """Write the files at the end, even if that is an error or a request to stop.

        Raises:
            HostError: a file cannot be written.
        """
        try:
            yield
        finally:
            if self._wanted:
                self._write()

    def _write(self) -> None:
        from imagebuilder.smoke.formats import render
        from imagebuilder.smoke.report import write_whole

        for form, path in self._wanted:
            for target, names in self._targets(path).items():
                try:
                    data = render(self._results(names), form)
                    if target.exists() and not target.is_file():  # a pipe, or /dev/stdout
                        target.write_bytes(data)
                    else:
                        write_whole(target, data)
                except OSError as error:
                    raise HostError(f"{target} cannot be written: {error.strerror}") from error

    def _targets(self, path: Path) -> dict[Path, Sequence[str]]:
        if "{recipe}" not in str(path):
            return {path: self._names}
        return {Path(str(path).replace("{recipe}", name)): (name,) for name in self._names}

    def _results(self, names: Sequence[str]) -> Results:
        from imagebuilder.smoke.formats import NotTested, Results

        return Results(
            reports=tuple(self._reports[name] for name in names if name in self._reports),
            not_tested=tuple(
                NotTested.of(name, self._errors[name])
                for name in names
                if name in self._errors and name not in self._reports
            ),
        )
