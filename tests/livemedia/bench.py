"""What the livemedia engine's tests share: a kickstart, and a look at what is in use."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

KICKSTART = """\
url --url=http://mirror.example/os
lang en_US.UTF-8
keyboard us
timezone Etc/UTC
rootpw --lock
network --bootproto=dhcp --activate
part / --size=200
%packages
bash
kernel
dracut-live
dracut-network
dracut-config-generic
policycoreutils
-dracut-config-rescue
%end
"""


def in_use(folder: Path) -> list[str]:
    """Return the mounts, loop devices and processes that have to do with a folder."""
    name = str(folder)
    found = [each for each in Path("/proc/self/mounts").read_text().splitlines() if name in each]
    listed = subprocess.check_output(["losetup", "--all"], text=True)
    found += [each for each in listed.splitlines() if name in each]
    for process in Path("/proc").glob("[0-9]*"):
        try:
            line = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            environment = (process / "environ").read_bytes()
        except OSError:
            continue
        if f"IMAGEBUILDER_CACHE={name}/".encode() in environment or f"{name}/" in line:
            found.append(f"process {process.name}: {line}")
    return found


def stays(folder: Path) -> list[str]:
    """Give the kernel a while to take what namespaces held; return what stays."""
    deadline = time.monotonic() + 15
    while (found := in_use(folder)) and time.monotonic() < deadline:
        time.sleep(0.1)
    return found
