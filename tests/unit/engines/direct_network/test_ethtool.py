"""What udev sets of --ethtool."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from imagebuilder.errors import InputError

from .conftest import Files, section


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        (
            "autoneg off speed 1000 duplex full",
            ["AutoNegotiation=no", "BitsPerSecond=1000M", "Duplex=full"],
        ),
        ("-s eth0 wol ug port tp mdix auto", ["WakeOnLan=unicast magic", "Port=tp", "MDI=auto"]),
        ("wol d", ["WakeOnLan=off"]),
        ("advertise 0x1020", ["Advertise=1000baset-full 10000baset-full"]),
        (
            "-K eth0 gro off tso on; -G ${DEVICE} rx 4096 tx 512",
            [
                "GenericReceiveOffload=no",
                "TCPSegmentationOffload=yes",
                "TCP6SegmentationOffload=yes",
                "RxBufferSize=4096",
                "TxBufferSize=512",
            ],
        ),
        ("-L eth0 combined 8", ["CombinedChannels=8"]),
        ("-A eth0 autoneg off rx on", ["AutoNegotiationFlowControl=no", "RxFlowControl=yes"]),
        (
            "-C eth0 adaptive-rx off rx-usecs 50 tx-frames-irq 3",
            [
                "UseAdaptiveRxCoalesce=no",
                "RxCoalesceSec=50us",
                "TxMaxCoalescedIrqFrames=3",
            ],
        ),
    ],
)
def test_ethtool(files: Callable[[str], Files], text: str, wanted: list[str]) -> None:
    made = files(f'network --device=eth0 --ethtool="{text}"\n')["eth0.link"]
    assert "OriginalName=eth0" in section(made, "Match")
    link = section(made, "Link")
    assert [each for each in link if "Policy" not in each] == wanted
    assert "MACAddressPolicy=persistent" in link


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("-K eth0 sg off", "-K sg is not honoured"),
        ("-K eth0 gro maybe", "it takes on or off"),
        ("-K eth1 gro off", "eth1"),
        ("-K eth0 gro", "it takes on or off"),
        ("-N eth0 flow-type tcp4", "-N is not honoured"),
        ("speed fast", "a number"),
        ("wol s", "it takes d"),
        ("advertise 0x40", "bit 6"),
        ("advertise 0", "a mask"),
        ("'speed 10", "open quote"),
    ],
)
def test_ethtool_refused(refused: Callable[[str], list[InputError]], text: str, what: str) -> None:
    (error,) = refused(f'network --device=eth0 --ethtool="{text}"\n')
    assert what in error.what


def test_ethtool_of_several_ports(
    files: Callable[[str], Files], refused: Callable[[str], list[InputError]]
) -> None:
    made = files('network --ethtool="-K gro off"\n')["link.link"]
    assert section(made, "Match") == ["Type=ether", "Kind=!*"]
    mac = files('network --device=52:54:00:12:34:56 --ethtool="-K gro off"\n')
    assert "PermanentMACAddress=52:54:00:12:34:56" in mac["52-54-00-12-34-56.link"]
    assert "bootif" in refused('network --device=bootif --ethtool="-K gro off"\n')[0].what
