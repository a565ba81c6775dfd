"""The bot's figures and health, as a program that watches it sees them."""

import shutil
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path

from prometheus_client import CollectorRegistry
from prometheus_client.registry import Collector
from sqlalchemy import text

from bot.metrics import REGISTRY
from bot.vitals import Vitals
from serving.states import State
from storage.database import Database, now
from storage.errors import DatabaseError
from storage.inbox import Inbox
from storage.monitor import Checks, Family, Present, about_the_process, create_app, gauge
from storage.settings import Metrics
from storage.web import listening

SETTING = "metrics.bot_port"


class Monitor:
    """`data` is the data folder; `inbox` is there once Telegram has been reached."""

    def __init__(self, vitals: Vitals, database: Database, data: Path, clock: Callable[[], datetime] = now) -> None:
        self.inbox: Inbox | None = None
        self._vitals = vitals
        self._database = database
        self._data = data
        self._clock = clock

    @asynccontextmanager
    async def listening(self, metrics: Metrics) -> AsyncIterator[str | None]:
        """Answer within the block, where that is wanted; gives the address. Raises SettingsError."""
        if not metrics.bot_port:
            yield None
            return
        app = create_app(self.registry(), {}, self.ready())
        async with listening(app, f"{metrics.address}:{metrics.bot_port}", SETTING) as address:
            yield address

    def registry(self) -> CollectorRegistry:
        """The counters, which are the process's, and what is looked up."""
        registry = CollectorRegistry()
        registry.register(_All(REGISTRY))
        registry.register(Present(self._look))
        about_the_process(registry)
        return registry

    def ready(self) -> Checks:
        return {"database": self._reach, "updates": self._updates, "version": self._version}

    def _look(self) -> Iterator[Family]:
        report = self._vitals.report()
        yield gauge("retrainbot_served_version", "The version that answers; 0 for none.", {"": report.answering or 0})
        yield gauge("retrainbot_wanted_version", "The version that shall answer.", {"": self._vitals.wanted or 0})
        states = {state.value: 0 for state in State if state is not State.GONE}
        memory: dict[str, float] = dict(states)
        for version in report.versions:
            memory[version.state] = memory.get(version.state, 0) + (version.memory_bytes or 0)
        memory["standby"] = report.standby_memory_bytes
        yield gauge("retrainbot_model_memory_bytes", "Memory of model servers, by state.", memory, "state")
        yield gauge("retrainbot_model_waiting", "Photos that wait for the model.", {"": report.waiting})
        come = {"": float(self._vitals.updates_come)}
        yield gauge("retrainbot_updates_come", "1 where updates come from Telegram.", come)
        yield gauge("retrainbot_disk_free_bytes", "Room left for data.", {"": shutil.disk_usage(self._data).free})
        yield from self._look_into_inbox()

    def _look_into_inbox(self) -> Iterator[Family]:
        """Left out where the database cannot be read: then nobody knows."""
        if self.inbox is None:
            return
        try:
            waiting, oldest = self.inbox.backlog()
        except DatabaseError:
            return
        lag = max(0.0, (self._clock() - oldest).total_seconds()) if oldest else 0.0
        yield gauge("retrainbot_inbox_waiting", "Updates that are not worked yet.", {"": waiting})
        yield gauge("retrainbot_inbox_oldest_seconds", "How long the oldest of them has waited.", {"": lag})

    def _reach(self) -> None:
        """Raises DatabaseError."""
        with self._database.read() as session:
            session.execute(text("SELECT 1"))

    def _updates(self) -> str | None:
        if self._vitals.updates_come:
            return None
        return str(self._vitals.report().updates or "Updates have not been asked for yet.")

    def _version(self) -> str | None:
        report = self._vitals.report()
        if report.answering is not None or self._vitals.wanted is None:
            return None
        return str(report.problem or f"Version {self._vitals.wanted} is on its way.")


class _All(Collector):
    """What another registry has."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry

    def collect(self) -> Iterator[Family]:
        yield from self._registry.collect()  # type: ignore[misc]
