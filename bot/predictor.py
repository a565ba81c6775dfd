"""Keeps a model server running for the served version, and moves to the next version without missing a photo.

Blue and green, by the states of a version in here:

    wanted    the served pointer names it; it is started beside the current one
    current   its server is loaded, warm and checked against its golden inputs, and answers
    retired   another one took over; it finishes what it was asked, then its server is closed
    refused   it did not start; the current one goes on, and it is tried again later, each time after a longer pause

A server that dies, or is killed because it hangs, is started again, and whoever waited for its answer asks the next
one.
"""

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import Executor
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import numpy as np
import structlog
from numpy.typing import NDArray

from serving.client import ANSWER_SECONDS, ModelServer, ServerDied
from storage.errors import ModelError, RetrainbotError
from storage.images import Pixels
from storage.models import SURE_ABOVE, Models, Version

POLL_SECONDS = 0.5  # How often the served pointer is read.
PAUSES = (1.0, 5.0, 30.0, 120.0, 300.0)  # Seconds before a refused version is tried again.
ASKS = 3  # A photo whose server dies is put to the next one; one that kills three is not tried for ever.

log = structlog.get_logger()


class NoModelYetError(ModelError):
    """No version has been published."""


@dataclass(frozen=True)
class Prediction:
    """`probabilities` (float32, sums to 1) belongs to `classes`, in the order of the version's outputs.

    An answer is sure where its best class has at least the probability `sure_above`. `none_class` is the class for
    photos of nothing that is asked for.
    """

    version: int
    classes: tuple[str, ...]
    probabilities: NDArray[np.float32]
    sure_above: float = SURE_ABOVE
    none_class: str | None = None

    @property
    def best(self) -> str:
        return self.classes[int(self.probabilities.argmax())]

    @property
    def sure(self) -> bool:
        return bool(self.probabilities.max() >= self.sure_above)

    @property
    def nothing(self) -> bool:
        """Whether it is sure that the photo shows none of the classes."""
        return self.sure and self.best == self.none_class

    def ranked(self) -> list[tuple[str, float]]:
        """Each class with its probability, most likely first."""
        order = np.argsort(-self.probabilities, kind="stable")
        return [(self.classes[index], float(self.probabilities[index])) for index in order]


@dataclass
class _Current:
    version: Version
    server: ModelServer
    died: bool = False

    @property
    def alive(self) -> bool:
        return self.server.alive and not self.died


@dataclass(frozen=True)
class _Refusal:
    reason: str
    attempts: int
    until: float


class Predictor:
    """Use as `async with`. `threads` are the model server's (None: one a core); times are in seconds.

    A model server that says nothing for `patience` while it is asked something is replaced. `pixels` makes a network's
    input, of the size it is told, from a stored photo; it is called in the threads `decoders` (None: the event loop's).
    `sure_above` is the setting serving.sure_above.
    """

    def __init__(
        self,
        models: Models,
        pixels: Callable[[bytes, int], Pixels],
        *,
        decoders: Executor | None = None,
        threads: int | None = None,
        start_timeout: float = 120.0,
        patience: float = ANSWER_SECONDS,
        sure_above: float = 0.0,
        poll: float = POLL_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._models = models
        self._pixels = pixels
        self._decoders = decoders
        self._threads = threads
        self._start_timeout = start_timeout
        self._patience = patience
        self._sure_above = sure_above
        self._poll = poll
        self._clock = clock
        self._wanted: int | None = None
        self._current: _Current | None = None
        self._refusals: dict[int, _Refusal] = {}
        self._retiring: set[asyncio.Task[None]] = set()
        self._wake = asyncio.Event()
        self._changed = asyncio.Condition()

    async def __aenter__(self) -> Self:
        await self._read_pointer()
        self._loop = asyncio.create_task(self._converge_for_ever(), name="predictor")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._loop.cancel()
        with suppress(asyncio.CancelledError):
            await self._loop
        if self._current:
            self._retire(self._current)
        await asyncio.gather(*self._retiring)

    @property
    def version(self) -> int | None:
        """The version that answers now."""
        return self._current.version.number if self._current and self._current.alive else None

    @property
    def problem(self) -> str | None:
        """Why the served version does not answer, if it was refused."""
        refusal = self._refusals.get(self._wanted) if self._wanted is not None else None
        return refusal.reason if refusal else None

    async def predict(self, content: bytes) -> Prediction:
        """What the served version sees in a stored photo.

        Raises ImageError, NoModelYetError before the first version, or ModelError where no model can be started.
        """
        loop = asyncio.get_running_loop()
        for _ in range(ASKS):
            current = await self._ready()
            pixels = await loop.run_in_executor(self._decoders, self._pixels, content, current.server.input_size)
            try:
                probabilities = await current.server.predict(pixels, self._patience)
            except ServerDied:
                current.died = True
                self._wake.set()
            else:
                return self._prediction(current.version, probabilities.reshape(-1))
        raise ModelError("The model stopped again and again at this photo. Try another one, and see the bot's log.")

    def _prediction(self, version: Version, probabilities: NDArray[np.float32]) -> Prediction:
        sure_above = version.sure_above(self._sure_above)
        return Prediction(version.number, version.classes, probabilities, sure_above, version.manifest.none_class)

    async def _ready(self) -> _Current:
        """The current version, waited for while there is hope."""
        async with self._changed:
            await self._changed.wait_for(lambda: self.version is not None or self._next() is None)
        if self._current and self._current.alive:
            return self._current
        if self._wanted is None:
            raise NoModelYetError("Nothing has been learned yet. Add photos of at least two classes, then train.")
        raise ModelError(self.problem or "The model is being started again; try again in a minute.")

    async def _converge_for_ever(self) -> None:
        while True:
            try:
                await self._converge()
            except Exception:  # Whatever it was, the next photos still need a model.
                log.exception("predictor")
            with suppress(TimeoutError):
                async with asyncio.timeout(self._poll):
                    await self._wake.wait()
            self._wake.clear()

    async def _converge(self) -> None:
        await self._read_pointer()
        number = self._next()
        if number is not None:
            await self._start(number)
        async with self._changed:
            self._changed.notify_all()

    async def _read_pointer(self) -> None:
        served = await asyncio.to_thread(self._models.served)
        self._wanted = served.version if served else None

    def _next(self) -> int | None:
        """The version to start now: the wanted one, else the current one if it died; None where all is well."""
        current = self._current
        for number in (self._wanted, current.version.number if current else None):
            runs = current is not None and current.alive and current.version.number == number
            if number is not None and not runs and self._may_start(number):
                return number
            if runs:
                return None
        return None

    def _may_start(self, number: int) -> bool:
        refusal = self._refusals.get(number)
        return refusal is None or self._clock() >= refusal.until

    async def _start(self, number: int) -> None:
        log.info("starting version", version=number)
        try:
            version = await asyncio.to_thread(self._models.verified, number)
            server = await ModelServer.start(version.folder, threads=self._threads, timeout=self._start_timeout)
            if server.classes != len(version.classes):
                await server.close()
                raise ModelError(f"Version {number} is damaged: its labels do not fit its network. Train again.")
        except (RetrainbotError, OSError) as error:
            self._refuse(number, str(error))
        else:
            self._take_over(_Current(version, server))

    def _take_over(self, new: _Current) -> None:
        old, self._current = self._current, new
        self._refusals.pop(new.version.number, None)
        log.info("version answers", version=new.version.number, seconds=round(new.server.ready_seconds, 1))
        if old:
            self._retire(old)

    def _refuse(self, number: int, reason: str) -> None:
        attempts = self._refusals[number].attempts + 1 if number in self._refusals else 1
        pause = PAUSES[min(attempts, len(PAUSES)) - 1]
        self._refusals[number] = _Refusal(reason, attempts, self._clock() + pause)
        log.error("version refused", version=number, reason=reason, attempts=attempts, again_in=pause)

    def _retire(self, old: _Current) -> None:
        task = asyncio.create_task(old.server.close(), name=f"retire version {old.version.number}")
        self._retiring.add(task)
        task.add_done_callback(self._retiring.discard)
