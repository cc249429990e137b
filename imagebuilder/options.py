"""Options: how work is done, whatever the verb."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from imagebuilder.progress import Cancel, Observer, ignore


def default_cache_dir() -> Path:
    """Return where results that images share are kept: ``IMAGEBUILDER_CACHE`` or the user's."""
    asked = os.environ.get("IMAGEBUILDER_CACHE", "")
    if asked:
        return Path(asked).absolute()
    import platformdirs

    return platformdirs.user_cache_path("imagebuilder")


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How work is done, whatever the verb.

    Attributes:
        cache_dir: where results that images share are kept.
        observer: is told what happens.
        cancel: the request to stop.
        again: do everything, whatever is there.
        refresh: look at the package mirrors even if they were looked at a short while ago.
        offline: use no network: what is in the cache must do.
        locked: whether exactly the packages of the recipe's lock file are installed; None: as
            the recipe or the project says.
        small: make images small, however long it takes: ``small_level`` of a recipe.
        accel: what runs the guest's processors in tests.
        paths: the ways in which tests boot, or ``all``; none: as each recipe says.
        remote_cache: the URL of the remote cache, or "" to do without; None: as the environment
            or the project says.
        executor: where images are made, such as ``dask://HOST:PORT`` or ``local``; None: as the
            environment or the project says.
        retries: how often a boot that did not pass is repeated, at most.
        measure_memory: also find out how much memory an image needs to come up.
    """

    cache_dir: Path
    observer: Observer = ignore
    cancel: Cancel
    again: bool = False
    refresh: bool = False
    offline: bool = False
    locked: bool | None = None
    small: bool = False
    accel: Literal["auto", "kvm", "tcg"] = "auto"
    paths: tuple[str, ...] = ()
    remote_cache: str | None = None
    executor: str | None = None
    retries: int = 0
    measure_memory: bool = False

    @classmethod
    def make(
        cls,
        *,
        observer: Observer = ignore,
        cancel: Cancel | None = None,
        cache_dir: Path | None = None,
        again: bool = False,
        refresh: bool = False,
        offline: bool = False,
        locked: bool | None = None,
        small: bool = False,
        accel: Literal["auto", "kvm", "tcg"] = "auto",
        paths: Sequence[str] = (),
        remote_cache: str | None = None,
        executor: str | None = None,
        retries: int = 0,
        measure_memory: bool = False,
    ) -> Options:
        """Return options with what is not given at its default."""
        return cls(
            cache_dir=cache_dir or default_cache_dir(),
            observer=observer,
            cancel=cancel or Cancel(),
            again=again,
            refresh=refresh,
            offline=offline,
            locked=locked,
            small=small,
            accel=accel,
            paths=tuple(paths),
            remote_cache=remote_cache,
            executor=executor,
            retries=retries,
            measure_memory=measure_memory,
        )
