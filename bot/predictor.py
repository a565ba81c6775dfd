"""What the served version sees in a photo."""

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bot.metrics import BUSY, MODEL_SECONDS, answered
from bot.rollout import Rollout
from serving.backend import BATCHES, Probabilities, ServerDied
from storage.errors import ModelError
from storage.images import Pixels
from storage.models import SURE_ABOVE, Version

ASKS = 2  # A photo whose server dies is put to the next one; one that kills two is not tried for ever.
AT_ONCE = 2 * BATCHES[-1]  # While one batch is worked, the next one is on its way; the others wait here.
PATIENCE_SECONDS = 20.0


class BusyError(ModelError):
    """There are more photos than the model can look at."""


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


class Predictor:
    """Asks whatever version `rollout` has ready.

    `pixels` makes a network's input, of the size it is told, from a stored photo; it is called in the threads
    `decoders` (None: the event loop's). At most `most_waiting` photos wait, each for `deadline` seconds; a server that
    says nothing to anybody for `patience` seconds is replaced. `sure_above` is the setting serving.sure_above.
    """

    def __init__(
        self,
        rollout: Rollout,
        pixels: Callable[[bytes, int], Pixels],
        *,
        decoders: Executor | None = None,
        most_waiting: int = 64,
        deadline: float = 60.0,
        patience: float = PATIENCE_SECONDS,
        sure_above: float = 0.0,
    ) -> None:
        self._rollout = rollout
        self._pixels = pixels
        self._decoders = decoders
        self.most_waiting = most_waiting
        self._deadline = deadline
        self._patience = patience
        self._sure_above = sure_above
        self._window = asyncio.Semaphore(AT_ONCE)
        self._waiting = 0

    @property
    def waiting(self) -> int:
        """Photos that wait for their answer."""
        return self._waiting

    @property
    def room(self) -> bool:
        """Whether there is time for photos that need not be looked at yet."""
        return self._waiting < self.most_waiting // 2

    async def predict(self, content: bytes) -> Prediction:
        """What the served version sees in a stored photo.

        Raises ImageError; BusyError where too many photos wait already, or this one has waited too long;
        NoModelYetError before the first version; ModelError where no model can be started.
        """
        if self._waiting >= self.most_waiting:
            BUSY.inc()
            raise BusyError(
                "I am busy: {waiting} photos wait already. Nothing is lost; try again in a minute.",
                waiting=self._waiting,
            )
        self._waiting += 1
        try:
            async with asyncio.timeout(self._deadline):
                with MODEL_SECONDS.time():
                    prediction = await self._predict(content)
        except TimeoutError as error:
            BUSY.inc()
            raise BusyError(
                "I am busy, and did not come to this photo in time. Nothing is lost; try again in a minute."
            ) from error
        finally:
            self._waiting -= 1
        answered(prediction.version, sure=prediction.sure)
        return prediction

    async def _predict(self, content: bytes) -> Prediction:
        async with self._window:
            for _ in range(ASKS):
                slot = await self._rollout.ready()
                with slot.asking() as (version, server):
                    pixels = await self._decode(content, server.input_size)
                    try:
                        return self._prediction(version, await server.predict(pixels, self._patience))
                    except ServerDied:
                        self._rollout.died()
        raise ModelError("The model stopped again and again at this photo. Try another one, and see the bot's log.")

    async def _decode(self, content: bytes, size: int) -> Pixels:
        return await asyncio.get_running_loop().run_in_executor(self._decoders, self._pixels, content, size)

    def _prediction(self, version: Version, probabilities: Probabilities) -> Prediction:
        sure_above = version.sure_above(self._sure_above)
        return Prediction(version.number, version.classes, probabilities, sure_above, version.manifest.none_class)
