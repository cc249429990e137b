"""What network lines come to, for the tests beside this file."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from imagebuilder.engines.direct import network
from imagebuilder.engines.direct.network.devices import read_network
from imagebuilder.engines.direct.network.files import network_files
from imagebuilder.errors import InputError
from imagebuilder.kickstart import Kickstart

Parsed = Callable[[str], Kickstart]
Files = dict[str, list[str]]

STATIC = "--bootproto=static --ip=192.0.2.5 --netmask=255.255.255.0"
STATIC6 = "--noipv4 --ipv6=2001:db8::5/64"


@pytest.fixture
def files(kickstart_of: Parsed) -> Callable[[str], Files]:
    """Returns the lines of each file, by its name without the number."""

    def make(text: str) -> Files:
        made = network_files(read_network(kickstart_of(text).all("network")))
        return {
            re.sub(r"^\d+-kickstart-", "", name): [
                line for line in text.splitlines() if line and not line.startswith("#")
            ]
            for name, text in made.items()
        }

    return make


@pytest.fixture
def refused(kickstart_of: Parsed) -> Callable[[str], list[InputError]]:
    def make(text: str) -> list[InputError]:
        with pytest.raises(InputError) as caught:
            network.check(kickstart_of(text).all("network"))
        found = [caught.value, *(each for each in caught.value.also)]
        for error in found:
            assert error.where
            assert error.where.file == "kickstarts/f.ks"
            assert error.where.line
        return [each for each in found if isinstance(each, InputError)]

    return make


@pytest.fixture
def notes(kickstart_of: Parsed) -> Callable[[str], tuple[str, ...]]:
    return lambda text: network.check(kickstart_of(text).all("network"))


def section(lines: list[str], name: str) -> list[str]:
    start = lines.index(f"[{name}]") + 1
    end = next((n for n in range(start, len(lines)) if lines[n].startswith("[")), len(lines))
    return lines[start:end]
