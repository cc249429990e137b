"""The worker: one run of livemedia-creator, and what follows, in namespaces of its own.

It reads a :class:`Job` from standard input and writes JSON lines to standard output: events,
then an outcome or an error.  Whatever it mounts or starts ends with it.  The host's ``/tmp``,
``/var/tmp``, ``/mnt`` and ``/run`` are private at their tops: livemedia-creator and Anaconda have
fixed names there, and take each other's files.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path

from imagebuilder import command, sandbox
from imagebuilder.engines import messages
from imagebuilder.engines.livemedia import diagnosis, place
from imagebuilder.engines.livemedia.assemble import Clock, assemble
from imagebuilder.engines.livemedia.job import Job, Outcome
from imagebuilder.engines.livemedia.run import Room, Run
from imagebuilder.engines.livemedia.watch import STEP, Watch
from imagebuilder.errors import ImageBuilderError, StepError
from imagebuilder.kickstart.document import lines_from_dict
from imagebuilder.kickstart.parse import parse
from imagebuilder.livemedia_options import PHASES
from imagebuilder.progress import Cancel, Event, Reporter

# Names below these that earlier or other runs may have left, or that a run must not touch.
_PRIVATE: dict[str, tuple[str, ...]] = {
    "/tmp": ("*log", "anaconda*", "yum.*", "dnf.*", "ks-script-*", "lmc-*", "packaging*"),  # noqa: S108
    "/var/tmp": ("lmc-*", "lorax*", "dracut.*", "anaconda*"),  # noqa: S108
    "/mnt": ("sysimage", "sysroot", "install"),
    "/run": ("anaconda*", "install", "lorax*"),
}
_HEAD, _TAIL = 8 << 20, 8 << 20  # bytes of a log that are kept at least
_GRACE = 3.0  # seconds between asking it to end and killing it
_ANACONDA = Path("/tmp")  # noqa: S108 - where Anaconda writes its logs; here it is our own


def work(job: Job, reporter: Reporter, whole: Callable[[], None]) -> Outcome:
    """Make an image; ``whole`` is called once what was installed may be kept.

    Raises:
        StepError: something failed; the cause is looked for.
        HostError: this host lacks something.
    """
    logs = job.into / "logs"
    logs.mkdir()
    if job.offline:
        sandbox.raise_loopback()  # Anaconda sends its logs over it
    clock = Clock(reporter)
    if job.argv:
        _separate(job)
        with clock.step(STEP, f"livemedia-creator {job.version}"):
            clock.seconds.update(_install(job, logs, reporter))
    return assemble(job, logs, clock, whole)


def _separate(job: Job) -> None:
    """Give this namespace tops of its own for the folders that all runs share."""
    ours = [job.work, job.into, job.results.parent, job.tmp]
    for n, (name, hidden) in enumerate(_PRIVATE.items()):
        target = Path(name)
        if not target.is_dir():
            continue
        backing = job.work / "private" / str(n)
        backing.mkdir(parents=True)
        sandbox.make_private(target, backing, _not_ours(target, hidden, ours))
    # What is only for the eyes of Anaconda lies in memory.
    secret = job.kickstart_file.parent
    secret.mkdir(mode=0o700)
    sandbox.mount_tmpfs(secret, mode="0700")
    lines = lines_from_dict(job.kickstart)
    job.kickstart_file.write_text("".join(f"{line.text}\n" for line in lines))


def _not_ours(target: Path, hidden: tuple[str, ...], ours: list[Path]) -> tuple[str, ...]:
    """Return the patterns without those that would hide a folder of this build."""
    tops = {each.relative_to(target).parts[0] for each in ours if each.is_relative_to(target)}
    return tuple(
        pattern for pattern in hidden if not any(Path(name).match(pattern) for name in tops)
    )


def _install(job: Job, logs: Path, reporter: Reporter) -> dict[str, float]:
    """Run livemedia-creator; raise with the cause if it did not do what it was to do."""
    phases = 3 if job.image_only else len(PHASES)
    folders = {job.tmp: "tmp", job.results.parent: "results"}
    watch = Watch(logs, _ANACONDA, job.options, reporter, phases=phases, folders=folders)
    call = place.running(job, job.kickstart_file.read_text())
    result = command.run(
        call.argv,
        timeout=60 * job.options.timeout + 120,
        cancel=reporter.cancel,
        env={**os.environ, **(job.environment if job.options.where == "host" else {})},
        cwd=job.work,
        stdin=call.stdin,
        hold=True,
        log=logs / "output.log",
        on_line=watch.line,
        on_error_line=watch.line,
        until=watch.is_over,
        check=False,
        grace=_GRACE,
        what="livemedia-creator",
    )
    watch.close()
    place.check_ran(job.options, result, logs / "output.log")
    if not watch.ended:
        place.fetch(job, results=result.returncode == 0)
    _collect(logs)
    rooms = tuple(
        Room(name=folders[folder], folder=folder, free=free) for folder, free in watch.least.items()
    )
    if result.returncode == 0 and not watch.ended:
        diagnosis.check_rooms(rooms, logs)
        return {f"{STEP}:{name}": each for name, each in watch.seconds.items()}
    raise diagnosis.explain(_run(job, logs, result, watch, rooms))


def _run(
    job: Job, logs: Path, result: command.Result, watch: Watch, rooms: tuple[Room, ...]
) -> Run:
    kickstart = parse(lines_from_dict(job.kickstart), job.kickstart["version"])
    return Run(
        version=job.version,
        mode=job.options.mode,
        returncode=result.returncode,
        ended=watch.ended,
        phase=watch.phase,
        logs=logs,
        stderr=result.stderr or result.stdout,
        results=job.results,
        kickstart=kickstart,
        rooms=rooms,
    )


def _collect(logs: Path) -> None:
    """Take Anaconda's logs along if livemedia-creator did not come to that, and mask secrets."""
    folder = logs / "anaconda"
    folder.mkdir(exist_ok=True)
    for path in (*_ANACONDA.glob("*log"), *_ANACONDA.glob("anaconda-tb-*")):
        if path.is_file() and not (folder / path.name).exists():
            shutil.copyfile(path, folder / path.name)
    for path in logs.rglob("*"):
        if path.is_file():
            _mask(path)
            path.chmod(0o644)


def _mask(path: Path) -> None:
    """Mask secrets in a log, and leave out the middle of one that has no end."""
    with path.open("rb") as file:
        data = file.read(_HEAD)
        gone = path.stat().st_size - _HEAD - _TAIL
        if gone > 0:
            file.seek(-_TAIL, os.SEEK_END)
            data += f"\n[{gone} bytes are left out]\n".encode()
        data += file.read(_TAIL)
    text = data.decode("utf-8", errors="replace")
    masked = command.redact(text)
    if masked != text or gone > 0:
        path.write_text(masked, encoding="utf-8")


def main() -> int:
    """Run as a program: the job on standard input, messages on standard output."""
    say = messages.speaker()

    def observe(event: Event) -> None:
        say("event", event.to_dict())

    job = Job.model_validate_json(sys.stdin.buffer.read())
    command.hide(*job.secrets)
    cancel = Cancel()
    # As the first process of its PID namespace it gets no signal that it has no handler for.
    signal.signal(signal.SIGTERM, lambda *_: cancel.set())
    try:
        reporter = Reporter(subject=job.name, observer=observe, cancel=cancel)
        outcome = work(job, reporter, lambda: say("whole", {}))
    except ImageBuilderError as error:
        say("error", error.to_dict())
        return 1
    except OSError as error:
        place = f": {error.filename}" if error.filename else ""
        fix = "make room on the disk, and build again" if error.errno == 28 else ""
        say("error", StepError(f"{error.strerror or error}{place}", fix=fix).to_dict())
        return 1
    say("outcome", outcome.model_dump(mode="json"))
    return 0


if __name__ == "__main__":
    sys.exit(main())
