"""Keeps services running: `retrainbot run` starts the bot and the trainer and restarts what dies or hangs."""

import os
import signal
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from types import FrameType

import structlog

from cli.ear import Ear
from storage import lifeline
from storage.notify import READY, Notifier

FIRST_DELAY, LONGEST_DELAY = 0.5, 30.0  # Seconds before a restart; doubled while a service keeps dying.
STEADY_SECONDS = 60.0  # A service that lived so long starts afresh with the first delay.
STOP_SECONDS = 20.0
HANGS_SECONDS = 120.0  # A service that gives no sign of life for so long is killed.
WRONG_CONFIGURATION = 2  # A service that exits so would exit so again.

log = structlog.get_logger()


class Service:
    """One child process, restarted whenever it ends; it is killed where it gives no sign of life for `patience`.

    That is asked only of one that has said that it is ready. To be closed at the end.
    """

    def __init__(self, name: str, command: Sequence[str], patience: float = HANGS_SECONDS) -> None:
        self.name = name
        self.ready = False
        self._command = command
        self._patience = patience
        self._ear = Ear(patience)
        self._heard = 0.0
        self._delay = FIRST_DELAY
        self._due = 0.0
        self._started = 0.0
        self._process: subprocess.Popen[bytes] | None = None

    def tend(self, now: float) -> int | None:
        """Start the process if it is due, or notice that it ended, and with which exit status."""
        if self._process is None:
            if now >= self._due:
                self._start(now)
            return None
        code = self._process.poll()
        if code is not None:
            self._plan_restart(now, code)
        else:
            self._listen(now, self._process)
        return code

    def close(self) -> None:
        self._ear.close()

    def _listen(self, now: float, process: "subprocess.Popen[bytes]") -> None:
        words = self._ear.heard()
        if words:
            self._heard = now
            self.ready = self.ready or READY in words
        elif self.ready and now - self._heard > self._patience:
            log.error("service hangs; it is killed", service=self.name, seconds=self._patience)
            process.kill()
            self._heard = now  # Once is enough; how it ends is seen soon.

    def _start(self, now: float) -> None:
        self._process = subprocess.Popen(
            self._command,
            stdin=subprocess.PIPE,
            env={**os.environ, **self._ear.environment, lifeline.VARIABLE: "1"},
            start_new_session=True,  # Ctrl-C reaches us alone; we stop the services in order.
        )
        self._started, self.ready = now, False
        self._ear.heard()  # What the one before may have said last.
        log.info("service started", service=self.name, pid=self._process.pid)

    def _plan_restart(self, now: float, code: int) -> None:
        if now - self._started > STEADY_SECONDS:
            self._delay = FIRST_DELAY
        log.error("service ended; it is started again", service=self.name, code=code, seconds=self._delay)
        self._due = now + self._delay
        self._delay = min(2 * self._delay, LONGEST_DELAY)
        self._process = None

    def ask_to_stop(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()

    def stop(self) -> None:
        if self._process is None:
            return
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def supervise(commands: Mapping[str, Sequence[str]], patience: float = HANGS_SECONDS) -> int:
    """Run a service for each command until SIGTERM, SIGINT or the end of the parent process; the exit status.

    A service that says that its configuration is wrong ends them all. One that hangs for `patience` seconds is killed.
    """
    stop = threading.Event()

    def handle(_number: int, _frame: FrameType | None) -> None:
        stop.set()

    signal.signal(signal.SIGTERM, handle)
    signal.signal(signal.SIGINT, handle)
    lifeline.follow_parent(stop.set)
    notifier = Notifier.from_environment()
    services = [Service(name, command, patience) for name, command in commands.items()]
    status, ready = 0, False
    while not stop.wait(0.1):
        if WRONG_CONFIGURATION in [service.tend(time.monotonic()) for service in services]:
            status = WRONG_CONFIGURATION
            break
        notifier.alive()
        if not ready and all(service.ready for service in services):
            ready = True
            notifier.ready()
    notifier.stopping()
    for service in services:
        service.ask_to_stop()
    for service in services:
        service.stop()
        service.close()
    return status
