"""The course of a whole test, with a stand-in for QEMU."""

from __future__ import annotations

import base64
import gzip
import os
import signal
import subprocess
import sys
import time
from datetime import date
from pathlib import Path

import pytest
from fakes import FakePrograms
from support import ended

from imagebuilder.budget import Budget
from imagebuilder.checks import CommandCheck, UnitCheck
from imagebuilder.errors import HostError, InputError, Interrupted
from imagebuilder.image import BOOT_SCRIPT, Image, measure
from imagebuilder.progress import Cancel, Event
from imagebuilder.recipe import SmokeOptions, Waiver
from imagebuilder.smoke import (
    SmokeReport,
    load_report,
    report_error,
    smoke_test,
    why_not_up_to_date,
)
from imagebuilder.smoke.accel import AccelChoice

CHECKS = [UnitCheck(unit="ssh.service"), CommandCheck(command="true")]
OPTIONS = SmokeOptions(boot_timeout=60)

RESULTS = "results=$(echo \"$*\" | sed 's/.*id=results,path=\\([^ ]*\\).*/\\1/')\n"
# What a guest does on its way up: it fetches what it needs through the relay, then reports.
FETCH = (
    RESULTS
    + """relay=$(echo "$*" | sed 's/.*-cmd:\\(.*\\) -device virtio-net.*/\\1/')
fetch() {
    printf 'GET /%s HTTP/1.1\\r\\nHost: x\\r\\nConnection: close\\r\\n\\r\\n' $1 | $relay >/dev/null
}
for file in boot.ipxe vmlinuz initrd.img smoke.cpio; do fetch $file; done
echo '[    0.000000] Linux version 6.1.0'
"""
)


def b64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def report_lines(*lines: str) -> str:
    return "".join(f"echo '{line}' >>$results\n" for line in lines)


GOOD = (
    FETCH
    + "fetch rootfs.squashfs\n"
    + report_lines(f"hello 1 {b64('6.1.0')}", "reached 50700000", "noise")
    + report_lines(f"check 1 passed 0.1 {b64('it is active')} - 1")
)
ASKED = ("check 1 passed 0.1 - - 1", "check 2 passed 0.2 - - 1")
ALL_PASSED = report_lines("check 2 passed 0.2 - - 1", "end") + "sleep 300\n"


def smoke(
    image: Image, tmp_path: Path, accel: AccelChoice = "tcg", cancel: Cancel | None = None
) -> SmokeReport:
    return smoke_test(
        image, CHECKS, OPTIONS, accel=accel, cache_dir=tmp_path / "cache", cancel=cancel
    )


def test_a_good_boot(image: Image, fake_qemu: Path, tmp_path: Path) -> None:
    fake_qemu.write_text(GOOD + ALL_PASSED)
    began = time.monotonic()
    events: list[Event] = []
    report = smoke_test(
        image, CHECKS, OPTIONS, accel="tcg", cache_dir=tmp_path, observer=events.append
    )
    assert report.boots[0].failure is None
    assert report.passed
    assert time.monotonic() - began < 60, "the machine is ended once all is said"
    assert report.boots[0].kernel == "6.1.0"
    assert report.boots[0].seconds_to_multi_user == 50.7
    assert list(report.boots[0].stages)[-2:] == ["multi-user.target", "checks done"]
    assert "rootfs fetched" in report.boots[0].stages
    assert [check.outcome for check in report.checks] == ["passed", "passed"]
    assert load_report(image) == report
    assert why_not_up_to_date(image, CHECKS, OPTIONS) == ""
    names = sorted(path.name for path in image.smoke_dir.iterdir())
    assert names == ["pxe-bios", "report.json"]
    logs = sorted(path.name for path in (image.smoke_dir / "pxe-bios").iterdir())
    assert logs == ["console.log", "qemu.log", "timeline.svg"]
    assert events[0].kind == "started"
    assert events[-1].kind == "finished"


def test_a_failed_check_is_named(image: Image, fake_qemu: Path, tmp_path: Path) -> None:
    failed = f"check 2 failed 3.0 {b64('its exit status is 1')} {b64('why')} 3"
    fake_qemu.write_text(GOOD + report_lines(failed, "end") + "sleep 300\n")
    report = smoke(image, tmp_path)
    assert not report.passed
    assert report.boots[0].failure is None
    check = report.checks[1]
    assert check.outcome == "failed"
    assert check.message == "wanted exit status 0; its exit status is 1"
    assert check.output == "why"
    assert "failed" in why_not_up_to_date(image, CHECKS, OPTIONS)


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("echo 'qemu: -m: too much' >&2; exit 1\n", "-m: too much"),
        ("kill -9 $$\n", "signal 9"),
        ("echo iPXE\n", "never asked for the boot script"),
        (
            FETCH.replace("vmlinuz", "").replace("initrd.img", "").replace("echo '[", ": '["),
            "the kernel did not arrive",
        ),
        (FETCH.replace("echo '[", ": '["), "the kernel said nothing"),
        (FETCH, "had not asked for the root file system"),
        (FETCH + "fetch rootfs.squashfs\n", "the initrd had not handed over to it"),
        (
            FETCH + "fetch rootfs.squashfs\necho 'Welcome to Debian GNU/Linux 12 (bookworm)!'\n",
            "had not started the test's runner",
        ),
        (
            FETCH + "fetch rootfs.squashfs; echo 'x login: '\n",
            "came up, but the test's runner",
        ),
        (
            FETCH
            + "fetch rootfs.squashfs\n"
            + report_lines("hello 1 -", f"jobs {b64('1 a.service start running')}"),
            "systemd waits for a.service",
        ),
        (
            FETCH
            + "fetch rootfs.squashfs\n"
            + report_lines("hello 1 -", f"settled {b64('degraded')} {b64('a.service')}"),
            "did not reach multi-user.target",
        ),
        (GOOD, "switched itself off"),
        (FETCH + "echo 'dracut: FATAL: no'; sleep 300\n", "dracut gave up: no"),
    ],
)
def test_a_boot_that_fails_is_explained(
    image: Image, fake_qemu: Path, tmp_path: Path, script: str, words: str
) -> None:
    fake_qemu.write_text(script)
    report = smoke(image, tmp_path)
    assert not report.passed
    assert report.boots[0].failure
    assert words in report.boots[0].failure.what
    assert report.checks[1].outcome == "not-run"


@pytest.fixture(autouse=True)
def _short_times(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("imagebuilder.smoke.boot.SLOWNESS", {"kvm": 1.0, "tcg": 1.0})
    monkeypatch.setattr("imagebuilder.smoke.watch._AFTERMATH_SECONDS", 0.1)


def test_the_boot_has_a_time_limit(image: Image, fake_qemu: Path, tmp_path: Path) -> None:
    fake_qemu.write_text("echo iPXE; sleep 300\n")
    began = time.monotonic()
    options = SmokeOptions(boot_timeout=0.3)
    report = smoke_test(image, CHECKS, options, accel="tcg", cache_dir=tmp_path)
    assert report.boots[0].failure
    assert "never asked for the boot script" in report.boots[0].failure.what
    assert report.boots[0].failure.excerpt == "iPXE"
    assert time.monotonic() - began < 60


def test_a_file_that_is_gone_is_named(image: Image, fake_qemu: Path, tmp_path: Path) -> None:
    fake_qemu.write_text(f"rm {image.rootfs}\n" + FETCH + "fetch rootfs.squashfs\nsleep 300\n")
    report = smoke(image, tmp_path)
    assert report.boots[0].failure
    assert report.boots[0].failure.what.startswith("rootfs.squashfs was asked for")


def test_an_image_that_is_not_what_was_built_is_not_booted(
    image: Image, fake_qemu: Path, tmp_path: Path
) -> None:
    image.rootfs.write_text("cut short")
    report = smoke(image, tmp_path)
    assert report.failure
    assert "is not what was built" in report.failure.what
    assert report.boots == ()


def test_a_kvm_that_hangs_is_replaced_and_remembered(
    image: Image, fake_qemu: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    device = tmp_path / "kvm"
    device.touch()
    monkeypatch.setattr("imagebuilder.smoke.accel.DEVICE", device)
    monkeypatch.setattr("imagebuilder.smoke.watch._STILL_SECONDS", 0.3)
    fake_qemu.write_text(
        'case "$*" in\n'
        "*-kernel*) echo 'Unable to mount root fs'; sleep 300 ;;\n"
        "*kvm*) sleep 300 ;;\n"
        f"*)\n{GOOD}{ALL_PASSED} ;;\nesac\n"
    )
    report = smoke(image, tmp_path, accel="auto")
    assert report.passed
    assert not report.flaky  # the host was to blame
    first, second = report.boots
    assert (first.attempt, first.accelerator.used, first.host_failed) == (1, "kvm", True)
    assert not first.passed
    assert "repeated" in first.notes[0]
    assert (second.attempt, second.accelerator.used, second.passed) == (2, "tcg", True)
    assert "hung under KVM" in second.accelerator.why
    assert report.last_boots == (second,)
    again = smoke(image, tmp_path, accel="auto")
    assert again.boots[0].accelerator.used == "tcg"
    assert not again.boots[0].notes
    asked = smoke(image, tmp_path, accel="kvm")
    (only,) = asked.boots
    assert not asked.passed
    assert "--accel auto" in only.notes[0]


def test_what_cannot_be_asked_is_refused(image: Image, fake_qemu: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="v9"):
        smoke_test(image, [], OPTIONS, cache_dir=tmp_path, cpu_baseline="v9")
    with pytest.raises(InputError, match="NUL"):
        smoke_test(image, [CommandCheck(command="\0")], OPTIONS, cache_dir=tmp_path)


def test_missing_tools(
    image: Image, fake_qemu: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_qemu.with_name("pxe-virtio.rom").unlink()
    with pytest.raises(HostError, match=r"pxe-virtio\.rom"):
        smoke(image, tmp_path)
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(HostError, match="not installed"):
        smoke(image, tmp_path)


def test_cancel_leaves_nothing(image: Image, fake_qemu: Path, tmp_path: Path) -> None:
    fake_qemu.write_text(f"echo $$ >{tmp_path}/pid; sleep 300\n")
    cancel = Cancel()
    with pytest.raises(Interrupted):
        smoke_test(
            image,
            CHECKS,
            OPTIONS,
            accel="tcg",
            cache_dir=tmp_path,
            cancel=cancel,
            observer=lambda event: cancel.set() if event.kind == "note" else None,
        )
    assert load_report(image) is None
    assert not list(image.smoke_dir.glob("*"))


def test_a_kill_leaves_no_machine(image: Image, fake_qemu: Path, tmp_path: Path) -> None:
    fake_qemu.write_text(f"echo $$ >{tmp_path}/pid; exec sleep 60\n")
    program = (
        "import sys; from pathlib import Path; from imagebuilder.image import Image\n"
        "from imagebuilder.recipe import SmokeOptions; from imagebuilder.smoke import smoke_test\n"
        "smoke_test(Image.open(Path(sys.argv[1])), [], SmokeOptions(), accel='tcg', "
        "cache_dir=Path(sys.argv[2]))\n"
    )
    argv = [sys.executable, "-c", program, str(image.path), str(tmp_path)]
    with subprocess.Popen(argv, env={**os.environ, "TMPDIR": str(tmp_path)}) as process:
        deadline = time.monotonic() + 20
        while not (pid := _read(tmp_path / "pid")) and time.monotonic() < deadline:
            time.sleep(0.05)
        process.send_signal(signal.SIGKILL)
    assert ended(int(pid))
    fake_qemu.write_text(GOOD + ALL_PASSED)
    assert smoke(image, tmp_path).passed
    left = sorted(path.name for path in image.smoke_dir.iterdir())
    assert left == ["pxe-bios", "report.json"]
    logs = sorted(path.name for path in (image.smoke_dir / "pxe-bios").iterdir())
    assert logs == ["console.log", "qemu.log", "timeline.svg"]


def _read(path: Path) -> str:
    return path.read_text().strip() if path.exists() else ""


def test_an_image_of_another_architecture_is_refused(
    image: Image, tmp_path: Path, fake_programs: FakePrograms
) -> None:
    with pytest.raises(InputError, match="aarch64 cannot be tested") as caught:
        smoke_test(image, CHECKS, OPTIONS, cache_dir=tmp_path, arch="aarch64")
    assert "--untested" in caught.value.fix
    assert fake_programs.calls() == []
    assert not image.smoke_dir.exists()


def test_the_kernel_path_loads_what_the_boot_script_would(
    image: Image, fake_qemu: Path, tmp_path: Path
) -> None:
    (image.path / BOOT_SCRIPT).write_text(
        "#!ipxe\nkernel ${base}vmlinuz ${names} root=live:${base}x quiet ${extra-args} || goto no\n"
    )
    artefacts = tuple(measure(image.path / each.name) for each in image.facts.artefacts)
    changed = Image(path=image.path, facts=image.facts.model_copy(update={"artefacts": artefacts}))
    # The initrd is in a folder that goes with the machine.
    fake_qemu.write_text(
        f"cp $(echo \"$*\" | sed 's/.* -initrd \\([^ ]*\\).*/\\1/') {tmp_path}/initrd\n"
        + FETCH.replace("boot.ipxe vmlinuz initrd.img smoke.cpio", "rootfs.squashfs")
        + report_lines("hello 1 -", "reached 1", "check 1 passed 0 - - 1", "check 2 passed 0 - - 1")
        + report_lines("end")
        + "sleep 300\n"
    )
    options = OPTIONS.model_copy(update={"paths": ("kernel",)})
    report = smoke_test(changed, CHECKS, options, accel="tcg", cache_dir=tmp_path)
    assert report.boots[0].failure is None
    assert report.passed
    assert report.boots[0].path == "kernel"
    assert report.boots[0].logs == "kernel"
    call = fake_qemu.with_name("calls").read_text().splitlines()[-1]
    assert f"-kernel {image.kernel} " in call
    assert "-append root=live:http://10.0.2.100/x quiet console=ttyS0" in call
    assert "${" not in call
    initrd = (tmp_path / "initrd").read_bytes()
    own = image.initrd.read_bytes()
    assert initrd.startswith(own)
    assert gzip.decompress(initrd[len(own) :]).startswith(b"070701")


def test_a_boot_script_without_a_kernel_cannot_be_taken_apart(
    image: Image, fake_qemu: Path, tmp_path: Path
) -> None:
    options = OPTIONS.model_copy(update={"paths": ("kernel",)})
    with pytest.raises(InputError, match="loads no kernel"):
        smoke_test(image, CHECKS, options, accel="tcg", cache_dir=tmp_path)
    assert not list(image.smoke_dir.glob("*"))


def test_arguments_of_the_fleet_reach_a_machine_that_is_alone(
    image: Image, fake_qemu: Path, tmp_path: Path
) -> None:
    (image.path / BOOT_SCRIPT).write_text("kernel ${base}vmlinuz quiet ${extra-args} || goto x\n")
    artefacts = tuple(measure(image.path / each.name) for each in image.facts.artefacts)
    changed = Image(path=image.path, facts=image.facts.model_copy(update={"artefacts": artefacts}))
    options = SmokeOptions(
        paths=("kernel",),
        args=("role=compute{machine}", "BOOTIF={mac}"),
        machine_args={"1": ("rack=r{machine}",)},
        boot_timeout=60,
    )
    fake_qemu.write_text("exit 1\n")
    smoke_test(changed, CHECKS, options, accel="tcg", cache_dir=tmp_path / "cache")
    said = (image.smoke_dir / "kernel" / "qemu.log").read_text()
    assert "panic=-1 role=compute1 BOOTIF=52:54:00:77:01:00 rack=r1 " in said, "after the test's"
    assert "virtio-net-pci,netdev=net,mac=52:54:00:77:01:00" in said


def test_they_reach_it_through_the_script_that_tftp_gives_out(
    image: Image, fake_qemu: Path, tmp_path: Path
) -> None:
    script = tmp_path / "script"
    fake_qemu.write_text(
        f"cp $(echo \"$*\" | sed 's/.*,tftp=\\([^,]*\\),.*/\\1/')/boot.ipxe {script}\nexit 1\n"
    )
    options = SmokeOptions(
        args=("role=compute{machine}",), machine_args={"1": ("id={mac}",)}, boot_timeout=60
    )
    smoke_test(image, CHECKS, options, accel="tcg", cache_dir=tmp_path / "cache")
    [line] = [each for each in script.read_text().splitlines() if "extra-args" in each]
    assert line.endswith(" panic=-1 role=compute1 id=52:54:00:77:01:00")


def test_a_system_that_is_up_and_whose_runner_is_silent_is_ended(
    image: Image, fake_qemu: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("imagebuilder.smoke.watch._UNHEARD_SECONDS", 0.2)
    fake_qemu.write_text(
        FETCH
        + "echo '[    0.050000] Kernel command line: console=ttyS0'; fetch rootfs.squashfs\n"
        + "echo 'Debian GNU/Linux 12 debian ttyS0'; sleep 300\n"
    )
    began = time.monotonic()
    report = smoke(image, tmp_path)
    assert time.monotonic() - began < OPTIONS.boot_timeout, "not only when its time is over"
    assert report.boots[0].failure
    assert "came up, but the test's runner" in report.boots[0].failure.what


def test_the_memory_that_an_image_needs_is_found_and_kept(
    image: Image, fake_qemu: Path, tmp_path: Path
) -> None:
    up = FETCH + "fetch rootfs.squashfs\n" + report_lines("hello 1 -", "reached 1")
    fake_qemu.write_text(
        "mib=$(echo \"$*\" | sed 's/.* -m \\([0-9]*\\) .*/\\1/')\n"
        "if [ $mib -lt 320 ]; then echo 'dracut: FATAL: no'; sleep 300; fi\n"
        + up
        # With less than what it needs it may come up, and kill on the way.
        + "[ $mib -ge 400 ] || echo '[ 9.1] Out of memory: Killed process 7 (udevd)'\n"
        + f"if [ $mib = 1024 ]; then\n{report_lines(*ASKED)}fi\n"
        + report_lines("end")
        + "sleep 300\n"
    )
    options = OPTIONS.model_copy(
        update={"memory_mib": 1024, "budget": Budget.model_validate({"memory_mib": 256})}
    )

    def test(*, measure: bool) -> SmokeReport:
        return smoke_test(
            image,
            CHECKS,
            options,
            accel="tcg",
            cache_dir=tmp_path / "cache",
            measure_memory=measure,
        )

    assert test(measure=False).passed, "what is not known fails nothing"
    report = test(measure=True)
    assert report.memory
    assert (report.memory.mib, report.memory.too_little_mib) == (448, 384)
    assert report.memory.path == "pxe-bios"
    calls = [
        line for line in fake_qemu.with_name("calls").read_text().splitlines() if " -m " in line
    ]
    assert len(calls) == 2 + report.memory.boots
    assert [each.outcome for each in report.budgets] == ["exceeded"]
    assert not report.passed
    assert len(report.boots) == 1, "those that find it out are no boots of the test"
    assert test(measure=False).memory == report.memory, "a later test knows it"


def test_each_path_of_a_recipe_is_booted(image: Image, fake_qemu: Path, tmp_path: Path) -> None:
    fake_qemu.write_text(GOOD + ALL_PASSED)
    (image.path / BOOT_SCRIPT).write_text("kernel ${base}vmlinuz quiet\n")
    artefacts = tuple(measure(image.path / each.name) for each in image.facts.artefacts)
    changed = Image(path=image.path, facts=image.facts.model_copy(update={"artefacts": artefacts}))
    options = OPTIONS.model_copy(update={"paths": ("pxe-bios", "kernel")})
    report = smoke_test(changed, CHECKS, options, accel="tcg", cache_dir=tmp_path)
    assert [boot.path for boot in report.boots] == ["pxe-bios", "kernel"]
    assert report.passed
    assert why_not_up_to_date(changed, CHECKS, options) == ""
    assert why_not_up_to_date(changed, CHECKS, OPTIONS) != ""
    assert (changed.smoke_dir / "kernel" / "console.log").exists()


def test_a_boot_that_fails_is_repeated_if_that_is_asked_for(
    image: Image, fake_qemu: Path, tmp_path: Path
) -> None:
    """The machine comes up at its third boot."""
    dead = FETCH + "echo 'dracut: FATAL: no'; sleep 300\n"
    count = f"echo >>{tmp_path}/n; [ $(wc -l <{tmp_path}/n) -ge 3 ] || {{ {dead} }}\n"
    fake_qemu.write_text(count + GOOD + ALL_PASSED)

    def smoke_again(retries: int) -> SmokeReport:
        return smoke_test(
            image, CHECKS, OPTIONS, accel="tcg", cache_dir=tmp_path / "cache", retries=retries
        )

    report = smoke_again(1)
    assert [boot.passed for boot in report.boots] == [False, False]
    assert (report.passed, report.flaky) == (False, False)
    (tmp_path / "n").write_text("\n")
    report = smoke_again(5)
    assert [(boot.attempt, boot.passed) for boot in report.boots] == [(1, False), (2, True)]
    assert (report.passed, report.flaky) == (True, True)
    assert [check.outcome for check in report.checks] == ["passed", "passed"]
    assert load_report(image) == report
    assert {boot.logs for boot in report.boots} == {"pxe-bios", "pxe-bios.2"}
    assert all((image.smoke_dir / boot.logs / "console.log").exists() for boot in report.boots)
    assert why_not_up_to_date(image, CHECKS, OPTIONS) == ""


def test_a_waived_check_fails_no_test(image: Image, fake_qemu: Path, tmp_path: Path) -> None:
    failed = f"check 2 failed 3.0 {b64('its exit status is 1')} {b64('why')} 3"
    fake_qemu.write_text(GOOD + report_lines(failed, "end") + "sleep 300\n")
    waiver = Waiver(check=CHECKS[1].title, reason="ticket #7", until=date(2026, 6, 15))

    def outcome(today: date) -> tuple[bool, str]:
        report = smoke_test(
            image,
            CHECKS,
            OPTIONS,
            accel="tcg",
            cache_dir=tmp_path,
            waivers=(waiver,),
            today=today,
        )
        return report.passed, report.checks[1].outcome

    assert outcome(date(2026, 6, 15)) == (True, "waived")
    assert outcome(date(2026, 6, 16)) == (False, "failed")


def test_the_memory_that_an_image_needs_is_found_out_and_kept(
    image: Image, fake_qemu: Path, tmp_path: Path
) -> None:
    """The machine comes up with 640 MiB or more."""
    dead = FETCH + "echo 'Kernel panic - not syncing: System is deadlocked on memory'; sleep 300\n"
    small = 'mib="$*"; mib=${mib##* -m }; mib=${mib%% *}\n'
    small += f'[ "$mib" -ge 640 ] || {{ {dead} }}\n'
    fake_qemu.write_text(small + GOOD + ALL_PASSED)
    cache = tmp_path / "cache"
    budget = Budget(memory_mib=600)

    def smoke_again(options: SmokeOptions, measure: bool) -> SmokeReport:
        return smoke_test(
            image, CHECKS, options, accel="tcg", cache_dir=cache, measure_memory=measure
        )

    report = smoke_again(OPTIONS, True)
    assert report.passed
    assert report.memory
    assert report.memory.too_little_mib < 640 <= report.memory.mib == 640
    assert report.memory.boots <= 5
    assert len(report.boots) == 1  # those with less memory say nothing of the image
    logs = {path.name for path in image.smoke_dir.iterdir()}
    assert {"memory-640", "memory-576", "pxe-bios"} <= logs
    # Another test of this image need not find it out again; one with a budget is judged by it.
    again = smoke_again(OPTIONS.model_copy(update={"budget": budget}), False)
    assert again.memory == report.memory
    assert [each.outcome for each in again.budgets] == ["exceeded"]
    assert (again.passed, again.boots[0].passed) == (False, True)
    error = report_error(again, image)
    assert error.what == "base exceeds its budget: memory: 640 MiB more than 600 MiB"
    assert error.exit_status == 3


def test_a_guest_that_hangs_in_its_checks_is_not_waited_for(
    image: Image, fake_qemu: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its checks would have had minutes; the runner falls silent."""
    monkeypatch.setattr("imagebuilder.smoke.watch._RUNNER_SILENT_SECONDS", 0.4)
    alive = "".join(f"sleep 0.3; {report_lines('alive')}" for _ in range(10))
    fake_qemu.write_text(GOOD + alive + "sleep 300\n")
    began = time.monotonic()
    report = smoke(image, tmp_path)
    seconds = time.monotonic() - began
    boot = report.boots[0]
    assert boot.failure
    assert "the guest hung" in boot.failure.what
    assert [check.outcome for check in boot.checks] == ["passed", "not-run"]
    assert boot.seconds > 4.5, "it was waited for as long as the runner spoke"
    assert seconds < 60
