"""What answers for a version, whatever runs it: a process of our own, or a TensorFlow Serving server."""

from collections.abc import Callable
from pathlib import Path
from typing import Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from serving.states import State
from storage.errors import ModelError
from storage.images import Pixels

BATCHES = (1, 2, 4, 8, 16)  # The only numbers of photos a network is asked at once: each new one has a slow first call.
ANSWER_SECONDS = 60.0

Probabilities: TypeAlias = NDArray[np.float32]
Told: TypeAlias = Callable[[State], None]


class ServerDied(ModelError):  # noqa: N818 - it says what happened.
    """The server is gone. Start another; questions in flight have to be asked again."""


def check_pixels(pixels: Pixels, size: int) -> None:
    """Raises ModelError unless they are uint8, (size, size, 3) or (n, size, size, 3)."""
    if pixels.dtype != np.uint8 or pixels.ndim not in {3, 4} or pixels.shape[-3:] != (size, size, 3):
        raise ModelError(
            "The model takes uint8 pixels of shape ({size}, {size}, 3), not {shape}.", size=size, shape=pixels.shape
        )


class Server(Protocol):
    """One version, loaded and checked.

    `input_size` is the side of the pixels it takes, `classes` the number of probabilities it gives.
    """

    @property
    def input_size(self) -> int: ...

    @property
    def classes(self) -> int: ...

    @property
    def pid(self) -> int | None:
        """Its process, where it has one on this computer."""
        ...

    @property
    def alive(self) -> bool:
        """Whether questions may be asked."""
        ...

    async def predict(self, pixels: Pixels, timeout: float = ANSWER_SECONDS) -> Probabilities:  # noqa: ASYNC109
        """Probabilities, float32: (classes,) for one photo (size, size, 3), or (n, classes) for (n, size, size, 3).

        Raises ModelError where it refuses, ServerDied where it has ended or says nothing to anybody for `timeout`
        seconds.
        """
        ...

    async def close(self) -> None:
        """Let the questions in flight be answered, then let go of it."""
        ...

    def memory(self) -> int | None:
        """Bytes that its process alone takes; None where nobody can tell."""
        ...


class Backend(Protocol):
    """Starts servers. To be closed at the end."""

    async def start(self, number: int, folder: Path, told: Told) -> Server:
        """Load version `number` out of `folder`, warm it and check its golden inputs; `told` hears of each state.

        Raises ModelError, in words for a person, where the version cannot be used or is not ready in time.
        """
        ...

    def standby_memory(self) -> int:
        """Bytes taken by what waits for the next version; 0 where nothing does, or nobody can tell."""
        ...

    async def close(self) -> None:
        """Let go of everything but the servers that were started."""
        ...
