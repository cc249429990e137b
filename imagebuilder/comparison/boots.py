"""What a test's report says of boots, read from reports of any version."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from imagebuilder.changes import Difference
from imagebuilder.comparison.measures import Measure

_MOST = 32 << 20  # bytes of a report
_BROKEN = ("failed", "not-run")


class _Loose(BaseModel):
    """Reports of releases were written by other versions: what is not known here is passed over."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class _Check(_Loose):
    title: str
    outcome: str


class _Boot(_Loose):
    path: str = "pxe-bios"
    passed: bool = True
    seconds_to_multi_user: float | None = None
    machine: int = 1
    memory_peak_mib: float | None = None
    checks: tuple[_Check, ...] = ()


class _Memory(_Loose):
    mib: int


class Boots(_Loose):
    """A test's report, as far as two of them are compared.

    The first format had one boot, whose fields stood beside all others.
    """

    passed: bool
    boot_path: str = "pxe-bios"
    seconds_to_multi_user: float | None = None
    checks: tuple[_Check, ...] = ()
    boots: tuple[_Boot, ...] = Field(default=())
    memory: _Memory | None = None

    @classmethod
    def read(cls, data: bytes) -> Boots | None:
        """Read a report; None if it is none."""
        if len(data) > _MOST:
            return None
        try:
            return cls.model_validate_json(data)
        except ValidationError:
            return None

    def by_path(self) -> Mapping[str, _Boot]:
        """Return the last boot of each way to boot, and of each machine that took it at once."""
        if self.boots:
            return {
                each.path if each.machine == 1 else f"{each.path}, machine {each.machine}": each
                for each in self.boots
            }
        only: dict[str, Any] = {
            "passed": self.passed,
            "seconds_to_multi_user": self.seconds_to_multi_user,
            "checks": self.checks,
        }
        return {self.boot_path: _Boot(path=self.boot_path, **only)}


def measures(old: Boots | None, new: Boots | None) -> Iterator[Measure]:
    """Give the times to boot, and the memory that is in use then, for each way to boot."""
    before, after = (each.by_path() if each else {} for each in (old, new))
    for path in dict.fromkeys([*before, *after]):
        was, now = before.get(path), after.get(path)
        values = [each.seconds_to_multi_user if each else None for each in (was, now)]
        if values != [None, None]:
            name = f"time to boot, {path}"
            yield Measure(name=name, old=values[0], new=values[1], unit="seconds")
        used = [_bytes(each.memory_peak_mib if each else None) for each in (was, now)]
        if used != [None, None]:
            name = f"most memory in use, {path}"
            yield Measure(name=name, old=used[0], new=used[1], unit="bytes")
    needs = [_bytes(each.memory.mib if each and each.memory else None) for each in (old, new)]
    if needs != [None, None]:
        yield Measure(name="memory that it needs", old=needs[0], new=needs[1], unit="bytes")


def _bytes(mib: float | None) -> float | None:
    return None if mib is None else mib * (1 << 20)


def differences(old: Boots | None, new: Boots | None) -> Iterator[Difference]:
    """Give the checks that passed on one side and failed on the other."""
    if not (old and new):
        return
    before, after = (
        {
            f"{check.title}, {path}": "failed" if check.outcome in _BROKEN else check.outcome
            for path, boot in side.by_path().items()
            for check in boot.checks
        }
        for side in (old, new)
    )
    for title in sorted({*before} & {*after}):
        if before[title] != after[title]:
            yield Difference(kind="test", name=title, old=before[title], new=after[title])
