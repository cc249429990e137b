"""Look at recipes, and put together what was found."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime
from pathlib import Path

from imagebuilder import engines
from imagebuilder.engines import IndexedEngine, Request, Units
from imagebuilder.errors import HostError, ImageBuilderError, InputError, StepError
from imagebuilder.kickstart import Kickstart, compose
from imagebuilder.lint import (
    bootable,
    checks,
    contradictions,
    kernel,
    livemedia,
    passwords,
    recipes,
    scripts,
    units,
    unused,
    waivers,
)
from imagebuilder.lint.finding import Finding, found, of_error, of_text
from imagebuilder.lint.subject import Subject, scripts_of
from imagebuilder.lint.unused import Uses
from imagebuilder.lint.waivers import Placed
from imagebuilder.progress import Reporter
from imagebuilder.project import Project, ResolvedRecipe
from imagebuilder.recipe import Recipe

_CHECKS: tuple[Callable[[Subject], Iterator[Finding]], ...] = (
    bootable.check,
    checks.of_packages,
    contradictions.check,
    kernel.check,
    livemedia.check,
    passwords.check,
    recipes.of_preseed,
    recipes.of_sources,
    units.check,
)
# What is only found when the package index answers.
_OF_INDEX = frozenset({"IB201", "IB203", "IB205"})
_OF_UNITS = frozenset({"IB401", "IB402"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How lint works.

    Attributes:
        cache_dir: where package indexes, and what shellcheck said, are kept.
        reporter: where progress goes, with the request to stop.
        offline: whether package indexes must do as they are in the cache.
        refresh: whether the mirrors are looked at now, not once a day.
        today: the day by which waivers are judged.
    """

    cache_dir: Path
    reporter: Reporter
    offline: bool = False
    refresh: bool = False
    today: date = field(default_factory=lambda: datetime.now(UTC).date())


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What came of one recipe.

    Attributes:
        name: the recipe.
        findings: what was found, waived or not.
        is_whole: whether it could be resolved and composed.
        waivers: its waivers, each with whether it was needed; None where that is not known.
        uses: what it makes use of.
    """

    name: str
    findings: tuple[Finding, ...]
    is_whole: bool
    waivers: tuple[tuple[Placed, bool | None], ...] = ()
    uses: Uses | None = None


def look(project: Project, wanted: str | Recipe, settings: Settings) -> Result:
    """Look at one recipe.

    Raises:
        Interrupted: somebody asked to stop.
    """
    name = wanted if isinstance(wanted, str) else wanted.name
    settings.reporter.cancel.check()
    try:
        resolved = project.resolve(wanted)
    except InputError as error:
        return Result(name=name, findings=_named(of_error("IB101", error), name), is_whole=False)
    looked = _Look(resolved, settings)
    looked.run()
    own = waivers.waivers_of(resolved)
    marked = waivers.waive(_named(looked.findings, name), own, settings.today)
    judged = _named(waivers.problems(own, settings.today), name)
    of_checks = _named(waivers.problems_of_checks(resolved, settings.today), name)
    return Result(
        name=name,
        findings=(*marked, *judged, *of_checks),
        is_whole=looked.is_whole,
        waivers=tuple((each, looked.is_needed(each)) for each in own),
        uses=unused.uses_of(resolved, looked.kickstart),
    )


class _Look:
    """One look at one recipe: each step goes as far as the one before it came."""

    def __init__(self, resolved: ResolvedRecipe, settings: Settings) -> None:
        self.resolved = resolved
        self.settings = settings
        self.findings: list[Finding] = []
        self.kickstart: Kickstart | None = None
        self.is_whole = True
        self.unknown: set[str] = set()  # codes that were not looked for

    def run(self) -> None:
        """Look at all of it; of a recipe that is only there to be extended, at nothing."""
        if self.resolved.recipe.abstract:
            return
        self.findings += recipes.of_recipe(self.resolved)
        self.findings += checks.of_recipe(self.resolved)
        try:
            self.kickstart = compose(self.resolved)
        except InputError as error:
            self.findings += of_error("IB102", error)
            self.is_whole = False
            return
        self.findings += (of_text("IB105", each) for each in self.kickstart.warnings)
        subject = self._with_packages(
            Subject(
                resolved=self.resolved,
                kickstart=self.kickstart,
                scripts=scripts_of(self.kickstart),
            )
        )
        for check in _CHECKS:
            self.findings += check(subject)
        self.findings += scripts.check(
            subject, self.settings.cache_dir, self.settings.reporter.cancel
        )

    def is_needed(self, placed: Placed) -> bool | None:
        """Return whether a waiver matches what was found; None if that was not looked for."""
        if any(placed.matches(each) for each in self.findings):
            return True
        skipped = self.resolved.recipe.abstract or not self.is_whole
        return None if skipped or placed.waiver.code in self.unknown else False

    def _with_packages(self, subject: Subject) -> Subject:
        """Ask the engine what it refuses, and what the packages come to."""
        request = Request(
            resolved=self.resolved,
            kickstart=subject.kickstart,
            cache_dir=self.settings.cache_dir,
            reporter=self.settings.reporter,
            refresh=self.settings.refresh,
            offline=self.settings.offline,
            vault=self.resolved.vault(self.settings.reporter.cancel),
        )
        engine = self._engine(request)
        if engine is None:
            self.unknown |= _OF_INDEX | _OF_UNITS
            return subject
        packages = self._packages(engine, request)
        if packages is None:
            self.unknown |= _OF_INDEX | _OF_UNITS
            return subject
        known = self._units(engine, request, packages)
        if known is None:
            self.unknown |= _OF_UNITS
        return replace(subject, packages=packages, units=known)

    def _engine(self, request: Request) -> IndexedEngine | None:
        """Return the engine, if it takes the recipe and can be asked what packages come to."""
        recipe = self.resolved.recipe
        try:
            engine = engines.find(recipe.engine, self.resolved.place("engine"))
            self.findings += (of_text("IB104", each) for each in engine.check(request))
        except InputError as error:
            # What was found without an engine is not said again.
            known = {(each.text, each.where) for each in self.findings}
            self.findings += (
                each for each in of_error("IB103", error) if (each.text, each.where) not in known
            )
            return None
        if not isinstance(engine, IndexedEngine):
            self._unseen(f"engine {recipe.engine} asks no package index")
            return None
        return engine

    def _packages(self, engine: IndexedEngine, request: Request) -> frozenset[str] | None:
        try:
            packages = engine.packages(request)
        except InputError as error:
            self.findings += of_error("IB201", error)
        except (HostError, StepError) as error:
            self._unseen(f"the package index was not asked: {error.what}", error)
        else:
            try:
                engine.check_needs(request, packages)
            except InputError as error:
                self.findings += of_error("IB103", error)
            return frozenset(packages)
        return None

    def _units(
        self, engine: IndexedEngine, request: Request, packages: frozenset[str]
    ) -> Units | None:
        try:
            return engine.units(request, packages)
        except (HostError, StepError) as error:
            self._unseen(f"what units the packages bring is not known: {error.what}", error)
        return None

    def _unseen(self, text: str, error: ImageBuilderError | None = None) -> None:
        where = self.resolved.place("distro")
        said = error.excerpt.strip().splitlines()[-1:] if error else []
        text = ": ".join((text, *said))
        self.findings.append(found("IB100", text, where, fix=error.fix if error else ""))


def _named(findings: Sequence[Finding] | Iterator[Finding], name: str) -> tuple[Finding, ...]:
    return tuple(replace(each, recipes=(name,)) for each in findings)
