"""Claims runs and works each in a child process of its own, whose exit gives the GPU's memory back.

Such a child takes seconds to start, so one may be started ahead of time: until it is told which run to work, it looks
at new photos. See trainer/run.py for its side.
"""

import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from datetime import timedelta

import structlog
from structlog.contextvars import bound_contextvars

from storage import lifeline
from storage.errors import LeaseLostError
from storage.logs import relay
from storage.runs import Run, Runs, RunState
from storage.texts import Text

STOP_SECONDS = 10.0  # A child that was asked to stop gets so long before it is killed.
LOOK_SECONDS = 0.25  # How often the child, and whether its run was cancelled, is looked at.
RESTART_SECONDS = 30.0  # Between two starts of a child that stands by; one that cannot start would go on for ever.
DEFAULTS = {
    # NumPy's threads wait by spinning: with one on every core, a training beside a busy bot takes six times as long.
    "OPENBLAS_NUM_THREADS": str(max(1, (os.cpu_count() or 1) // 2)),
    "TF_CPP_MIN_LOG_LEVEL": "2",  # TensorFlow's warnings and errors only.
}

Child = subprocess.Popen[bytes]

log = structlog.get_logger()


class CancelledError(Exception):
    """Somebody wants the run to end."""


class Worker:
    """`stop` ends the present run's child and gives the run back to the queue."""

    def __init__(self, runs: Runs, name: str, lease_seconds: float, stop: threading.Event) -> None:
        self.stop = stop
        self._runs = runs
        self._name = name
        self._lease = timedelta(seconds=lease_seconds)
        self._standby: Child | None = None
        self._started = float("-inf")

    def claim(self) -> Run | None:
        return self._runs.claim(self._name, self._lease)

    def stand_by(self) -> None:
        """See to it that a child waits for the next run."""
        if self._standby is not None and self._standby.poll() is not None:
            end(self._standby)
            self._standby = None
        if self._standby is None and time.monotonic() - self._started >= RESTART_SECONDS:
            self._standby, self._started = _start(), time.monotonic()

    def close(self) -> None:
        """End the child that stands by."""
        if self._standby is not None:
            end(self._standby)
            self._standby = None

    def work(self, run: Run, watch: Callable[[Run], None] | None = None) -> Run:
        """Work a claimed run to its end. `watch` sees it a few times a second."""
        with bound_contextvars(run=run.id):
            return self._work(run, watch)

    def _work(self, run: Run, watch: Callable[[Run], None] | None) -> Run:
        log.info("run started", run=run.id, mode=run.options.mode, backbone=run.options.backbone)
        child = self._ordered(run)
        try:
            self._accompany(child, run, watch)
            if child.returncode == 0 and self._unheard(run):  # It was about to make way when it was told.
                child = self._ordered(run)
                self._accompany(child, run, watch)
        except LeaseLostError as error:
            if not self._runs.get(run.id).final:  # Else the child finished it between two heartbeats.
                log.warning("run lost", run=run.id, reason=str(error))
        except CancelledError:
            log.info("run cancelled", run=run.id)
        finally:
            end(child)
        return self._settle(run, child.returncode)

    def _unheard(self, run: Run) -> bool:
        """Whether nobody has begun with the run."""
        seen = self._runs.get(run.id)
        return seen.state is RunState.RUNNING and seen.token == run.token and seen.step is None

    def _ordered(self, run: Run) -> Child:
        """A child that was told to work the run: the one that stands by, unless it has just ended."""
        order = f"{run.id} {run.token}\n".encode()
        waiting, self._standby, self._started = self._standby, None, float("-inf")
        if waiting is not None:
            if _tell(waiting, order):
                return waiting
            end(waiting)
        child = _start()
        _tell(child, order)  # Where it has ended already, that is told as any other sudden end.
        return child

    def _accompany(self, child: Child, run: Run, watch: Callable[[Run], None] | None) -> None:
        beat = self._lease.total_seconds() / 4
        waited = 0.0
        while not self.stop.is_set():
            try:
                child.wait(min(beat, LOOK_SECONDS))
            except subprocess.TimeoutExpired:
                waited += min(beat, LOOK_SECONDS)
                seen = self._runs.get(run.id)
                if seen.cancelled_by and seen.token == run.token:
                    raise CancelledError from None
                if watch:
                    watch(seen)
                if waited >= beat:
                    self._runs.heartbeat(run.id, run.token, self._lease)
                    waited = 0.0
            else:
                return

    def _settle(self, run: Run, code: int) -> Run:
        """The run's last state, given one where the child left none."""
        latest = self._runs.get(run.id)
        if latest.state == RunState.RUNNING and latest.token == run.token:
            if latest.cancelled_by:
                message = Text("Cancelled by {by}.", by=latest.cancelled_by)
                self._runs.finish(run.id, run.token, RunState.CANCELLED, message)
            elif self.stop.is_set():
                self._runs.release(run.id, run.token)
            else:
                self._runs.finish(run.id, run.token, RunState.FAILED, _sudden_end(code))
        latest = self._runs.get(run.id)
        log.info("run ended", run=run.id, state=latest.state.value, message=latest.message)
        return latest


def end(child: Child) -> None:
    """Make sure that a child is gone: ask, wait, kill."""
    if child.poll() is None:
        child.terminate()
        try:
            child.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
    if child.stdin:
        child.stdin.close()


def _start() -> Child:
    child = subprocess.Popen(
        lifeline.child("trainer.run"),
        stdin=subprocess.PIPE,  # Its lifeline, by which it is also told what to work.
        stderr=subprocess.PIPE,
        bufsize=0,
        env={**DEFAULTS, **os.environ, lifeline.VARIABLE: "1"},
        start_new_session=True,  # Ctrl-C is ours to pass on.
    )
    assert child.stderr is not None  # noqa: S101  It was asked for just now.
    relay(child.stderr, "training run")
    return child


def _tell(child: Child, order: bytes) -> bool:
    """Write to the child, and say whether there was one."""
    assert child.stdin is not None  # noqa: S101  It was asked for where the child was started.
    try:
        child.stdin.write(order)
    except BrokenPipeError:
        return False
    return True


def _sudden_end(code: int) -> Text:
    if code == -signal.SIGKILL:
        return Text(
            "The training process was killed, perhaps because memory ran out. Your photos and the served model are"
            " untouched. Close other programs or set a smaller training.batch_size, then train again."
        )
    return Text(
        "The training process ended unexpectedly (code {code}). Your photos and the served model are untouched. The"
        " trainer's log says more; then train again.",
        code=code,
    )
