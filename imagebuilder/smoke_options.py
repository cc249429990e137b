"""``[smoke]`` of a recipe: the machines that its image is tested in, and their network."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Network
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from imagebuilder.budget import Budget
from imagebuilder.kernel_options import KernelArgument

VlanId = Annotated[int, Field(ge=2, le=4094)]
VlanName = Annotated[
    str, StringConstraints(pattern=r"^([2-9]|[1-9][0-9]{1,2}|[1-3][0-9]{3}|40([0-8][0-9]|9[0-4]))$")
]
MachineName = Annotated[str, StringConstraints(pattern=r"^([1-9]|1[0-6])$")]

# The ways to boot; imagebuilder/smoke/paths.py says what each is.
BootPathName = Literal["kernel", "pxe-bios", "pxe-uefi", "pxe-secure", "uefi-http"]


_NARROWEST = 24  # prefix: hosts 1 to 116 of a network are taken (smoke/rack/layout.py)
_VIRTIO = "virtio-net-pci"


class _Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Nic(_Table):
    """``[[smoke.nics]]``: a network card of each machine, and what its port carries."""

    model: Literal["virtio-net-pci", "e1000", "e1000e", "vmxnet3", "rtl8139"] = Field(
        default="virtio-net-pci", description="QEMU's device"
    )
    mac: str = Field(
        default="",
        pattern=r"^([0-9A-Fa-f][02468ACEace](:[0-9A-Fa-f]{2}){5})?$",
        description="the first machine's address; each further machine's ends in one more; "
        "unset: 52:54:00:77, the machine's number, the card's",
    )
    native: bool = Field(default=True, description="whether the port takes frames without a tag")
    vlans: tuple[VlanId, ...] = Field(
        default=(), description="the VLANs whose frames have a tag at the port"
    )


class SmokeOptions(_Table):
    """``[smoke]``: the machine that the image is tested in."""

    memory_mib: int = Field(default=2048, ge=256, le=1 << 20, description="the guest's memory, MiB")
    cpus: int = Field(default=2, ge=1, le=256, description="the guest's processors")
    boot_timeout: float = Field(
        default=120.0,
        gt=0,
        le=7200,
        description="seconds from power-on to multi-user.target under KVM; "
        "five times that under software emulation",
    )
    budget: Budget = Field(
        default_factory=Budget, description="a table of its own: what the image may cost"
    )
    paths: tuple[BootPathName, ...] = Field(
        default=("pxe-bios",),
        min_length=1,
        description="the ways in which it is booted, one after the other: pxe-bios, pxe-uefi: "
        "as machines with such firmware do; pxe-secure: with Secure Boot, through shim and GRUB; "
        "uefi-http: firmware fetches iPXE over HTTP; kernel: "
        "kernel and initrd are given to QEMU, which tests no boot script",
    )
    network: Literal["user", "rack"] = Field(
        default="user",
        description="user: QEMU's own; rack: a switch with VLANs, a DHCP and TFTP server. "
        "uefi-http, nics, vlans and several machines need the rack, and have it in any case",
    )
    subnet: IPv4Network = Field(
        default=IPv4Network("10.77.0.0/24"),
        description="the rack's network without tags: the server is its host 1, machine N 10 + N, "
        "its second card 30 + N",
    )
    vlans: dict[VlanName, IPv4Network] = Field(
        default_factory=dict,
        description="the rack's tagged VLANs: for each number a subnet, with the same hosts",
    )
    nics: tuple[Nic, ...] = Field(
        default=(),
        max_length=4,
        description="the cards of each machine; it boots from the first",
    )
    machines: int = Field(
        default=1, ge=1, le=16, description="how many are booted at once; they reach each other"
    )
    args: tuple[KernelArgument, ...] = Field(
        default=(),
        description="kernel arguments as the fleet's configuration hands them out, for tests "
        "only: {machine} is the machine's number, {name} its name, {mac} its first card's address",
    )
    machine_args: dict[MachineName, tuple[KernelArgument, ...]] = Field(
        default_factory=dict, description="further ones, for the machine of each number"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class WrongRack:
    """Why the network of a rack cannot be.

    Attributes:
        key: of ``[smoke]``, such as ``nics.1.vlans``.
        why: what is wrong.
        fix: what to do about it.
    """

    key: str
    why: str
    fix: str


def wrong_rack(options: SmokeOptions) -> WrongRack | None:
    """Return why the network that the options describe cannot be; None if it can.

    Looked at in resolved recipes only: what one of them says may be right with its parent's.
    """
    subnets = [("subnet", options.subnet)]
    subnets += [(f"vlans.{vlan}", subnet) for vlan, subnet in sorted(options.vlans.items())]
    for number, (key, subnet) in enumerate(subnets):
        if subnet.prefixlen > _NARROWEST:
            return WrongRack(
                key=key,
                why=f"the network {subnet} has no room for a rack",
                fix="give it a /24, or a wider one",
            )
        for _, other in subnets[:number]:
            if subnet.overlaps(other):
                return WrongRack(
                    key=key,
                    why=f"the networks {other} and {subnet} overlap",
                    fix="give each VLAN a subnet of its own",
                )
    for number, nic in enumerate(options.nics):
        strange = sorted(each for each in nic.vlans if str(each) not in options.vlans)
        if strange:
            return WrongRack(
                key=f"nics.{number}.vlans",
                why=f"the card is on VLAN {strange[0]}, which is none",
                fix=f'give it a network in [smoke.vlans]: {strange[0]} = "10.20.0.0/24"',
            )
    if options.nics and not options.nics[0].native:
        return WrongRack(
            key="nics.0.native",
            why="the first card takes no frames without a tag, so that nothing could boot from it",
            fix="put the card that machines boot from first, without native = false",
        )
    own = {"uefi-http", "pxe-secure"} & set(options.paths)  # paths without a ROM of the card
    if options.nics and own and options.nics[0].model != _VIRTIO:
        return WrongRack(
            key="nics.0.model",
            why=f"the firmware has no driver for {options.nics[0].model}, so that it could not "
            f"boot over {min(own)}",
            fix=f"let the first card be a {_VIRTIO}, or boot over pxe-uefi",
        )
    return None
