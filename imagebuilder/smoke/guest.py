"""What is put into the guest to look at it from inside, and what it says.

A second initramfs archive carries a hook for dracut, and one for initramfs-tools; before the new
root takes over, it copies a shell script and two units from the initramfs to ``/run``, a file
system in memory that outlives the change of root.  So nothing of the image is changed: not its
artefacts, and not a file of its root file system.  The folder in ``/run`` is a file system of its
own, so that a guest whose memory for files is full can still tell of it.
"""

from __future__ import annotations

import base64
import binascii
import math
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources

from imagebuilder.checks import Check
from imagebuilder.checks.needs import needs_of, wrong_needs
from imagebuilder.checks.scripts import LoadedScriptCheck
from imagebuilder.cpio import Entry, archive
from imagebuilder.errors import InputError
from imagebuilder.smoke.calls import call
from imagebuilder.smoke.early import FOLDER, HOOK_FOLDERS, TAKE_ROOM, early_entries

PORT_NAME = "imagebuilder.smoke"  # of the virtio-serial port; runner.sh looks for it

_CARRIED = "imagebuilder-smoke"  # the folder in the initramfs, and below /run
_HOOK_PATHS = tuple(f"{folder}/pre-pivot/95-imagebuilder-smoke.sh" for folder in HOOK_FOLDERS)

# What looks at checks, put before runner.sh in this order.
_LOOKS = ("common.sh", "system.sh", "software.sh", "files.sh", "network.sh", "boot.sh")

# Links take no room in /run, which may have none left; systemd before 246 calls a unit by the
# name of the file as well.
_HOOK = f"""\
#!/bin/sh
(
{TAKE_ROOM}
take_room
cp -r /{_CARRIED}/* {FOLDER}/ ||
    echo "<3>imagebuilder: the guest has no room in memory for the test's runner" >/dev/kmsg
for target in sysinit multi-user; do
    mkdir -p /run/systemd/system/$target.target.wants
    unit={_CARRIED}-$target.service
    ln -sf {FOLDER}/$unit /run/systemd/system/$unit
    ln -sf ../$unit /run/systemd/system/$target.target.wants/
done
if [ -e /{_CARRIED}/patience.conf ]; then
    mkdir -p /run/systemd/system/service.d
    ln -sf {FOLDER}/patience.conf /run/systemd/system/service.d/50-{_CARRIED}.conf
fi
)
"""

# Initrds of initramfs-tools (so have live-boot and casper) read all that is in this folder, and run
# what ORDER names before the root takes over (initramfs-tools(7)); dracut's have no such folder.
_OTHER_HOOK_PATH = f"conf/conf.d/{_CARRIED}"
_OTHER_HOOK = f"""\
mkdir -p /scripts/init-bottom
echo /{_CARRIED}/hook.sh >>/scripts/init-bottom/ORDER
"""

# systemd's own limit for the start of a service (systemd-system.conf(5), and what several units
# say themselves).  It is for real machines: under emulation on a busy host it ends services that
# are on their way, systemd-modules-load for one.
_START_SECONDS = 90

_MEMORY_SECONDS = 2  # from one look at the memory to the next, on a real machine

# Started first of all, so that a boot that hangs can be looked at; it is part of no
# transaction for longer than a moment, so that nothing waits for it.
_RUNNER_UNIT = f"""\
[Unit]
Description=Smoke test of the image
DefaultDependencies=no

[Service]
Type=simple
ExecStart=/bin/sh -c "shell=$$(command -v bash) || shell=sh; exec $$shell {FOLDER}/runner.sh"
StandardInput=null
"""

_REACHED_UNIT = f"""\
[Unit]
Description=Smoke test of the image: multi-user.target is reached
DefaultDependencies=no
Requires=multi-user.target
After=multi-user.target

[Service]
Type=simple
ExecStart=/bin/sh -c ": >{FOLDER}/reached; [ ! -p {FOLDER}/bell ] || echo 1<>{FOLDER}/bell"
"""


def memory_interval(slowness: float) -> int:
    """Return how many seconds pass from one look at the guest's memory to the next.

    What is slower is looked at less often: as often in its course, at the same cost.
    """
    return round(_MEMORY_SECONDS * slowness)


def guest_archive(
    script: str, *, scripts: Mapping[str, bytes] | None = None, slowness: float = 1.0
) -> bytes:
    """Return the initramfs archive that carries the runner into the guest.

    Args:
        script: the runner.
        scripts: what checks run, by name: see :func:`scripts_of`.
        slowness: by what the guest's own time limits for starting services are multiplied.
    """
    hook = _HOOK.encode()
    units = (("sysinit", _RUNNER_UNIT.encode()), ("multi-user", _REACHED_UNIT.encode()))
    patience = f"[Service]\nTimeoutStartSec={math.ceil(_START_SECONDS * slowness)}\n"
    return archive(
        [
            Entry(path=_CARRIED),
            Entry(path=f"{_CARRIED}/runner.sh", content=script.encode()),
            *(
                Entry(path=f"{_CARRIED}/{_CARRIED}-{target}.service", content=text, mode=0o644)
                for target, text in units
            ),
            *(
                [Entry(path=f"{_CARRIED}/patience.conf", content=patience.encode(), mode=0o644)]
                if slowness > 1
                else []
            ),
            Entry(path=f"{_CARRIED}/scripts"),
            *(
                Entry(path=f"{_CARRIED}/scripts/{name}", content=content)
                for name, content in (scripts or {}).items()
            ),
            *(Entry(path=path, content=hook) for path in _HOOK_PATHS),
            Entry(path=f"{_CARRIED}/hook.sh", content=hook),
            Entry(path=_OTHER_HOOK_PATH, content=_OTHER_HOOK.encode()),
            *early_entries(memory_interval(slowness)),
        ]
    )


def runner_script(
    checks: Sequence[Check],
    *,
    patience: float,
    slowness: float,
    environment: Mapping[str, str] | None = None,
    alone: bool = True,
) -> str:
    """Return the script that runs in the guest.

    Args:
        checks: what it looks at, in this order.
        patience: seconds that the boot may take; after half of them it says what is waited for.
        slowness: by what the time limits of the checks are multiplied.
        environment: variables that commands find in their environment.
        alone: whether it is the only machine; others may be what an idle one waits for, and are
            as slow.

    Raises:
        InputError: a check holds a character that no shell can hold, or needs what can never be.
    """
    for wrong in wrong_needs(checks):
        raise InputError(f"check {checks[wrong.check].title!r}: {wrong.why}")
    lines = [
        f"PATIENCE={math.ceil(patience)}",
        f"COUNT={len(checks)}",
        f"EXTRA={math.ceil((slowness - 1) * 100) if alone else 0}",
        f"MEMORY={memory_interval(slowness)}",
        *(f"export {name}={shlex.quote(value)}" for name, value in (environment or {}).items()),
    ]
    needs = needs_of(checks)
    for number, check in enumerate(checks, 1):
        words = [str(word) for word in call(check, number=number, slowness=slowness)]
        if any("\0" in word for word in words):
            raise InputError(f"check {check.title!r} holds a NUL character", fix="remove it")
        lines.append(f"LIMIT_{number}={math.ceil(check.patience * slowness * 100)}")
        # All are looked at about once a second: a second more would be one too many.
        lines.append(f"INTERVAL_{number}={round((check.interval - 1) * 100)}")
        lines.append(f"TRIES_{number}={check.tries}")
        lines.append(f"NEEDS_{number}='{' '.join(str(each + 1) for each in needs[number - 1])}'")
        lines.append(f"check_{number}() {{ {shlex.join(words)}; }}")
    here = resources.files(__package__)
    body = here.joinpath("runner.sh").read_text(encoding="utf-8")
    first, rest = body.split("\n", 1)
    looks = (here.joinpath("looks", name).read_text(encoding="utf-8") for name in _LOOKS)
    return "\n".join([first, *lines, *looks, rest])


def scripts_of(checks: Sequence[Check]) -> dict[str, bytes]:
    """Return the scripts that checks carry into the guest, by their numbers."""
    return {
        str(number): check.content
        for number, check in enumerate(checks, 1)
        if isinstance(check, LoadedScriptCheck)
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """One thing that the runner said: see runner.sh for the words and their texts."""

    word: str
    texts: tuple[str, ...]


# Which fields of a line are texts in base64; the others are plain.
_TEXT_FIELDS = {
    "hello": (False, True),
    "reached": (False,),
    "jobs": (True,),
    "settled": (True, True),
    "alive": (),
    "check": (False, False, False, True, True, False),
    "memory": (False, False, False),
    "chain": (False, True),
    "end": (),
}


def number(text: str) -> float:
    """Return a number that a guest said; 0.0 if it is none, or none that a report can hold."""
    try:
        found = float(text)
    except ValueError:
        return 0.0
    return found if math.isfinite(found) else 0.0


def parse(line: str) -> Said | None:
    """Read one line of the runner; None if it is none (something else wrote to the port)."""
    word, *fields = line.split() or [""]
    kinds = _TEXT_FIELDS.get(word)
    if kinds is None or len(kinds) != len(fields):
        return None
    try:
        texts = [
            _decode(field) if encoded else field
            for field, encoded in zip(fields, kinds, strict=True)
        ]
    except (binascii.Error, ValueError):
        return None
    return Said(word=word, texts=tuple(texts))


def _decode(field: str) -> str:
    if field == "-":
        return ""
    return base64.b64decode(field, validate=True).decode("utf-8", errors="replace").rstrip()
