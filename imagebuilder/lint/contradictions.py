"""Fragments that say different things of what can only be one way."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from imagebuilder.kickstart import Command
from imagebuilder.lint.finding import Finding, found
from imagebuilder.lint.subject import Subject


def _firewall(data: Any) -> bool:
    return bool(data.enabled)


def _password(data: Any) -> str:
    if data.password:
        return f"{data.isCrypted} {data.password}"
    return "locked" if data.lock else "none"


# Of these commands one line holds: what it says, to be compared.
_SETTINGS: dict[str, Callable[[Any], Any]] = {
    "firewall": _firewall,
    "keyboard": lambda data: (data.keyboard, data.vc_keymap, tuple(data.x_layouts or ())),
    "lang": lambda data: data.lang,
    "rootpw": _password,
    "selinux": lambda data: data.selinux,
    "timezone": lambda data: (data.timezone, bool(data.isUtc)),
}


def check(subject: Subject) -> Iterator[Finding]:
    """Compare the lines of each command, and those of ``%packages``."""
    for name, says in _SETTINGS.items():
        yield from _differing(
            "IB603", [(name, says(each.data), each) for each in subject.kickstart.all(name)]
        )
    network = subject.kickstart.all("network")
    yield from _differing(
        "IB603",
        [("hostname", each.data.hostname, each) for each in network if each.data.hostname],
    )
    yield from _differing(
        "IB604",
        [
            (f"network device {_device(each)}", _bare(each), each)
            for each in network
            if _device(each)
        ],
    )
    for name in ("user", "group"):
        yield from _differing(
            "IB604",
            [(f"{name} {e.data.name}", _bare(e), e) for e in subject.kickstart.all(name)],
        )
    yield from _packages(subject)


def _device(command: Command) -> str:
    """Return the device that a line describes, or "" if it names none."""
    data = command.data
    if not data.device:
        return ""
    named = getattr(data, "interfacename", "") or ""
    vlan = getattr(data, "vlanid", "") or ""
    return named or (f"{data.device}.{vlan}" if vlan else str(data.device))


def _bare(command: Command) -> str:
    return " ".join(sorted(command.text.split()))


def _differing(code: str, said: list[tuple[str, Any, Command]]) -> Iterator[Finding]:
    """Compare what lines say of the same thing, each with the one before it."""
    last: dict[str, tuple[Any, Command]] = {}
    for what, value, command in said:
        before = last.get(what)
        if before and before[0] != value:
            other = before[1].where
            text = f"{what} is given here, and differently at {other}"
            yield found(code, text, command.where, also=(other,))
        last[what] = (value, command)


def _packages(subject: Subject) -> Iterator[Finding]:
    last: dict[str, Any] = {}
    for wish in subject.kickstart.packages:
        before = last.get(wish.name)
        # A recipe that takes out what its fragments put in does so on purpose.
        of_fragment = not wish.where.file.startswith("recipes/")
        if before and before.excluded != wish.excluded and of_fragment:
            how = ("excluded", "wanted") if wish.excluded else ("wanted", "excluded")
            text = f"package {wish.name} is {how[0]} here, and {how[1]} at {before.where}"
            yield found("IB602", text, wish.where, also=(before.where,))
        last[wish.name] = wish
