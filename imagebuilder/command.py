"""The one way to run a program.

Every program gets a time limit, a log, a look at the caller's wish to stop, and dies with us.
"""

from __future__ import annotations

import json
import os
import re
import selectors
import shlex
import subprocess
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO
from urllib.parse import quote

from imagebuilder import sandbox
from imagebuilder.errors import HostError, Interrupted, StepError
from imagebuilder.progress import Cancel

_TAIL_LINES = 400  # of each stream, for excerpts, unless a caller wants more; the log has all
_POLL_SECONDS = 0.2
_LINE_LIMIT = 1 << 20  # a longer "line" is handed on in pieces, so that memory stays bounded
_CREDENTIALS = re.compile(r"(\b[a-z][a-z0-9+.-]*://)[^/\s]+@", re.IGNORECASE)

_MASK = "********"
_SHORTEST_HIDDEN = 4  # characters: to mask a shorter line would mask half of every log

# Of the whole process, as its secrets are: whatever writes must know all of them.
_hidden_values: set[str] = set()
_hidden = re.compile("")

OnLine = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """How a program ended.

    Attributes:
        argv: what was run.
        returncode: its exit status; negative: the signal that ended it.
        stdout: the last lines of its standard output.
        stderr: the last lines of its standard error.
        seconds: wall time.
    """

    argv: tuple[str, ...]
    returncode: int
    stdout: str
    stderr: str
    seconds: float


class Later:
    """What a program is to read, which is not known yet when it is started."""

    def __init__(self) -> None:
        self._bell = os.eventfd(0)
        self._lock = threading.Lock()
        self.data = b""

    def fileno(self) -> int:
        """Return a descriptor (eventfd(2)) that can be read once there is something to be read."""
        return self._bell

    def give(self, data: bytes) -> None:
        """Let the program read this, and then the end; one that has ended reads nothing."""
        with self._lock:
            if self._bell >= 0:
                self.data = data
                os.eventfd_write(self._bell, 1)

    def close(self) -> None:
        """Let go of the descriptor: the program has ended."""
        with self._lock:
            os.close(self._bell)
            self._bell = -1


def search_path() -> str:
    """Return PATH with the administrator's folders, which Debian leaves out for other users."""
    folders = os.environ.get("PATH", os.defpath).split(":")
    return ":".join(dict.fromkeys([*folders, "/usr/local/sbin", "/usr/sbin", "/sbin"]))


def redact(text: str) -> str:
    """Return the text without the credentials of the URLs in it, and without hidden values."""
    if _hidden.pattern:
        text = _hidden.sub(_MASK, text)
    return _CREDENTIALS.sub(r"\1", text) if "://" in text else text


def hide(*values: str) -> None:
    """Mask values from now on, wherever this process writes a log, a line or an error.

    Args:
        values: secrets.  Each of their lines is masked, and the forms that shells, JSON and
            URLs give them.
    """
    global _hidden
    for value in values:
        for part in (value, *value.splitlines()):
            if len(part) >= _SHORTEST_HIDDEN:
                _hidden_values.update(
                    (part, shlex.quote(part), json.dumps(part)[1:-1], quote(part, safe=""))
                )
    # The longest first: one may be the beginning of another.
    ordered = sorted(_hidden_values, key=len, reverse=True)
    _hidden = re.compile("|".join(re.escape(each) for each in ordered))


def run(
    argv: Sequence[str],
    *,
    timeout: float,
    cancel: Cancel | None = None,
    log: Path | None = None,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    stdin: bytes | Later | None = None,
    hold: bool = False,
    on_line: OnLine | None = None,
    on_error_line: OnLine | None = None,
    until: Callable[[], bool] | None = None,
    check: bool = True,
    what: str = "",
    fix: str = "",
    grace: float = 2.0,
    keep: int = _TAIL_LINES,
    raw: bool = False,
    returns: bool = False,
) -> Result:
    """Run a program to its end.

    Args:
        argv: the program and its arguments; no shell is involved.
        timeout: seconds after which it is ended.
        cancel: looked at several times a second.
        log: a file to which the command line and everything that it says is appended.
        cwd: the directory to run in.
        env: the whole environment; by default this process's own.  Without a PATH in it,
            this process's.
        stdin: what it reads; by default nothing.
        hold: keep its standard input open after that for as long as we are there.
        on_line: called with each line of standard output, without its newline.
        on_error_line: the same for standard error.
        until: asked several times a second; once it says True the program is ended, as a success.
        check: raise if the exit status is not 0.
        what: for the error: what was being done.
        fix: for the error: what the reader can do.
        grace: seconds between asking to end and killing.
        keep: how many of the last lines of each stream the result has.
        raw: hand the lines of standard output on as they are; the caller sees to it that
            nothing secret in them is shown.
        returns: a carriage return ends a line of standard output as well: consoles write over
            what they wrote, and a line that is never ended is to be seen all the same.

    Raises:
        HostError: the program is not installed.
        StepError: it failed (with ``check``) or ran out of time.
        Interrupted: ``cancel`` was set.
    """
    argv = [str(each) for each in argv]
    if cancel:
        cancel.check()
    began = time.monotonic()
    with _Log(log) as sink:
        # Masked first: what a shell's quoting makes of a secret is not known by sight.
        sink.write(f"$ {shlex.join([redact(each) for each in argv])}\n")
        process = _started(argv, cwd, env, has_input=stdin is not None, what=what)
        stopped = False
        try:
            out = _Stream(on_line, sink, keep, raw=raw, returns=returns)
            err = _Stream(on_error_line, sink, keep, raw=False)
            stopped = _pump(process, stdin, out, err, began + timeout, cancel, until, hold=hold)
            if stopped:
                sandbox.end(process, grace=grace)
            returncode = process.wait(timeout=max(1.0, began + timeout - time.monotonic()))
        except (subprocess.TimeoutExpired, TimeoutError):
            sandbox.end(process, grace=grace)
            raise StepError(
                f"{what or argv[0]}: not done after {timeout:.0f} s, so it was ended",
                excerpt=_excerpt(out.text() + err.text()),
                log=log,
                fix=fix,
            ) from None
        finally:
            if process.poll() is None:
                sandbox.end(process, grace=grace)
            for pipe in (process.stdin, process.stdout, process.stderr):
                if pipe:
                    pipe.close()
        seconds = time.monotonic() - began
        sink.write(f"[exit status {returncode} after {seconds:.1f} s]\n")
    result = Result(
        argv=tuple(argv),
        returncode=returncode,
        stdout=out.text(),
        stderr=err.text(),
        seconds=seconds,
    )
    if check and returncode != 0 and not stopped:
        raise failure(result, what=what, fix=fix, log=log)
    return result


def _started(
    argv: Sequence[str],
    cwd: Path | None,
    env: Mapping[str, str] | None,
    *,
    has_input: bool,
    what: str,
) -> subprocess.Popen[bytes]:
    given = os.environ | {"PATH": search_path()} if env is None else {"PATH": search_path(), **env}
    try:
        return subprocess.Popen(
            sandbox.mortal(argv),
            cwd=cwd,
            env=given,
            stdin=subprocess.PIPE if has_input else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
    except FileNotFoundError as error:
        if cwd is not None and error.filename == str(cwd):
            raise StepError(f"{what or argv[0]}: there is no folder {cwd}") from error
        raise HostError(
            f"{error.filename} is not installed", fix="run: imagebuilder doctor"
        ) from error


def failure(
    result: Result, *, what: str, fix: str = "", log: Path | None = None
) -> StepError | HostError:
    """Return the error that says how a program failed."""
    if result.returncode in (126, 127) and "setpriv: failed to execute" in result.stderr:
        return HostError(f"{result.argv[0]} is not installed", fix="run: imagebuilder doctor")
    how = (
        f"ended by signal {-result.returncode}"
        if result.returncode < 0
        else f"exit status {result.returncode}"
    )
    return StepError(
        f"{what or result.argv[0]}: {how}",
        excerpt=_excerpt(result.stdout + result.stderr),
        log=log,
        fix=fix,
    )


def _excerpt(text: str, lines: int = 15) -> str:
    return "\n".join(line.rstrip() for line in text.splitlines()[-lines:] if line.strip())


class _Log:
    """A log file that need not be there; credentials in URLs never reach it."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._file: IO[str] | None = None

    def __enter__(self) -> _Log:
        if self._path:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._file = self._path.open("a", encoding="utf-8", errors="replace")
        return self

    def __exit__(self, *_: object) -> None:
        if self._file:
            self._file.close()

    def write(self, text: str) -> None:
        if self._file:
            self._file.write(redact(text))
            self._file.flush()


class _Stream:
    """Cuts bytes into lines, keeps the last of them, hands each on."""

    def __init__(
        self, on_line: OnLine | None, sink: _Log, keep: int, *, raw: bool, returns: bool = False
    ) -> None:
        self._on_line = on_line
        self._raw = raw
        self._returns = returns
        self._sink = sink
        self._rest = b""
        self._tail: deque[str] = deque(maxlen=keep)

    def feed(self, data: bytes) -> None:
        *lines, self._rest = (self._rest + data).split(b"\n")
        if self._returns:  # but not the last byte: a newline may follow it
            done, found, rest = self._rest[:-1].rpartition(b"\r")
            if found:
                lines.append(done)
                self._rest = rest + self._rest[-1:]
        if len(self._rest) > _LINE_LIMIT:
            lines.append(self._rest)
            self._rest = b""
        for line in lines:
            self._take(line)

    def close(self) -> None:
        if self._rest:
            self._take(self._rest)
            self._rest = b""

    def text(self) -> str:
        return "".join(f"{line}\n" for line in self._tail)

    def _take(self, raw: bytes) -> None:
        given = raw.decode("utf-8", errors="replace").rstrip("\r")
        line = redact(given)
        self._tail.append(line)
        self._sink.write(line + "\n")
        if self._on_line:
            self._on_line(given if self._raw else line)


def _pump(
    process: subprocess.Popen[bytes],
    stdin: bytes | Later | None,
    out: _Stream,
    err: _Stream,
    deadline: float,
    cancel: Cancel | None,
    until: Callable[[], bool] | None,
    *,
    hold: bool,
) -> bool:
    """Move bytes until the program closes its ends; return whether ``until`` said to stop."""
    assert process.stdout
    assert process.stderr
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ, out)
        selector.register(process.stderr, selectors.EVENT_READ, err)
        pending = memoryview(b"")
        if process.stdin:
            os.set_blocking(process.stdin.fileno(), False)
        if isinstance(stdin, Later):
            selector.register(stdin, selectors.EVENT_READ, stdin)
        elif process.stdin:
            pending = memoryview(stdin or b"")
            selector.register(process.stdin, selectors.EVENT_WRITE, None)
        open_ends = 2
        while open_ends:
            for key, _ in selector.select(_POLL_SECONDS):
                if isinstance(key.data, Later):
                    selector.unregister(key.fileobj)
                    pending = memoryview(key.data.data)
                    assert process.stdin
                    selector.register(process.stdin, selectors.EVENT_WRITE, None)
                elif key.data is None:
                    pending = _write(process, pending)
                    if not pending:
                        selector.unregister(key.fileobj)
                    if not pending and process.stdin and not hold:
                        process.stdin.close()
                elif not _read(key.fd, key.data):
                    selector.unregister(key.fileobj)
                    open_ends -= 1
            if cancel and cancel.is_set:
                sandbox.end(process, grace=2.0)
                cancel.check()
            if until and until():
                return True
            if time.monotonic() > deadline:
                raise TimeoutError
            if open_ends and process.poll() is not None and not selector.select(_POLL_SECONDS):
                break  # it ended; a daemon that it left holds the pipe open
    return False


def _read(end: int, stream: _Stream) -> bool:
    """Take what a program has written; return whether more may come."""
    data = os.read(end, 1 << 16)
    if data:
        stream.feed(data)
    else:
        stream.close()
    return bool(data)


def _write(process: subprocess.Popen[bytes], pending: memoryview) -> memoryview:
    assert process.stdin
    if not pending:
        return pending
    try:
        return pending[os.write(process.stdin.fileno(), pending[: 1 << 16]) :]
    except BlockingIOError:
        return pending
    except BrokenPipeError:
        return memoryview(b"")


def version_of(argv: Sequence[str]) -> str:
    """Return the first line that a program prints, as a rule its version; "" if it cannot run."""
    try:
        result = run(argv, timeout=20, check=False)
    except (HostError, StepError, Interrupted):
        return ""
    lines = (result.stdout + result.stderr).strip().splitlines()
    return lines[0].strip() if lines and result.returncode == 0 else ""
