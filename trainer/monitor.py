"""The trainer's figures and health, as a program that watches it sees them."""

import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from prometheus_client import CollectorRegistry, Histogram
from prometheus_client.metrics_core import CounterMetricFamily
from sqlalchemy import text

from storage.database import Database
from storage.errors import DatabaseError
from storage.gpus import Gpu, GpuReport
from storage.monitor import Checks, Family, Present, about_the_process, create_app, gauge
from storage.runs import FINAL, Runs, RunState
from storage.settings import Metrics
from storage.web import listening_beside

SETTING = "metrics.trainer_port"
LOST_SECONDS = 120.0  # A loop that has not come round for so long hangs; it waits for the database for 30 at most.
MIB = 1024 * 1024
RUN_BUCKETS = (1, 5, 15, 60, 300, 900, 3600, 4 * 3600, 12 * 3600)


class Beat:
    """Told by a loop each time that it comes round; `clock` is in seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._last = clock()

    def here(self) -> None:
        self._last = self._clock()

    @property
    def age(self) -> float:
        """Seconds since it came round last."""
        return self._clock() - self._last


class Monitor:
    """`beat` is that of the loop that claims runs, `gpus` what was last seen of the cards.

    `looks` says whether the schedule is looked at.
    """

    def __init__(self, database: Database, data: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self.beat = Beat(clock)
        self.gpus = GpuReport()
        self.looks: Callable[[], bool] = lambda: True
        self._database = database
        self._runs = Runs(database)
        self._data = data
        self.registry = CollectorRegistry()
        self._run_seconds = Histogram(
            "retrainbot_run_seconds",
            "How long runs took that this trainer worked, by their end.",
            ["end"],
            buckets=RUN_BUCKETS,
            registry=self.registry,
        )
        self.registry.register(Present(self._look))
        about_the_process(self.registry)

    @contextmanager
    def listening(self, metrics: Metrics) -> Iterator[str | None]:
        """Answer within the block, where that is wanted; gives the address. Raises SettingsError."""
        if not metrics.trainer_port:
            yield None
            return
        app = create_app(self.registry, self.health(), self.ready())
        with listening_beside(app, f"{metrics.address}:{metrics.trainer_port}", SETTING) as address:
            yield address

    def health(self) -> Checks:
        return {"runs": self._loop}

    def ready(self) -> Checks:
        return {"database": self._reach, "runs": self._loop, "schedule": self._schedule}

    def ended(self, state: RunState, seconds: float) -> None:
        """A run has ended so, after so long."""
        self._run_seconds.labels(state.value).observe(seconds)

    def _look(self) -> Iterator[Family]:
        yield from self._look_at_runs()
        yield gauge("retrainbot_disk_free_bytes", "Room left for data.", {"": shutil.disk_usage(self._data).free})
        yield gauge("retrainbot_gpu_works", "1 where the driver lists a card.", {"": float(bool(self.gpus.gpus))})
        for name, words, value in _GPU:
            told = {str(gpu.index): value(gpu) for gpu in self.gpus.gpus}
            values = {index: figure for index, figure in told.items() if figure is not None}
            yield gauge(f"retrainbot_gpu_{name}", words, values, "gpu")

    def _look_at_runs(self) -> Iterator[Family]:
        """Left out where the database cannot be read: then nobody knows."""
        try:
            counts = self._runs.counts()
        except DatabaseError:
            return
        ended = CounterMetricFamily("retrainbot_runs", "Runs of this database that ended, and how.", labels=["end"])
        for state in sorted(FINAL):
            ended.add_metric([state.value], counts[state])
        yield ended
        open_ = {state.value: float(counts[state]) for state in RunState if state not in FINAL}
        yield gauge("retrainbot_runs_open", "Runs that wait or are under way.", open_, "state")

    def _loop(self) -> str | None:
        age = self.beat.age
        return f"The loop that claims runs came round last {age:.0f} seconds ago." if age > LOST_SECONDS else None

    def _schedule(self) -> str | None:
        return None if self.looks() else "The schedule is not looked at any more."

    def _reach(self) -> None:
        """Raises DatabaseError."""
        with self._database.read() as session:
            session.execute(text("SELECT 1"))


def _bytes(mib: int | None) -> float | None:
    return None if mib is None else float(mib * MIB)


# What a card tells, where it does.
_GPU: tuple[tuple[str, str, Callable[[Gpu], float | None]], ...] = (
    ("memory_used_bytes", "Memory of the card that is taken.", lambda gpu: _bytes(gpu.memory_used)),
    ("memory_total_bytes", "Memory of the card.", lambda gpu: _bytes(gpu.memory_total)),
    (
        "utilisation_ratio",
        "How busy the card is, from 0 to 1.",
        lambda gpu: None if gpu.utilisation is None else gpu.utilisation / 100,
    ),
    ("temperature_celsius", "How hot the card is.", lambda gpu: gpu.temperature),
    ("power_watts", "What the card draws.", lambda gpu: gpu.power),
)
