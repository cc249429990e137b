"""What the livemedia engine asks of a program, refuses, mends and says on its command line."""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest
from fakes import MakeProject

from imagebuilder import Options, plan_image
from imagebuilder.engines.base import Request
from imagebuilder.engines.livemedia import program
from imagebuilder.engines.livemedia.arguments import chosen
from imagebuilder.engines.livemedia.mend import mend
from imagebuilder.errors import HostError, InputError
from imagebuilder.kickstart import compose
from imagebuilder.progress import Reporter
from imagebuilder.project import Project

# What sets the series apart, as their --help has it.
_COMMON = (
    "ks make-pxe-live logfile no-virt resultdir tmp nomacboot image-name project releasever "
    "timeout compression compress-arg dracut-arg lorax-templates anaconda-arg iso ram vcpus "
    "location no-kvm virt-uefi vnc kernel-args live-rootfs-size proxy arch macboot image-only"
)
_MORE = {
    28: "title squashfs_args",
    34: "dracut-conf squashfs-only",
    40: "dracut-conf squashfs-only rootfs-type cpu firmware",
}
_KICKSTART = """
    url --url=http://mirror.example/os
    lang en_US.UTF-8
    keyboard us
    timezone Etc/UTC
    rootpw --lock
    network --bootproto=dhcp --activate
    part / --size=4000
    %packages
    kernel
    dracut-live
    dracut-network
    dracut-config-generic
    policycoreutils
    -dracut-config-rescue
    %end
    """


def write_program(path: Path, version: str = "34.9.33-1", series: int = 34) -> Path:
    """A program that says what one of that version says, and notes that it was asked."""
    options = " ".join(f"--{each} X" for each in f"{_COMMON} {_MORE[series]}".split())
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(
        f'#!/bin/sh\necho "$@" >>{path}.calls\n'
        f'case $1 in -V) echo livemedia-creator-{version} ;; *) echo "usage: {options}" ;; esac\n'
    )
    path.chmod(0o755)
    return path


def request_of(
    make_project: MakeProject, tmp_path: Path, *, kickstart: str = _KICKSTART, more: str = ""
) -> Request:
    project = make_project(
        {
            "recipes/r.toml": f'distro = "almalinux-9"\nengine = "livemedia"\n'
            f'kickstarts = ["a.ks"]\n{more}\n',
            "kickstarts/a.ks": textwrap.dedent(kickstart).lstrip("\n"),
        }
    )
    return _request(project, tmp_path)


def _request(project: Project, tmp_path: Path) -> Request:
    resolved = project.resolve("r")
    return Request(
        resolved=resolved,
        kickstart=compose(resolved),
        cache_dir=tmp_path / "cache",
        reporter=Reporter(subject="r"),
    )


@pytest.mark.parametrize("series", [28, 34, 40])
def test_a_source_tree_is_known_by_its_options(
    make_project: MakeProject, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, series: int
) -> None:
    monkeypatch.setenv(program.VARIABLE, str(write_program(tmp_path / "lmc", "devel", series)))
    found = program.find(request_of(make_project, tmp_path))
    assert found.major == series
    assert found.shown() == f"livemedia-creator devel (as {series})"


def test_a_program_is_asked_once(
    make_project: MakeProject, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_program(tmp_path / "lmc")
    monkeypatch.setenv(program.VARIABLE, str(path))
    request = request_of(make_project, tmp_path)
    assert program.find(request) == program.find(request)
    assert Path(f"{path}.calls").read_text().splitlines() == ["-V", "--help"]


@pytest.mark.parametrize("is_link", [False, True])
def test_of_a_checkout_the_modules_and_templates_are_found(
    make_project: MakeProject, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_link: bool
) -> None:
    tree = tmp_path / "lorax"
    path = write_program(tree / "src/sbin/livemedia-creator", "devel")
    (tree / "src/pylorax").mkdir()
    if is_link:  # as in 46
        moved = path.rename(tree / "src/pylorax/livemedia.py")
        path.symlink_to(moved)
    (tree / "share/templates.d").mkdir(parents=True)
    monkeypatch.setenv(program.VARIABLE, str(path))
    monkeypatch.setenv("PYTHONPATH", "/more")
    request = request_of(make_project, tmp_path)
    found = program.find(request)
    assert dict(found.environment) == {"PYTHONPATH": f"{tree}/src:/more"}
    assert f"--lorax-templates={tree}/share" in chosen(request, found)
    (tree / "src/pylorax/new.py").write_text("")
    assert program.find(request).identity != found.identity


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("exit 1", "exit status 1"),
        ("echo hello", "cannot be driven"),
    ],
)
def test_what_is_no_livemedia_creator_is_refused(
    make_project: MakeProject,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    text: str,
    said: str,
) -> None:
    path = tmp_path / "lmc"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    monkeypatch.setenv(program.VARIABLE, str(path))
    with pytest.raises(HostError, match=said):
        program.find(request_of(make_project, tmp_path))


def test_one_that_is_too_old_or_not_there_is_refused(
    make_project: MakeProject, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = request_of(make_project, tmp_path)
    monkeypatch.setenv(program.VARIABLE, str(write_program(tmp_path / "old", "21.3-1", 28)))
    with pytest.raises(HostError, match="too old"):
        program.find(request)
    monkeypatch.setenv(program.VARIABLE, str(tmp_path / "none"))
    with pytest.raises(HostError) as caught:
        program.find(request)
    assert "there is no program" in caught.value.what
    assert program.VARIABLE in caught.value.fix


@pytest.mark.parametrize("series", [28, 34, 40])
@pytest.mark.parametrize("flat", [True, False])
def test_no_option_is_sent_that_a_version_lacks(
    make_project: MakeProject,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    series: int,
    flat: bool,
) -> None:
    more = f"[livemedia]\nflat = {str(flat).lower()}\n[image]\ncompression_level = 9"
    request = request_of(make_project, tmp_path, more=more)
    path = write_program(tmp_path / "lmc", f"{series}.1-1", series)
    monkeypatch.setenv(program.VARIABLE, str(path))
    found = program.find(request)
    line = chosen(request, found)
    names = [each.removeprefix("--").partition("=")[0] for each in line]
    assert set(names) <= found.options
    assert {"no-virt", "nomacboot", "project"} <= set(names)
    assert not {"product", "arch", "macboot", "title"} & set(names)
    # 28 takes --compress-arg and does not hand it on.
    assert ("--compress-arg=-Xcompression-level 9" in line) is (not flat and series > 28)


@pytest.mark.parametrize(
    ("more", "said", "key"),
    [
        ('extra_args = ["--squashfs_args=x"]', "has no option --squashfs_args", "extra_args"),
        ('extra_args = ["--release=9"]', "has no option --release", "extra_args"),
        ('extra_args = ["--resultdir=/x"]', "given by imagebuilder itself", "extra_args"),
    ],
)
def test_options_of_the_recipe_are_looked_at(
    make_project: MakeProject,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    more: str,
    said: str,
    key: str,
) -> None:
    monkeypatch.setenv(program.VARIABLE, str(write_program(tmp_path / "lmc")))
    request = request_of(make_project, tmp_path, more=f"[livemedia]\n{more}")
    with pytest.raises(InputError, match=said) as caught:
        chosen(request, program.find(request))
    assert caught.value.where
    assert key in (caught.value.where.key or "")


def test_virt_has_options_of_its_own(
    make_project: MakeProject, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(program.VARIABLE, str(write_program(tmp_path / "lmc")))
    more = '[livemedia]\nmode = "virt"\niso = "boot.iso"\ncpus = 3\nkvm = false'
    request = request_of(make_project, tmp_path, more=more)
    line = chosen(request, program.find(request))
    iso = f"--iso={request.resolved.project.root}/boot.iso"
    assert {iso, "--ram=4096", "--vcpus=3", "--no-kvm"} <= set(line)
    assert "--no-virt" not in line
    assert "shutdown" in mend(request).kickstart.text.splitlines()


def test_a_kickstart_that_lacks_nothing_is_not_changed(
    make_project: MakeProject, tmp_path: Path
) -> None:
    request = request_of(make_project, tmp_path)
    mended = mend(request)
    assert mended.notes == ()
    assert mended.kickstart.text == request.kickstart.text


def test_what_a_kickstart_lacks_is_added_and_said(
    make_project: MakeProject, tmp_path: Path
) -> None:
    request = request_of(
        make_project,
        tmp_path,
        kickstart="""
        url --url=http://mirror.example/os
        services --enabled=a,b
        services --enabled=c --disabled=a
        %packages --exclude-weakdeps
        vim
        %end
        %packages --retries=3
        kernel
        %end
        """,
    )
    mended = mend(request)
    lines = mended.kickstart.text.splitlines()
    assert "part / --fstype=ext4 --size=8192" in lines
    assert "network --bootproto=dhcp --activate" in lines
    assert {"rootpw --lock", "timezone --utc Etc/UTC"} <= set(lines)
    assert [each for each in lines if each.startswith("services")] == [
        "services --enabled=b,c --disabled=a"
    ]
    # Of several %packages Anaconda heeds the options of the last.
    last = max(n for n, each in enumerate(lines) if each.startswith("%packages"))
    assert lines[last] == "%packages --exclude-weakdeps --retries=3"
    assert "dracut-live" in lines[last:]
    assert "kernel" not in lines[last:]
    said = "\n".join(mended.notes)
    for word in ("network", "part /", "rootpw", "services", "dracut-live"):
        assert word in said


def test_mirrors_of_the_project_are_where_it_installs_from(
    make_project: MakeProject, tmp_path: Path
) -> None:
    text = _KICKSTART.replace("    url --url=http://mirror.example/os\n", "")
    with pytest.raises(InputError, match="nothing says where to install from"):
        mend(request_of(make_project, tmp_path, kickstart=text))
    project = make_project(
        {
            "imagebuilder.toml": '[mirrors]\nalmalinux-9 = ["http://a.example/os", "http://b.example"]\n'
        }
    )
    lines = mend(_request(project, tmp_path)).kickstart.text.splitlines()
    assert "url --url=http://a.example/os" in lines
    assert "repo --name=mirror-2 --baseurl=http://b.example" in lines


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("cdrom", "installs from url, nfs and ostreesetup only"),
        ("text", "display mode"),
        ("volgroup vg pv.01", "single partition /"),
        ("part /boot --size=500", "part /boot"),
        ("part / --size=1", "stands twice"),
    ],
)
def test_what_it_would_refuse_is_refused_before_with_its_line(
    make_project: MakeProject,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    line: str,
    said: str,
) -> None:
    path = write_program(tmp_path / "lmc")
    monkeypatch.setenv(program.VARIABLE, str(path))
    text = _KICKSTART.replace("    %packages", f"    {line}\n    %packages", 1)
    request = request_of(make_project, tmp_path, kickstart=text)
    with pytest.raises(InputError, match=said) as caught:
        plan_image(request.resolved.project, "r", Options.make(cache_dir=tmp_path / "cache"))
    assert str(caught.value.where) == "kickstarts/a.ks:8"
    assert not Path(f"{path}.calls").exists()


def test_a_needed_package_cannot_be_left_out(make_project: MakeProject, tmp_path: Path) -> None:
    text = _KICKSTART.replace("    dracut-live\n", "    -dracut-live\n")
    request = request_of(make_project, tmp_path, kickstart=text)
    with pytest.raises(InputError, match="without dracut-live the initrd could not") as caught:
        plan_image(request.resolved.project, "r", Options.make(cache_dir=tmp_path / "cache"))
    assert str(caught.value.where) == "kickstarts/a.ks:10"


@pytest.fixture
def ids(
    make_project: MakeProject, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., dict[str, str]]:
    """Plans a recipe with more lines; returns the ids of its steps."""
    monkeypatch.setenv(program.VARIABLE, str(write_program(tmp_path / "lmc")))
    options = Options.make(cache_dir=tmp_path / "cache")

    def make(more: str = "") -> dict[str, str]:
        project = request_of(make_project, tmp_path, more=more).resolved.project
        return {each.name: each.id for each in plan_image(project, "r", options).steps}

    return make


def changed(before: dict[str, str], after: dict[str, str]) -> set[str]:
    return {name for name in before if before[name] != after[name]} - {"image"}


def test_what_changes_the_packing_alone_needs_no_anaconda(
    ids: Callable[..., dict[str, str]], make_project: MakeProject
) -> None:
    file = make_project({"files/motd": "one"}).root / "files/motd"
    first = ids()
    assert list(first) == ["install", "initrd", "repack", "image"]
    assert changed(first, ids("[livemedia]\ntimeout = 9.0\nsilence = 2.0")) == set()
    assert changed(first, ids('[image]\ncompression = "xz"')) == {"repack"}
    assert changed(first, ids('[livemedia]\ndracut_args = ["--xz"]')) == {"initrd"}
    assert changed(first, ids('[livemedia]\nkernel = "6.1"')) == {"initrd", "repack"}
    with_file = '[[files]]\nsource = "files/motd"\npath = "/etc/motd"'
    second = ids(with_file)
    assert changed(first, second) == {"repack"}
    file.write_text("two")
    assert changed(second, ids(with_file)) == {"repack"}
    assert "install" in changed(first, ids('[livemedia]\nproject = "Other"'))


@pytest.mark.parametrize(
    "more",
    ["image_only = false", "flat = false", 'mode = "virt"\niso = "boot.iso"'],
)
def test_where_it_makes_the_whole_itself_dracut_is_its_own(
    ids: Callable[..., dict[str, str]], more: str
) -> None:
    first = ids(f"[livemedia]\n{more}")
    assert list(first) == ["install", "repack", "image"]
    other = ids(f'[livemedia]\n{more}\ndracut_args = ["--xz"]')
    assert "install" in changed(first, other)


def test_it_makes_no_erofs(make_project: MakeProject, tmp_path: Path) -> None:
    more = '[image]\nfilesystem = "erofs"\ncompression = "lz4"'
    request = request_of(make_project, tmp_path, more=more)
    with pytest.raises(InputError, match="the livemedia engine makes no EROFS") as caught:
        plan_image(request.resolved.project, "r", Options.make(cache_dir=tmp_path / "cache"))
    assert caught.value.where
    assert caught.value.where.key == "image.filesystem"


def test_files_need_a_root_that_is_packed(make_project: MakeProject, tmp_path: Path) -> None:
    more = '[[files]]\nsource = "x"\npath = "/etc/x"\n[livemedia]\nflat = false'
    request = request_of(make_project, tmp_path, more=more)
    with pytest.raises(InputError, match="files cannot be copied into it") as caught:
        plan_image(request.resolved.project, "r", Options.make(cache_dir=tmp_path / "cache"))
    assert "there is no file 'x'" in str(caught.value)
