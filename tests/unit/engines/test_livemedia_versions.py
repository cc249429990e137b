"""The command line that each series of livemedia-creator gets is one that it takes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from fakes import MakeProject
from livemedia.livemedia_creator import parser
from livemedia.rig import SERIES, Rig

from imagebuilder.engines.base import Request
from imagebuilder.engines.livemedia import program
from imagebuilder.engines.livemedia.arguments import Places, arguments
from imagebuilder.errors import HostError, InputError
from imagebuilder.kickstart import compose
from imagebuilder.progress import Reporter

_RECIPE = 'distro = "almalinux-9"\nengine = "livemedia"\nkickstarts = ["a.ks"]\n'
_KICKSTART = "url --url=http://mirror.example/os\npart / --size=2000\n%packages\n%end\n"
_PLACES = Places(
    kickstart=Path("/k/flat.ks"), results=Path("/r/r"), tmp=Path("/t"), logs=Path("/l")
)
_NO_VIRT = """
    image_only = false
    dracut_args = ["--xz", "--add livenet"]
    anaconda_args = ["--nosave all"]
    proxy = "http://proxy.example:3128"
    extra_args = ["--fs-label=root"]
    """
_VIRT = """
    mode = "virt"
    iso = "boot.iso"
    location = "http://mirror.example/os"
    cpus = 2
    kvm = false
    uefi = true
    vnc = "vnc=127.0.0.1:0"
    installer_kernel_args = "console=ttyS0"
    rootfs_size_gib = 8
    """


def request_of(make_project: MakeProject, tmp_path: Path, version: str, more: str) -> Request:
    rig = Rig(folder=tmp_path / "rig", tree=tmp_path, told={"LIVEMEDIA_VERSION": version}).write()
    options = f'[livemedia]\nprogram = "{rig.program}"\n{more}\n'
    project = make_project({"recipes/r.toml": _RECIPE + options, "kickstarts/a.ks": _KICKSTART})
    (project.root / "boot.iso").touch()
    resolved = project.resolve("r")
    return Request(
        resolved=resolved,
        kickstart=compose(resolved),
        cache_dir=tmp_path / "cache",
        reporter=Reporter(subject="r"),
    )


@pytest.mark.parametrize("more", ["", "flat = false", _NO_VIRT, _VIRT])
@pytest.mark.parametrize("version", [*SERIES, "devel"])
def test_every_option_is_one_that_the_version_has(
    make_project: MakeProject, tmp_path: Path, version: str, more: str
) -> None:
    request = request_of(make_project, tmp_path, version, more)
    found = program.find(request)
    assert found.version == version
    argv = arguments(request, found, _PLACES)[len(found.argv) :]
    # argparse takes any beginning of a name that fits one alone: each must be given in full.
    for each in argv:
        assert each.removeprefix("--").partition("=")[0] in found.options
        assert each.startswith("--")
    taken = parser(version).parse_args(argv)
    assert taken.make_pxe_live
    assert (taken.ks, taken.resultdir, taken.tmp) == ("/k/flat.ks", "/r/r", "/t")
    assert taken.no_virt == (more != _VIRT)
    assert taken.nomacboot
    if more == _NO_VIRT:
        assert taken.dracut_arg == ["--xz", "--add livenet"]
        assert taken.anaconda_arg == ["--nosave all"]


@pytest.mark.parametrize(
    ("version", "option"),
    [
        ("28.14.71-1", "--dracut-conf=/etc/x"),
        ("34.9.33-1", "--title=x"),
        ("40.5.19-1", "--ovmf-path=/x"),
        ("46.0-1", "--squashfs_args=-no-xattrs"),
    ],
)
def test_an_option_that_a_version_lacks_is_refused_with_its_line(
    make_project: MakeProject, tmp_path: Path, version: str, option: str
) -> None:
    more = f"extra_args = {json.dumps([option])}"
    request = request_of(make_project, tmp_path, version, more)
    name = option.partition("=")[0]
    with pytest.raises(InputError, match=rf"recipes/r\.toml:6 .*has no option {name}"):
        arguments(request, program.find(request), _PLACES)


def test_one_that_does_not_answer_is_given_up(
    make_project: MakeProject, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(program, "_TIMEOUT", 0.5)
    request = request_of(make_project, tmp_path, "34.9.33-1", "")
    script = (tmp_path / "rig/bin/livemedia-creator").read_text()
    mute = script.replace("#!/bin/sh\n", "#!/bin/sh\nexport LIVEMEDIA_MOOD=asked-mute\n")
    (tmp_path / "rig/bin/livemedia-creator").write_text(mute)
    with pytest.raises(HostError, match="not done after"):
        program.find(request)


@pytest.mark.parametrize(
    ("version", "said"), [("27.9-1", "27.9-1, which is too old"), ("3", "version 3, which is")]
)
def test_one_that_is_too_old_is_refused(
    make_project: MakeProject, tmp_path: Path, version: str, said: str
) -> None:
    request = request_of(make_project, tmp_path, version, "")
    with pytest.raises(HostError, match=said):
        program.find(request)
