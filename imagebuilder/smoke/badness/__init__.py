"""What lines of a console tell of trouble: of firmware, kernel, dracut and systemd."""

from __future__ import annotations

from imagebuilder.smoke.badness.firmware import FIRMWARE
from imagebuilder.smoke.badness.initrd import INITRD
from imagebuilder.smoke.badness.kernel import KERNEL, STALLED
from imagebuilder.smoke.badness.kinds import Badness
from imagebuilder.smoke.badness.userspace import USERSPACE

# A line takes the first entry that matches.  The first fatal line that names a cause is the
# diagnosis; one that only follows from it (``follows``) is, where no other comes.
# Firmware has words of its own for what a running system says as well ("No space left on device").
_OF_THE_SYSTEM = (*INITRD, *KERNEL, *USERSPACE)
BADNESS: tuple[Badness, ...] = (*FIRMWARE, *_OF_THE_SYSTEM)


def match(line: str, *, kernel_runs: bool = False) -> tuple[Badness, str] | None:
    """Return the kind of trouble that a line tells of, with its meaning; None if of none.

    Args:
        line: of the console.
        kernel_runs: whether a kernel runs already, so that no firmware speaks any more.
    """
    for badness in _OF_THE_SYSTEM if kernel_runs else BADNESS:
        found = badness.pattern.search(line)
        if found:
            group = next((each for each in found.groups() if each), "").strip()
            meaning = badness.meaning if group else badness.meaning.replace(": {1}", "")
            return badness, meaning.replace("{1}", group)
    return None


__all__ = ["BADNESS", "STALLED", "Badness", "match"]
