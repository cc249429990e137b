"""Which formats there are."""

from __future__ import annotations

from collections.abc import Callable

from imagebuilder.smoke.formats import junit, tap
from imagebuilder.smoke.formats.results import Results
from imagebuilder.smoke.report_text import report_text


def render(results: Results, form: str) -> bytes:
    """Return results as a file of a format.

    Args:
        results: what came of tests.
        form: one of :data:`FORMATS`.
    """
    return _RENDERERS[form](results)


def _json(results: Results) -> bytes:
    return results.model_dump_json(indent=2).encode() + b"\n"


def _text(results: Results) -> bytes:
    texts = [report_text(each) for each in results.reports]
    for each in results.not_tested:
        rest = (each.where, *each.excerpt.splitlines(), each.fix)
        lines = [f"{each.recipe}: not tested: {each.what}", *(f"  {line}" for line in rest if line)]
        texts.append("\n".join(lines))
    return "".join(f"{text}\n" for text in texts).encode(errors="replace")


_RENDERERS: dict[str, Callable[[Results], bytes]] = {
    "json": _json,
    "junit": junit.render,
    "tap": tap.render,
    "text": _text,
}
FORMATS = tuple(_RENDERERS)
"""The formats that results can be written in."""
