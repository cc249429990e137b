"""The script that runs in the guest, run here by the host's own /bin/sh against stand-ins."""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
from runnerkit import Guest, make_guest

from imagebuilder.checks import (
    Check,
    CommandCheck,
    FileCheck,
    NoFailedUnitsCheck,
    PortCheck,
    UnitCheck,
)
from imagebuilder.errors import InputError
from imagebuilder.smoke.guest import Said, parse, runner_script


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return make_guest(tmp_path).path


def start(place: Path, script: str) -> list[Said]:
    return Guest(place).start(script)


def ask(place: Path, *checks: Check) -> dict[int, tuple[str, str, str]]:
    """Run the checks; return outcome, what was found, and output, by number."""
    return Guest(place).ask(*checks)


def outcomes(place: Path, checks: Sequence[Check]) -> list[str]:
    answers = ask(place, *checks)
    return [answers[number][0] for number in range(1, len(checks) + 1)]


def test_units(place: Path) -> None:
    answers = ask(
        place,
        UnitCheck(unit="good.service", enabled=True),
        UnitCheck(unit="slow.service"),
        UnitCheck(unit="nope.service"),
        UnitCheck(unit="dead.service"),
        UnitCheck(unit="good.service", enabled=False),
        UnitCheck(unit="nope.service", state="inactive"),
        UnitCheck(unit="other.service", timeout=0.1),
    )
    assert answers[1][0] == "passed"
    assert answers[2][0] == "passed"
    assert answers[3] == ("failed", "there is no such unit", "status of nope.service")
    assert answers[4] == ("failed", "it is failed", "status of dead.service")
    assert answers[5][:2] == ("failed", "it is active and enabled")
    assert answers[6][0] == "passed"
    assert answers[7][:2] == ("failed", "it is inactive")


def test_the_journal_of_a_unit_is_read_once(place: Path) -> None:
    guest = Guest(place)
    program = (place / "bin/systemctl").read_text()
    (place / "bin/systemctl").write_text(
        program.replace("last=;", 'echo "$1" >>$STATE/calls; last=;')
    )
    said = guest.said(
        UnitCheck(unit="other.service", tries=3, timeout=100), UnitCheck(unit="slow.service")
    )
    assert said[1].texts[1] == "failed"
    assert said[1].texts[4] == "status of other.service"
    assert said[2].texts[1] == "passed"
    assert said[2].texts[4] == ""
    calls = (place / "state/calls").read_text().split()
    assert (calls.count("is-active"), calls.count("status")) == (5, 1)


def test_commands(place: Path) -> None:
    answers = ask(
        place,
        CommandCheck(command="echo one; echo two >&2; exit 3", status=3, matches="^two$"),
        CommandCheck(command="exit 4", timeout=0.1),
        CommandCheck(command="echo other", matches="^-x", timeout=0.1),
        CommandCheck(command="echo other", matches="(", timeout=20),
        CommandCheck(command="sleep 20", timeout=1),
        CommandCheck(command="test -e again || { : >again; false; }"),
        CommandCheck(command="head -c 1000000 /dev/zero | tr '\\0' x", matches="x{100}"),
    )
    assert answers[1] == ("passed", "its exit status is 3", "one\ntwo")
    assert answers[2][:2] == ("failed", "its exit status is 4")
    assert answers[3] == ("failed", "its exit status is 0, and its output does not match", "other")
    assert answers[4][0] == "failed"
    assert answers[4][1].startswith("grep: ")
    assert answers[5][:2] == ("failed", "it was not done after 1 s")
    assert answers[6][0] == "passed"
    assert answers[7][0] == "passed"
    assert len(answers[7][2]) == 8192


# A guest with one processor, whose clock goes on by a second with each look.
TICK = """
read -r up <$SMOKE_PROC/uptime
up=${up%.*}
echo $((up + 1)).00 >$SMOKE_PROC/uptime
"""


@pytest.mark.parametrize(
    ("idle", "slowness", "tries"),
    [(True, 5.0, 3), (False, 5.0, 10), (True, 1.0, 2), (False, 1.0, 2)],
)
def test_what_a_guest_is_idle_counts_as_often_as_limits_are_longer(
    place: Path, idle: bool, slowness: float, tries: int
) -> None:
    guest = Guest(place)
    (place / "proc/uptime").unlink()
    guest.file("proc/uptime", "100.00\n")
    guest.file("proc/stat", "cpu 0 0 0 10000 0\ncpu0 0 0 0 10000 0\nintr 1 2 3\n")
    write = 'sed -i "1s/.*/cpu 5 0 5 $((up * 100 + 100)) 0/" $SMOKE_PROC/stat\n' if idle else ""
    check = CommandCheck(command=f"{TICK}{write}false", timeout=2)
    said = guest.start(runner_script([check], patience=100, slowness=slowness))
    answer = next(each for each in said if each.word == "check")
    assert answer.texts[1] == "failed"
    assert int(answer.texts[5]) == tries
    assert answer.texts[2] == f"{tries}.0", "what is told is the clock's"


def test_a_guest_that_may_wait_for_others_has_its_whole_time() -> None:
    assert "\nEXTRA=400\n" in runner_script([], patience=1, slowness=5.0)
    assert "\nEXTRA=0\n" in runner_script([], patience=1, slowness=5.0, alone=False)


def test_what_two_processors_do_one_after_the_other_is_no_idleness(place: Path) -> None:
    """Each is idle for half of the time, and never both."""
    guest = Guest(place)
    (place / "proc/uptime").unlink()
    guest.file("proc/uptime", "100.00\n")
    guest.file("proc/stat", "cpu 0 0 0 10000 0\ncpu0 0 0 0 5000 0\ncpu1 0 0 0 0 0\n")
    write = 'sed -i "1s/.*/cpu 5 0 5 $((up * 100 + 100)) 0/" $SMOKE_PROC/stat\n'
    check = CommandCheck(command=f"{TICK}{write}false", timeout=2)
    said = guest.start(runner_script([check], patience=100, slowness=5.0))
    answer = next(each for each in said if each.word == "check")
    assert int(answer.texts[5]) == 10


def test_a_command_that_fails_since_the_root_is_read_only_is_not_looked_at_again(
    place: Path,
) -> None:
    guest = Guest(place)
    complaint = "touch: cannot touch '/var/lib/x': Read-only file system"
    check = CommandCheck(command=f'echo "{complaint}"; exit 1', tries=2, timeout=100)
    for mounts, tries in (
        ("none / overlay rw 0 0\n/dev/sr0 /media iso9660 ro 0 0\n", 2),
        ("none / rootfs rw 0 0\nnone / overlay ro,relatime 0 0\n", 1),
        ("none / overlay ro 0 0\nnone / overlay rw,ro_after 0 0\n", 2),
    ):
        guest.file("proc/mounts", mounts)
        answer = guest.said(check)[1].texts
        assert answer[1] == "failed"
        assert int(answer[5]) == tries
        assert answer[3].endswith("the root file system is read-only") == (tries == 1)
    passes = CommandCheck(command=f'echo "{complaint}"; exit 1', status=1)
    assert guest.ask(passes)[1][0] == "passed"


def test_a_daemon_left_behind_holds_up_nobody(place: Path) -> None:
    answers = ask(place, CommandCheck(command="echo started; sleep 4 & exit 0"))
    assert answers[1] == ("passed", "its exit status is 0", "started")


def test_files(place: Path) -> None:
    file = place / "a 'file'"
    file.write_text("first\nsecond\n")
    file.chmod(0o640)
    owner = subprocess.run(["stat", "-c", "%U:%G", file], capture_output=True, text=True).stdout
    name, gone = str(file), str(place / "gone")
    checks = [
        FileCheck(file=name, mode="0640", owner=owner.strip(), contains="^sec"),
        FileCheck(file=name, owner=owner.partition(":")[0]),
        FileCheck(file=gone, exists=False),
        FileCheck(file=name, mode="600", timeout=0.1),
        FileCheck(file=name, owner="nobody:nogroup", timeout=0.1),
        FileCheck(file=name, contains="third", timeout=0.1),
        FileCheck(file=name, exists=False, timeout=0.1),
        FileCheck(file=gone, timeout=0.1),
    ]
    answers = ask(place, *checks)
    assert [answers[n][0] for n in range(1, 9)] == ["passed"] * 3 + ["failed"] * 5
    assert answers[4][1] == "its mode is 640"
    assert answers[5][1] == f"it belongs to {owner.strip()}"
    assert answers[8][1] == "it is not there"


def test_ports(place: Path) -> None:
    answers = ask(place, PortCheck(port=22), PortCheck(port=8080, timeout=0.1))
    assert answers[1][0] == "passed"
    assert answers[2][0] == "failed"  # a connection, but nothing that listens
    assert answers[2][1].endswith("listens on: 22 53")


def test_no_failed_units(place: Path) -> None:
    (place / "state/failed").write_text("a.service loaded failed failed A\nb.service x\n")
    (place / "state/system").write_text("degraded\n")
    answers = ask(
        place,
        NoFailedUnitsCheck(no_failed_units=True),
        NoFailedUnitsCheck(no_failed_units=True, allow=("a.service", "b.service")),
    )
    assert answers[1][:2] == ("failed", "failed: a.service b.service")
    assert answers[2][0] == "passed"


def test_no_failed_units_waits_until_the_boot_has_settled(place: Path) -> None:
    (place / "state/system").write_text("starting\n")
    answers = ask(place, NoFailedUnitsCheck(no_failed_units=True, timeout=0.5))
    assert answers[1][0] == "failed"
    assert "starting" in answers[1][1]
    assert "wait.service" in answers[1][2]


@pytest.mark.parametrize(
    "text",
    [
        "'; touch broken; '",
        "$(touch broken)",
        "`touch broken`",
        'a"b\\',
        "-n",
        "line\nend\ncheck 1 passed 0.0 - -",
        "} ; touch broken ; {",
        "*",
    ],
)
def test_hostile_texts_are_texts(place: Path, text: str) -> None:
    checks: list[Check] = [
        CommandCheck(command="echo fine", matches=text, timeout=0.1),
        FileCheck(file="/" + text, timeout=0.1),
        FileCheck(file="/", owner=text, contains=text, timeout=0.1),
        NoFailedUnitsCheck(no_failed_units=True, allow=(text,)),
    ]
    outcomes(place, checks)  # asserts that every line is one of the runner's
    assert not (place / "broken").exists()


def test_a_nul_is_refused() -> None:
    with pytest.raises(InputError, match="NUL"):
        runner_script([CommandCheck(command="a\0b")], patience=1, slowness=1)


def test_jobs_are_told_when_half_of_the_time_is_gone(place: Path) -> None:
    (place / "work/reached").unlink()
    script = runner_script([], patience=1, slowness=1).replace(
        'say jobs "', ': >"$WORK/reached"; say jobs "'
    )
    said = [each for each in start(place, script) if each.word != "memory"]
    assert [each.word for each in said] == ["hello", "jobs", "reached", "end"]
    assert said[1].texts == ("12 wait.service start running",)


def test_a_boot_that_settles_elsewhere_is_told(place: Path) -> None:
    (place / "work/reached").unlink()
    (place / "state/failed").write_text("a.service loaded failed failed A\n")
    script = runner_script([], patience=1e9, slowness=1)
    more = {"SMOKE_ASK": "10", "SMOKE_SETTLED": "30"}
    said = [each for each in Guest(place).start(script, **more) if each.word != "memory"]
    assert [each.word for each in said] == ["hello", "settled"]
    assert said[1].texts == ("running", "a.service loaded failed failed A")


def test_a_guest_that_is_idle_is_asked_more_often_whether_its_boot_is_over(place: Path) -> None:
    guest = Guest(place)
    (place / "work/reached").unlink()
    (place / "proc/uptime").unlink()
    guest.file("proc/uptime", "100.00\n")
    guest.file("proc/stat", "cpu 0 0 0 10000 0\ncpu0 0 0 0 10000 0\n")
    # Each pause takes a second of its clock; of the first ten it needs its processor.
    guest.program(
        "sleep",
        f"""[ $1 = 0.1 ] || exec /bin/sleep $1
{TICK}
[ $up -lt 110 ] || sed -i "1s/.*/cpu 5 0 5 $((up * 100 - 900)) 0/" $SMOKE_PROC/stat
echo $up >>$STATE/pauses
""",
    )
    guest.program(
        "systemctl",
        "[ $1 != is-system-running ] || wc -l <$STATE/pauses >>$STATE/asked\necho running",
    )
    said = guest.start(runner_script([], patience=1e9, slowness=1))
    assert said[-1].word == "settled"
    assert [int(line) for line in (place / "state/asked").read_text().split()] == [10, 12, 14, 16]


def test_other_lines_of_the_port_are_passed_over() -> None:
    for line in ("", "hello", "check 1 passed 1 !!! -", "noise from a driver", "end now"):
        assert parse(line) is None


def test_bash_waits_without_a_process_and_hears_when_the_target_is_reached(tmp_path: Path) -> None:
    guest = make_guest(tmp_path, ("/bin/bash",))
    (tmp_path / "work/reached").unlink()
    guest.program("sleep", "echo $* >>$STATE/slept; exec /bin/sleep $*")
    bell = tmp_path / "work/bell"

    def reach() -> None:
        while not bell.is_fifo():
            time.sleep(0.05)
        (tmp_path / "work/reached").touch()
        subprocess.run(["sh", "-c", f"echo 1<>{bell}"], check=True)

    threading.Thread(target=reach, daemon=True).start()
    # It would wait for longer than the test may take.
    said = guest.start(runner_script([], patience=1000, slowness=1), SMOKE_PAUSE="600")
    assert [each.word for each in said if each.word in ("reached", "end")] == ["reached", "end"]
    slept = tmp_path / "state/slept"
    # What says that the guest lives sleeps, as does what waits for systemd's critical chain.
    assert not slept.exists() or "600" not in slept.read_text().split()
