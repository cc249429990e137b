"""Kinds of values on the command line."""

from __future__ import annotations

import argparse
from pathlib import Path

REPORT_FORMATS = ("json", "junit", "tap", "text")  # of smoke.formats; a test compares


def count(text: str) -> int:
    """Read a number from 1 on."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no number from 1 on")
    return int(text)


def number(text: str) -> int:
    """Read a number from 0 on."""
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is no number from 0 on")
    return int(text)


def report_request(text: str) -> tuple[str, Path]:
    """Read what is to be written where: ``junit=FILE``."""
    form, _, name = text.partition("=")
    if form not in REPORT_FORMATS or not name:
        known = ", ".join(REPORT_FORMATS)
        raise argparse.ArgumentTypeError(f"{text!r} is not FORMAT=FILE, with one of {known}")
    return form, Path(name)
