"""Runs what runs in the guest by a shell of this host, against stand-ins for the guest."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

from imagebuilder.checks import Check
from imagebuilder.smoke.guest import Said, parse, runner_script, scripts_of

SYSTEMCTL = """#!/bin/sh
last=; for word in "$@"; do last=$word; done
case "$1 $last" in
    "is-active good.service") echo active ;;
    "is-active slow.service")
        if [ -e "$STATE/tried" ]; then echo active; else : >"$STATE/tried"; echo activating; fi ;;
    "is-active dead.service") echo failed ;;
    "is-active "*) echo inactive ;;
    "is-enabled good.service") echo enabled ;;
    "is-enabled "*) echo disabled ;;
    "show nope.service") echo not-found ;;
    "show multi-user.target") echo 12345678 ;;
    "show --value") cat "$STATE/finished" ;;
    "show "*) echo loaded ;;
    "status "*) echo "status of $last" ;;
    "is-system-running "*) cat "$STATE/system" ;;
    "list-units "*) cat "$STATE/failed" ;;
    "list-jobs "*) echo "12 wait.service start running" ;;
esac
"""
NET_TCP = """  sl  local_address rem_address   st tx_queue rx_queue
   0: 00000000:0016 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1
   1: 0100007F:1F90 0100007F:D431 01 00000000:00000000 00:00000000 00000000     0        0 2
   2: 0100007F:0035 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 3
   3: 090200C0:0035 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4
"""
NET_TCP6 = """  sl  local_address                         remote_address                        st
   0: 00000000000000000000000001000000:0035 00000000000000000000000000000000:0000 0A 00000000
"""


@dataclass(frozen=True)
class Guest:
    """A folder that stands for a guest, and the shell that runs there.

    Attributes:
        path: the folder: ``bin``, ``work``, ``proc``, ``sys``, ``state``.
        shell: the shell's words.
    """

    path: Path
    shell: tuple[str, ...] = ("/bin/sh",)

    def program(self, name: str, text: str) -> None:
        """Put a program on PATH, before all others."""
        path = self.path / "bin" / name
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(0o755)

    def file(self, name: str, text: str) -> Path:
        """Write a file, with its folders."""
        path = self.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def start(self, script: str, **more: str) -> list[Said]:
        """Run the runner; return what it said, every line of which must be one of its own."""
        port = self.path / "port"
        port.write_bytes(b"")
        env = {
            "PATH": f"{self.path / 'bin'}:{os.environ['PATH']}",
            "STATE": str(self.path / "state"),
            "SMOKE_WORK": str(self.path / "work"),
            "SMOKE_PROC": str(self.path / "proc"),
            "SMOKE_SYS": str(self.path / "sys"),
            "SMOKE_MODULES": str(self.path / "modules"),
            "SMOKE_PORT": str(port),
            "SMOKE_PAUSE": "0.1",
            **more,
        }
        argv = [*self.shell, "-s"]
        subprocess.run(argv, input=script.encode(), env=env, check=True, timeout=110, cwd=self.path)
        lines = [parse(line) for line in port.read_text().splitlines()]
        assert None not in lines
        return [line for line in lines if line]

    def said(self, *checks: Check) -> dict[int, Said]:
        """Run checks; return what the runner said of each, by number."""
        for name, content in scripts_of(checks).items():
            path = self.path / "work/scripts" / name
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(content)
            path.chmod(0o755)
        said = self.start(runner_script(checks, patience=100, slowness=1))
        assert said[0].word == "hello"
        assert said[0].texts == ("1", os.uname().release)
        assert said[1] == Said(word="reached", texts=("12345678",))
        assert said[-1].word == "end"
        return {int(each.texts[0]): each for each in said if each.word == "check"}

    def ask(self, *checks: Check) -> dict[int, tuple[str, str, str]]:
        """Run checks; return outcome, what was found, and output, by number."""
        return {
            number: (each.texts[1], each.texts[3], each.texts[4])
            for number, each in self.said(*checks).items()
        }

    def found(self, check: Check) -> tuple[str, str]:
        """Run one check; return its outcome and what was found."""
        outcome, found, _ = self.ask(check)[1]
        return outcome, found


def make_guest(folder: Path, shell: tuple[str, ...] = ("/bin/sh",)) -> Guest:
    """Return a guest that has booted well."""
    for name in ("bin", "work", "proc/net", "sys", "state", "modules"):
        (folder / name).mkdir(parents=True)
    guest = Guest(folder, shell)
    (folder / "bin/systemctl").write_text(SYSTEMCTL)
    (folder / "bin/systemctl").chmod(0o755)
    guest.file("proc/net/tcp", NET_TCP)
    guest.file("proc/net/tcp6", NET_TCP6)
    (folder / "proc/uptime").symlink_to("/proc/uptime")
    guest.file("state/system", "running\n")
    guest.file("state/failed", "")
    (folder / "work/reached").touch()
    return guest


SOON = 0.1  # seconds: what does not hold at once does not hold


def verdicts(guest: Guest, *checks: Check) -> list[str]:
    """Return what was found for each check, or "passed" for those that hold."""
    answers = guest.ask(*checks)
    assert len(answers) == len(checks)
    return [
        "passed" if answers[n][0] == "passed" else answers[n][1] for n in range(1, len(checks) + 1)
    ]


def interface(guest: Guest, name: str, flags: str, state: str, **more: str) -> None:
    """Give the guest a network interface."""
    for key, value in {"flags": flags, "operstate": state, "mtu": "1500", **more}.items():
        guest.file(f"sys/class/net/{name}/{key}", f"{value}\n")
