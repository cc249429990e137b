"""A ``network`` line, read with care: each value that is not one is refused with its place."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache

from imagebuilder.engines.direct.fate_network import NETWORK
from imagebuilder.errors import InputError, Location
from imagebuilder.kickstart import Command

# What the kernel takes as an interface's name (dev_valid_name), without what would be a pattern
# or a separator in a unit file.
_INTERFACE = re.compile(r"^[A-Za-z0-9_.-]{1,15}$")
_RESERVED = (".", "..", "all", "default")  # folders of /proc/sys/net/ipv4/conf
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_HOSTNAME = re.compile(rf"^{_LABEL}(?:\.{_LABEL})*$")
_HOSTNAME_LIMIT = 64  # HOST_NAME_MAX, limits.h
_DOMAIN_LIMIT = 253  # RFC 1035

# Attributes of pykickstart's object, where they are not the option's name.
_ATTRIBUTES = {"--bootproto": "bootProto"}

_NAME_FIX = "a name has at most 15 letters, digits, dots, dashes and underscores"


@dataclass(frozen=True, slots=True)
class Said:
    """What one line says.

    Attributes:
        command: the line.
        notes: what the reader of the kickstart should know about it.
    """

    command: Command
    notes: list[str] = field(default_factory=list)

    @property
    def where(self) -> Location:
        """The line's fragment and number."""
        return self.command.where

    @property
    def options(self) -> frozenset[str]:
        """The options that were given, in full where the line cuts them short."""
        return _all_in_full(self.command.options)

    def refuse(self, what: str, fix: str = "") -> InputError:
        """Return the error to raise about this line."""
        return InputError(f"network: {what}", where=self.where, fix=fix)

    def note(self, what: str) -> None:
        """Keep a note about this line."""
        self.notes.append(f"{self.where}: network: {what}")

    def value(self, option: str) -> str:
        """Return the value of an option, or "" if it was not given.

        Raises:
            InputError: it was given, but is empty.
        """
        name = _ATTRIBUTES.get(option, option.removeprefix("--").replace("-", "_"))
        text = str(getattr(self.command.data, name, None) or "").strip()
        if not text and option in self.options and option != "--bootproto":
            raise self.refuse(f"{option} has no value", "give one, or leave the option out")
        return text

    def listed(self, option: str, separator: str = ",") -> tuple[str, ...]:
        """Return the items of an option's list.

        Raises:
            InputError: one of them is empty.
        """
        text = self.value(option)
        items = tuple(each.strip() for each in text.split(separator)) if text else ()
        if "" in items:
            raise self.refuse(f"{option}={text} has an empty item", "take out the comma")
        return items

    def flag(self, option: str) -> bool:
        """Return whether an option without a value was given."""
        return option in self.options

    def interface(self, text: str, option: str) -> str:
        """Return a name of an interface.

        Raises:
            InputError: it is none.
        """
        if not _INTERFACE.match(text) or text.isdecimal() or text in _RESERVED:
            raise self.refuse(f"{option}: {text!r} is no interface's name", _NAME_FIX)
        return text

    def hostname(self) -> str:
        """Return the host name, or "".

        Raises:
            InputError: it is no host name (hostname(7)).
        """
        text = self.value("--hostname")
        if text and (not _HOSTNAME.match(text) or len(text) > _HOSTNAME_LIMIT):
            raise self.refuse(
                f"{text!r} is no host name",
                f"a name has at most {_HOSTNAME_LIMIT} characters: labels of letters, digits and "
                "inner dashes, with dots between them",
            )
        return text

    def domains(self, option: str) -> tuple[str, ...]:
        """Return the names of an option's list of domains.

        Raises:
            InputError: one of them is no domain name.
        """
        found = self.listed(option)
        for text in found:
            if not _HOSTNAME.match(text) or len(text) > _DOMAIN_LIMIT:
                raise self.refuse(f"{option}: {text!r} is no domain name")
        return found

    def number(self, text: str, option: str, first: int, last: int) -> int:
        """Return a decimal number.

        Raises:
            InputError: it is none, or out of range.
        """
        if not re.match(r"^[0-9]{1,10}$", text) or not first <= int(text) <= last:
            raise self.refuse(f"{option}={text} is no number from {first} to {last}")
        return int(text)

    def address(self, text: str, option: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
        """Return an address of either family.

        Raises:
            InputError: it is none.
        """
        try:
            if "%" in text:  # an interface of the machine that writes the kickstart
                raise ValueError(text)
            return ipaddress.ip_address(text)
        except ValueError as error:
            raise self.refuse(f"{option}: {text!r} is no address") from error


@contextmanager
def collected(errors: list[InputError]) -> Iterator[None]:
    """Keep an error for later, so that one run shows all that is wrong."""
    try:
        yield
    except InputError as error:
        errors.append(error)


@lru_cache(maxsize=1024)
def _all_in_full(options: tuple[str, ...]) -> frozenset[str]:
    return frozenset(map(_in_full, options))


def _in_full(option: str) -> str:
    known = NETWORK.options
    if option in known:
        return option
    meant = [name for name in known if name.startswith(option)]
    return meant[0] if len(meant) == 1 else option
