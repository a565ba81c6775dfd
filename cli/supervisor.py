"""Keeps services running: `retrainbot run` starts the bot and the trainer and restarts what dies."""

import os
import signal
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from types import FrameType

import structlog

from storage import lifeline

FIRST_DELAY, LONGEST_DELAY = 0.5, 30.0  # Seconds before a restart; doubled while a service keeps dying.
STEADY_SECONDS = 60.0  # A service that lived so long starts afresh with the first delay.
STOP_SECONDS = 20.0
WRONG_CONFIGURATION = 2  # A service that exits so would exit so again.

log = structlog.get_logger()


class Service:
    """One child process, restarted whenever it ends."""

    def __init__(self, name: str, command: Sequence[str]) -> None:
        self.name = name
        self._command = command
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
        return code

    def _start(self, now: float) -> None:
        self._process = subprocess.Popen(
            self._command,
            stdin=subprocess.PIPE,
            env={**os.environ, lifeline.VARIABLE: "1"},
            start_new_session=True,  # Ctrl-C reaches us alone; we stop the services in order.
        )
        self._started = now
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


def supervise(commands: Mapping[str, Sequence[str]]) -> int:
    """Run a service for each command until SIGTERM, SIGINT or the end of the parent process; the exit status.

    A service that says that its configuration is wrong ends them all.
    """
    stop = threading.Event()

    def handle(_number: int, _frame: FrameType | None) -> None:
        stop.set()

    signal.signal(signal.SIGTERM, handle)
    signal.signal(signal.SIGINT, handle)
    lifeline.follow_parent(stop.set)
    services = [Service(name, command) for name, command in commands.items()]
    status = 0
    while not stop.wait(0.1):
        if WRONG_CONFIGURATION in [service.tend(time.monotonic()) for service in services]:
            status = WRONG_CONFIGURATION
            break
    for service in services:
        service.ask_to_stop()
    for service in services:
        service.stop()
    return status
