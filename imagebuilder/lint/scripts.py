"""Scripts: their syntax, what shellcheck says of them, and habits that hurt."""

from __future__ import annotations

import ast
import re
import warnings
from collections.abc import Iterator
from pathlib import Path

from imagebuilder import command, tools
from imagebuilder.errors import HostError, StepError
from imagebuilder.lint import shell
from imagebuilder.lint.finding import Finding, found
from imagebuilder.lint.shellcheck import Dialect, remarks
from imagebuilder.lint.subject import ScriptText, Subject
from imagebuilder.progress import Cancel

_DIALECTS: dict[str, Dialect] = {"bash": "bash", "dash": "dash", "ksh": "ksh", "mksh": "ksh"}
_STOPS = re.compile(r"^\s*set\s+(?:-[a-zA-Z]+\s+)*-(?:[a-zA-Z]*e|[a-zA-Z]*o\s+errexit)")
_WORLD_WRITABLE = re.compile(r"0?[0-7]{2}[2367]|(?:[ugoa]*[oa][ugoa]*)?\+[rwxX]*w[rwxX]*")
_FETCHERS = ("curl", "wget")
_FETCHED = re.compile(r"(?:<|\$)\((?:curl|wget)\b")
_RUNNER = re.compile(r"sh|bash|dash|ksh|eval|source|perl|python[\d.]*")
_SYNTAX_ERROR = re.compile(r"(?:line )?(?P<line>\d+): (?P<text>.*)")


def check(subject: Subject, cache_dir: Path, cancel: Cancel) -> Iterator[Finding]:
    """Look at each script."""
    yield from _shells(subject, cache_dir, cancel)
    for script in subject.scripts:
        yield from _unseen_failure(script)
        for statement in script.statements:
            yield from _habits(script, statement)
        if re.fullmatch(r"python[\d.]*", script.language):
            yield from _python(script)
        elif not script.is_shell:
            text = f"scripts for {script.script.interpreter} are not looked into"
            yield found("IB100", text, script.script.where)


def _shells(subject: Subject, cache_dir: Path, cancel: Cancel) -> Iterator[Finding]:
    scripts = {each: _dialect(each, subject) for each in subject.scripts if each.is_shell}
    if not scripts:
        return
    try:
        said = remarks([(shell_, s.text) for s, shell_ in scripts.items()], cache_dir, cancel)
    except (HostError, StepError) as error:
        yield found(
            "IB100", f"shellcheck did not look at the scripts: {error.what}", None, fix=error.fix
        )
        for script, shell_ in scripts.items():
            yield from _syntax(script, shell_, cancel)
        return
    for script, shell_ in scripts.items():
        for each in said[shell_, script.text]:
            if each.level in ("error", "warning"):
                yield found(
                    "IB501" if each.level == "error" else "IB502",
                    f"shellcheck SC{each.code}: {each.message}",
                    script.place(each.line),
                )


def _dialect(script: ScriptText, subject: Subject) -> Dialect:
    # /bin/sh is dash on Debian, bash elsewhere.
    return _DIALECTS.get(script.language, "dash" if subject.is_debian else "bash")


def _syntax(script: ScriptText, dialect: Dialect, cancel: Cancel) -> Iterator[Finding]:
    """Let the shell itself look at the syntax, if this host has it."""
    if not tools.find(dialect):
        return
    result = command.run(
        [dialect, "-n"],
        timeout=30,
        cancel=cancel,
        stdin=script.text.encode(),
        check=False,
    )
    if result.returncode == 0:
        return
    lines = result.stderr.strip().splitlines() or ["it is no valid script"]
    parts = _SYNTAX_ERROR.search(lines[0])
    text = parts["text"] if parts else lines[0]
    yield found("IB501", f"{dialect}: {text}", script.place(int(parts["line"]) if parts else 1))


def _python(script: ScriptText) -> Iterator[Finding]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            ast.parse(script.text)
    except SyntaxError as error:
        yield found("IB501", f"python: {error.msg}", script.place(error.lineno or 1))
    except (ValueError, RecursionError, MemoryError) as error:
        yield found("IB501", f"python: {error or 'nested too deeply'}", script.script.where)


def _unseen_failure(script: ScriptText) -> Iterator[Finding]:
    if script.script.kind in ("onerror", "traceback"):
        return  # the build has failed already
    if not script.script.error_on_fail:
        text = f"%{script.script.kind} has no --erroronfail: the build goes on if it fails"
        yield found("IB504", text, script.script.where)
    elif script.is_shell and not _stops(script) and len(script.statements) > 1:
        text = f"%{script.script.kind} has no set -e: only its last command's failure counts"
        yield found("IB504", text, script.script.where)


def _stops(script: ScriptText) -> bool:
    options = script.script.interpreter.split()[1:]
    return any(re.fullmatch(r"-[a-zA-Z]*e[a-zA-Z]*", each) for each in options) or any(
        _STOPS.match(each.text) for each in script.statements
    )


def _habits(script: ScriptText, statement: shell.Statement) -> Iterator[Finding]:
    where = script.place(statement.index + 1)
    for pipeline in shell.pipelines(statement.text):
        names = [shell.name_of(each) for each in pipeline]
        for name, part in zip(names, pipeline, strict=True):
            modes = [each for each in part[1:] if not each.startswith("-")][:1]
            if name == "chmod" and modes and _WORLD_WRITABLE.fullmatch(modes[0]):
                yield found("IB505", f"chmod {modes[0]} lets anybody write", where)
        if _runs_what_it_fetches(pipeline, names):
            yield found("IB506", "what is fetched is run at once", where)


def _runs_what_it_fetches(pipeline: list[list[str]], names: list[str]) -> bool:
    fetched = next((n for n, name in enumerate(names) if name in _FETCHERS), len(names))
    if any(_RUNNER.fullmatch(each) for each in names[fetched + 1 :]):
        return True
    runs = _RUNNER.fullmatch(names[0]) is not None
    return runs and any(_FETCHED.search(each) for each in pipeline[0])
