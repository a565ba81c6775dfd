"""Tells whoever started this process how it is, by systemd's protocol: a datagram on a socket that they name.

`retrainbot run` listens in the same way to the services that it starts, so they speak to either.
"""

import os
import socket
import time
from collections.abc import Callable, MutableMapping
from contextlib import suppress

READY, ALIVE, STOPPING = "READY=1", "WATCHDOG=1", "STOPPING=1"
PARTS = 4  # A sign of life is given so often within the time after which one is missed.


class Notifier:
    """Silent where nobody listens at `address`; `patience` is in seconds, None where nobody waits for signs of life.

    No method raises or blocks: who listens may be gone, or busy.
    """

    def __init__(
        self, address: str | None, patience: float | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._address = "\0" + address[1:] if address and address.startswith("@") else address
        self._every = patience / PARTS if patience else None
        self._clock = clock
        self._told = float("-inf")

    @classmethod
    def from_environment(cls, environment: MutableMapping[str, str] = os.environ) -> "Notifier":
        """What is named there is taken out: it is not meant for our child processes."""
        address = environment.pop("NOTIFY_SOCKET", None)
        pid, microseconds = environment.pop("WATCHDOG_PID", ""), environment.pop("WATCHDOG_USEC", "")
        ours = pid in {"", str(os.getpid())} and microseconds.isdecimal()
        return cls(address, int(microseconds) / 1_000_000 if ours else None)

    @property
    def every(self) -> float | None:
        """How many seconds may pass at most between two calls of `alive`; None where it does nothing."""
        return self._every if self._address else None

    def ready(self, status: str = "") -> None:
        self._send(f"{READY}\nSTATUS={status}" if status else READY)

    def alive(self) -> None:
        """To be called again and again by what must not hang; it is told no oftener than is needed."""
        if self._every is not None and self._clock() - self._told >= self._every:
            self._told = self._clock()
            self._send(ALIVE)

    def stopping(self) -> None:
        self._send(STOPPING)

    def _send(self, words: str) -> None:
        if self._address and hasattr(socket, "AF_UNIX"):
            with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
                sender.setblocking(False)
                sender.sendto(words.encode(), self._address)
