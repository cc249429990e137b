"""Which packages an index has: their names, priorities, and what Debian's tasks come to."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from imagebuilder import command
from imagebuilder.engines.direct.index import Index, environment, write
from imagebuilder.progress import Reporter

_STANZAS = 1 << 23  # more lines than the packages of an archive have
_FIELD = re.compile(
    r"^(Package|Priority|Task|Provides|Depends|Recommends|Suggests): (.+)$", re.MULTILINE
)
TASK = "task-"  # what the packages begin with that Debian's tasks are


class Task(BaseModel):
    """A package that stands for several: what it needs, recommends and suggests."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    depends: tuple[str, ...]
    recommends: tuple[str, ...]
    suggests: tuple[str, ...]


class _Stored(BaseModel):
    """``available.json`` in the folder of an index."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    index: str
    names: tuple[str, ...]
    virtual: tuple[str, ...]
    priorities: dict[str, tuple[str, ...]]
    fields: dict[str, tuple[str, ...]]
    tasks: dict[str, Task]


@dataclass(frozen=True, slots=True, kw_only=True)
class Available:
    """The packages of an index.

    Attributes:
        names: of all that can be installed, sorted.
        virtual: names that other packages provide.
        priorities: for each of Debian's priorities, the packages that have it.
        fields: for each task that packages name in their field ``Task``, those packages.
        tasks: for each package ``task-NAME``, by NAME, what it comes to.
    """

    names: tuple[str, ...]
    virtual: frozenset[str]
    priorities: Mapping[str, tuple[str, ...]]
    fields: Mapping[str, tuple[str, ...]]
    tasks: Mapping[str, Task]

    def has(self, name: str) -> bool:
        """Return whether apt can install something of that name."""
        return name in self.virtual or name in _set_of(self.names)


@lru_cache(maxsize=4)
def _set_of(names: tuple[str, ...]) -> frozenset[str]:
    return frozenset(names)


def available(index: Index, reporter: Reporter) -> Available:
    """Return the packages of an index; they are looked through once for each state of it.

    Raises:
        StepError: apt cannot read the index.
    """
    return _available(index.folder, index.digest, reporter)


@lru_cache(maxsize=4)
def _opened(path: Path, digest: str, _changed: int) -> _Stored | None:
    try:
        stored = _Stored.model_validate_json(path.read_bytes())
    except (OSError, ValidationError):
        return None
    return stored if stored.index == digest else None


def _available(folder: Path, digest: str, reporter: Reporter) -> Available:
    path = folder / "available.json"
    stored = _opened(path, digest, path.stat().st_mtime_ns) if path.exists() else None
    if stored is None:
        stored = _look_through(folder, digest, reporter)
        write(path, stored.model_dump_json())
    return Available(
        names=stored.names,
        virtual=frozenset(stored.virtual),
        priorities=stored.priorities,
        fields=stored.fields,
        tasks=stored.tasks,
    )


def _look_through(folder: Path, digest: str, reporter: Reporter) -> _Stored:
    result = command.run(
        ["apt-cache", "dumpavail"],
        timeout=300,
        cancel=reporter.cancel,
        env=environment(folder),
        keep=_STANZAS,
        what="looking through the package index",
    )
    names: dict[str, None] = {}
    virtual: dict[str, None] = {}
    priorities: dict[str, list[str]] = {}
    fields: dict[str, list[str]] = {}
    tasks: dict[str, Task] = {}
    for stanza in _stanzas(result.stdout):
        name = stanza.get("Package", "")
        names[name] = None
        virtual.update(dict.fromkeys(_alternatives(stanza.get("Provides", ""))))
        if "Priority" in stanza:
            priorities.setdefault(stanza["Priority"], []).append(name)
        for task in stanza.get("Task", "").split(","):
            if task.strip():
                fields.setdefault(task.strip(), []).append(name)
        if name.startswith(TASK):
            tasks[name.removeprefix(TASK)] = Task(
                depends=_alternatives(stanza.get("Depends", "")),
                recommends=_alternatives(stanza.get("Recommends", "")),
                suggests=_alternatives(stanza.get("Suggests", "")),
            )
    return _Stored(
        index=digest,
        names=tuple(sorted(names)),
        virtual=tuple(sorted(set(virtual) - set(names))),
        priorities={each: tuple(sorted(found)) for each, found in priorities.items()},
        fields={each: tuple(sorted(found)) for each, found in fields.items()},
        tasks=tasks,
    )


def _stanzas(text: str) -> Iterator[dict[str, str]]:
    for stanza in text.split("\n\n"):
        fields = {found[1]: found[2] for found in _FIELD.finditer(stanza)}
        if "Package" in fields:
            yield fields


def _alternatives(text: str) -> tuple[str, ...]:
    """Return the first name of each group of alternatives in a field such as ``Depends``."""
    first = (each.partition("|")[0] for each in text.split(","))
    return tuple(re.split(r"[\s(:\[]", each.strip())[0] for each in first if each.strip())
