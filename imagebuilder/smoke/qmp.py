"""QEMU's monitor (QMP): what it says of the machine, and what it can be asked.

The library is asynchronous, and the rest of a test is not; so it has a thread of its own.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import logging
import socket
import threading
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from qemu.qmp import EventListener, QMPClient, QMPError

from imagebuilder.errors import StepError

_ANSWER_SECONDS = 5.0  # a screenshot takes 0.1 s; a QEMU that says nothing for so long hangs

logging.getLogger("qemu.qmp").setLevel(logging.CRITICAL + 1)  # what matters is raised


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineEvent:
    """One event of the machine (QEMU QMP Reference Manual, "Events").

    Attributes:
        name: ``SHUTDOWN``, ``GUEST_PANICKED``, ``WATCHDOG``, ``STOP``…
        data: what QEMU says about it.
        moment: of the monotonic clock.
    """

    name: str
    data: dict[str, Any] = field(default_factory=dict)
    moment: float = 0.0


class Monitor:
    """Listens where QEMU's monitor is to connect, for the length of a ``with``.

    We listen and QEMU connects, so that nothing it says is missed and nobody has to try again.

    Args:
        path: where the socket is made; at most 107 bytes long (unix(7)).
        on_event: called with each event, in another thread.
    """

    def __init__(self, path: Path, on_event: Callable[[MachineEvent], None]) -> None:
        self._path = path
        self._on_event = on_event
        self._client = QMPClient("imagebuilder")
        self._connected = False
        self._listening: asyncio.Task[None] | None = None

    def __enter__(self) -> Monitor:
        self._socket = socket.socket(socket.AF_UNIX)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._socket.bind(str(self._path))
        self._socket.listen(1)
        self._socket.setblocking(False)
        self._thread.start()
        self._do(self._begin())
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self._do(self._close())
        except StepError:
            pass  # a connection that does not close ends with the thread
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(timeout=2)
        if not self._thread.is_alive():
            self._loop.close()

    @property
    def connected(self) -> bool:
        """Whether QEMU is there."""
        return self._connected

    def ask(self, command: str, **arguments: object) -> object:
        """Have QEMU execute a command; underscores in names of arguments stand for hyphens.

        Raises:
            StepError: QEMU is not there, does not answer, or refuses.
        """
        if not self._connected:
            raise StepError(f"QEMU was asked for {command} and is not there")
        given = {name.replace("_", "-"): value for name, value in arguments.items()}
        return self._do(self._client.execute(command, given))

    def _do(self, what: Coroutine[Any, Any, Any]) -> Any:
        future = asyncio.run_coroutine_threadsafe(what, self._loop)
        try:
            return future.result(_ANSWER_SECONDS)
        except (TimeoutError, concurrent.futures.TimeoutError) as error:
            future.cancel()
            raise StepError("QEMU's monitor does not answer") from error
        except QMPError as error:
            raise StepError(f"QEMU's monitor: {error}") from error

    async def _begin(self) -> None:
        self._listening = asyncio.create_task(self._listen())

    async def _listen(self) -> None:
        events = EventListener()
        self._client.register_listener(events)
        connection, _ = await asyncio.get_running_loop().sock_accept(self._socket)
        await self._client.connect(connection)
        self._connected = True
        async for message in events:
            data = message.get("data", {})
            self._on_event(
                MachineEvent(
                    name=str(message["event"]),
                    data=dict(data) if isinstance(data, dict) else {},
                    moment=time.monotonic(),
                )
            )

    async def _close(self) -> None:
        self._connected = False
        if self._listening:
            self._listening.cancel()
            await asyncio.wait([self._listening])
            if not self._listening.cancelled():
                self._listening.exception()  # a connection that broke: nobody waits for it
        self._socket.close()
        try:
            await self._client.disconnect()
        except (QMPError, EOFError, OSError):
            pass  # QEMU is gone: that was to be
