"""Sample photos, drawn on a thread of their own before somebody asks for them: each takes about 50 ms of a core."""

import asyncio
from collections import defaultdict, deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Self

from demo import samples


class Ahead:
    """Use as `async with`; what is not drawn by its end is not drawn at all.

    Photos are drawn in the order in which they are ordered; each has another seed, from `seed` up.
    """

    def __init__(self, seed: int = 1) -> None:
        self._seed = seed
        self._pool = ThreadPoolExecutor(1, "drawing")
        self._ordered: dict[str, deque[Future[bytes]]] = defaultdict(deque)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pool.shutdown(cancel_futures=True)

    def order(self, name: str, count: int) -> None:
        """Have that many photos of a class drawn."""
        for _ in range(count):
            self._ordered[name].append(self._pool.submit(samples.photo, name, self._seed))
            self._seed += 1

    async def photo(self, name: str) -> bytes:
        """The next photo of a class, as a JPEG; one that was ordered, or else the thread's next."""
        if not self._ordered[name]:
            self.order(name, 1)
        return await asyncio.wrap_future(self._ordered[name].popleft())

    def run(self, work: Callable[[], None]) -> None:
        """Have other work done in its turn."""
        self._pool.submit(work)
