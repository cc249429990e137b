"""A garbage collection and a publisher, stopped at every request of either for the other's sake."""

import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from imagebuilder.catalog import Catalog, Retention, leases
from imagebuilder.errors import CatalogError
from imagebuilder.image import Image
from imagebuilder.progress import Event, Observer, ignore
from imagebuilder.stores import FileStore

from .conftest import image_at, passing
from .consistency import broken_promises

STRICT = Retention(keep_last=1, keep_days=0, rollback_steps=1, running_days=1, grace_hours=0)


class SteppedStore(FileStore):
    """Calls ``before`` with the number of each request before it is made."""

    def __init__(self, root: Path, before: Callable[[int], None]) -> None:
        super().__init__(root)
        self._before = before
        self.count = 0

    def _step(self) -> None:
        self.count += 1
        self._before(self.count)

    def get(self, *args: Any, **values: Any) -> Any:
        self._step()
        return super().get(*args, **values)

    def put(self, *args: Any, **values: Any) -> None:
        self._step()
        # The store's own look at what is there, below, is no request.
        plain = FileStore(self._root)
        plain.put(*args, **values)

    def upload(self, *args: Any, **values: Any) -> None:
        self._step()
        super().upload(*args, **values)

    def stat(self, *args: Any, **values: Any) -> Any:
        self._step()
        return super().stat(*args, **values)

    def list(self, prefix: str) -> Iterator[Any]:
        self._step()
        return super().list(prefix)

    def delete(self, key: str) -> None:
        self._step()
        super().delete(key)


@pytest.fixture
def images(tmp_path: Path) -> list[Image]:
    return [image_at(tmp_path / "build", seed=n, size=100) for n in range(3)]


@pytest.fixture
def template(tmp_path: Path, images: list[Image]) -> Path:
    root = tmp_path / "template"
    catalog = Catalog.open(str(root))
    for each in images:
        catalog.publish(each, channel="testing", evidence=passing(each))
    catalog.promote("base", "testing", to="stable")
    return root


Act = Callable[[Catalog, Observer], object]
ACTS = [
    "publish",
    pytest.param("promote", marks=pytest.mark.slow),
    pytest.param("rollback", marks=pytest.mark.slow),
]


def act_of(kind: str, images: list[Image], template: Path) -> Act:
    """Return something that names the oldest release again, which is to be collected."""
    oldest = Catalog.open(str(template)).releases()[0].version
    if kind == "publish":
        return lambda catalog, observer: catalog.publish(
            images[0], channel="stable", evidence=passing(images[0]), observer=observer
        )
    if kind == "promote":
        return lambda catalog, observer: catalog.promote(
            "base", oldest, to="stable", observer=observer
        )
    return lambda catalog, observer: catalog.rollback(
        "base", "testing", to=oldest, observer=observer
    )


def attempt(act: Act, catalog: Catalog, observer: Observer = ignore) -> None:
    try:
        act(catalog, observer)
    except CatalogError as error:
        if "no release" not in error.what and "not whole" not in error.what:
            raise


@pytest.mark.parametrize("kind", ACTS)
def test_a_collection_between_any_two_requests(
    tmp_path: Path, images: list[Image], template: Path, kind: str
) -> None:
    act = act_of(kind, images, template)
    n, more = 1, True
    while more:
        root = tmp_path / f"{kind}-{n}"
        shutil.copytree(template, root)

        def collect(count: int, n: int = n, root: Path = root) -> None:
            if count == n:
                Catalog.open(str(root)).gc(STRICT)

        store = SteppedStore(root, collect)
        attempt(act, Catalog(store=store))
        assert broken_promises(root) == [], n
        more = store.count >= n
        shutil.rmtree(root)
        n += 1
    assert n > 10


@pytest.mark.parametrize("kind", ACTS)
def test_a_publisher_between_any_two_requests_of_a_collection(
    tmp_path: Path,
    images: list[Image],
    template: Path,
    kind: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(leases, "_POLL_SECONDS", 0.01)
    act = act_of(kind, images, template)
    n, more, waited = 1, True, 0
    while more:
        root = tmp_path / f"{kind}-{n}"
        shutil.copytree(template, root)
        halted, ended, threads = threading.Event(), threading.Event(), []
        errors: list[BaseException] = []

        def publish(
            root: Path = root,
            halted: threading.Event = halted,
            ended: threading.Event = ended,
            errors: list[BaseException] = errors,
        ) -> None:
            def observe(event: Event) -> None:
                if event.kind == "note":
                    halted.set()

            try:
                attempt(act, Catalog.open(str(root)), observe)
            except BaseException as error:
                errors.append(error)
            ended.set()
            halted.set()

        def begin(
            count: int,
            n: int = n,
            halted: threading.Event = halted,
            threads: list[threading.Thread] = threads,
            publish: Callable[[], None] = publish,
        ) -> None:
            if count == n:
                threads.append(threading.Thread(target=publish))
                threads[0].start()
                assert halted.wait(30)  # until it is through, or waits for us

        store = SteppedStore(root, begin)
        Catalog(store=store).gc(STRICT)
        more = store.count >= n
        for each in threads:
            waited += not ended.is_set()
            each.join(30)
        assert errors == [], n
        assert broken_promises(root) == [], n
        shutil.rmtree(root)
        n += 1
    assert n > 25
    assert waited > 3
