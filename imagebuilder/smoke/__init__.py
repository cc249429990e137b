"""Smoke tests: an image is booted in a virtual machine and looked at from inside."""

from imagebuilder.smoke.paths import over_paths
from imagebuilder.smoke.report import BootReport, SmokeReport, load_report, why_not_up_to_date
from imagebuilder.smoke.report_text import report_error, report_text
from imagebuilder.smoke.sources import Served
from imagebuilder.smoke.subject import Subject
from imagebuilder.smoke.testing import smoke_test

__all__ = [
    "BootReport",
    "Served",
    "SmokeReport",
    "Subject",
    "load_report",
    "over_paths",
    "report_error",
    "report_text",
    "smoke_test",
    "why_not_up_to_date",
]
