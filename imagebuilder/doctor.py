"""doctor: what this host can and cannot do, and the command that mends each gap."""

from __future__ import annotations

import os
import pwd
import shutil
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from imagebuilder import command, distro, sandbox, tools
from imagebuilder.engines import erofs
from imagebuilder.engines.direct.host_apt import host_sources
from imagebuilder.errors import HostError, StepError
from imagebuilder.recipe import SmokeOptions
from imagebuilder.smoke import accel, paths, rack

_ROOM_GIB = 6  # a hypervisor's tree, its layer, its image and a second one while it is made
_MEMORY_GIB = 3  # a test's guest, and what a build keeps in memory
State = Literal["ok", "warning", "missing"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        name: what.
        state: ``missing`` stops builds or tests; ``warning`` makes them slower or fewer.
        text: what was found.
        fix: the command, or what else mends it; "" where nothing need be done.
    """

    name: str
    state: State
    text: str
    fix: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return the finding as plain JSON data."""
        return asdict(self)


def examine(cache_dir: Path, project_root: Path | None = None) -> Iterator[Finding]:
    """Look at this host, by trial where a look does not tell.

    Args:
        cache_dir: where builds keep what they share.
        project_root: the project's folder, if there is one.
    """
    yield _python()
    yield from _programs()
    yield _namespaces()
    yield from _firmware()
    yield _rack()
    yield _kvm(cache_dir, project_root)
    yield _memory()
    for what, folder in (("cache", cache_dir), ("project", project_root)):
        if folder:
            yield _room(what, folder)
    yield from _package_sources()


def _python() -> Finding:
    version = ".".join(str(part) for part in sys.version_info[:3])
    return Finding(name="python", state="ok", text=f"{version}, {sys.executable}")


def _programs() -> Iterator[Finding]:
    for name, package in tools.PACKAGES.items():
        if name == "newuidmap" and os.geteuid() == 0:
            continue  # root needs no user namespace
        if name in rack.TOOLS:
            continue  # see _rack
        path = tools.find(name)
        if path is None:
            yield Finding(
                name=name,
                state="missing",
                text="not installed",
                fix=f"sudo apt-get install {package}",
            )
            continue
        version = "" if name == "newuidmap" else tools.versions(name)[name]
        yield Finding(name=name, state="ok", text=version or path)
    lacking = tools.missing(tools.OPTIONAL)
    yield Finding(
        name="erofs",
        state="warning" if lacking else "ok",
        text='not installed: no image with filesystem = "erofs" can be built'
        if lacking
        else erofs.version(),
        fix=tools.install_command(lacking) if lacking else "",
    )


def _namespaces() -> Finding:
    name = "namespaces"
    user = pwd.getpwuid(os.geteuid()).pw_name if os.geteuid() else "root"
    why_not = sandbox.why_not_enclosed()
    if why_not:
        fix = "sudo sysctl kernel.unprivileged_userns_clone=1"
        if "subordinate" in why_not:
            fix = f"sudo usermod --add-subuids 100000-165535 --add-subgids 100000-165535 {user}"
        return Finding(name=name, state="missing", text=why_not, fix=fix)
    try:
        command.run(sandbox.enclose(["true"]), timeout=20)
    except (HostError, StepError) as error:
        lines = error.excerpt.splitlines() or [error.what]
        return Finding(
            name=name,
            state="missing",
            text=f"a trial failed: {lines[-1]}",
            fix="in a container, give it CAP_SYS_ADMIN; on the host, see user.max_user_namespaces "
            "of sysctl",
        )
    return Finding(name=name, state="ok", text=f"mount, PID and user namespaces work for {user}")


def _firmware() -> Iterator[Finding]:
    if tools.find(paths.QEMU) is None:
        return
    for path in paths.BOOT_PATHS.values():
        name = f"boot path {path.name}"
        try:
            paths.find_tools([path])
        except HostError as error:
            # A recipe need not have the others.
            state: State = "missing" if path.name in SmokeOptions().paths else "warning"
            yield Finding(name=name, state=state, text=error.what, fix=error.fix)
        else:
            yield Finding(name=name, state="ok", text=path.title)


def _rack() -> Finding:
    name = "the rack's network"
    try:
        rack.find_rack_tools()
        command.run(sandbox.with_own_network(["true"]), timeout=20, what="a network of its own")
    except (HostError, StepError) as error:
        lines = error.excerpt.splitlines() or [error.what]
        fix = error.fix or "in a container, give it CAP_SYS_ADMIN and CAP_NET_ADMIN"
        return Finding(name=name, state="warning", text=lines[-1], fix=fix)
    return Finding(name=name, state="ok", text="network namespaces work, and dnsmasq is there")


def _kvm(cache_dir: Path, project_root: Path | None) -> Finding:
    if tools.find("qemu-system-x86_64") is None:
        return Finding(name="kvm", state="warning", text="not tried: QEMU is not installed")
    built = sorted((project_root / "build").glob("*/latest/vmlinuz")) if project_root else []
    verdict = accel.kvm_verdict(cache_dir, built[0] if built else None)
    if verdict.works:
        return Finding(name="kvm", state="ok", text=verdict.why)
    fix = ""
    if verdict.trial == "none" and Path("/dev/kvm").exists():
        user = pwd.getpwuid(os.geteuid()).pw_name
        fix = f"sudo adduser {user} kvm, then log in again"
    return Finding(
        name="kvm", state="warning", text=f"{verdict.why}: tests use software emulation", fix=fix
    )


def _memory() -> Finding:
    text = Path("/proc/meminfo").read_text()
    available = next(
        int(line.split()[1]) / (1 << 20)
        for line in text.splitlines()
        if line.startswith("MemAvailable:")
    )
    enough = available >= _MEMORY_GIB
    return Finding(
        name="memory",
        state="ok" if enough else "warning",
        text=f"{available:.1f} GiB available",
        fix="" if enough else f"builds and tests want {_MEMORY_GIB} GiB",
    )


def _room(what: str, folder: Path) -> Finding:
    there = folder
    while not there.exists():
        there = there.parent
    free = shutil.disk_usage(there).free / (1 << 30)
    if not os.access(there, os.W_OK):
        return Finding(
            name=f"{what} folder",
            state="missing",
            text=f"{there} cannot be written",
            fix="set IMAGEBUILDER_CACHE to a folder of yours" if what == "cache" else "",
        )
    return Finding(
        name=f"{what} folder",
        state="ok" if free >= _ROOM_GIB else "warning",
        text=f"{free:.0f} GiB free below {there}",
        fix="" if free >= _ROOM_GIB else f"make room: a build wants {_ROOM_GIB} GiB",
    )


def _package_sources() -> Iterator[Finding]:
    for each in distro.of_family("debian"):
        found = host_sources(each.suite)
        yield Finding(
            name=f"packages of {each.id}",
            state="ok" if found.lines else "warning",
            text=f"{len(found.lines)} sources in {found.origin}"
            if found.lines
            else "no source in /etc/apt",
            fix=""
            if found.lines
            else f'in imagebuilder.toml: [mirrors] {each.id} = ["deb URL {each.suite} main"]',
        )
