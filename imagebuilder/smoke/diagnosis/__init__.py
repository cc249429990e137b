"""Why a boot failed, as one sentence that a person understands, from what was seen of it."""

from __future__ import annotations

from collections.abc import Callable

from imagebuilder.smoke.diagnosis import loading, machine, system
from imagebuilder.smoke.report import Failure
from imagebuilder.smoke.watch import Boot

# In this order: what the host, then the guest's own words, then its silence tell.  A line that
# only follows from what failed before gives way to what was seen of the network.
_OPINIONS: tuple[Callable[[Boot], Failure | None], ...] = (
    machine.killed,
    machine.refused,
    loading.missing,
    loading.cut,
    loading.no_script,
    lambda boot: None if boot.fatal_follows else machine.fatal_line(boot),
    lambda boot: system.no_root(boot) if boot.fatal else None,
    machine.fatal_line,
    machine.flood,
    machine.told_by_monitor,
    loading.not_from_network,
    loading.not_fetched,
    loading.kernel_silent,
    system.no_root,
    system.not_switched,
    system.target_not_reached,
)


def diagnose(boot: Boot) -> Failure | None:
    """Return why a boot did not come to its end; None if it did."""
    if boot.ending == "done":
        return None
    for opinion in _OPINIONS:
        failure = opinion(boot)
        if failure:
            return failure
    return system.after_reaching(boot)


__all__ = ["diagnose"]
