"""The hooks that look at an initrd, run by shells of this host."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from imagebuilder.smoke.early import HOOK_FOLDERS, early_entries

SHELLS = ["/bin/dash", "/bin/bash"]


def hook(name: str, folder: Path, release: str) -> str:
    """Return a hook in which a folder stands for the initrd's root."""
    text = next(
        (each.content or b"").decode()
        for each in early_entries(2)
        if each.path == f"{HOOK_FOLDERS[0]}/{name}-imagebuilder-look.sh"
    )
    for path in ("/dev/kmsg", "/run/", "/sys/", "/proc/"):
        text = text.replace(path, f"{folder}{path}")
    text = text.replace('check_modules "" ', f'check_modules "{folder}" ')
    before = f"uname() {{ echo {release}; }}\nPROC={folder}/proc NEWROOT={folder}\n"
    before += f"mount() {{ echo $* >>{folder}/mounted; }}\n"
    before += f"getarg() {{ . {folder}/getarg; }}\n"
    return f"{before}{text}\necho went on\n"


@pytest.fixture
def place(tmp_path: Path) -> Path:
    for name in ("dev", "run/imagebuilder-smoke", "proc", "lib/modules/6.1", "sys/class/net/lo"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "proc/meminfo").write_text("MemTotal: 2048 kB\nMemFree: 1 kB\nMemAvailable: 9 kB\n")
    (tmp_path / "proc/mounts").write_text("none / rootfs rw 0 0\n")
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/os-release").touch()
    (tmp_path / "proc/uptime").write_text("3.50 1.00\n")
    for folder in ("usr/sbin", "usr/lib/systemd/system"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "sbin").symlink_to("usr/sbin")
    (tmp_path / "usr/sbin/init").symlink_to("/usr/lib/systemd/systemd")
    (tmp_path / "usr/lib/systemd/systemd").symlink_to("systemd-real")
    (tmp_path / "usr/lib/systemd/systemd-real").touch(mode=0o755)
    (tmp_path / "usr/lib/systemd/system/default.target").symlink_to("graphical.target")
    (tmp_path / "getarg").write_text("return 1\n")
    return tmp_path


def run(shell: str, script: str) -> None:
    argv = [shell, "-c", script]
    said = subprocess.run(argv, capture_output=True, text=True, timeout=20, check=True)
    assert said.stdout == "went on\n", "a hook must not end dracut's own shell"


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize(
    ("name", "who"), [("cmdline/00", "initrd"), ("pre-pivot/94", "root file system")]
)
def test_modules_of_another_kernel_are_named(place: Path, shell: str, name: str, who: str) -> None:
    script = hook(name, place, "6.1").replace(" 1 2 </dev/null", " 999999999 2 </dev/null")
    run(shell, script)
    assert not (place / "dev/kmsg").exists()
    run(shell, script.replace("echo 6.1;", "echo 5.10;"))
    assert (place / "dev/kmsg").read_text() == (
        f"<3>imagebuilder: the {who} has no modules for the kernel 5.10; has: 6.1\n"
    )


def test_the_runner_has_a_file_system_of_its_own(place: Path) -> None:
    folder = f"{place}/run/imagebuilder-smoke"
    script = hook("cmdline/00", place, "6.1").replace(" 1 2 </dev/null", " 999999999 2 </dev/null")
    run(SHELLS[0], script)
    mounted = f"-t tmpfs -o mode=755 imagebuilder-smoke {folder}\n"
    assert (place / "mounted").read_text() == mounted
    (place / "proc/mounts").write_text(f"none / rootfs rw 0 0\nnone {folder} tmpfs rw 0 0\n")
    run(SHELLS[0], script)
    assert (place / "mounted").read_text() == mounted, "it is there"


def test_a_kernel_without_any_modules_is_no_error(place: Path) -> None:
    (place / "lib/modules/6.1").rmdir()
    (place / "lib/modules").rmdir()
    run(SHELLS[0], hook("pre-pivot/94", place, "5.10"))
    assert not (place / "dev/kmsg").exists()


def test_memory_is_sampled(place: Path) -> None:
    script = hook("cmdline/00", place, "6.1")
    # One sample, then the process that it waits for is gone.
    script = script.replace('kill -0 "$2" 2>/dev/null', '[ ! -e "$1" ]').replace('sleep "$1"', ":")
    run(SHELLS[0], script + "\nwait\n")
    samples = place / "run/imagebuilder-smoke/memory"
    for _ in range(100):
        if samples.exists() and samples.read_text():
            break
        subprocess.run(["sleep", "0.05"], check=True)
    assert samples.read_text() == "3.50 2048 9\n"


@pytest.mark.parametrize("shell", SHELLS)
def test_a_card_without_a_driver_is_told_once(place: Path, shell: str) -> None:
    script = hook("initqueue/settled/00", place, "6.1")
    for _ in range(7):
        run(shell, script)
    assert not (place / "dev/kmsg").exists()
    for _ in range(3):
        run(shell, script)
    assert (place / "dev/kmsg").read_text().count("no driver") == 1
    (place / "sys/class/net/eth0/device").mkdir(parents=True)
    run(shell, script)
    assert len((place / "run/imagebuilder-smoke/no-card").read_text()) == 10


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize(
    ("file", "words"),
    [
        ("usr/lib/systemd/systemd-real", "has no /sbin/init that can be run"),
        ("usr/sbin/init", "has no /sbin/init that can be run"),
        (
            "usr/lib/systemd/system/default.target",
            "has no default.target, so systemd has nothing to start but a rescue shell",
        ),
        ("etc/os-release", "has no os-release, so it is taken for no system"),
    ],
)
def test_a_root_that_cannot_take_over_is_told(
    place: Path, shell: str, file: str, words: str
) -> None:
    run(shell, hook("pre-pivot/94", place, "6.1"))
    assert not (place / "dev/kmsg").exists(), "links are followed within the root"
    (place / file).unlink()
    run(shell, hook("pre-pivot/94", place, "6.1"))
    assert (place / "dev/kmsg").read_text() == f"<3>imagebuilder: the root file system {words}\n"


def test_a_root_with_a_first_program_of_its_own_needs_no_init(place: Path) -> None:
    (place / "usr/sbin/init").unlink()
    (place / "getarg").write_text("[ $1 != init= ] || echo /usr/bin/first\n")
    (place / "usr/bin").mkdir()
    (place / "usr/bin/first").symlink_to("/usr/lib/first")
    (place / "usr/lib/first").touch(mode=0o755)
    run(SHELLS[0], hook("pre-pivot/94", place, "6.1"))
    assert not (place / "dev/kmsg").exists()
    (place / "usr/lib/first").chmod(0o644)
    run(SHELLS[0], hook("pre-pivot/94", place, "6.1"))
    assert (place / "dev/kmsg").read_text() == (
        "<3>imagebuilder: the root file system has no /usr/bin/first that can be run, which the "
        "kernel's argument init= names\n"
    )


@pytest.mark.parametrize("shell", SHELLS)
def test_the_systemd_of_an_initrd_needs_no_link_to_that_of_the_root(
    place: Path, shell: str
) -> None:
    (place / "usr/sbin/init").unlink()
    (place / "run/systemd/system").mkdir(parents=True)
    run(shell, hook("pre-pivot/94", place, "6.1"))
    assert not (place / "dev/kmsg").exists()
