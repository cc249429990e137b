"""The verb ``lint``: what would fail later, in seconds."""

from __future__ import annotations

import argparse
import json
import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from imagebuilder.cli.ci_log import Annotation, Level, repository_path
from imagebuilder.cli.context import Context
from imagebuilder.cli.planning import planning
from imagebuilder.errors import HostError, InputError

if TYPE_CHECKING:
    from imagebuilder.lint import Finding


def add(sub: Any, common: argparse.ArgumentParser) -> None:
    """Add the verb to a parser."""
    text = "Find what would fail later, and what should not be as it is."
    parser = sub.add_parser("lint", help=text, description=text, parents=[common])
    parser.set_defaults(verb=lint)
    parser.add_argument("names", nargs="*", metavar="NAME", help="recipes")
    parser.add_argument(
        "--all",
        action="store_true",
        help="all recipes of the project, and the fragments that none of them uses",
    )
    parser.add_argument(
        "--strict", action="store_true", help="let warnings count as errors do: exit status 2"
    )
    parser.add_argument(
        "--offline",
        action="store_true",
        help="never look at the package mirrors: what is in the cache must do",
    )
    parser.add_argument(
        "--refresh", action="store_true", help="look at the package mirrors now, not once a day"
    )
    parser.add_argument(
        "--format",
        choices=("text", "json", "sarif"),
        default="text",
        help="what is printed: lines for people, lines of JSON, or a SARIF log",
    )
    parser.add_argument(
        "--sarif", metavar="FILE", default="", help="write a SARIF log to a file as well"
    )
    parser.add_argument(
        "--code-quality",
        metavar="FILE",
        default="",
        help="write a Code Quality report to a file as well, for GitLab",
    )
    parser.add_argument(
        "-j",
        "--jobs",
        type=int,
        choices=range(1, 65),
        default=min(os.cpu_count() or 1, 64),
        metavar="N",
        help="recipes at a time (as many as there are processors)",
    )


def lint(context: Context) -> int:
    """``lint``."""
    args, out = context.args, context.out
    as_sarif = args.format == "sarif" and not out.as_json
    out.as_json = out.as_json or args.format == "json"
    out.quiet = as_sarif
    from imagebuilder import pipeline

    with planning(context) as work:
        names = None if args.all else work.names()
        findings = pipeline.lint_project(
            work.project, names, work.options, offline=args.offline, jobs=args.jobs
        )
    out.close()
    root = Path(args.directory)

    def path_of(file: str) -> str:
        return repository_path(root, file) or file

    if args.sarif or as_sarif:
        _sarif(findings, Path(args.sarif) if args.sarif else None, path_of, printed=as_sarif)
    if args.code_quality:
        _code_quality(findings, Path(args.code_quality), path_of)
    for each in findings:
        out.data("lint", each.to_dict())
        if not each.waived:
            out.say(_line(each))
            out.annotate(_annotation(each))
    out.say(_summary(findings))
    counted = ("error", "warning") if args.strict else ("error",)
    failed = any(each.severity in counted and not each.waived for each in findings)
    return InputError.exit_status if failed else 0


def _sarif(
    findings: tuple[Finding, ...],
    path: Path | None,
    path_of: Callable[[str], str],
    *,
    printed: bool,
) -> None:
    from imagebuilder.lint import sarif

    text = json.dumps(sarif(findings, path_of), indent=1, ensure_ascii=False)
    if printed:
        print(text)
    if path is not None:
        _write(path, text)


def _code_quality(findings: tuple[Finding, ...], path: Path, path_of: Callable[[str], str]) -> None:
    from imagebuilder.lint import code_quality

    found = code_quality(findings, path_of)
    _write(path, json.dumps(found, indent=1, ensure_ascii=False))


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(f"{text}\n", encoding="utf-8")
    except OSError as error:
        raise HostError(f"{path} cannot be written: {error.strerror}") from error


def _annotation(finding: Finding) -> Annotation:
    level: dict[str, Level] = {"error": "error", "warning": "warning", "note": "notice"}
    text = f"{finding.text}\n{finding.fix}" if finding.fix else finding.text
    return Annotation(
        level=level[finding.severity],
        title=f"lint: {finding.code}",
        text=text,
        where=finding.where,
    )


def _line(finding: Finding) -> str:
    place = ""
    if finding.where:
        line = "" if finding.where.line is None else f":{finding.where.line}"
        place = f"{finding.where.file}{line}: "
    text = f"{place}{finding.severity}: {finding.text} [{finding.code}]"
    if finding.fix and finding.severity != "note":
        text += f"\n    {finding.fix}"
    return text


def _summary(findings: tuple[Finding, ...]) -> str:
    counts = Counter("waived" if each.waived else each.severity for each in findings)
    words = [
        f"{counts[kind]} {kind}{'' if counts[kind] == 1 or kind == 'waived' else 's'}"
        for kind in ("error", "warning", "note", "waived")
        if counts[kind]
    ]
    return ", ".join(words) or "nothing found"
