"""livemedia-creator itself: where it is, its version, and the options that it knows.

It is asked with ``-V`` and ``--help``, once for each build; what it said is kept in the cache, so
that a plan need not ask again.
"""

from __future__ import annotations

import os
import re
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from imagebuilder import command, tools
from imagebuilder.engines.base import Request, digest_of
from imagebuilder.engines.livemedia import place
from imagebuilder.errors import HostError, ImageBuilderError

NAME = "livemedia-creator"
VARIABLE = "IMAGEBUILDER_LIVEMEDIA_CREATOR"
DEVEL = "devel"  # what a source tree gives for its version
_QUESTIONS = ("-V", "--help")
_TIMEOUT = 60.0  # seconds, for each question
_TIMEOUT_ELSEWHERE = 900.0  # the image of a container may have to be fetched first
_OLDEST = 28
_VERSION = re.compile(rf"{NAME}-(\S+)")
_OPTION = re.compile(r"(?<![\w-])--([a-z0-9][a-z0-9_-]*)")
_NEEDED = ("ks", "make-pxe-live", "logfile", "no-virt", "resultdir", "tmp")
_INSTALL = (
    "run: dnf install lorax-lmc-novirt; or name the program in the recipe's [livemedia] program "
    f"or in {VARIABLE}"
)


class _Answer(BaseModel):
    """What a program said of itself, as it is kept."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: str
    options: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """A livemedia-creator.

    Attributes:
        argv: how it is called.
        environment: what it needs in its environment.
        version: what it says: ``34.9.33-1``; a source tree says ``devel``.
        options: the names of its options, without dashes.
        templates: the folder of lorax' templates, if it must be told; else "".
        source: of a source tree, a digest of its modules.
    """

    argv: tuple[str, ...]
    environment: tuple[tuple[str, str], ...]
    version: str
    options: frozenset[str]
    templates: str = ""
    source: str = ""

    @property
    def identity(self) -> str:
        """What its results follow from: its version, of a source tree its very source."""
        return f"{self.version} {self.source}".strip()

    @property
    def major(self) -> int:
        """The series that it belongs to: 28, 34 or 40 (which 46 is like).

        A source tree does not say; its options do.  28 alone has ``--title``, and from 40 on
        there is ``--rootfs-type``.
        """
        first = self.version.partition(".")[0]
        if first.isdigit():
            return int(first)
        if "rootfs-type" in self.options:
            return 40
        return 28 if "title" in self.options else 34

    @property
    def title(self) -> str:
        """Its version, for people; of a source tree also the series that it is taken for."""
        return f"{self.version} (as {self.major})" if self.version == DEVEL else self.version

    def shown(self) -> str:
        """Return its name and version, for people."""
        return f"{NAME} {self.title}"


def find(request: Request, *, ask: bool = False) -> Program:
    """Return the program that a recipe is made with.

    Args:
        request: the recipe, and the cache.
        ask: ask it now, whatever is kept.

    Raises:
        HostError: it is not there, cannot run, or is none that can be driven.
    """
    options = request.resolved.recipe.livemedia
    if options.where != "host":
        return _elsewhere(request, ask=ask)
    wanted = options.program or os.environ.get(VARIABLE, "") or NAME
    path = _path(wanted, request.resolved.project.root)
    checkout = _checkout(path)
    folders = [*options.python_path, *([f"{checkout}/src"] if checkout else [])]
    inherited = os.environ.get("PYTHONPATH", "")
    python_path = ":".join([*folders, *([inherited] if inherited else [])])
    argv = (str(path),) if os.access(path, os.X_OK) else (sys.executable, str(path))
    environment = (("PYTHONPATH", python_path),) if python_path else ()
    facts = path.stat()
    key = repr((argv, environment, facts.st_mtime_ns, facts.st_ino, facts.st_size))
    calls = tuple((*argv, each) for each in _QUESTIONS)
    answer = _answer(request, key, calls, environment, ask=ask)
    return Program(
        argv=argv,
        environment=environment,
        version=answer.version,
        options=frozenset(answer.options),
        templates=options.lorax_templates or _templates(checkout),
        source=_source(checkout, path) if answer.version == DEVEL else "",
    )


def _elsewhere(request: Request, *, ask: bool) -> Program:
    """Return the program of a container, a mock chroot or another host."""
    options = request.resolved.recipe.livemedia
    argv = (options.program or NAME,)
    environment = (("PYTHONPATH", ":".join(options.python_path)),) if options.python_path else ()
    variables = (f"{name}={value}" for name, value in (*environment, ("COLUMNS", "200")))
    whole = ("env", *variables, *argv)
    calls = tuple(place.asking(options, (*whole, each)) for each in _QUESTIONS)
    answer = _answer(request, repr(calls), calls, (), ask=ask)
    return Program(
        argv=argv,
        environment=environment,
        version=answer.version,
        options=frozenset(answer.options),
        templates=options.lorax_templates,
    )


def _path(wanted: str, project: Path) -> Path:
    if "/" not in wanted:
        found = tools.find(wanted)
        if found is None:
            raise HostError(f"{wanted} is not installed", fix=_INSTALL)
        return Path(found).absolute()
    path = project / Path(wanted).expanduser()
    if not path.is_file():
        raise HostError(f"there is no program {path}", fix=_INSTALL)
    return path


def _checkout(path: Path) -> Path | None:
    """Return the folder of the source tree that a program stands in, or None."""
    # From 46 on src/bin/ has links to the modules themselves.
    for folder in (*path.absolute().parents, *path.resolve().parents):
        if folder.name == "src" and (folder / "pylorax").is_dir():
            return folder.parent
    return None


def _source(checkout: Path | None, path: Path) -> str:
    """Return a digest of a source tree's modules, or of the script that starts them."""
    modules = sorted((checkout / "src" / "pylorax").rglob("*.py")) if checkout else [path]
    texts = (each.read_text(encoding="utf-8", errors="replace") for each in modules)
    return digest_of("".join(digest_of(each) for each in texts))


def _templates(checkout: Path | None) -> str:
    folder = checkout / "share" if checkout else None
    return str(folder) if folder and has_templates(folder) else ""


def has_templates(folder: Path) -> bool:
    """Return whether lorax finds its templates below a folder (find_templates in pylorax)."""
    return any((folder / each).is_dir() for each in ("templates.d", "pxe-live"))


def _answer(
    request: Request,
    key: str,
    calls: tuple[tuple[str, ...], ...],
    environment: tuple[tuple[str, str], ...],
    *,
    ask: bool,
) -> _Answer:
    name = digest_of(key)
    kept = request.cache_dir / "livemedia" / "programs" / f"{name}.json"
    if not ask:
        try:
            return _Answer.model_validate_json(kept.read_bytes())
        except (OSError, ValidationError):
            pass
    answer = _asked(calls, dict(environment), request)
    kept.parent.mkdir(parents=True, exist_ok=True)
    new = kept.with_name(f".{name}.{os.getpid()}")
    new.write_text(answer.model_dump_json())
    new.replace(kept)
    return answer


def _asked(
    calls: tuple[tuple[str, ...], ...], environment: dict[str, str], request: Request
) -> _Answer:
    said = [_run(call, environment, request) for call in calls]
    there = place.title(request.resolved.recipe.livemedia)
    name = f"{NAME} of {there}" if there else calls[0][-2]
    found = _VERSION.search(said[0])
    options = sorted(set(_OPTION.findall(said[1])))
    lacking = [each for each in _NEEDED if each not in options]
    if lacking:
        raise HostError(
            f"{name} cannot be driven: it lacks --{', --'.join(lacking)}",
            excerpt="\n".join(said[0].splitlines()[:3]),
            fix=f"lorax {_OLDEST} or newer is needed",
        )
    version = found[1] if found else "unknown"
    first = version.partition(".")[0]
    if first.isdigit() and int(first) < _OLDEST:
        raise HostError(
            f"{name} is version {version}, which is too old",
            fix=f"lorax {_OLDEST} or newer is needed",
        )
    return _Answer(version=version, options=tuple(options))


def _run(argv: tuple[str, ...], environment: dict[str, str], request: Request) -> str:
    options = request.resolved.recipe.livemedia
    there = place.title(options)
    try:
        result = command.run(
            argv,
            timeout=_TIMEOUT if options.where == "host" else _TIMEOUT_ELSEWHERE,
            cancel=request.reporter.cancel,
            # argparse breaks lines, and perhaps words, at the width of the terminal.
            env={**os.environ, **environment, "COLUMNS": "200"},
            what=f"asking {NAME} of {there}" if there else f"asking {argv[0]} what it is",
            keep=2000,
        )
    except ImageBuilderError as error:
        if isinstance(error, HostError) or error.kind == "interrupted":
            raise
        fix = f"see that this works: {shlex.join(argv)}" if there else _INSTALL
        raise HostError(error.what, excerpt=error.excerpt, fix=fix) from error
    return result.stdout + result.stderr
