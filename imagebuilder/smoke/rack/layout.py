"""What stands in the rack: machines, their cards, the networks, and who has which address."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network

from pydantic import BaseModel, ConfigDict

from imagebuilder.errors import InputError
from imagebuilder.smoke_options import Nic, SmokeOptions, wrong_rack

NATIVE = 1  # what the switch calls the network of frames without a tag, as most switches do

# Hosts of each network: the server; machine 1 and on, the next twenty for their second cards,
# and so on (recipe.py has no more than 16 machines, with 4 cards); where machine 1's files are,
# and on.
_SERVER, _MACHINES, _CARD_STEP, _FILES = 1, 10, 20, 100
# QEMU's own prefix; then our number, the machine, the card.
_MAC = "52:54:00:77:{machine:02x}:{card:02x}"


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Network(_Model):
    """A network that the server is on: the one without tags, or a VLAN."""

    vlan: int
    subnet: IPv4Network

    @property
    def server(self) -> IPv4Address:
        """The server's address."""
        return self.subnet[_SERVER]

    def address(self, machine: int, card: int = 0) -> IPv4Address:
        """Return the address that DHCP gives to a machine's card; cards count from 0."""
        return self.subnet[_MACHINES + machine + _CARD_STEP * card]

    def files(self, machine: int) -> IPv4Address:
        """Return the address at which a machine finds its files."""
        return self.subnet[_FILES + machine]


class CardPlan(_Model):
    """A card of a machine, and what its port of the switch carries."""

    model: str
    mac: str
    native: bool
    vlans: tuple[int, ...]

    def is_on(self, network: Network) -> bool:
        """Whether its port carries a network."""
        return self.native if network.vlan == NATIVE else network.vlan in self.vlans


class MachinePlan(_Model):
    """A machine: its number, from 1, its cards, and kernel arguments of its own."""

    number: int
    cards: tuple[CardPlan, ...]
    args: tuple[str, ...]

    @property
    def name(self) -> str:
        """What DNS and DHCP call it."""
        return f"machine{self.number}"


class Layout(_Model):
    """The rack."""

    networks: tuple[Network, ...]
    machines: tuple[MachinePlan, ...]

    @property
    def boot(self) -> Network:
        """The network that machines boot from."""
        return self.networks[0]

    def files_url(self, machine: int) -> str:
        """Return where a machine finds its files."""
        return f"http://{self.boot.files(machine)}/"

    def environment(self, machine: int) -> dict[str, str]:
        """Return what checks find in their environment."""
        peers = [each.number for each in self.machines if each.number != machine]
        return {
            "SMOKE_MACHINE": str(machine),
            "SMOKE_SERVER": str(self.boot.server),
            "SMOKE_PEERS": " ".join(str(self.boot.address(each)) for each in peers),
        }


def needs_rack(options: SmokeOptions, path: str) -> bool:
    """Whether a boot needs more of a network than QEMU's own has."""
    several = options.machines > 1 or options.nics or options.vlans
    return options.network == "rack" or bool(several) or path == "uefi-http"


def layout_of(options: SmokeOptions) -> Layout:
    """Return the rack that a recipe asks for.

    Raises:
        InputError: it cannot be.
    """
    wrong = wrong_rack(options)
    if wrong:
        raise InputError(f"smoke.{wrong.key}: {wrong.why}", fix=wrong.fix)
    networks = [Network(vlan=NATIVE, subnet=options.subnet)]
    networks += [
        Network(vlan=int(vlan), subnet=subnet) for vlan, subnet in sorted(options.vlans.items())
    ]
    nics = options.nics or (Nic(),)
    return Layout(
        networks=tuple(networks),
        machines=tuple(
            _machine(options, nics, number) for number in range(1, options.machines + 1)
        ),
    )


def _machine(options: SmokeOptions, nics: Sequence[Nic], number: int) -> MachinePlan:
    cards = tuple(
        CardPlan(
            model=nic.model,
            mac=_mac(nic, number, position),
            native=nic.native,
            vlans=nic.vlans,
        )
        for position, nic in enumerate(nics)
    )
    own = (*options.args, *options.machine_args.get(str(number), ()))
    words = {"{machine}": str(number), "{mac}": cards[0].mac, "{name}": f"machine{number}"}
    return MachinePlan(number=number, cards=cards, args=tuple(_filled(each, words) for each in own))


def _mac(nic: Nic, machine: int, card: int) -> str:
    if not nic.mac:
        return _MAC.format(machine=machine, card=card)
    *first, last = nic.mac.lower().split(":")
    return ":".join([*first, f"{(int(last, 16) + machine - 1) % 256:02x}"])


def _filled(text: str, words: dict[str, str]) -> str:
    for name, value in words.items():
        text = text.replace(name, value)
    return text
