"""Lines of a kickstart as lines of a template that renders to them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence

from imagebuilder.errors import InputError
from imagebuilder.importing.passwords import Part
from imagebuilder.template import rendered

# What the templates of this project begin with: an expression, a statement, a comment.
_MARKS = ("{{", "{%", "<#--")
_SIGNS = re.compile(r"[{}%<#]")


def escaped(text: str, after: str = "") -> str:
    """Return what renders to a text: the most readable of the forms that do.

    Args:
        text: the text, of one line.
        after: an expression that follows it.
    """
    if not any(mark in text for mark in _MARKS) and not (after and text.endswith("{")):
        return text
    return next(form for form in _forms(text) if _is_same(form, text, after))


def _forms(text: str) -> Iterator[str]:
    yield text  # templates leave the braces of shells and of Go alone
    yield f"{{% raw %}}{text}{{% endraw %}}"
    literal = json.dumps(text, ensure_ascii=False)
    yield f"{{{{ {_SIGNS.sub(_code, literal)} }}}}"


def _code(sign: re.Match[str]) -> str:
    return f"\\u{ord(sign[0]):04x}"


def _is_same(form: str, text: str, after: str) -> bool:
    probe = '{{ "x" }}' if after else ""
    try:
        made = rendered(f"{form}{probe}\n", {}, "line").texts
    except InputError:
        return False
    return made == (text + ("x" if after else ""),)


def line_of(parts: Sequence[Part]) -> str:
    """Return a line with expressions in place of secrets."""
    made: list[str] = []
    after = ""
    for kind, what in reversed(parts):
        after = f'{{{{ secret("{what}") }}}}' if kind == "secret" else escaped(what, after)
        made.append(after)
    return "".join(reversed(made))
