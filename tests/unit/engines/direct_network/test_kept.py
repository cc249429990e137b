"""Lines that differ in the host's name alone are read once, and mean what each says."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from imagebuilder.engines.direct.network.devices import read_network
from imagebuilder.errors import InputError
from imagebuilder.kickstart import Kickstart

Parsed = Callable[[str], Kickstart]


def test_lines_that_differ_in_the_host_s_name_alone(kickstart_of: Parsed) -> None:
    def said(name: str, more: str = "") -> Any:
        text = f"network --device=eth0 --bootproto=dhcp --hostname={name} {more}\n"
        return read_network(kickstart_of(text).all("network"))

    for name in ("node1", "node2.example.org", "node1"):
        made = said(name)
        assert made.hostname == name
        assert [each.key for each in made.devices] == ["eth0"]
    assert said("node3", "--mtu=9000").devices[0].mtu == 9000
    with pytest.raises(InputError, match="has no value"):
        said("")
    for name in ("-", "a..b", "node4."):
        with pytest.raises(InputError, match="no host name"):
            said(name)
    with pytest.raises(InputError, match="no host name"):
        said("'node 5'")
    assert said("'node6'").hostname == "node6"


def test_a_later_line_s_name_holds(kickstart_of: Parsed) -> None:
    for first, second in (("a", "b"), ("c", "d"), ("e", "f")):
        text = f"network --hostname={first}\nnetwork --device=link --hostname={second}\n"
        assert read_network(kickstart_of(text).all("network")).hostname == second
