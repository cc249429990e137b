"""What several opinions say in the same words."""

from __future__ import annotations

import re

from imagebuilder.smoke.stages import FETCHED
from imagebuilder.smoke.watch import Boot

_MIB = 1 << 20
_QUOTE_LIMIT = 160  # characters of the console in a sentence
_TIME = re.compile(r"^\[ *\d+\.\d+\] ")
_EARLIER = 2  # findings that are told with a line that only follows


def quoted(line: str) -> str:
    """Return a line of the console as it stands in a sentence."""
    return _TIME.sub("", line)[:_QUOTE_LIMIT]


def told_before(boot: Boot) -> str:
    """Return what the console told of before the line that ended the boot; "" if nothing."""
    findings = [each for each in boot.findings if each.severity == "warn"]
    if boot.fatal:
        findings = [each for each in findings if each.seconds <= boot.fatal.seconds]
    # What was not started for lack of another thing is no cause, if there is one.
    causes = [each for each in findings if not each.meaning.startswith("not started: ")]
    return "; ".join(each.meaning for each in (causes or findings)[-_EARLIER:])


def before_that(boot: Boot) -> str:
    """Return the same as the end of a sentence."""
    told = told_before(boot)
    return f"; before that: {told}" if told else ""


def how_much(boot: Boot, name: str) -> str:
    """Return how much of a file the guest got."""
    best = max(
        (each for each in boot.transfers if each.name == name),
        key=lambda each: each.sent,
        default=None,
    )
    if best is None:
        return f": it was never asked for{asked_in_vain(boot)}"
    cut = "" if best.whole else "; the transfer was cut"
    return f": {best.sent / _MIB:.1f} of {best.wanted / _MIB:.1f} MiB of {name} were sent{cut}"


def asked_in_vain(boot: Boot) -> str:
    """Return what else the guest asked for that the server has not."""
    names = dict.fromkeys(each.name for each in boot.transfers if each.status == 404)
    others = [name for name in names if name not in FETCHED]
    return f"; asked for was {', '.join(others)}, which the server has not" if others else ""


def address_story(boot: Boot, part: str, who: str) -> str:
    """Return how far somebody came with DHCP and TFTP; "" if all that is to be seen went well.

    Args:
        boot: what was seen.
        part: ``firmware`` or ``initrd``.
        who: what the sentence calls it.
    """
    packets = [each for each in boot.packets if each.part == part]
    kinds = [each.what for each in packets if each.kind == "dhcp"]
    if not kinds:
        return f"{who} sent no DHCP request"
    if "ack" not in kinds:
        asked = sum(kind in ("discover", "request") for kind in kinds)
        how = "was refused (NAK)" if "nak" in kinds else "got no answer"
        times = "once" if asked == 1 else f"{asked} times"
        return f"{who} asked for an address by DHCP {times} and {how}"
    errors = [each.what for each in packets if each.kind == "tftp-error"]
    reads = [each.what for each in packets if each.kind == "tftp-read"]
    if errors:
        return f"{who} asked for {reads[-1] if reads else 'a file'} by TFTP: {errors[-1]}"
    return ""
