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

from imagebuilder.engines.livemedia.run import Run
from imagebuilder.errors import HostError, Location, StepError

_AROUND = 4  # lines before and after the one that shows the cause
_LAST = 6  # lines of each log that are shown when the cause is not known
_MOST = 4 << 20  # bytes of a log's end that are looked through
_ENDED = {
    "timeout": "it was not done in the time for the whole run",
    "phase-timeout": "the phase took longer than it may",
    "silence": "it gave no sign of life",
}


@dataclass(frozen=True, slots=True)
class _Cause:
    pattern: re.Pattern[str]
    what: str
    fix: str
    is_host: bool = False


def _cause(pattern: str, what: str, fix: str, *, is_host: bool = False) -> _Cause:
    return _Cause(re.compile(pattern), what, fix, is_host)


# The first that is found in any log holds: the more telling come first.
_CAUSES = (
    _cause(
        r"No space left on device|Errno 28",
        "the disk is full: {room}",
        "make room there, or name other folders in [livemedia] tmp_dir and result_dir; if it is "
        "the image's own root, say a larger part / --size=MIB, or root_size_mib",
    ),
    _cause(
        r"Command '\['cp', .*(?P<name>)",
        "the results could not be copied: {room}",
        "make room there, or name another folder in [livemedia] result_dir",
    ),
    _cause(
        r"NoSuchPackage:? ?(?P<name>\S*)|No match for argument: (?P<other>\S+)",
        "a package is not to be had: {name}",
        "see how it is called, and that url and repo name a repository that has it",
    ),
    _cause(
        r"insufficient disk space:|Not enough disk space to download|needs \d+\S* more space",
        "the root file system is too small for what is installed",
        "say a larger part / --size=MIB, or [livemedia] root_size_mib",
    ),
    _cause(
        r"base repo (?!\(CDROM/file).* not valid|Failed to download metadata|"
        r"Cannot prepare internal mirrorlist|Error setting up base repository|"
        r"Failed to set up installation source",
        "a repository cannot be used",
        "see that the URLs of url and repo can be reached from here, and [livemedia] proxy",
    ),
    _cause(
        r"packaging: .* requires .*|nothing provides \S+",
        "packages cannot be installed together",
        "see which repository lacks what is named",
    ),
    _cause(
        r"Error in POSTIN scriptlet in rpm package(?P<name>.*)",
        "a script of a package failed:{name}",
        "see Anaconda's packaging.log",
    ),
    _cause(
        r"error populating transaction after|packaging: Installation failed",
        "the packages could not be installed",
        "see Anaconda's packaging.log: as a rule a mirror does not answer",
    ),
    _cause(
        r"Error code (?P<code>\d+) running the kickstart script at line (?P<line>\d+)|"
        r"kickstart script at line (?P<line2>\d+)",
        "a script of the kickstart failed",
        "see the script's output in Anaconda's logs",
    ),
    _cause(
        r"Out of memory:|oom-kill|Cannot allocate memory",
        "the memory was not enough",
        "give the host, or with virt [livemedia] memory_mib, more",
        is_host=True,
    ),
    _cause(r"Call Trace:", "the kernel had a fault", "see dmesg", is_host=True),
    _cause(
        r"dumped core|crashed on signal|traceback script\(s\) have been run",
        "Anaconda crashed",
        "see anaconda-tb-* among its logs; its version may not fit the kickstart",
    ),
    _cause(
        r"The following error occurred while installing\.  This is a fatal error",
        "Anaconda ended with an error",
        "see the lines after it in Anaconda's logs",
    ),
    _cause(
        r"could not find any free loop device|failed to setup loop device|"
        r"losetup: .*(failed|cannot)",
        "this host has no loop device left",
        "run: losetup -a; on a host with many, modprobe loop max_loop=64",
        is_host=True,
    ),
    _cause(
        r"no-virt requires anaconda to be installed",
        "Anaconda is not installed",
        'run: dnf install lorax-lmc-novirt; or use mode = "virt"',
        is_host=True,
    ),
    _cause(
        r"qemu-kvm needs to be installed|does not exist, cannot run qemu",
        "QEMU is not installed where livemedia-creator wants it",
        "run: dnf install lorax-lmc-virt",
        is_host=True,
    ),
    _cause(
        r"You need to run this as root",
        "livemedia-creator needs root",
        "run it as root",
        is_host=True,
    ),
    _cause(
        r"Only url, nfs and ostreesetup install methods|repo can only be used with the url|"
        r"must activate networking|must not set a display mode|must use a single / part|"
        r"must include shutdown|No partitions in the kickstart",
        "livemedia-creator refuses the kickstart",
        "mend what it names",
    ),
    _cause(
        r"No initrds found",
        "there is no kernel whose name livemedia-creator knows in /boot",
        "see that %packages brings kernel, and that nothing removes /boot",
    ),
    _cause(
        r"dracut.*[mM]odule '(?P<name>[^']+)' cannot be (found|installed)",
        "dracut lacks its module {name}",
        "add the package that has it: dracut-live, dracut-network",
    ),
    _cause(
        r"dracut(\[\d+\])?: (FAILED|Cannot|E:)|Running dracut failed|Command '\['dracut'",
        "dracut failed",
        "see program.log",
    ),
    _cause(
        r"mksquashfs failed to create|FATAL ERROR",
        "mksquashfs failed",
        "see program.log: as a rule the disk is full, or it lacks the compressor",
    ),
    _cause(
        r"Problem zeroing free blocks of|make_.*fsck",
        "the installed file system is damaged, or nothing was installed",
        "see Anaconda's logs",
    ),
    _cause(
        r"failed to unmount|Cleanup of .* failed|cleanup of anaconda mounts failed|umount: .*",
        "something that Anaconda mounted could not be unmounted, or nothing was installed",
        "see Anaconda's logs: often dracut-live is missing, or Anaconda installed nothing",
    ),
    _cause(
        r"Canceling installation due to timeout|failed due to timeout",
        "Anaconda was not done in its time",
        "see what it waited for in its logs; [livemedia] timeout is in minutes",
    ),
    _cause(
        r"in create_pxe_config|pxe-config\.tmpl",
        "lorax' templates are not where it looks for them",
        "name their folder in [livemedia] lorax_templates: share/ of a checkout of lorax",
    ),
    _cause(
        r"Traceback \(",
        "a Python program failed with a traceback",
        "see the lines after it",
    ),
    _cause(
        r"unrecognized arguments: (?P<name>.*)|error: argument (?P<other>.*)",
        "livemedia-creator does not know an option: {name}",
        "take it out of [livemedia] extra_args",
    ),
    _cause(
        r"Running anaconda failed: .* exited with status (?P<name>-?\d+)|Running anaconda failed",
        "Anaconda ended with exit status {name}",
        "see Anaconda's logs",
    ),
)
_PLENTY = 128 << 20  # bytes: with so much it was another disk
_ROOMY = 16 << 20  # bytes: a folder with less is full


@dataclass(frozen=True, slots=True)
class _Hit:
    cause: _Cause
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
    if run.ended:
        what = f"livemedia-creator was ended{where}: {_ENDED.get(run.ended, run.ended)}"
        excerpt = _shown(hit) if hit else _last(texts)
        fix = "see what it waited for; the limits are [livemedia] timeout, phase_timeouts, silence"
        return StepError(what, excerpt=excerpt, fix=fix, log=_log(run, hit))
    if hit is None:
        full = [each for each in run.rooms if each.free < _ROOMY]
        if full:
            return HostError(
                f"livemedia-creator failed{where}: {how}; the disk of {full[0].folder} is full",
                excerpt=_last(texts),
                fix="make room there, or name other folders in [livemedia]",
                log=_log(run, None),
            )
        return StepError(
            f"livemedia-creator failed{where}: {how}; the cause is not known",
            excerpt=_last(texts),
            fix=f"look through its logs: {logs}",
            log=_log(run, None),
        )
    name = next((each for each in hit.found.groups() if each), "") if hit.found.groups() else ""
    words = hit.cause.what.format(name=name.strip() or "see the log", room=_room(run))
    kind = HostError if hit.cause.is_host else StepError
    return kind(
        f"livemedia-creator failed{where}: {words}",
        where=_place(run, hit),
        excerpt=_shown(hit) if hit.log.parent.name == "anaconda" else _with_anaconda(hit, texts),
        fix=hit.cause.fix,
        log=hit.log if hit.log.is_file() else _log(run, None),
    )


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
    for cause in _CAUSES:
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
