"""A real browser (Chromium without a window) that tests look at pages with.

It is spoken to over two pipes in the DevTools protocol: messages of JSON that end in a zero byte.
"""

from __future__ import annotations

import base64
import fcntl
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

PROGRAMS = ("chromium-headless-shell", "chromium")


def find() -> str | None:
    """Return the program, if there is one."""
    return next((found for each in PROGRAMS if (found := shutil.which(each))), None)


@dataclass(kw_only=True)
class Browser:
    """A browser with one page open.

    Attributes:
        requests: the addresses that it asked for since the page was opened.
        said: what it complained of: errors of scripts, what the page's policy refused.
    """

    into: int
    out: int
    session: str = ""
    requests: list[str] = field(default_factory=list)
    said: list[str] = field(default_factory=list)
    _number: int = 0
    _rest: bytes = b""
    _loaded: bool = False

    def call(self, method: str, **params: Any) -> Any:
        """Send a command, and return its answer."""
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": params}
        if self.session:
            message["sessionId"] = self.session
        os.write(self.into, json.dumps(message).encode() + b"\0")
        while True:
            found = self._message()
            if found.get("id") == self._number:
                assert "error" not in found, found["error"]
                return found["result"]

    def open(self, path: Path, *, width: int, height: int = 900, dark: bool = False) -> None:
        """Open a page of that width, in CSS pixels, and wait until it is there."""
        self.requests.clear()
        self.said.clear()
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=width < 600,
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])
        self._loaded = False
        self.call("Page.navigate", url=path.resolve().as_uri())
        while not self._loaded:
            self._message()

    def value(self, expression: str) -> Any:
        """Return what an expression of JavaScript comes to in the page."""
        found = self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def picture(self, path: Path) -> None:
        """Take a picture of the whole page."""
        height = self.value("document.documentElement.scrollHeight")
        width = self.value("innerWidth")
        clip = {"x": 0, "y": 0, "width": width, "height": height, "scale": 1}
        found = self.call("Page.captureScreenshot", captureBeyondViewport=True, clip=clip)
        path.write_bytes(base64.b64decode(found["data"]))

    def _message(self) -> Any:
        while b"\0" not in self._rest:
            data = os.read(self.out, 1 << 16)
            assert data, "the browser ended"
            self._rest += data
        line, _, self._rest = self._rest.partition(b"\0")
        found = json.loads(line)
        self._take(found.get("method", ""), found.get("params", {}))
        return found

    def _take(self, method: str, params: Any) -> None:
        if method == "Network.requestWillBeSent":
            self.requests.append(params["request"]["url"])
        elif method == "Log.entryAdded":
            self.said.append(params["entry"]["text"])
        elif method == "Runtime.exceptionThrown":
            self.said.append(params["exceptionDetails"]["text"])
        elif method == "Page.loadEventFired":
            self._loaded = True


def _pipe(*, writer: bool) -> tuple[int, int]:
    """Return our end of a pipe, and its end: its is for writing, or for reading."""
    read, write = os.pipe()
    ours, theirs = (read, write) if writer else (write, read)
    # Not a number that the browser wants.
    moved = fcntl.fcntl(theirs, fcntl.F_DUPFD_CLOEXEC, 10)
    os.close(theirs)
    return ours, moved


@contextmanager
def running(folder: Path) -> Iterator[Browser]:
    """Start a browser whose profile is in a folder; end it afterwards."""
    program = find()
    assert program, "no browser is here: ci/setup --tests"
    ours_in, theirs_out = _pipe(writer=True)
    ours_out, theirs_in = _pipe(writer=False)
    # The browser reads from its file 3 and writes to its file 4.
    script = f'exec "$@" 3<&{theirs_in} 4>&{theirs_out}'
    argv = [
        *("setpriv", "--pdeathsig", "KILL", "--", "bash", "-c", script, "bash", program),
        *("--remote-debugging-pipe", "--no-sandbox", "--disable-gpu", "--no-first-run"),
        *("--disable-dev-shm-usage", "--hide-scrollbars", f"--user-data-dir={folder / 'profile'}"),
        "about:blank",
    ]
    with (folder / "browser.log").open("wb") as log:
        process = subprocess.Popen(
            argv,
            pass_fds=(theirs_in, theirs_out),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env={**os.environ, "HOME": str(folder)},
        )
    os.close(theirs_in)
    os.close(theirs_out)
    try:
        browser = Browser(into=ours_out, out=ours_in)
        target = browser.call("Target.createTarget", url="about:blank")["targetId"]
        found = browser.call("Target.attachToTarget", targetId=target, flatten=True)
        browser.session = found["sessionId"]
        for domain in ("Page", "Network", "Log", "Runtime"):
            browser.call(f"{domain}.enable")
        yield browser
        browser.session = ""
        browser.call("Browser.close")
        process.wait(20)
    finally:
        process.kill()
        process.wait()
        os.close(ours_out)
        os.close(ours_in)
