"""How fast a run's step goes, from what was seen of it."""

from collections.abc import Callable
from dataclasses import dataclass

from storage.runs import Run

LEAST_SECONDS = 2.0  # What was seen for a shorter time says too little.
COUNTED_IN_PHOTOS = frozenset({"records", "features", "evaluate"})


@dataclass(frozen=True)
class Pace:
    """`left` are seconds until the step's end; `photos` is the photos a second, of steps that count photos."""

    left: float
    photos: float | None


@dataclass(frozen=True)
class _Start:
    key: tuple[int, str | None, int]
    done: int
    at: float


class Paces:
    """One run goes on at a time, so the last step seen is all that is remembered."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._start: _Start | None = None

    def see(self, run: Run) -> None:
        key = (run.id, run.step, run.total)
        if self._start is None or self._start.key != key:
            self._start = _Start(key, run.done, self._clock())

    def of(self, run: Run) -> Pace | None:
        """None while it cannot be told."""
        start = self._start
        if start is None or start.key != (run.id, run.step, run.total) or run.total <= 0:
            return None
        seconds, done = self._clock() - start.at, run.done - start.done
        if seconds < LEAST_SECONDS or done <= 0:
            return None
        return Pace((run.total - run.done) * seconds / done, done / seconds if run.step in COUNTED_IN_PHOTOS else None)
