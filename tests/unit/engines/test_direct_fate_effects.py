"""Each option of each honoured command changes what is made, or is noted, or is refused."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from fakes import Guest, MakeProject, written
from fate_samples import OTHERS, SAMPLES
from pykickstart.parser import KickstartParser
from pykickstart.version import makeVersion

from imagebuilder import distro, sandbox
from imagebuilder.engines.direct import fate, package_options, resolve, values
from imagebuilder.engines.direct.available import Available
from imagebuilder.engines.direct.configure import configure
from imagebuilder.engines.direct.fate_commands import COMMANDS, HONOURED
from imagebuilder.engines.direct.fate_sections import SECTIONS
from imagebuilder.engines.direct.image_sources import kept
from imagebuilder.engines.direct.pins import preferences
from imagebuilder.engines.direct.scripts import Runner
from imagebuilder.engines.direct.sources import find_sources
from imagebuilder.errors import ImageBuilderError, InputError, StepError
from imagebuilder.kickstart import Kickstart
from imagebuilder.progress import Reporter

Parsed = Callable[..., Kickstart]

# What the commands of a kickstart look at in an image, besides what all trees of tests have.
MORE = {
    "etc/gdm3/daemon.conf": "[daemon]\n",
    "bin/sh": "",
    "bin/setupcon": "",
    "usr/bin/gnome-session": "",
    "usr/lib/systemd/systemd-resolved": "",
    "usr/sbin/nft": "",
    "var/lib/dpkg/info/chrony.list": "",
}
AVAILABLE = Available(
    names=("apt", "bash", "nano", "systemd"),
    virtual=frozenset(),
    priorities={"required": ("apt",), "important": ("nano",), "standard": ("systemd",)},
    fields={},
    tasks={},
)
TARGETS = [
    {"Created-By": "Packages", "Site": f"{host}.example", "Origin": host, "Repo-URI": uri}
    for host, uri in (("a", "https://a.example/x/"), ("b", "https://b.example/x/"))
]


def arguments(parser: object) -> Iterator[str]:
    for action in parser._actions:  # type: ignore[attr-defined]
        yield from action.option_strings or [action.dest]


def walked() -> Iterator[tuple[str, str, str]]:
    """All arguments of honoured commands and sections: version, command, argument."""
    for version in (each.kickstart_version for each in distro.of_family("debian")):
        handler = makeVersion(version)
        for name, command in handler.commands.items():
            if name in HONOURED and command is not None:
                yield from ((version, name, each) for each in ("", *arguments(command.op)))
        for name, section in KickstartParser(handler)._sections.items():
            if name in SECTIONS and SECTIONS[name].fate.kind == "honoured":
                yield from ((version, name, each) for each in arguments(section._getParser()))


VERSIONS = [each.kickstart_version for each in distro.of_family("debian")]
WITHOUT_OPTIONS = {("bootloader", ""), ("network", "--bindto")}
# Each is tried with the newest syntax that has it.
TRIED = {(name, each): version for version, name, each in walked()}


def test_every_option_has_a_sample() -> None:
    assert {(name, each) for name, samples in SAMPLES.items() for each in samples} == set(TRIED)
    assert set(OTHERS) == set(COMMANDS) - set(HONOURED)


@pytest.fixture
def outcome(
    tmp_path: Path,
    kickstart_of: Parsed,
    make_project: MakeProject,
    monkeypatch: pytest.MonkeyPatch,
) -> Callable[[str, str], object]:
    """Returns all that a kickstart comes to in an image, or the error that it ends with."""
    recipe = {"recipes/r.toml": 'distro = "debian-13"\n', "ca.pem": "x"}
    mirrors = {"imagebuilder.toml": '[mirrors]\ndebian-13 = ["deb http://m/d trixie main"]\n'}
    resolved = make_project({**recipe, **mirrors}).resolve("r")
    monkeypatch.setattr(
        sandbox, "in_chroot", lambda folder, argv: [argv[0], f"{folder}{argv[1]}", *argv[2:]]
    )
    monkeypatch.setattr(
        sandbox,
        "with_private_tmp",
        lambda argv, tmp, folder: [argv[0], argv[1].replace("/tmp", str(tmp), 1)],
    )

    def scripts(kickstart: Kickstart, folder: Path, tree: Guest) -> list[object]:
        for each in ("private", "logs"):
            (folder / each).mkdir()
        (tree.root / "tmp").mkdir()
        runner = Runner(
            kickstart=kickstart,
            project=folder,
            tmp=folder / "private",
            logs=folder / "logs",
            epoch=0,
            reporter=Reporter(subject="r"),
        )
        said: list[object] = []
        try:
            for kind in ("pre", "pre-install", "post", "onerror"):
                said += runner.run_all(kind, tree)  # type: ignore[arg-type]
        except StepError as error:
            said.append(f"ended by {error.what}")
        return [*said, *files(folder / "private")]

    def make(text: str, version: str) -> object:
        folder = tmp_path / "guest"
        shutil.rmtree(folder, ignore_errors=True)
        tree = Guest.make(folder)
        written(tree.root, MORE)
        try:
            kickstart = kickstart_of(text, version)
            values.check(kickstart)
            resolve.check(kickstart)
            sources = find_sources(resolved, kickstart)
            return (
                configure(tree, kickstart),
                tree.calls(),
                scripts(kickstart, folder, tree),
                files(tree.root),
                kickstart.kernel_args,
                (sources.lines, sources.settings(), kept(sources, TARGETS)),
                preferences(sources.repositories, TARGETS),
                kickstart.weak_dependencies,
                package_options.apt_options(kickstart),
                package_options.left_out(kickstart),
                resolve.wanted(kickstart, AVAILABLE),
            )
        except ImageBuilderError as error:
            return f"{error.where}: {error.what}"

    return make


def files(root: Path) -> list[object]:
    return [
        (
            path.relative_to(root),
            path.readlink() if path.is_symlink() else path.read_text(),
            path.lstat().st_mode,
        )
        for path in sorted(root.rglob("*"))
        if path.is_symlink() or path.is_file()
    ]


def refused(kickstart: Kickstart) -> list[str]:
    with pytest.raises(InputError) as caught:
        fate.check(kickstart)
    return [str(each) for each in (caught.value, *caught.value.also)]


@pytest.mark.parametrize("name", SAMPLES)
def test_an_option_does_what_its_row_says(
    name: str, kickstart_of: Parsed, outcome: Callable[[str, str], object]
) -> None:
    row = {**COMMANDS, **SECTIONS}[name]
    for option in SAMPLES[name]:
        version = TRIED[name, option]
        without, given = texts(name, option)
        found = row.options.get(option, row.fate)
        what = f"kickstarts/f.ks:1: the direct engine does not honour {name} {option}: "
        if found.kind == "refused":
            assert any(each.startswith(what) for each in refused(kickstart_of(given, version)))
            continue
        notes = fate.check(kickstart_of(given, version))
        is_same = outcome(given, version) == outcome(without, version)
        if found.kind == "without effect":
            assert is_same, option
            assert notes == (f"kickstarts/f.ks:1: {name} {option} has no effect: {found.text}",)
            continue
        assert notes == (), option
        # A device that is named by its MAC address is bound to it in any case; and some commands
        # do nothing without an option.
        assert is_same == ((name, option) in WITHOUT_OPTIONS), option


def texts(name: str, option: str) -> tuple[str, str]:
    plain, sample = SAMPLES[name].get("", ""), SAMPLES[name][option]
    if isinstance(sample, tuple):
        return sample
    return ("", sample) if not option else (str(plain), f"{plain} {sample}")


@pytest.mark.parametrize("name", OTHERS)
def test_a_command_that_is_not_honoured_is_noted_or_refused(
    name: str, kickstart_of: Parsed
) -> None:
    version = VERSIONS[-1] if name == "rdp" else VERSIONS[0]
    said: tuple[str, ...]
    try:
        said = fate.check(kickstart_of(f"lang C\n{OTHERS[name]}\n", version))
    except InputError as error:  # ours, or pykickstart's of what is there no more
        said = (f"{error.where}: {error}",)
    (one,) = said
    assert one.startswith("kickstarts/f.ks:2: ")
    assert name in one
