import asyncio
import contextlib
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


class Bell:
    """Wakes everybody who waits for the world to change."""

    def __init__(self) -> None:
        self._event = asyncio.Event()
        self._closed = False

    @property
    def closed(self) -> bool:
        return self._closed

    def ring(self) -> None:
        """Let every waiter look again."""
        self._event.set()
        self._event = asyncio.Event()

    def close(self) -> None:
        """End every wait, now and from now on."""
        self._closed = True
        self.ring()

    async def until(self, ready: Callable[[], T], seconds: float) -> T:
        """What `ready` returns, as soon as that is true, but after `seconds` (or at the close) in any case."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while not (self._closed or ready()):
                    await self._event.wait()
        return ready()

    async def sleep(self, seconds: float) -> None:
        """Wait for `seconds`, or for the close."""
        await self.until(lambda: False, seconds)
