"""The bill of materials, made while the root file system is packed: a build waits for that."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from imagebuilder.distro import Distro
from imagebuilder.image import PACKAGES, PackageList
from imagebuilder.progress import Event, Observer
from imagebuilder.sbom import sbom


class SbomAhead:
    """Makes the bill of materials as soon as an engine has written what is installed.

    Args:
        name: the recipe's name.
        image_id: the image's id.
        distro: what the packages are of.
        folder: where the engine writes the list of packages.
        observer: is told of all that this is told of.
    """

    def __init__(
        self, name: str, image_id: str, distro: Distro, folder: Path, observer: Observer
    ) -> None:
        self._about = (name, image_id, distro)
        self._file = folder / PACKAGES
        self._observer = observer
        self._beside = ThreadPoolExecutor(1)
        self._early: tuple[bytes, Future[str]] | None = None

    def __enter__(self) -> SbomAhead:
        return self

    def __exit__(self, *_: object) -> None:
        self._beside.shutdown()

    def observe(self, event: Event) -> None:
        """Take an event of the engine's, and begin when another part begins with the list there."""
        self._observer(event)
        if self._early is None and event.kind == "started":
            with suppress(OSError):  # it is not there yet
                data = self._file.read_bytes()
                self._early = data, self._beside.submit(self._made, data)

    def text(self) -> str:
        """Return the bill of materials of the packages that are listed now.

        Raises:
            OSError: there is no list.
        """
        data = self._file.read_bytes()
        if self._early and self._early[0] == data:
            return self._early[1].result()
        return self._made(data)

    def _made(self, data: bytes) -> str:
        name, image_id, distro = self._about
        return sbom(name, image_id, distro, PackageList.model_validate_json(data))
