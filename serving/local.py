"""Model servers of our own: a child process for each version that is loaded, and one that stands by for the next."""

import asyncio
from pathlib import Path

from serving.backend import Told
from serving.client import ModelServer

PAUSE_SECONDS = 1.0  # Before the next child starts: a version has just begun to answer, and shall do so unhindered.


class Local:
    """`threads` are the cores that each child uses (None: all); `start_timeout` is in seconds.

    With `standby`, a child waits ready for the next version, which then is loaded in a third of the time.
    """

    def __init__(
        self,
        threads: int | None = None,
        start_timeout: float = 120.0,
        *,
        standby: bool = True,
        pause: float = PAUSE_SECONDS,
    ) -> None:
        self._threads = threads
        self._start_timeout = start_timeout
        self._standby = standby
        self._pause = pause
        self._spare: ModelServer | None = None
        self._filling: asyncio.Task[None] | None = None
        self._one_at_a_time = asyncio.Lock()

    async def start(self, number: int, folder: Path, told: Told) -> ModelServer:
        """See `serving.backend.Backend`."""
        del number  # Of no use here: a child is told the folder alone.
        server = await self._take()
        try:
            await server.load(folder, told=told, timeout=self._start_timeout)
        finally:
            if self._filling is None or self._filling.done():
                self._filling = asyncio.create_task(self._stand_by_soon())
        return server

    async def stand_by(self) -> None:
        """Have a child ready for the next version, if that is wanted."""
        async with self._one_at_a_time:
            if self._standby and not (self._spare and self._spare.running):
                await self._let_go()
                self._spare = await ModelServer.spawn(self._threads)

    async def _stand_by_soon(self) -> None:
        await asyncio.sleep(self._pause)
        await self.stand_by()

    async def close(self) -> None:
        """End the child that stands by."""
        self._standby = False
        async with self._one_at_a_time:
            await self._let_go()

    def standby_memory(self) -> int:
        """See `serving.backend.Backend`."""
        return (self._spare.memory() or 0) if self._spare else 0

    async def _take(self) -> ModelServer:
        spare, self._spare = self._spare, None
        if spare and not spare.running:
            await spare.close()
            spare = None
        return spare or await ModelServer.spawn(self._threads)

    async def _let_go(self) -> None:
        spare, self._spare = self._spare, None
        if spare:
            await spare.close()
