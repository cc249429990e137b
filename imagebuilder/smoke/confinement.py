"""What a machine may do to the host that it runs on, if whoever is in it breaks out of QEMU.

The guest itself reaches nothing but its network.  QEMU, which is a large program that reads what
the guest writes, has no network of the host's, may start nothing and become nobody else, and has
bounds of memory and of what it writes.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

from imagebuilder import sandbox
from imagebuilder.command import run
from imagebuilder.errors import HostError, StepError

# Address space beside the guest's memory and the translated code: QEMU, its libraries, and what
# the C library keeps for each thread (64 MiB each, malloc(3): arenas); 0.9 GiB were measured.
_OWN_MIB = 2048
_EACH_CPU_MIB = 128
_WRITES_MIB = 256  # the largest file: firmware's variables, captures of packets, results


def confined(
    argv: Sequence[str], *, memory_mib: int, translation_mib: int, cpus: int, spawns: bool
) -> list[str]:
    """Return the command line that runs QEMU within bounds.

    Args:
        argv: QEMU's.
        memory_mib: the guest's memory.
        translation_mib: QEMU's room for translated code.
        cpus: how many processors the guest has.
        spawns: whether QEMU starts programs: the relay of its user network.
    """
    space = memory_mib + translation_mib + _OWN_MIB + cpus * _EACH_CPU_MIB
    bounds = [
        "setpriv",
        "--no-new-privs",
        "--",
        "prlimit",
        f"--as={space << 20}",
        f"--fsize={_WRITES_MIB << 20}",
        "--core=0",
        "--",
        *argv,
        # seccomp filters (qemu(1), -sandbox).  What it starts is put into a session of its own,
        # which the filter of elevateprivileges would not let it.
        "-sandbox",
        "on,obsolete=deny,resourcecontrol=deny"
        + ("" if spawns else ",elevateprivileges=deny,spawn=deny"),
    ]
    return sandbox.without_network(bounds) if has_empty_network() else bounds


@cache
def has_empty_network() -> bool:
    """Whether a program can be given a network with nothing in it; tried once."""
    try:
        run(sandbox.without_network(["true"]), timeout=20, what="a network with nothing in it")
    except (HostError, StepError):
        return False
    return True
