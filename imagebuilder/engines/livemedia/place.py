"""Where livemedia-creator runs: on this host, in a container, in a mock chroot, on another host.

In all but the first a small supervisor stands around it.  It takes the kickstart from its
standard input, which then stays open: once that ends, whatever ended it, the supervisor kills all
that runs there.  So the end of ours reaches another host and the daemon of a container as well.
"""

from __future__ import annotations

import os
import re
import secrets
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from imagebuilder import command
from imagebuilder.engines.livemedia.job import Job
from imagebuilder.errors import HostError, ImageBuilderError, StepError
from imagebuilder.livemedia_options import LivemediaOptions

_COPY_TIMEOUT = 3600.0  # seconds to bring the results from another host
_END_TIMEOUT = 60.0
_SCRIPTS = Path(__file__).parent
_NOT_RUN = range(125, 128)  # what podman and docker end with if they could not run anything
_TOKEN = re.compile(r"imagebuilder-(\d+)-(\d+)-[0-9a-f]+")
_LOST = 255  # what ssh ends with if it has no connection


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """A command line, and what it reads."""

    argv: tuple[str, ...]
    stdin: bytes | None = None


def token() -> str:
    """Return a name for one run, which is no other's, and says whose it is."""
    return f"imagebuilder-{os.getpid()}-{_began(os.getpid())}-{secrets.token_hex(4)}"


def _began(pid: int) -> str:
    """Return when a process began, in ticks since the boot (proc(5)); "" if there is none."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except OSError:
        return ""


def remote_folder(options: LivemediaOptions, name: str) -> Path:
    """Return the folder of a run on another host."""
    return Path(options.remote_dir) / f"{name}.d"


def kickstart_path(name: str) -> Path:
    """Return where the kickstart lies, in memory, in any place but this host."""
    return Path("/dev/shm") / f"{name}.ks"  # noqa: S108 - its name is no other's, its mode 0600


def title(options: LivemediaOptions) -> str:
    """Return the place for people; "" for this host."""
    return {
        "host": "",
        "container": f"the container image {options.container_image}",
        "mock": f"the mock chroot {options.mock_config}",
        "ssh": options.ssh_host,
    }[options.where]


def asking(options: LivemediaOptions, argv: Sequence[str]) -> tuple[str, ...]:
    """Return a command line that runs a program there, which needs nothing of ours."""
    if options.where == "container":
        run = _container(options, ("--rm", "--network=none"))
        return (*run, options.container_image, *argv)
    if options.where == "mock":
        return (*_mock(options), "--shell", "--", shlex.join(argv))
    if options.where == "ssh":
        return (*_ssh(options), shlex.join(argv))
    return tuple(argv)


def running(job: Job, kickstart: str) -> Call:
    """Return how livemedia-creator is run.

    Args:
        job: what is made; in its namespaces, with its folders.
        kickstart: the text.
    """
    options = job.options
    if options.where == "host":
        return Call(argv=job.argv)
    mark = secrets.token_hex(16)
    folder = str(remote_folder(options, job.token)) if options.where == "ssh" else ""
    inner = (
        "sh",
        "-c",
        (_SCRIPTS / "supervise.sh").read_text(),
        "supervise",
        str(kickstart_path(job.token)),
        mark,
        folder,
        "env",
        *(f"{name}={value}" for name, value in job.environment.items()),
        *job.argv,
    )
    # Ours are at the same paths there; Anaconda writes its logs to what is /tmp here, too.
    shared = [(str(each), str(each)) for each in (job.tmp, job.results.parent, job.into)]
    shared.append((str(job.work / "private" / "0"), "/tmp"))  # noqa: S108
    if options.where == "container":
        argv = (
            *_container(
                options,
                (
                    "--rm",
                    "--interactive",
                    f"--name={job.token}",
                    "--privileged",
                    "--network=host",
                    "--security-opt=label=disable",
                    "--volume=/dev:/dev",
                    *(f"--volume={outside}:{inside}" for outside, inside in shared),
                ),
            ),
            options.container_image,
            *inner,
        )
    elif options.where == "mock":
        dirs = repr(shared)
        argv = (
            *_mock(options),
            "--enable-network",
            "--enable-plugin=bind_mount",
            f"--plugin-option=bind_mount:dirs={dirs}",
            "--shell",
            "--",
            shlex.join(inner),
        )
    else:
        argv = (*_ssh(options), shlex.join((*options.ssh_become, *inner)))
    return Call(argv=argv, stdin=f"{kickstart}{mark}\n".encode())


def check_ran(options: LivemediaOptions, result: command.Result, log: Path) -> None:
    """Raise if livemedia-creator was not run at all, or was lost.

    Raises:
        HostError: the place cannot be had.
        StepError: the connection to it was lost.
    """
    excerpt = "\n".join((result.stderr or result.stdout).splitlines()[-10:])
    if options.where == "container" and result.returncode in _NOT_RUN:
        raise HostError(
            f"{options.container_command[0]} could not run {title(options)}",
            excerpt=excerpt,
            log=log,
            fix="see docs/livemedia.md for what the image must have",
        )
    if options.where == "ssh" and result.returncode == _LOST:
        raise StepError(
            f"the connection to {options.ssh_host} could not be made, or was lost",
            excerpt=excerpt,
            log=log,
            fix=f"see that this works: ssh {options.ssh_host} true",
        )


def fetch(job: Job, *, results: bool) -> None:
    """Bring logs and results here, and remove them there.

    Raises:
        StepError: the connection was lost.
    """
    if job.options.where != "ssh":
        return
    folder = str(remote_folder(job.options, job.token))
    into = job.work / "fetched"
    into.mkdir()
    names = ("logs", "results") if results else ("logs",)
    # What is sent is removed, whether it arrived or not: it is ours to make it again.
    give = (
        'cd -- "$1" && trap \'cd / && rm -rf --one-file-system -- "$1"\' EXIT HUP PIPE TERM && '
        'folder=$1 && shift && tar -cSf - -- "$@" && set -- "$folder"'
    )
    inner = (*job.options.ssh_become, "sh", "-c", give, "sh", folder, *names)
    pipe = 'into=$1; shift; "$@" | tar -xSf - -C "$into" --no-same-owner'
    command.run(
        [
            *("bash", "-o", "pipefail", "-c", pipe, "bash", str(into)),
            *_ssh(job.options),
            shlex.join(inner),
        ],
        timeout=_COPY_TIMEOUT,
        what=f"bringing the results from {job.options.ssh_host}",
        fix="see that the connection lasts, and that there is room here",
    )
    _spread(into / "logs", job.into / "logs")
    if results:
        (into / "results").rename(job.results)


def _spread(source: Path, target: Path) -> None:
    target.mkdir(exist_ok=True)
    for path in source.iterdir():
        if path.is_dir() and not path.is_symlink():
            _spread(path, target / path.name)
        else:
            command.run(
                ["mv", "-f", "--", str(path), str(target / path.name)],
                timeout=_END_TIMEOUT,
                what="keeping a log",
            )


def end(options: LivemediaOptions, name: str) -> None:
    """See that nothing of a run is left, nor of those whose processes were killed.

    A container's processes and mounts went with its namespaces; what may be left is what its
    engine noted of it.
    """
    if options.where != "container":
        return
    try:
        asked = ["ps", "--all", "--filter=name=imagebuilder-", "--format={{.Names}}"]
        listed = command.run(
            [*options.container_command, *asked], timeout=_END_TIMEOUT, what="listing containers"
        )
        dead = [each for each in listed.stdout.split() if each == name or _is_dead(each)]
        if dead:
            command.run(
                [*options.container_command, "rm", "--force", *dead],
                timeout=_END_TIMEOUT,
                what="removing the container",
            )
    except ImageBuilderError:
        pass  # the next run will try it again


def _is_dead(name: str) -> bool:
    found = _TOKEN.fullmatch(name)
    return found is not None and _began(int(found[1])) != found[2]


def _container(options: LivemediaOptions, given: Sequence[str]) -> tuple[str, ...]:
    own: tuple[str, ...] = ()
    if Path(options.container_command[0]).name == "podman":
        # systemd would take the numbers of processes for those of its own PID namespace.
        own = ("--cgroup-manager=cgroupfs",)
    return (*options.container_command, *own, "run", *given, *options.container_args)


def _mock(options: LivemediaOptions) -> tuple[str, ...]:
    # systemd-nspawn, its default, has no loop devices.
    return ("mock", "-r", options.mock_config, "--isolation=simple", *options.mock_args)


def _ssh(options: LivemediaOptions) -> tuple[str, ...]:
    # A host that does not answer for a minute is gone; one that asks for a password is not ours.
    asked = ("BatchMode=yes", "ServerAliveInterval=15", "ServerAliveCountMax=4")
    given = (word for each in asked for word in ("-o", each))
    return (*options.ssh_command, *given, *options.ssh_args, "--", options.ssh_host)
