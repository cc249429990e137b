"""Files of packages in the cache: fetched once by a real apt, and never taken when damaged."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from apt_repository import BASE, AptRepository, Signer

from imagebuilder.engines.direct import debs
from imagebuilder.engines.direct.index import Index, environment, open_index
from imagebuilder.engines.direct.repository import read
from imagebuilder.engines.direct.sources import Sources
from imagebuilder.errors import Location, StepError
from imagebuilder.image import sha256_of
from imagebuilder.lockfile import LockedPackage
from imagebuilder.progress import Reporter

REPORTER = Reporter(subject="r")


class Shop:
    """A mirror, an index of it, and a cache of its files."""

    def __init__(self, folder: Path, signer: Signer) -> None:
        self.mirror = AptRepository(folder / "mirror", signer)
        self.mirror.put("base-files", "1", BASE["base-files"])
        self.mirror.put("apt", "1")
        self.mirror.put("site-app", "1:2.0")
        self.mirror.publish()
        self.folder = folder
        self.index = self._open()
        files = {
            each.name.partition("_")[0]: each for each in self.mirror.root.glob("pool/*/*.deb")
        }
        self.wanted = tuple(
            debs.Deb(
                name=name,
                file=f"{name}_{version}_all.deb",
                size=files[name].stat().st_size,
                sha256=sha256_of(files[name]),
            )
            for name, version in (("base-files", "1"), ("apt", "1"), ("site-app", "1%3a2.0"))
        )
        self.store = folder / "store"

    def _open(self) -> Index:
        line = self.mirror.line()
        sources = Sources(
            lines=(line,),
            origin="tests",
            repositories=(read(line, "bookworm", self.folder, Location(file="x")),),
        )
        return open_index(self.folder / "cache", sources, "amd64", REPORTER, refresh=False)

    def take(self, name: str) -> dict[str, str]:
        """Take all into a folder of that name; return the digests by the names of files."""
        into = self.folder / name
        fetching = debs.Fetching(
            versions={"base-files": "1", "apt": "1", "site-app": "1:2.0"},
            environment=environment(self.index.folder),
            options=('Acquire::Retries "0";',),
        )
        log = self.folder / f"{name}.log"
        debs.take(self.wanted, self.store, into, fetching, log, REPORTER)
        return {each.name: sha256_of(each) for each in into.glob("*.deb")}

    def close(self) -> None:
        for path in self.mirror.root.glob("pool/*/*.deb"):
            path.unlink()

    def kept(self, deb: debs.Deb) -> Path | None:
        """Return the file that the store has of a package."""
        return next(self.store.glob(f"{deb.sha256}-*.deb"), None)

    def is_whole(self, deb: debs.Deb) -> bool:
        path = self.kept(deb)
        return path is not None and path.name == f"{deb.sha256}-{sha256_of(path)}.deb"


@pytest.fixture(scope="module")
def signer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Signer]:
    made = Signer(tmp_path_factory.mktemp("keys") / "home")
    yield made
    made.end()


@pytest.fixture
def shop(tmp_path: Path, signer: Signer) -> Shop:
    return Shop(tmp_path, signer)


def test_what_was_fetched_once_needs_no_mirror(shop: Shop) -> None:
    assert debs.lacking(shop.wanted, shop.store) == shop.wanted
    first = shop.take("first")
    assert sorted(first) == sorted(each.file for each in shop.wanted)
    assert debs.lacking(shop.wanted, shop.store) == ()
    assert all(shop.is_whole(each) for each in shop.wanted)
    shop.close()
    assert shop.take("second") == first


def test_only_what_the_cache_lacks_is_fetched(shop: Shop) -> None:
    first = shop.take("first")
    lost = shop.kept(shop.wanted[0])
    assert lost
    lost.unlink()
    for path in shop.mirror.root.glob("pool/*/*.deb"):
        if not path.name.startswith("base-files"):
            path.unlink()
    assert shop.take("second") == first


def test_files_are_kept_without_xz(shop: Shop) -> None:
    shop.take("first")
    for deb in shop.wanted:
        path = shop.kept(deb)
        assert path
        assert b"data.tar.zst" in path.read_bytes()
        said = subprocess.run(["dpkg-deb", "-f", path, "Package"], check=True, capture_output=True)
        assert said.stdout.decode().strip() == deb.name


def test_a_damaged_file_is_thrown_away_and_fetched_again(shop: Shop) -> None:
    first = shop.take("first")
    for deb, damage in zip(shop.wanted, (b"", b"longer", None), strict=True):
        path = shop.kept(deb)
        assert path
        whole = path.read_bytes()
        path.unlink()  # it has links
        if damage is not None:
            path.write_bytes(whole[: len(whole) // 2] if not damage else whole + damage)
    assert shop.take("second") == first
    assert all(shop.is_whole(each) for each in shop.wanted)


def test_a_file_of_the_right_size_with_other_bytes_is_never_taken(shop: Shop) -> None:
    shop.take("first")
    deb = shop.wanted[2]
    kept = shop.kept(deb)
    assert kept
    whole = kept.read_bytes()
    kept.unlink()
    kept.write_bytes(b"x" * len(whole))
    shop.close()
    with pytest.raises(StepError, match="fetching the packages") as caught:
        shop.take("second")
    assert "site-app" in caught.value.excerpt
    assert "--refresh" in caught.value.fix
    assert not shop.kept(deb)


def test_another_file_than_the_one_that_was_planned_is_refused(shop: Shop) -> None:
    old = shop.wanted[2]
    shop.wanted = (*shop.wanted[:2], old.model_copy(update={"sha256": "0" * 64}))
    with pytest.raises(StepError, match=r"damaged on its way: site-app_1%3a2\.0_all\.deb"):
        shop.take("first")
    shop.wanted = (*shop.wanted[:2], old.model_copy(update={"file": "site-app_1_all.deb"}))
    with pytest.raises(StepError, match="index has changed meanwhile"):
        shop.take("second")
    assert not shop.kept(shop.wanted[2])
    assert not list(shop.store.glob(".*"))


def test_a_file_that_nobody_knows_the_digest_of_is_fetched_each_time(shop: Shop) -> None:
    all_of_them, shop.wanted = shop.wanted, shop.wanted[:2]
    assert set(shop.take("first")) == {each.file for each in all_of_them}
    assert not shop.kept(all_of_them[2])
    assert set(shop.take("second")) == {each.file for each in all_of_them}


def test_the_newest_package_gives_the_time(tmp_path: Path) -> None:
    assert debs.made(tmp_path) == 86400
    for n, date in enumerate(("1700000000", "1800000000", "nonsense")):
        head = f"{'debian-binary':16}{date:12}{'0':6}{'0':6}{'100644':8}{'4':10}`\n"
        (tmp_path / f"{n}.deb").write_bytes(b"!<arch>\n" + head.encode() + b"2.0\n")
    (tmp_path / "3.deb").write_bytes(b"")
    (tmp_path / "4.txt").write_bytes(b"")
    assert debs.made(tmp_path) == 1800000000


def test_files_are_called_as_apt_calls_them() -> None:
    package = LockedPackage(
        name="a+", version="1:2~rc-1", arch="all", size=3, sha256="0" * 64, origin=""
    )
    assert [each.file for each in debs.of([package])] == ["a+_1%3a2~rc-1_all.deb"]
