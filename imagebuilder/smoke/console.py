"""The guest's serial console: kept with times, and searched for trouble while it comes in."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import IO

from imagebuilder.smoke.badness import STALLED, Badness, match
from imagebuilder.smoke.report import ConsoleFinding
from imagebuilder.smoke.stages import FIRMWARE, KERNEL_STARTED, ROOT_SWITCHED

_LOG_LIMIT = 16 << 20  # bytes of console that are kept
_FINDINGS_LIMIT = 50
_LINE_LIMIT = 1000  # characters of a line that are looked at
_TAIL_LINES = 400
_STALLED_SECONDS = 60.0  # from the first line of a stall to the one that nobody hopes after
_COLUMNS = 80  # at which firmware breaks its lines

# Control sequences: CSI, what is left of one that systemd cut in two, OSC, character sets, and
# single escapes (ECMA-48).
_ESCAPES = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~…]|\[0(?:;1)?(?:;3\d)?m|"
    r"\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|\x1b[()#][0-9A-Za-z]|\x1b."
)

# systemd's greeting; the one in an initramfs calls itself that (dracut), or names dracut.
_NEW_ROOT = re.compile(r"^(?:\[ *\d+\.\d+\] )?Welcome to (?!.*(?:dracut|[Ii]nitramfs|initrd)).*!$")

# The last step of the initrd, with systemd in it and without.
_HANDS_OVER = re.compile(r"Starting initrd-switch-root\.service|\bSwitching root\b")

# systemd has reached its target, or agetty writes what stands above its prompt.
_UP = re.compile(r"Reached target multi-user\.target|\blogin:|^(?!\[)\S.* ttyS0$")

# systemd's line with a moving star; its last words are how long, of how long.
_WAITS = re.compile(
    r"(?:Job |[Ss]tart job is running for )(\S.*?)(?:/start running)? \(\d[^/()]*/ "
)

# systemd's lines of a job that begins, and of one that is over; it cuts long names in the middle.
_BEGINS = re.compile(r"^Starting (\S.*?)\.\.\.$")
_IS_OVER = re.compile(r"^\[(?:  OK  |FAILED)\] (?:Finished|Started|Failed to start) (\S.*)$")
_NAME = re.compile(r"^.*?(?=\.?…|\.?$| - )")


def plain(line: str) -> Iterator[str]:
    """Give the lines that a reader would have seen: no control characters, no empty lines."""
    for part in _ESCAPES.sub("", line).split("\r"):
        text = "".join(sign if sign.isprintable() else " " for sign in part).strip()
        if text:
            yield text


class Console:
    """Takes the console's lines as they come.

    Args:
        log: where they are kept, each with the seconds since power-on.
        clock: says how many these are now.
    """

    def __init__(self, log: Path, clock: Callable[[], float]) -> None:
        self._path = log
        self._clock = clock
        self._file: IO[str] | None = None
        self._room = _LOG_LIMIT
        self._tail: deque[str] = deque(maxlen=_TAIL_LINES)
        self.findings: list[ConsoleFinding] = []
        self.fatal: ConsoleFinding | None = None
        self.fatal_follows = False  # it may give way to a line that names the cause
        self._wrapped = ""  # what goes on in the next line
        self._counted = ""  # the job of which systemd says how long it has waited for it
        self._stalls: dict[str, float] = {}  # when each was told of first
        self._begun: list[str] = []  # jobs of which it has not said that they are over
        self.stages: dict[str, float] = {}  # what its lines show to be reached
        self.last_line = 0.0
        self.last_news = 0.0  # the same, but for lines that say only that it waits on
        self.handed_over = False  # the initrd began to switch to the root file system
        self.came_up = 0.0  # when the system said that it is up, or asked for a login

    def __enter__(self) -> Console:
        self._file = self._path.open("w", encoding="utf-8", errors="replace")
        return self

    def __exit__(self, *_: object) -> None:
        if self._file:
            self._file.close()

    def take(self, raw: str) -> None:
        """Take a line as the serial port gave it."""
        for line in plain(raw):
            self._take(line)

    def _take(self, line: str) -> None:
        now = self.last_line = self._clock()
        waits = _WAITS.search(line)
        if waits and waits[1] == self._counted:
            return  # it only counts on, every second
        if not waits:
            self.last_news = now
        self._tail.append(line)
        if self._file and self._room > 0:
            self._room -= len(line)
            self._file.write(f"{now:8.2f}  {line}\n")
            if self._room <= 0:
                self._file.write("[the rest of the console was not kept]\n")
            self._file.flush()
        self._mark(line, now)
        if not self._judge(line[:_LINE_LIMIT]) and self._wrapped:
            self._judge(self._wrapped + line)
        wraps = KERNEL_STARTED not in self.stages and len(line) in (_COLUMNS - 1, _COLUMNS)
        self._wrapped = (self._wrapped + line)[-_LINE_LIMIT:] if wraps else ""

    @property
    def waits_for(self) -> str:
        """What systemd waits for, as it said; "" if it said nothing of it.

        It counts the seconds only while no program has the console, which those of dracut have.
        """
        return self._counted or (self._begun[-1] if self._begun else "")

    def take_screen(self, lines: Iterable[str]) -> None:
        """Search what stands on the machine's screen, which may say what the port does not."""
        for line in lines:
            self._judge(line)

    def _judge(self, line: str) -> bool:
        waits = _WAITS.search(line)
        if waits:
            self._counted = waits[1]
        elif "[  OK  ]" in line:
            self._counted = ""  # it goes on
        stalled = STALLED.pattern.search(line)
        if stalled:
            first = self._stalls.setdefault(stalled[1], self.last_line)
            if self.last_line >= first + _STALLED_SECONDS:
                self._note(line, STALLED, STALLED.meaning)
                return True
        found = match(line, kernel_runs=KERNEL_STARTED in self.stages)
        if found:
            self._note(line, *found)
        return found is not None

    def _mark(self, line: str, now: float) -> None:
        self.stages.setdefault(FIRMWARE, now)
        if "Linux version " in line:
            self.stages.setdefault(KERNEL_STARTED, now)
        elif KERNEL_STARTED in self.stages and _NEW_ROOT.search(line):
            self.stages.setdefault(ROOT_SWITCHED, now)
            self._begun.clear()
        begins, over = _BEGINS.match(line), _IS_OVER.match(line)
        if begins:
            self._begun.append(begins[1])
        elif over:
            self._begun = [each for each in self._begun if not _same_job(each, over[1])]
        if KERNEL_STARTED in self.stages and _HANDS_OVER.search(line):
            self.handed_over = True
        if not self.came_up and KERNEL_STARTED in self.stages and _UP.search(line):
            self.came_up = now

    def _note(self, line: str, badness: Badness, meaning: str) -> None:
        known = any(each.meaning == meaning for each in self.findings)
        if known or (len(self.findings) >= _FINDINGS_LIMIT and badness.severity == "warn"):
            return
        finding = ConsoleFinding(
            line=line,
            meaning=meaning,
            severity=badness.severity,
            seconds=round(self.last_line, 1),
            fix=badness.fix,
        )
        self.findings.append(finding)
        if badness.severity == "fatal" and (
            self.fatal is None or (self.fatal_follows and not badness.follows)
        ):
            self.fatal = finding
            self.fatal_follows = badness.follows

    @property
    def flooded(self) -> bool:
        """Whether the guest wrote more than anybody will keep or read."""
        return self._room <= 0

    def excerpt(self, lines: int = 15) -> str:
        """Return the lines around the one that ended the boot, or the last ones."""
        tail = list(self._tail)
        end = len(tail)
        if self.fatal:
            at = (n for n, line in enumerate(tail) if line.startswith(self.fatal.line))
            end = min(next(at, end) + lines // 3, end)
        return "\n".join(tail[max(0, end - lines) : end])


def _same_job(one: str, other: str) -> bool:
    """Whether two lines are of one job; where the name was cut depends on the line's length."""
    names = [found[0] for found in map(_NAME.match, (one, other)) if found]
    return len(names) == 2 and (names[0].startswith(names[1]) or names[1].startswith(names[0]))
