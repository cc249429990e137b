"""Lines of a kickstart as lines of a template that renders to them."""

from __future__ import annotations

import json
from collections.abc import Sequence

from imagebuilder.importing.passwords import Part

# What the templates of this project begin with: an expression, a statement, a comment.
_MARKS = ("{{", "{%", "<#--")


def escaped(text: str, *, before_secret: bool = False) -> str:
    """Return what renders to a text.

    Args:
        text: the text, of one line.
        before_secret: whether ``{{`` follows, which must not be read with the text's end.
    """
    if not any(mark in text for mark in _MARKS) and not (before_secret and text.endswith("{")):
        return text
    if "endraw" in text:
        return f"{{{{ {json.dumps(text, ensure_ascii=False)} }}}}"
    return f"{{% raw %}}{text}{{% endraw %}}"


def line_of(parts: Sequence[Part]) -> str:
    """Return a line with expressions in place of secrets."""
    made = []
    for n, (kind, what) in enumerate(parts):
        if kind == "secret":
            made.append(f'{{{{ secret("{what}") }}}}')
        else:
            made.append(escaped(what, before_secret=n + 1 < len(parts)))
    return "".join(made)
