"""A stand-in for Anaconda, as livemedia-creator runs it: fills /mnt/sysimage, or does not.

ANACONDA_MOOD  good, or what goes wrong, or where it stays a while: see the code
ANACONDA_TREE  the folder whose content it installs
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

MOOD, _, DETAIL = os.environ.get("ANACONDA_MOOD", "good").partition(":")
ROOT = Path("/mnt/sysimage")
TMP = Path("/tmp")
LONG = 3600.0  # seconds


def main(argv: list[str]) -> int:
    # As the first process of its PID namespace it gets no signal that it has no handler for.
    is_deaf = MOOD == "deaf"
    signal.signal(signal.SIGTERM, signal.SIG_IGN if is_deaf else lambda *_: sys.exit(143))
    host, _, port = argv[argv.index("--remotelog") + 1].rpartition(":")
    remote = socket.create_connection((host, int(port)))
    log, packaging = (TMP / "anaconda.log").open("w"), (TMP / "packaging.log").open("w")
    (TMP / "program.log").touch()

    def say(text: str) -> None:
        line = f"{time.strftime('%H:%M:%S')},000 {text}"
        remote.sendall(f"{line}\n".encode())
        log.write(f"{line}\n")
        log.flush()
        print(line, flush=True)

    Path("/var/run/anaconda.pid").write_text(str(os.getpid()))
    say("INF anaconda: this is a stand-in")
    if MOOD == "exit":
        say("ERR anaconda: it did not like something")
        return int(DETAIL or 1)
    if MOOD == "nothing":
        return 0
    if MOOD == "line":
        say(DETAIL)
        time.sleep(LONG)
    if MOOD in ("hang", "deaf"):
        time.sleep(LONG)
    while MOOD == "flood":
        say("DBG anaconda: " + "x" * 4000)
    say("INF anaconda: Starting package installation process")
    for n, name in enumerate(("bash", "kernel", "dracut"), 1):
        print(f"Installing {name}.x86_64 ({n}/3)", flush=True)
        packaging.write(f"INF packaging: Installed: {name}\n")
        packaging.flush()
    tree = os.environ["ANACONDA_TREE"]
    subprocess.run(["cp", "-a", f"{tree}/.", str(ROOT)], check=MOOD != "fill")
    if MOOD == "fill":
        subprocess.run(["dd", "if=/dev/zero", f"of={ROOT}/zero", "bs=1M"], check=False)
        say("ERR anaconda: [Errno 28] No space left on device: '/mnt/sysimage/zero'")
        return 1
    if MOOD == "occupy":  # a file system of the host, so that what comes next finds it full
        os.sync()
        subprocess.run(["dd", "if=/dev/zero", f"of={DETAIL}/ballast", "bs=1M"], check=False)
    if MOOD == "no-kernel":
        shutil.rmtree(ROOT / "boot")
        (ROOT / "boot").mkdir()
    if MOOD == "no-modules":
        shutil.rmtree(ROOT / "usr/lib/modules")
    if MOOD == "no-packages":
        shutil.rmtree(ROOT / "var/lib/dpkg")
    if MOOD == "dracut":
        (ROOT / "etc/dracut-mood").write_text(DETAIL)
    say("INF anaconda: Running post-installation scripts")
    if MOOD == "pause":
        time.sleep(LONG if DETAIL == "post" else 0)
    if MOOD == "script":
        say(f"INF program: Error code 3 running the kickstart script at line {DETAIL}")
        return 1
    Path("/var/run/anaconda.pid").unlink()
    say("INF anaconda: done")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
