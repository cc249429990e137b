"""Put the values of secrets into a kickstart, on its way to what makes the image."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from imagebuilder.errors import InputError, listed
from imagebuilder.kickstart.lines import Line
from imagebuilder.secrets import Vault, names_in


def reveal(lines: Sequence[Line], vault: Vault) -> tuple[Line, ...]:
    """Return lines with the values of secrets in place of what stands for them.

    On the line of a command a value is quoted, so that it is one word.  In a section it stands
    as it is, and may have several lines.

    Raises:
        InputError: a secret is not to be had, has several lines where there is one, or a line
            that ends a section.
    """
    return tuple(_revealed(lines, vault))


def _revealed(lines: Sequence[Line], vault: Vault) -> Iterator[Line]:
    inside = False
    for line in lines:
        text = line.text
        if text.lstrip().startswith("%"):
            word = text.split()[0]
            inside = word != "%end" if not inside or word == "%end" else inside
        if not names_in(text):
            yield line
        elif inside:
            revealed = vault.reveal_script(text, line.where).split("\n")
            if any(each.split()[:1] == ["%end"] for each in revealed):
                raise InputError(
                    f"secret {listed(names_in(text))} has a line that would end the section",
                    where=line.where,
                    fix="let it be another form of itself, such as base64, that the script decodes",
                )
            yield from (Line(each, line.where) for each in revealed)
        else:
            yield Line(vault.reveal_command(text, line.where), line.where)
