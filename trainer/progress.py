"""Telling how far a run is, and how long each step took."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from storage.runs import Run, Runs

INTERVAL = 0.5  # Seconds between two writes of one step; the database is shared.


class Progress:
    def __init__(self, runs: Runs, run: Run, clock: Callable[[], float] = time.monotonic) -> None:
        self._ended: dict[str, float] = {}
        self._runs = runs
        self._run = run
        self._clock = clock
        self._step: str | None = None
        self._start = 0.0
        self._written = 0.0

    @property
    def seconds(self) -> dict[str, float]:
        """How long each step took; the present one, so far."""
        if self._step is None:
            return dict(self._ended)
        return {**self._ended, self._step: round(self._clock() - self._start, 3)}

    @contextmanager
    def step(self, name: str) -> Iterator[Callable[[int, int], None]]:
        """Time a step; the function it gives takes (done, total). Raises LeaseLostError when the run was taken away."""
        self._step, self._start = name, self._clock()
        self._write(0, 0)
        yield self._report
        self._ended, self._step = self.seconds, None

    def _report(self, done: int, total: int) -> None:
        if done == total or self._clock() - self._written >= INTERVAL:
            self._write(done, total)

    def _write(self, done: int, total: int) -> None:
        self._written = self._clock()
        self._runs.progress(self._run.id, self._run.token, self._step or "", done, total)
