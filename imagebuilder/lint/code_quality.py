"""Findings as a Code Quality report, which GitLab shows in merge requests and beside lines.

The format is that of "Import code quality results from a CI/CD job" in GitLab's documentation,
a part of Code Climate's.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from imagebuilder.lint.finding import Finding
from imagebuilder.names import PROJECT_FILE

_SEVERITIES = {"error": "critical", "warning": "minor", "note": "info"}


def code_quality(
    findings: Sequence[Finding], path_of: Callable[[str], str]
) -> list[dict[str, Any]]:
    """Return findings as a report, as plain JSON data; what is waived is not in it.

    Args:
        findings: the findings.
        path_of: gives a file's path from the top of the repository.
    """
    seen: Counter[str] = Counter()
    found: list[dict[str, Any]] = []
    for each in findings:
        if each.waived:
            continue
        where = each.where
        # Each is at a line of a file there: what has none is at the head of the project file.
        path = path_of(where.file if where else PROJECT_FILE)
        # The same finding has the same fingerprint when lines before it come and go.
        said = f"{each.code}\0{path}\0{each.text}"
        seen[said] += 1
        found.append(
            {
                "description": f"{each.text}. {each.fix}" if each.fix else each.text,
                "check_name": each.code,
                "fingerprint": hashlib.sha256(f"{said}\0{seen[said]}".encode()).hexdigest(),
                "severity": _SEVERITIES[each.severity],
                "location": {"path": path, "lines": {"begin": (where and where.line) or 1}},
            }
        )
    return found
