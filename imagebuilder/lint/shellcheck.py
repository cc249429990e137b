"""Run shellcheck on scripts, and remember what it said."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from imagebuilder import command, tools
from imagebuilder.errors import HostError, StepError
from imagebuilder.progress import Cancel

_TIMEOUT = 60.0  # seconds for the scripts of one recipe
_LINES = 1 << 20

# A rendered template is full of constants: that a word, a test or a loop's list is one says
# nothing (SC2043, SC2050, SC2078, SC2157, SC2158, SC2194).
_EXCLUDED = "SC2043,SC2050,SC2078,SC2157,SC2158,SC2194"

Dialect = Literal["sh", "bash", "dash", "ksh"]


class Remark(BaseModel):
    """A remark of shellcheck, as in its format ``json1`` (shellcheck(1)); the line is from 1."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    line: int
    level: Literal["error", "warning", "info", "style"]
    code: int
    message: str


class _Remarks(BaseModel):
    """``lint/shellcheck/DIGEST.json``: what shellcheck said of a script."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    remarks: tuple[Remark, ...]


class _Said(Remark):
    file: str


class _Report(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")

    comments: tuple[_Said, ...]


def remarks(
    scripts: Iterable[tuple[Dialect, str]], cache_dir: Path, cancel: Cancel
) -> Mapping[tuple[Dialect, str], tuple[Remark, ...]]:
    """Return the errors and warnings that shellcheck has of scripts, by shell and text.

    Raises:
        HostError: it is not installed.
        StepError: it failed.
    """
    tools.need("shellcheck")
    program = Path(tools.find("shellcheck") or "").stat()
    version = f"{program.st_size} {program.st_mtime_ns}"
    folder = cache_dir / "lint" / "shellcheck"
    known: dict[tuple[Dialect, str], tuple[Remark, ...]] = {}
    paths: dict[tuple[Dialect, str], Path] = {}
    for script in dict.fromkeys(scripts):
        digest = hashlib.sha256("\0".join((version, _EXCLUDED, *script)).encode()).hexdigest()[:32]
        paths[script] = folder / f"{digest}.json"
        try:
            known[script] = _Remarks.model_validate_json(paths[script].read_bytes()).remarks
        except (OSError, ValidationError):
            continue
    new = [script for script in paths if script not in known]
    for dialect in sorted({each[0] for each in new}):
        mine = [script for script in new if script[0] == dialect]
        known.update(zip(mine, _run(dialect, [text for _, text in mine], cancel), strict=True))
    for script in new:
        _keep(paths[script], known[script])
    return known


def _run(dialect: Dialect, texts: list[str], cancel: Cancel) -> list[tuple[Remark, ...]]:
    with tempfile.TemporaryDirectory(prefix="imagebuilder-lint-") as folder:
        names = [f"{n}.sh" for n in range(len(texts))]
        for name, text in zip(names, texts, strict=True):
            (Path(folder) / name).write_text(text, encoding="utf-8")
        result = command.run(
            # Whatever a .shellcheckrc of this user says: all see the same.
            [
                "shellcheck",
                "--norc",
                "--format=json1",
                f"--shell={dialect}",
                "--severity=warning",
                f"--exclude={_EXCLUDED}",
                *names,
            ],
            timeout=_TIMEOUT,
            cancel=cancel,
            cwd=Path(folder),
            env={"LC_ALL": "C.UTF-8", "HOME": folder},
            check=False,
            keep=_LINES,
            what="shellcheck",
        )
    try:
        report = _Report.model_validate_json(result.stdout)
    except ValidationError as error:
        raise StepError(
            f"shellcheck failed: exit status {result.returncode}",
            excerpt=result.stderr[-500:],
        ) from error
    return [
        tuple(
            Remark(line=each.line, level=each.level, code=each.code, message=each.message)
            for each in report.comments
            if each.file == name
        )
        for name in names
    ]


def _keep(path: Path, said: tuple[Remark, ...]) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=path.parent, delete=False) as file:
            file.write(_Remarks(remarks=said).model_dump_json())
        Path(file.name).rename(path)
    except OSError as error:
        raise HostError(f"the cache cannot be written: {error.strerror}") from error
