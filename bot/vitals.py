"""What answers, what is on its way, what waits, and how much memory that takes: for /status and `retrainbot status`."""

import asyncio
import math
import socket
import time
from collections.abc import Callable
from datetime import datetime
from typing import NoReturn, Protocol

import structlog

from bot.predictor import Predictor
from bot.rollout import Rollout
from serving.backend import Backend
from storage.database import now
from storage.errors import DatabaseError
from storage.servings import ServingReport, Servings
from storage.texts import Text

LOOK_SECONDS, SIGN_SECONDS = 1.0, 10.0  # What changes is written down so soon; and a sign of life so often.

log = structlog.get_logger()


class Incoming(Protocol):
    """The way in for updates. `problem` says why none come, if that is so."""

    @property
    def problem(self) -> str | None: ...

    @property
    def ready(self) -> bool:
        """Whether updates come, or would come if there were any."""
        ...


class Vitals:
    def __init__(
        self, rollout: Rollout, predictor: Predictor, backend: Backend, clock: Callable[[], datetime] = now
    ) -> None:
        self._rollout = rollout
        self._predictor = predictor
        self._backend = backend
        self._clock = clock
        self._standby_memory = 0
        self._incoming: Incoming | None = None

    def watch(self, incoming: Incoming) -> None:
        """Tell of the way in for updates, too."""
        self._incoming = incoming

    @property
    def updates_come(self) -> bool:
        """Whether updates come."""
        return self._incoming is not None and self._incoming.ready

    @property
    def wanted(self) -> int | None:
        """The version that shall answer."""
        return self._rollout.wanted

    def report(self) -> ServingReport:
        problem = self._incoming.problem if self._incoming else None
        return ServingReport(
            answering=self._rollout.answering,
            versions=self._rollout.versions(),
            problem=self._rollout.problem,
            waiting=self._predictor.waiting,
            most_waiting=self._predictor.most_waiting,
            standby_memory_bytes=self._standby_memory,
            updates=Text(problem) if problem else None,
        )

    async def keep(self, servings: Servings) -> NoReturn:
        """Write it down whenever it changes, and every now and then as a sign of life."""
        written, at = None, -math.inf
        while True:
            report = self.report()
            key = [(version.number, version.state) for version in report.versions], report.problem, report.updates
            if key != written or time.monotonic() - at >= SIGN_SECONDS:
                written, at = key, time.monotonic()
                try:
                    self._standby_memory = await asyncio.to_thread(self._backend.standby_memory)
                    await asyncio.to_thread(servings.write, socket.gethostname(), self._clock(), self.report())
                except DatabaseError as error:
                    log.warning("the state of serving is not written down", reason=str(error))
            await asyncio.sleep(LOOK_SECONDS)
