"""Claims runs and works each in a child process of its own, whose exit gives the GPU's memory back."""

import os
import signal
import subprocess
import threading
from collections.abc import Callable
from datetime import timedelta

import structlog

from storage import lifeline
from storage.errors import LeaseLostError
from storage.runs import Run, Runs, RunState

STOP_SECONDS = 10.0  # A child that was asked to stop gets so long before it is killed.
DEFAULTS = {
    # NumPy's threads wait by spinning: with one on every core, a training beside a busy bot takes six times as long.
    "OPENBLAS_NUM_THREADS": str(max(1, (os.cpu_count() or 1) // 2)),
    "TF_CPP_MIN_LOG_LEVEL": "2",  # TensorFlow's warnings and errors only.
}

log = structlog.get_logger()


class Worker:
    """`stop` ends the present run's child and gives the run back to the queue."""

    def __init__(self, runs: Runs, name: str, lease_seconds: float, stop: threading.Event) -> None:
        self.stop = stop
        self._runs = runs
        self._name = name
        self._lease = timedelta(seconds=lease_seconds)

    def claim(self) -> Run | None:
        return self._runs.claim(self._name, self._lease)

    def work(self, run: Run, watch: Callable[[Run], None] | None = None) -> Run:
        """Work a claimed run to its end. `watch` sees it a few times a second."""
        log.info("run started", run=run.id, mode=run.options.mode, backbone=run.options.backbone)
        child = subprocess.Popen(
            lifeline.child("trainer.run", str(run.id), str(run.token)),
            stdin=subprocess.PIPE,  # Its lifeline: held open, never written to.
            env={**DEFAULTS, **os.environ, lifeline.VARIABLE: "1"},
            start_new_session=True,  # Ctrl-C is ours to pass on.
        )
        try:
            self._accompany(child, run, watch)
        except LeaseLostError as error:
            if not self._runs.get(run.id).final:  # Else the child finished it between two heartbeats.
                log.warning("run lost", run=run.id, reason=str(error))
        finally:
            end(child)
        return self._settle(run, child.returncode)

    def _accompany(self, child: "subprocess.Popen[bytes]", run: Run, watch: Callable[[Run], None] | None) -> None:
        beat = self._lease.total_seconds() / 4
        waited = 0.0
        while not self.stop.is_set():
            try:
                child.wait(min(beat, 0.25))
            except subprocess.TimeoutExpired:
                waited += min(beat, 0.25)
                if watch:
                    watch(self._runs.get(run.id))
                if waited >= beat:
                    self._runs.heartbeat(run.id, run.token, self._lease)
                    waited = 0.0
            else:
                return

    def _settle(self, run: Run, code: int) -> Run:
        """The run's last state, given one where the child left none."""
        latest = self._runs.get(run.id)
        if latest.state == RunState.RUNNING and latest.token == run.token:
            if self.stop.is_set():
                self._runs.release(run.id, run.token)
            else:
                self._runs.finish(run.id, run.token, RunState.FAILED, _sudden_end(code))
        latest = self._runs.get(run.id)
        log.info("run ended", run=run.id, state=latest.state.value, message=latest.message)
        return latest


def end(child: "subprocess.Popen[bytes]") -> None:
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


def _sudden_end(code: int) -> str:
    if code == -signal.SIGKILL:
        return (
            "The training process was killed, perhaps because memory ran out. Your photos and the served model are"
            " untouched. Close other programs or set a smaller training.batch_size, then train again."
        )
    return (
        f"The training process ended unexpectedly (code {code}). Your photos and the served model are untouched."
        " The trainer's log says more; then train again."
    )
