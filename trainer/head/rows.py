"""Features that need not be in memory: whatever gives its rows a slice at a time."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import accumulate
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float32]

STEP = 4096  # Rows at a time: bounds the memory for many photos times many classes.


class Rows(Protocol):
    """float32 (n, d), given in slices of neighbours; a NumPy array is one."""

    @property
    def shape(self) -> tuple[int, int]: ...
    def __len__(self) -> int: ...
    def __getitem__(self, part: slice, /) -> Matrix: ...


@dataclass(frozen=True)
class Joined:
    """Several one after another; all have the same number of columns."""

    parts: tuple[Rows, ...]

    @property
    def shape(self) -> tuple[int, int]:
        return len(self), self.parts[0].shape[1]

    def __len__(self) -> int:
        return sum(map(len, self.parts))

    def __getitem__(self, part: slice, /) -> Matrix:
        start, stop, _ = part.indices(len(self))
        ends = accumulate(map(len, self.parts))
        pieces = [
            rows[max(0, start - end + len(rows)) : max(0, stop - end + len(rows))]
            for rows, end in zip(self.parts, ends, strict=True)
            if end - len(rows) < stop and start < end
        ]
        return pieces[0] if len(pieces) == 1 else np.concatenate([self.parts[0][:0], *pieces])


def steps(count: int) -> Iterator[slice]:
    """Slices of STEP that cover `count` rows."""
    return (slice(at, min(at + STEP, count)) for at in range(0, count, STEP))


def some(rows: Rows, places: NDArray[np.int64]) -> Matrix:
    """A copy of the rows at `places`, which ascend."""
    runs = np.split(places, np.flatnonzero(np.diff(places) > 1) + 1)
    return np.concatenate([rows[:0], *(rows[int(run[0]) : int(run[-1]) + 1] for run in runs if len(run))])
