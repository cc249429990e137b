"""Checks of ports, interfaces and bridges."""

from __future__ import annotations

from ipaddress import ip_address, ip_interface
from typing import Annotated, ClassVar, Literal, Self

from pydantic import AfterValidator, Field, StringConstraints, model_validator

from imagebuilder.checks.base import OR_TEMPLATE, BaseCheck, Word, in_words
from imagebuilder.template import is_template

Vlan = Annotated[int, Field(ge=1, le=4094), OR_TEMPLATE]  # IEEE 802.1Q; 0 and 4095 are none


def _address(value: str) -> str:
    if value and not is_template(value):
        ip_address(value)
    return value


def _with_prefix(value: str) -> str:
    if not is_template(value):
        ip_interface(value)
    return value


def _interface(value: str) -> str:
    # What the kernel takes for a name (dev_valid_name), and the signs of patterns.
    if not is_template(value) and (not 0 < len(value.encode()) < 16 or set(value) & set("/: \t\n")):
        raise ValueError("the name of an interface is wanted: at most 15 bytes")
    return value


InterfaceName = Annotated[str, AfterValidator(_interface)]


class PortCheck(BaseCheck):
    """Something listens on a port of the guest."""

    kind: ClassVar[str] = "port"

    port: Annotated[int, Field(ge=1, le=65535), OR_TEMPLATE] = Field(
        description="the port's number"
    )
    protocol: Literal["tcp", "udp"] = Field(default="tcp", description="tcp or udp")
    address: Annotated[str, AfterValidator(_address)] = Field(
        default="",
        description="the address that it must be bound to, such as 127.0.0.1, or 0.0.0.0 or :: "
        "for all; unset: any",
    )
    only: bool = Field(
        default=False, description="whether it must be bound to no other address than that"
    )
    listening: bool = Field(
        default=True, description="false: nothing must listen on it, at that address"
    )

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.only and (not self.address or not self.listening):
            raise ValueError("only needs address: the one that it must be bound to")
        return self

    @property
    def wanted(self) -> str:
        """What it wants, in words."""
        what = "something that listens" if self.listening else "nothing that listens"
        at = f" at {self.address}" if self.address else ""
        return f"{what} on {self.protocol} port {self.port}{at}{' alone' * self.only}"

    def _title(self) -> str:
        at = f" at {self.address}" if self.address else ""
        return f"{'no ' * (not self.listening)}port {self.port}/{self.protocol}{at}"


class InterfaceCheck(BaseCheck):
    """A network interface is there, and is as expected."""

    kind: ClassVar[str] = "interface"

    interface: InterfaceName = Field(
        description="its name, or a shell's pattern such as en*: one of those must be so"
    )
    exists: bool = Field(default=True, description="false: there must be no such interface")
    state: Literal["up", "down", "any"] = Field(
        default="up",
        description="up: it is turned on and has a carrier, where there is such a thing; down: "
        "it is not up; any: either will do",
    )
    mtu: Annotated[int, Field(ge=68, le=65536), OR_TEMPLATE] | None = Field(
        default=None, description="the largest packet, bytes"
    )
    addresses: tuple[Annotated[str, AfterValidator(_with_prefix)], ...] = Field(
        default=(),
        description="addresses that it must have, such as 192.0.2.9/24; without the length of "
        "the prefix any will do",
    )
    dhcp: bool = Field(
        default=False, description="whether it must have an IPv4 address that ends: from DHCP"
    )
    master: str = Field(
        default="",
        description="the bond or bridge that it must be part of (for Open vSwitch: ovs-system)",
    )
    vlan: Vlan | None = Field(default=None, description="the VLAN that it must be the interface of")
    mac: Annotated[str, StringConstraints(pattern=r"^([0-9a-f]{2}(:[0-9a-f]{2}){5})?$")] = Field(
        default="", description="its Ethernet address, in small letters"
    )

    @model_validator(mode="after")
    def _fits(self) -> Self:
        asked = self._asked_beside("interface", "exists")
        if not self.exists and asked:
            raise ValueError(f"an interface that is not there has no {asked[0]}")
        return self

    @property
    def wanted(self) -> str:
        """What it wants, in words."""
        if not self.exists:
            return f"no interface {self.interface}"
        state = "there" if self.state == "any" else self.state
        return in_words(
            f"the interface {self.interface} to be {state}",
            "" if self.mtu is None else f"mtu {self.mtu}",
            f"address {' '.join(self.addresses)}" if self.addresses else "",
            "an address from DHCP" if self.dhcp else "",
            self.master and f"master {self.master}",
            "" if self.vlan is None else f"VLAN {self.vlan}",
            self.mac and f"MAC {self.mac}",
        )

    def _title(self) -> str:
        return f"{'no ' * (not self.exists)}interface {self.interface}"


class OvsBridgeCheck(BaseCheck):
    """An Open vSwitch bridge is there, with its ports."""

    kind: ClassVar[str] = "ovs_bridge"

    ovs_bridge: Word = Field(description="its name")
    exists: bool = Field(default=True, description="false: there must be no such bridge")
    ports: tuple[Word, ...] = Field(
        default=(), description="ports that it must have; it may have others as well"
    )
    tags: dict[Word, Vlan] = Field(
        default_factory=dict, description="ports that it must have, each with its VLAN"
    )
    trunks: dict[Word, tuple[Vlan, ...]] = Field(
        default_factory=dict, description="ports that it must have, each with all VLANs it carries"
    )

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if not self.exists and (self.ports or self.tags or self.trunks):
            raise ValueError("a bridge that is not there has no ports")
        return self

    @property
    def wanted(self) -> str:
        """What it wants, in words."""
        if not self.exists:
            return f"no Open vSwitch bridge {self.ovs_bridge}"
        return in_words(
            f"the Open vSwitch bridge {self.ovs_bridge}",
            f"ports {' '.join(self.ports)}" if self.ports else "",
            *(f"port {port} in VLAN {tag}" for port, tag in self.tags.items()),
            *(
                f"port {port} carrying VLANs {' '.join(map(str, tags))}"
                for port, tags in self.trunks.items()
            ),
        )

    def _title(self) -> str:
        return f"{'no ' * (not self.exists)}Open vSwitch bridge {self.ovs_bridge}"
