"""lint: what would fail later, or should not be as it is, found before anything is built."""

from imagebuilder.lint.code_quality import code_quality
from imagebuilder.lint.codes import CODES, GROUPS, SEVERITIES, Code, Severity
from imagebuilder.lint.finding import Finding, Waived
from imagebuilder.lint.report import gather, names_of
from imagebuilder.lint.run import Result, Settings, look
from imagebuilder.lint.sarif import sarif

__all__ = [
    "CODES",
    "GROUPS",
    "SEVERITIES",
    "Code",
    "Finding",
    "Result",
    "Settings",
    "Severity",
    "Waived",
    "code_quality",
    "gather",
    "look",
    "names_of",
    "sarif",
]
