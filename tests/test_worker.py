"""The worker with real training processes."""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from storage.database import Database
from storage.runs import Run, RunOptions, Runs, RunState
from storage.settings import Settings, Training
from trainer.worker import Worker

LEASE = 20.0


class Clock:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.time = datetime(2030, 1, 1, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.time


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def runs(settings: Settings, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> Iterator[Runs]:
    monkeypatch.setenv("RETRAINBOT_DATA", str(settings.data))  # For the child.
    database = Database(settings.database_place)
    runs = Runs(database, clock)
    runs.enqueue(RunOptions.from_settings(Training()), "ann")
    yield runs
    database.close()


@pytest.fixture
def stop() -> threading.Event:
    return threading.Event()


def work(runs: Runs, stop: threading.Event, watch: Callable[[Run], None] | None = None, lease: float = LEASE) -> Run:
    worker = Worker(runs, "box", lease, stop)
    run = worker.claim()
    assert run
    return worker.work(run, watch)


def children() -> list[int]:
    """The process ids of this process's training runs."""
    pids = [int(pid) for path in Path("/proc/self/task").glob("*/children") for pid in path.read_text().split()]
    return [pid for pid in pids if b"trainer.run" in Path(f"/proc/{pid}/cmdline").read_bytes()]


def test_run_that_cannot_be_done_fails_in_words(runs: Runs, stop: threading.Event) -> None:
    """Without photos of two classes, the training process says so in the run's message."""
    run = work(runs, stop)
    assert (run.state, children()) == (RunState.FAILED, [])
    assert "at least two classes" in (run.message or "")


def test_stopped_worker_gives_its_run_back(runs: Runs, stop: threading.Event) -> None:
    """Stopping in the middle ends the child and leaves the run in the queue, as if it had never been claimed."""
    seen: list[int] = []

    def watch(_run: Run) -> None:
        seen.extend(children())
        stop.set()

    run = work(runs, stop, watch)
    assert len(seen) == 1
    assert (run.state, run.step, children()) == (RunState.QUEUED, None, [])


def test_lost_lease_ends_the_child(runs: Runs, clock: Clock, stop: threading.Event) -> None:
    """A worker whose run was given to another one ends its own child and leaves the run to the other."""
    seen: list[int] = []

    def watch(run: Run) -> None:
        if run.token == 1:
            seen.extend(children())
            clock.time += timedelta(seconds=2 * LEASE)
            assert runs.claim("other box", timedelta(seconds=LEASE))

    run = work(runs, stop, watch, lease=1.0)
    assert len(seen) == 1
    assert (run.state, run.token, children()) == (RunState.RUNNING, 2, [])


def test_killed_child_is_told_in_words(runs: Runs, stop: threading.Event) -> None:
    """A training process that the system kills, as for want of memory, fails its run with what may be done."""

    def watch(_run: Run) -> None:
        for pid in children():
            os.kill(pid, signal.SIGKILL)

    run = work(runs, stop, watch)
    assert run.state is RunState.FAILED
    assert "memory" in (run.message or "")
