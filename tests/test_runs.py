"""The queue of training runs, its leases and its fencing tokens."""

import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from conftest import Place

from storage.database import Database
from storage.errors import LeaseLostError, RunError
from storage.runs import MAX_ATTEMPTS, RunOptions, Runs, RunState
from storage.settings import Training

pytestmark = pytest.mark.both_databases

LEASE = timedelta(seconds=20)
OPTIONS = RunOptions.from_settings(Training())

CLAIM = """
import sys
from datetime import timedelta
from storage.database import Database
from storage.runs import Runs
runs = Runs(Database(sys.argv[1]))
print("ready", flush=True)
sys.stdin.readline()
run = runs.claim(sys.argv[2], timedelta(minutes=5))
print(run.token if run else "none")
"""


class Clock:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.time = datetime(2030, 1, 1, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.time

    def skip(self, seconds: float) -> None:
        self.time += timedelta(seconds=seconds)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def runs(database: Database, clock: Clock) -> Runs:
    return Runs(database, clock)


def claimed(runs: Runs, worker: str = "box") -> tuple[int, int]:
    """The id and token of the run that the worker gets."""
    run = runs.claim(worker, LEASE)
    assert run
    return run.id, run.token


def test_run_goes_from_the_queue_to_its_end(runs: Runs, clock: Clock) -> None:
    """Queued, claimed, moving on, and ended with a result; each with its time."""
    queued, new = runs.enqueue(OPTIONS, "ann")
    assert (new, queued.state, queued.requested_by, queued.options) == (True, RunState.QUEUED, "ann", OPTIONS)
    clock.skip(5)
    run, token = claimed(runs)
    runs.progress(run, token, "features", 3, 10)
    running = runs.get(run)
    assert (running.state, running.step, running.done, running.total) == (RunState.RUNNING, "features", 3, 10)
    clock.skip(5)
    runs.finish(run, token, RunState.SUCCEEDED, "Version 1 is served.", {"version": 1})
    ended = runs.get(run)
    assert (ended.state, ended.final, ended.message, ended.result) == (
        RunState.SUCCEEDED, True, "Version 1 is served.", {"version": 1},
    )  # fmt: skip
    assert ended.started_at
    assert ended.finished_at == ended.started_at + timedelta(seconds=5) == clock.time
    assert runs.active() is None


def test_one_run_is_under_way_at_a_time(runs: Runs) -> None:
    """Who asks while a run is queued or running gets that one; who does not want to join queues behind it."""
    first, _ = runs.enqueue(OPTIONS, "ann")
    assert runs.enqueue(OPTIONS, "bob") == (first, False)
    claimed(runs)
    same, new = runs.enqueue(OPTIONS, "bob")
    assert (same.id, new) == (first.id, False)
    other, new = runs.enqueue(OPTIONS, "bob", join=False)
    assert (other.id, new) == (first.id + 1, True)
    assert runs.claim("other box", LEASE) is None


def test_slot_of_the_schedule_makes_one_run(runs: Runs) -> None:
    """A key is used once, also after its run has ended."""
    first, _ = runs.enqueue(OPTIONS, "schedule", "monday")
    run, token = claimed(runs)
    runs.finish(run, token, RunState.FAILED, "no photos")
    again, new = runs.enqueue(OPTIONS, "schedule", "monday")
    assert (again.id, new) == (first.id, False)
    assert runs.enqueue(OPTIONS, "schedule", "tuesday")[1]


def test_runs_are_claimed_in_order(runs: Runs) -> None:
    """The oldest first."""
    ids = [runs.enqueue(OPTIONS, "ann", join=False)[0].id for _ in range(3)]
    run, token = claimed(runs)
    assert run == ids[0]
    runs.finish(run, token, RunState.CANCELLED, "enough")
    assert claimed(runs)[0] == ids[1]
    assert [run.id for run in runs.newest(2)] == [ids[2], ids[1]]


def test_empty_queue_gives_nothing(runs: Runs) -> None:
    """Without runs there is nothing to claim."""
    assert runs.claim("box", LEASE) is None


def test_heartbeat_keeps_the_lease(runs: Runs, clock: Clock) -> None:
    """A worker that is heard of keeps its run, however long it takes."""
    runs.enqueue(OPTIONS, "ann")
    run, token = claimed(runs)
    for _ in range(5):
        clock.skip(15)
        runs.heartbeat(run, token, LEASE)
        assert runs.claim("other box", LEASE) is None


def test_silent_worker_loses_its_run(runs: Runs, clock: Clock) -> None:
    """After the lease another worker takes the run up, and whatever the first one still says is refused."""
    runs.enqueue(OPTIONS, "ann")
    run, old = claimed(runs)
    clock.skip(21)
    again, new = claimed(runs, "other box")
    assert again == run
    assert new > old
    said: list[Callable[[], None]] = [
        lambda: runs.heartbeat(run, old, LEASE),
        lambda: runs.progress(run, old, "head", 1, 2),
        lambda: runs.finish(run, old, RunState.SUCCEEDED, "done"),
        lambda: runs.release(run, old),
    ]
    for late in said:
        with pytest.raises(LeaseLostError):
            late()
    runs.finish(run, new, RunState.SUCCEEDED, "done")


def test_clock_that_was_ahead_does_not_keep_a_run_for_ever(runs: Runs, clock: Clock) -> None:
    """A trainer dies while the clock is a day ahead; once that is put right, another one takes the run up."""
    runs.enqueue(OPTIONS, "ann")
    clock.skip(86400)
    run, token = claimed(runs)
    clock.skip(-86400)
    assert claimed(runs, "other box") == (run, token + 1)


def test_third_lost_attempt_fails_the_run(runs: Runs, clock: Clock) -> None:
    """A run that takes its trainer down each time is given up in words, and the next one gets its turn."""
    runs.enqueue(OPTIONS, "ann")
    for attempt in range(1, MAX_ATTEMPTS + 1):
        assert claimed(runs) == (1, attempt)
        clock.skip(21)
    assert runs.claim("box", LEASE) is None
    failed = runs.get(1)
    assert failed.state is RunState.FAILED
    assert "3 times" in (failed.message or "")
    assert runs.enqueue(OPTIONS, "ann")[1]


def test_released_run_waits_again(runs: Runs) -> None:
    """A worker that stops in good order gives its run back at once."""
    runs.enqueue(OPTIONS, "ann")
    run, token = claimed(runs)
    runs.progress(run, token, "head", 1, 2)
    runs.release(run, token)
    waiting = runs.get(run)
    assert (waiting.state, waiting.step, waiting.done) == (RunState.QUEUED, None, 0)
    assert claimed(runs, "other box") == (run, token + 1)


def test_release_is_no_lost_attempt(runs: Runs, clock: Clock) -> None:
    """However often a worker stops in good order, its run is given up only when workers vanish."""
    runs.enqueue(OPTIONS, "ann")
    for _ in range(2 * MAX_ATTEMPTS):
        runs.release(*claimed(runs))
    for _ in range(MAX_ATTEMPTS):
        claimed(runs)
        clock.skip(21)
    assert runs.claim("box", LEASE) is None
    assert "3 times" in (runs.get(1).message or "")


def test_finished_run_stays_finished(runs: Runs) -> None:
    """An end is final for the worker that wrote it, too."""
    runs.enqueue(OPTIONS, "ann")
    run, token = claimed(runs)
    runs.finish(run, token, RunState.SUCCEEDED, "done")
    with pytest.raises(LeaseLostError):
        runs.finish(run, token, RunState.FAILED, "oh")


def test_waiting_run_is_cancelled_at_once(runs: Runs) -> None:
    """A run in the queue ends there and then, and cannot be cancelled a second time."""
    run = runs.enqueue(OPTIONS, "ann")[0].id
    cancelled = runs.cancel(run, "ann")
    assert (cancelled.state, cancelled.message) == (RunState.CANCELLED, "Cancelled by ann.")
    with pytest.raises(RunError, match="has ended already"):
        runs.cancel(run, "bob")
    with pytest.raises(RunError, match="There is no run 7"):
        runs.cancel(7, "bob")


def test_running_run_is_marked_to_be_cancelled(runs: Runs, clock: Clock) -> None:
    """The worker sees who wants its run to end; where the worker has vanished, the run ends when its lease does."""
    runs.enqueue(OPTIONS, "ann")
    run, _ = claimed(runs)
    assert runs.get(run).cancelled_by is None
    marked = runs.cancel(run, "bob")
    assert (marked.state, marked.cancelled_by) == (RunState.RUNNING, "bob")
    clock.skip(21)
    assert runs.claim("box", LEASE) is None
    assert (runs.get(run).state, runs.get(run).message) == (RunState.CANCELLED, "Cancelled by bob.")


@pytest.mark.parametrize("number", [5, 10**15, 10**30])
def test_unknown_run_is_told(runs: Runs, number: int) -> None:
    """A number that no run has, however large, gets an answer that says where to look."""
    with pytest.raises(RunError, match="retrainbot runs"):
        runs.get(number)
    with pytest.raises(RunError, match="retrainbot runs"):
        runs.cancel(number, "ann")


def test_of_many_workers_one_gets_the_run(place: Place, database: Database) -> None:
    """Processes that claim at the same moment: exactly one has it."""
    Runs(database).enqueue(OPTIONS, "ann")
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", CLAIM, str(place), f"box {number}"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for number in range(4)
    ]
    for worker in workers:
        assert worker.stdout
        assert worker.stdout.readline() == "ready\n"
    answers = sorted(worker.communicate("go\n")[0].strip() for worker in workers)
    assert answers == ["1", "none", "none", "none"]


def test_runs_that_are_held_say_why(runs: Runs) -> None:
    """A reason stands at the runs that wait, not at one under way, and is gone when the run is begun."""
    runs.enqueue(OPTIONS, "ann", join=False)
    run, token = claimed(runs)
    waiting, _ = runs.enqueue(OPTIONS, "bob", join=False)
    for reason in ("no room", "no room", "still no room"):
        runs.hold(reason)
        assert (runs.get(run).message, runs.get(waiting.id).message) == (None, reason)
    runs.finish(run, token, RunState.FAILED, "no")
    again, _ = claimed(runs)
    assert (again, runs.get(again).message) == (waiting.id, None)


def test_nothing_begins_while_it_is_held_off(runs: Runs) -> None:
    """Within the block nobody else claims a run; whether one is under way is told."""
    runs.enqueue(OPTIONS, "ann")
    with runs.none_running() as idle:
        assert idle
    claimed(runs)
    with runs.none_running() as idle:
        assert not idle
