"""Why a run of livemedia-creator failed: the cause, the line that shows it, and what to do.

The texts are those of lorax 28 to 46 (pylorax/creator.py, installer.py, monitor.py) and of the
programs that it runs.  livemedia-creator itself never names the line of Anaconda's log that made
it stop: it is looked for here, by the same rules.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from imagebuilder.engines.livemedia.causes import CAUSES, Cause
from imagebuilder.engines.livemedia.run import Room, Run
from imagebuilder.errors import HostError, Location, StepError

_AROUND = 4  # lines before and after the one that shows the cause
_ERROR = re.compile(r"\b(ERR|CRT|ERROR|CRITICAL)\b")
_STAMP = re.compile(r"^[\d:,. -]+")
_RAISED = re.compile(r"[A-Za-z_][\w.]*(Error|Exception|Exit|Interrupt|Fault)\b")
_FRAMES = 200  # lines of a traceback
_SAME = 100  # lines
_LAST = 6  # lines of each log that are shown when the cause is not known
_MOST = 4 << 20  # bytes of a log's end that are looked through
_ENDED = {
    "timeout": "it was not done in the time for the whole run",
    "phase-timeout": "the phase took longer than it may",
    "silence": "it gave no sign of life",
    "flood": "its logs grew without end",
}


_PLENTY = 128 << 20  # bytes: with so much it was another disk
_MAKE_ROOM = "make room there, or name other folders in [livemedia] tmp_dir and result_dir"
_NOTHING = 1 << 20  # bytes
_ROOMY = 16 << 20  # bytes: a folder with less is full


@dataclass(frozen=True, slots=True)
class _Hit:
    cause: Cause
    log: Path
    lines: tuple[str, ...]
    at: int
    found: re.Match[str]


def explain(run: Run) -> StepError | HostError:
    """Return the error that names the cause of a failed run."""
    texts = list(_texts(run))
    hit = _first(texts)
    how = _how(run)
    where = f" (phase {run.phase})" if run.phase else ""
    logs = ", ".join(str(path.relative_to(run.logs)) for path, _ in texts if path.is_file())
    full = [each for each in run.rooms if each.free < _ROOMY]
    if full and (hit is None or hit.cause.is_vague):
        what = f"livemedia-creator failed{where}: {_full(full[0])}; {_ENDED.get(run.ended, how)}"
        return HostError(what, excerpt=_last(texts), fix=_MAKE_ROOM, log=_log(run, hit))
    limits = "the limits are [livemedia] timeout, phase_timeouts, silence"
    if run.ended:
        if hit and hit.cause.is_vague and hit.log.parent.name != "anaconda":
            hit = None  # its end may have brought that about
        how = _ENDED.get(run.ended, run.ended)
        if hit is None:
            again = _repeated(texts)
            same = f"; it said the same over and over: {again}" if again else ""
            return StepError(
                f"livemedia-creator was ended{where}: {how}{same}",
                excerpt=_last(texts),
                fix=f"see what it waited for; {limits}",
                log=_log(run, None),
            )
    if hit is None:
        return StepError(
            f"livemedia-creator failed{where}: {how}; the cause is not known",
            excerpt=_last(texts),
            fix=f"look through its logs: {logs}",
            log=_log(run, None),
        )
    name = next((each for each in hit.found.groups() if each), "") if hit.found.groups() else ""
    words = hit.cause.what.format(name=name.strip() or "see the log", room=_room(run))
    kind = HostError if hit.cause.is_host else StepError
    if hit.cause.is_vague:
        said = _exception(hit) or _error_line(texts)
        words += f": {said}" if said else ""
    ended = f"; it did not end by itself: {how}" if run.ended else ""
    return kind(
        f"livemedia-creator failed{where}: {words}{ended}",
        where=_place(run, hit),
        excerpt=_shown(hit) if hit.log.parent.name == "anaconda" else _with_anaconda(hit, texts),
        fix=hit.cause.fix,
        log=hit.log if hit.log.is_file() else _log(run, None),
    )


def check_rooms(rooms: tuple[Room, ...], logs: Path) -> None:
    """Raise if a disk was full during a run that calls itself a success.

    What is written to the disk image then is lost, and nobody is told.

    Raises:
        HostError: one was.
    """
    for each in rooms:
        if each.free < _NOTHING:
            raise HostError(
                f"what was installed has holes: {_full(each)}",
                fix=_MAKE_ROOM,
                log=logs / "livemedia.log",
            )


def _full(room: Room) -> str:
    return f"the disk is full: {room.folder} ({room.name}) had {room.free >> 20} MiB left"


def _error_line(texts: list[tuple[Path, list[str]]]) -> str:
    """Return the last line that Anaconda itself calls an error, or ""."""
    lines = [line for path, lines in texts if path.parent.name == "anaconda" for line in lines]
    found = [line for line in lines if _ERROR.search(line) and "IGNORED" not in line]
    return _STAMP.sub("", found[-1])[:200] if found else ""


def _repeated(texts: list[tuple[Path, list[str]]]) -> str:
    """Return the line with which a log ends again and again, or ""."""
    for _, lines in texts:
        last = {_STAMP.sub("", line) for line in lines[-_SAME:]}
        if len(lines) >= _SAME and len(last) == 1:
            return last.pop()[:100]
    return ""


def _exception(hit: _Hit) -> str:
    """Return the line below a traceback that names the exception, or ""."""
    if "Traceback (" not in hit.found[0]:
        return ""
    lines = (_STAMP.sub("", line) for line in hit.lines[hit.at + 1 : hit.at + _FRAMES])
    return next((line[:200] for line in lines if _RAISED.match(line)), "")


def last_of_anaconda(logs: Path) -> str:
    """Return the last lines of each of Anaconda's logs.

    Args:
        logs: the folder with anaconda/.
    """
    return _last([(path, _end(path)) for path in sorted((logs / "anaconda").glob("*"))])


def _how(run: Run) -> str:
    if run.returncode < 0:
        return f"signal {-run.returncode}"
    return f"exit status {run.returncode}"


def _texts(run: Run) -> Iterator[tuple[Path, list[str]]]:
    """Give the logs, Anaconda's first: what it says is nearer to the cause."""
    paths = [*sorted((run.logs / "anaconda").glob("*")), *sorted(run.logs.glob("virt-install.log"))]
    paths += [run.logs / "livemedia.log", run.logs / "program.log"]
    for path in paths:
        if path.is_file():
            yield path, _end(path)
    yield Path("standard error"), run.stderr.splitlines()


def _end(path: Path) -> list[str]:
    """Return the lines of a log's end."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - _MOST))
            return file.read().decode("utf-8", errors="replace").splitlines()
    except OSError:
        return []


def _first(texts: list[tuple[Path, list[str]]]) -> _Hit | None:
    for cause in CAUSES:
        for path, lines in texts:
            for n, line in enumerate(lines):
                if "IGNORED" in line:
                    continue
                found = cause.pattern.search(line)
                if found:
                    return _Hit(cause, path, tuple(lines), n, found)
    return None


def _shown(hit: _Hit) -> str:
    lines = hit.lines[max(0, hit.at - _AROUND) : hit.at + _AROUND + 1]
    return "\n".join([f"{hit.log.name}:", *(line[:300] for line in lines)])


def _with_anaconda(hit: _Hit, texts: list[tuple[Path, list[str]]]) -> str:
    """Return the line with its neighbours, and what Anaconda said at last."""
    of_anaconda = [each for each in texts if each[0].parent.name == "anaconda"]
    return "\n".join(each for each in (_shown(hit), _last(of_anaconda)) if each)


def _last(texts: list[tuple[Path, list[str]]]) -> str:
    shown: list[str] = []
    for path, lines in texts:
        last = [line[:300] for line in lines if line.strip()][-_LAST:]
        if last:
            shown += [f"{path.name}:", *last]
    return "\n".join(shown)


def _log(run: Run, hit: _Hit | None) -> Path:
    return hit.log if hit and hit.log.is_file() else run.logs / "livemedia.log"


def _room(run: Run) -> str:
    if not run.rooms:
        return "see the log"
    least = min(run.rooms, key=lambda each: each.free)
    if least.free > _PLENTY and run.phase in ("image", "install", "post"):
        return "it is that of the image's own root, since this host's have room"
    return f"{least.folder} ({least.name}) has {least.free >> 20} MiB left"


def _place(run: Run, hit: _Hit) -> Location | None:
    """Return the fragment's line that is to blame, where one is."""
    groups = hit.found.groupdict()
    line = groups.get("line") or groups.get("line2")
    if line and 0 < int(line) <= len(run.kickstart.lines):
        return run.kickstart.lines.where(int(line) - 1)
    if "package" in hit.cause.what:
        text = hit.lines[hit.at]
        for each in run.kickstart.packages:
            if re.search(rf"(?<![\w.-]){re.escape(each.name)}(?![\w-])", text):
                return each.where
    return None
