"""The rack as a test sees it: set up before its machines start, gone with them."""

from __future__ import annotations

import json
import socket
import sys
import threading
import time
from pathlib import Path

from imagebuilder import sandbox, tools
from imagebuilder.command import run
from imagebuilder.errors import HostError, ImageBuilderError, StepError
from imagebuilder.progress import Cancel
from imagebuilder.smoke.network import FIRST_SCRIPT, Card, Place, Wiring, quoted
from imagebuilder.smoke.rack import dhcp
from imagebuilder.smoke.rack.layout import Layout
from imagebuilder.smoke.rack.worker import Job, port_socket

TOOLS = (dhcp.DNSMASQ, "ip")  # beside those that builds need

_SETUP_SECONDS = 60.0
_LINES_LIMIT = 20_000  # of dnsmasq's, that are kept


def find_rack_tools() -> None:
    """See that this host has what a rack needs.

    Raises:
        HostError: it has not.
    """
    tools.need(*TOOLS, "unshare")


class Rack:
    """A rack for the length of a ``with``.

    Args:
        layout: what stands in it.
        folder: a private one, whose path is short enough for sockets' (unix(7)).
        log: where dnsmasq's lines go.
        over_http: whether machines get their first script over HTTP.
        bootfile: what firmware that boots by TFTP fetches first.
        cancel: looked at several times a second.
    """

    def __init__(
        self,
        layout: Layout,
        folder: Path,
        log: Path,
        *,
        over_http: bool = False,
        bootfile: str = FIRST_SCRIPT,
        cancel: Cancel | None = None,
    ) -> None:
        self.layout = layout
        self._folder = folder
        self._log = log
        self._cancel = cancel
        self._over_http = over_http
        self._bootfile = bootfile
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._served: list[socket.socket] = []
        self._failure: ImageBuilderError | None = None
        self._dropped: list[str] = []
        self._lines = 0

    def __enter__(self) -> Rack:
        for machine in self.layout.machines:
            self._tftp(machine.number).mkdir(parents=True)
        control = socket.socket(socket.AF_UNIX)
        with control:
            control.bind(str(self._folder / "control"))
            control.listen(1)
            control.settimeout(0.2)
            self._thread.start()
            try:
                self._take_sockets(control)
            except BaseException:
                self.__exit__()
                raise
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        for each in self._served:
            each.close()

    def wiring(self, machine: int) -> Wiring:
        """Return how a machine is connected; machines count from 1."""
        plan = self.layout.machines[machine - 1]
        return Wiring(
            cards=tuple(
                Card(
                    id="net" if number == 0 else f"net{number}",
                    netdev="stream,server=off,addr.type=unix,"
                    f"addr.path={quoted(port_socket(self._folder, machine, number))}",
                    model=card.model,
                    mac=card.mac,
                )
                for number, card in enumerate(plan.cards)
            ),
            files_url=self.layout.files_url(machine),
            server=self._served[machine - 1],
            tftp=self._tftp(machine),
            args=plan.args,
        )

    def place(self, machine: int) -> Place:
        """Return where a machine stands; machines count from 1."""
        return Place(
            number=machine,
            wire=lambda _folder: self.wiring(machine),
            environment=self.layout.environment(machine),
        )

    @property
    def notes(self) -> tuple[str, ...]:
        """What the reader of a report should know of the network."""
        return tuple(self._dropped)

    def _tftp(self, machine: int) -> Path:
        # dnsmasq gives each client the folder of its address.
        return self._folder / "tftp" / str(self.layout.boot.address(machine))

    def _take_sockets(self, control: socket.socket) -> None:
        deadline = time.monotonic() + _SETUP_SECONDS
        while True:
            try:
                opened = control.accept()[0]
                break
            except TimeoutError:
                if self._cancel:
                    self._cancel.check()
                if self._failure:
                    raise self._failure from None
                if not self._thread.is_alive() or time.monotonic() > deadline:
                    raise StepError("the network of the rack was not set up") from None
        with opened:
            opened.settimeout(_SETUP_SECONDS)
            _, fds, _, _ = socket.recv_fds(opened, 16, len(self.layout.machines))
        self._served = [socket.socket(fileno=each) for each in fds]

    def _work(self) -> None:
        job = Job(
            layout=self.layout,
            folder=self._folder,
            over_http=self._over_http,
            bootfile=self._bootfile,
        )
        with self._log.open("w", encoding="utf-8") as log:

            def hear(line: str) -> None:
                try:
                    said = json.loads(line)
                except ValueError:
                    return
                if "dropped" in said:
                    port, vlan = said["dropped"]
                    what = f"frames of VLAN {vlan}" if vlan else "frames without a tag"
                    self._dropped.append(f"{port} sent {what}, which its port does not carry")
                if "failed" in said:
                    self._failure = _failure(said["failed"])
                if "dhcp" in said and self._lines < _LINES_LIMIT:
                    self._lines += 1
                    log.write(said["dhcp"] + "\n")
                    log.flush()

            try:
                run(
                    sandbox.with_own_network(
                        [sys.executable, "-P", "-m", "imagebuilder.smoke.rack.worker"]
                    ),
                    timeout=float("inf"),
                    stdin=job.model_dump_json().encode(),
                    on_line=hear,
                    until=self._over.is_set,
                    what="the network of the rack",
                    grace=0.0,
                )
            except ImageBuilderError as error:
                self._failure = self._failure or error


def _failure(text: str) -> HostError:
    return HostError(
        f"the network of the rack could not be set up: {text}",
        fix="it needs network namespaces, with veth devices and packet sockets: in a container, "
        "give it CAP_SYS_ADMIN and CAP_NET_ADMIN",
    )
