"""Pages of HTML that need nothing else: styles and scripts stand in them, and only these may run.

What is filled in is escaped by the template; the page's policy (CSP) names its own style and
script by their digests, so that markup which got in all the same would do nothing.
"""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2

from imagebuilder.sizes import human_size

_SHARED = "/* The style that all pages share comes first. */\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """A template of a page.

    Attributes:
        source: its text, with all styles in it.
        policy: the content security policy that fits it.
        environment: filters and names that are its own can be added to it.
    """

    source: str
    policy: str
    environment: jinja2.Environment

    def render(self, **values: Any) -> str:
        """Return the page with values filled in, each escaped."""
        return self.environment.from_string(self.source).render(policy=self.policy, **values)


def load(path: Path, *, pictures: bool = False) -> Page:
    """Read a template that has one style, at most one script, and nothing filled into these.

    Args:
        path: the template.
        pictures: whether pictures can stand in the page, as ``data:`` URLs.
    """
    shared = Path(__file__).with_name("webpage.css").read_text(encoding="utf-8")
    source = path.read_text(encoding="utf-8").replace(_SHARED, shared)
    rules = [
        f"{tag}-src {digest}" for tag in ("style", "script") if (digest := _digest(source, tag))
    ]
    rules += ["img-src data:"] if pictures else []
    environment = jinja2.Environment(
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["size"] = human_size
    policy = "; ".join(("default-src 'none'", *rules, "base-uri 'none'", "form-action 'none'"))
    return Page(source=source, policy=policy, environment=environment)


def _digest(source: str, tag: str) -> str:
    found = re.search(rf"<{tag}>(.*?)</{tag}>", source, re.DOTALL)
    if not found:
        return ""
    digest = hashlib.sha256(found[1].encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"
