"""Where kickstarts are made recipes of, and judged, before the project gets anything."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from imagebuilder import distro, engines
from imagebuilder.engines import Request
from imagebuilder.errors import ImageBuilderError, InputError, Location, joined
from imagebuilder.importing import passwords
from imagebuilder.importing.escape import escaped, line_of
from imagebuilder.importing.guess import guess
from imagebuilder.importing.imported import Imported
from imagebuilder.importing.recipe_text import recipe_text
from imagebuilder.importing.remarks import Remark
from imagebuilder.importing.sources import Source
from imagebuilder.kickstart import Kickstart, compose
from imagebuilder.kickstart.flatten import Lines, flatten
from imagebuilder.kickstart.parse import parse
from imagebuilder.lint.passwords import check as look_for_passwords
from imagebuilder.lint.subject import Subject, scripts_of
from imagebuilder.names import PROJECT_FILE
from imagebuilder.progress import Reporter
from imagebuilder.project import Project, ResolvedRecipe

_ANY_FRAGMENT = ("*",)


class Stage:
    """A project in a private folder, in which all is tried before the real one is touched.

    Args:
        root: the folder, empty.
        project: the project that the recipes are for.
        sources: the files of all kickstarts, by their resolved paths.
    """

    def __init__(self, root: Path, project: Project, sources: Mapping[Path, Source]) -> None:
        self._root = root
        self._sources = sources
        self._lines = {each.name: list(map(escaped, each.lines)) for each in sources.values()}
        self._secrets: dict[tuple[str, str], str] = {}
        self._parts: dict[tuple[str, int], tuple[passwords.Part, ...]] = {}
        self._recipes: dict[str, str] = {}
        self._saved: dict[str, str] = {}
        settings = project.root / PROJECT_FILE
        (root / "recipes").mkdir()
        if settings.is_file():
            (root / PROJECT_FILE).write_bytes(settings.read_bytes())
        # As they are, for looking at what they say: templates of these come later.
        for each in sources.values():
            self._save(f"plain/{each.name}", _text(each.lines))

    def take(self, path: Path, recipe: str, distro_id: str, reporter: Reporter) -> Imported:
        """Make a recipe of a kickstart.

        Args:
            path: the kickstart.
            recipe: the recipe's name.
            distro_id: the distribution; "" to look for it.
            reporter: for the engine.

        Raises:
            InputError: it is not valid for the distribution.
        """
        source = self._sources[path.resolve()]
        flat = self._flat(source, path, recipe)
        guessed = ""
        if not distro_id:
            texts = [line.text for line in flat]
            distro_id, guessed = guess(texts, lambda each: not _problem(flat, each))
        problem = _problem(flat, distro_id)
        if problem:
            raise _not_valid(problem, flat, distro_id)
        kickstart = parse(flat, distro.find(distro_id).kickstart_version)
        remarks = [*self._remarks(flat, source), *self._hide(kickstart, recipe)]
        text = recipe_text(
            file=path.name, fragment=source.name, distro_id=distro_id, lines=source.lines
        )
        self._recipes[f"recipes/{recipe}.toml"] = text
        resolved, composed = self._composed(recipe)
        remarks += _left_passwords(resolved, composed)
        notes, refused = _judged(resolved, composed, self._root, reporter)
        used = {line.where.file for line in composed.lines} | {source.shown_as}
        return Imported(
            recipe=recipe,
            file=path,
            distro=distro_id,
            guessed=guessed,
            files=(f"recipes/{recipe}.toml", *sorted(used & self._shown())),
            lines=len(composed.lines),
            remarks=tuple(remarks),
            without_effect=notes,
            refused=refused,
        )

    def texts(self) -> dict[str, str]:
        """Return the files that the project gets."""
        fragments = {f"kickstarts/{name}": _text(lines) for name, lines in self._lines.items()}
        return {**fragments, **self._recipes}

    def _shown(self) -> set[str]:
        return {each.shown_as for each in self._sources.values()}

    def _flat(self, source: Source, path: Path, recipe: str) -> Lines:
        asked = Location(file=f"recipes/{recipe}.toml", key="kickstarts")
        try:
            return flatten([(source.name, asked)], [self._root / "plain"], {}, _ANY_FRAGMENT)
        except InputError as error:
            raise InputError(f"{path}: {error.what}", where=error.where, fix=error.fix) from error

    def _remarks(self, flat: Lines, source: Source) -> Iterator[Remark]:
        used = {line.where.file for line in flat} | {source.shown_as}
        for each in self._sources.values():
            if each.shown_as in used:
                yield from each.remarks

    def _hide(self, kickstart: Kickstart, recipe: str) -> Iterator[Remark]:
        """Put secrets in the places of passwords."""
        for command in kickstart.commands:
            name = command.where.file.removeprefix("kickstarts/")
            n = (command.where.line or 1) - 1
            raw = self._source(name).lines[n]
            if not passwords.has_hidden(raw):
                continue
            if passwords.is_hashed(command):
                yield Remark(
                    kind="note",
                    text=f"{command.name}: the hash of a password is in the project now",
                    where=command.where,
                    fix='a secret can take its place: {{ secret("NAME") }}',
                )
                continue
            # A line that several kickstarts include has one secret, named after the first.
            parts = self._parts.get((name, n)) or passwords.split(
                raw, command, lambda *what: self._secret(recipe, *what)
            )
            self._parts[name, n] = parts
            self._lines[name][n] = line_of(parts)
            for secret in dict.fromkeys(what for kind, what in parts if kind == "secret"):
                variable = f"IMAGEBUILDER_SECRET_{secret.upper()}"
                yield Remark(
                    kind="secret",
                    text=f"{command.name}: its password is the secret {secret!r} from now on",
                    where=command.where,
                    fix=f"set {variable}, or say where it is: [secrets.{secret}] in {PROJECT_FILE}",
                )

    def _source(self, name: str) -> Source:
        return next(each for each in self._sources.values() if each.name == name)

    def _secret(self, recipe: str, role: str, value: str) -> str:
        first = re.sub("[^A-Za-z0-9]", "_", f"{recipe}_{role}").strip("_")
        known = self._secrets.get((first, value))
        if known is None:
            taken = {*self._secrets.values()}
            known, n = first, 2
            while known in taken:
                known, n = f"{first}_{n}", n + 1
            self._secrets[first, value] = known
        return known

    def _composed(self, recipe: str) -> tuple[ResolvedRecipe, Kickstart]:
        for path, text in self.texts().items():
            self._save(path, text)
        resolved = Project.open(self._root).resolve(recipe)
        return resolved, compose(resolved)

    def _save(self, path: str, text: str) -> None:
        if self._saved.get(path) == text:
            return
        self._saved[path] = text
        target = self._root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8", newline="\n")


def _text(lines: Sequence[str]) -> str:
    return "".join(f"{line}\n" for line in lines)


def _problem(flat: Lines, distro_id: str) -> ImageBuilderError | None:
    try:
        parse(flat, distro.find(distro_id).kickstart_version)
    except ImageBuilderError as error:
        return error
    return None


def _not_valid(problem: ImageBuilderError, flat: Lines, distro_id: str) -> ImageBuilderError:
    others = [each for each in distro.names() if not _problem(flat, each)]
    advice = (
        f"valid for: {', '.join(others)}; choose with --distro"
        if others
        else "it is valid for no release that imagebuilder knows"
    )
    first = type(problem)(
        f"not valid for {distro_id}: {problem.what}", where=problem.where, fix=advice
    )
    return joined([first, *problem.also])


def _left_passwords(resolved: ResolvedRecipe, kickstart: Kickstart) -> Iterator[Remark]:
    """Say where passwords are that are no option's value: in scripts."""
    subject = Subject(resolved=resolved, kickstart=kickstart, scripts=scripts_of(kickstart))
    for each in look_for_passwords(subject):
        if each.code in ("IB301", "IB302", "IB303", "IB307") and each.where:
            yield Remark(kind="note", text=each.text, where=each.where, fix=each.fix)


def _judged(
    resolved: ResolvedRecipe, kickstart: Kickstart, folder: Path, reporter: Reporter
) -> tuple[tuple[str, ...], tuple[ImageBuilderError, ...]]:
    """Ask the recipe's engine what has no effect, and what it refuses."""
    request = Request(
        resolved=resolved,
        kickstart=kickstart,
        cache_dir=folder / "cache",
        reporter=reporter,
        offline=True,
    )
    engine = engines.find(resolved.recipe.engine, resolved.place("engine"))
    try:
        return engine.check(request), ()
    except InputError as error:
        alone = InputError(error.what, where=error.where, fix=error.fix, excerpt=error.excerpt)
        return (), (alone, *error.also)
