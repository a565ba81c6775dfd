"""What a network is fed with: photos decoded and varied on other cores ahead of it, in an order that a seed decides."""

import os
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from functools import cached_property, lru_cache, partial
from itertools import count
from typing import Protocol, TypeVar

import numpy as np
import structlog
from numpy.typing import NDArray

from storage.errors import ImageError
from storage.images import Pixels, model_input
from storage.settings import Augmentation
from trainer.network.augment import varied_input

DECODERS = min(16, os.cpu_count() or 1)
AHEAD = 2  # Batches that are decoded before the network asks for them.

Labels = NDArray[np.int64]
Targets = NDArray[np.float32]
T = TypeVar("T")

log = structlog.get_logger()


class Samples(Protocol):
    """Photos with labels, each known by its place."""

    def __len__(self) -> int: ...

    @property
    def labels(self) -> Labels:
        """The place of each photo's class, shape (n,)."""

    def jpeg(self, place: int) -> bytes:
        """The stored photo. Raises OSError or ImageError where it cannot be read."""


@dataclass(frozen=True, eq=False)
class Feed:
    """An endless row of photos to learn from: all of them in a random order, then all in another, and so on.

    Which photo stands where, and how it is varied there, depends on the seed and the place in the row alone. `targets`
    has a row for each class: what a photo of it is worth for every class.
    """

    samples: Samples
    targets: Targets
    size: int
    batch_size: int
    seed: int
    how: Augmentation

    def batches(self, start: int) -> Generator[tuple[Pixels, Targets], None, None]:
        """From step `start` on: pixels (batch_size, size, size, 3) and targets float32 (batch_size, classes).

        A photo that cannot be read is black and worth nothing.
        """
        steps = (range(step * self.batch_size, (step + 1) * self.batch_size) for step in count(start))
        with closing(_ahead(self._photo, steps)) as batches:
            for step, rows in enumerate(batches, start):
                pixels, targets = (np.stack(column) for column in zip(*rows, strict=True))
                yield self._mixed(pixels, targets, step) if self.how.mixup else (pixels, targets)

    @cached_property
    def _labels(self) -> Labels:
        return self.samples.labels

    def place(self, at: int) -> int:
        """The sample that stands at this place of the row."""
        epoch, rest = divmod(at, len(self.samples))
        return int(_order(self.seed, epoch, len(self.samples))[rest])

    def _photo(self, at: int) -> tuple[Pixels, Targets]:
        place = self.place(at)
        decode = partial(varied_input, size=self.size, how=self.how, random=np.random.default_rng([self.seed, 1, at]))
        pixels, target = _decoded(self.samples, place, decode), self.targets[self._labels[place]]
        if pixels is None:
            return np.zeros((self.size, self.size, 3), np.uint8), np.zeros_like(target)
        return pixels, target

    def _mixed(self, pixels: Pixels, targets: Targets, step: int) -> tuple[Pixels, Targets]:
        """Each photo blended with another of the batch (mixup: Zhang et al., 2017, arXiv:1710.09412)."""
        random = np.random.default_rng([self.seed, 2, step])
        part = np.float32(random.beta(self.how.mixup, self.how.mixup))
        blended = np.rint(part * pixels + (1 - part) * pixels[::-1]).astype(np.uint8)
        return blended, part * targets + (1 - part) * targets[::-1]


def plain_batches(samples: Samples, size: int, batch_size: int) -> Generator[tuple[Pixels, Labels], None, None]:
    """Every photo that can be read, once, as it is: pixels (n, size, size, 3) and labels (n,), n at most batch_size."""
    labels = samples.labels
    starts = range(0, len(samples), batch_size)
    decode = partial(_decoded, samples, decode=partial(model_input, size=size))
    places = (range(start, min(start + batch_size, len(samples))) for start in starts)
    with closing(_ahead(decode, places)) as batches:
        for start, rows in zip(starts, batches, strict=True):
            found = [(pixels, labels[place]) for place, pixels in enumerate(rows, start) if pixels is not None]
            if found:
                yield np.stack([pixels for pixels, _ in found]), np.array([label for _, label in found], np.int64)


def targets_of(labels: Labels, classes: int, smoothing: float, *, balanced: bool) -> Targets:
    """A row for each class, (classes, classes): its label, of which `smoothing` is shared out to all, times its weight.

    The weights of all photos are 1 in the mean; balanced, those of each class come to the same sum.
    """
    rows = (1 - smoothing) * np.eye(classes) + smoothing / classes
    if balanced:
        counts = np.bincount(labels, minlength=classes)
        rows *= (len(labels) / (np.count_nonzero(counts) * np.maximum(counts, 1)))[:, None]
    return rows.astype(np.float32)


def _decoded(samples: Samples, place: int, decode: Callable[[bytes], Pixels]) -> Pixels | None:
    try:
        return decode(samples.jpeg(place))
    except (ImageError, OSError) as error:
        log.warning("photo left out", place=place, reason=str(error))
        return None


def _ahead(work: Callable[[int], T], parts: Iterable[range]) -> Generator[list[T], None, None]:
    """The results for each part in order, worked on threads that are at most AHEAD parts before."""
    waiting: deque[list[Future[T]]] = deque()
    pool = ThreadPoolExecutor(DECODERS, thread_name_prefix="decoder")
    try:
        for part in parts:
            waiting.append([pool.submit(work, number) for number in part])
            if len(waiting) > AHEAD:
                yield [future.result() for future in waiting.popleft()]
        while waiting:
            yield [future.result() for future in waiting.popleft()]
    finally:
        pool.shutdown(cancel_futures=True)


@lru_cache(maxsize=4)
def _order(seed: int, epoch: int, photos: int) -> Labels:
    return np.random.default_rng([seed, 0, epoch]).permutation(photos)
