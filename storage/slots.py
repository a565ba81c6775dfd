"""What was decided for each slot of the schedule: a run, or why none."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import select

from storage.database import Database, now
from storage.runs import RunOptions, put
from storage.settings import Schedule
from storage.tables import SlotRow
from storage.texts import Text
from storage.timetable import latest_slot, next_slot, quiet_until


@dataclass(frozen=True)
class Slot:
    """`run` is None where it did not train; `reason` says why it did or did not, and reads after a colon."""

    due: datetime
    decided: datetime
    run: int | None
    reason: str

    def document(self) -> dict[str, Any]:
        return {
            "due": self.due.isoformat(),
            "decided": self.decided.isoformat(),
            "run": self.run,
            "reason": self.reason,
        }


@dataclass(frozen=True)
class Outlook:
    """What the schedule is going to do, and did last. `start` is in UTC; None where there is no schedule."""

    schedule: Schedule
    start: datetime | None
    last: Slot | None

    def document(self) -> dict[str, Any]:
        return {
            "next": self.start.isoformat() if self.start else None,
            "last": self.last.document() if self.last else None,
        }

    def lines(self) -> list[Text]:
        """The same for people, with the conditions under which it trains."""
        if self.start is None:
            return [Text("There is no schedule: training starts when somebody asks for it."), *self._last()]
        zone, least, quiet = self.schedule.time_zone, self.schedule.min_changes, self.schedule.quiet
        lines = [Text("Training is next due at {time} ({zone}).", time=self._time(self.start), zone=zone)]
        if least:
            lines.append(
                Text(
                    "It starts only if photos are new, changed or gone since the newest version: at least {least}.",
                    least=least,
                )
            )
        if quiet:
            lines.append(Text("It does not start in the quiet hours, {quiet}.", quiet=quiet))
        return [*lines, *self._last()]

    def _last(self) -> list[Text]:
        last = self.last
        if last is None:
            return []
        time, reason = self._time(last.due), last.reason
        if last.run is None:
            return [Text("Last time, at {time}, it did not train: {reason}", time=time, reason=reason)]
        return [Text("Last time, at {time}, it was run {run}: {reason}", time=time, run=last.run, reason=reason)]

    def _time(self, moment: datetime) -> str:
        return f"{moment.astimezone(self.schedule.zone):%Y-%m-%d %H:%M}"


class Slots:
    def __init__(self, database: Database, clock: Callable[[], datetime] = now) -> None:
        self._database = database
        self._clock = clock

    def decided(self, due: datetime) -> bool:
        with self._database.read() as session:
            return session.get(SlotRow, _key(due)) is not None

    def decide(self, due: datetime, reason: str, options: RunOptions | None = None) -> Slot | None:
        """Settle a slot for good; with options by a run, unless one is under way, and all in one transaction.

        None where the slot was settled before, perhaps by another trainer.
        """
        with self._database.write() as session:
            if session.get(SlotRow, _key(due)) is not None:
                return None
            run = None
            if options is not None:
                row, _ = put(session, options, "schedule", self._clock(), key=_key(due), join=True)
                run = row.id if row.key == _key(due) else None
                reason = reason if run else Text("a run was under way already (run {run})", run=row.id)
            slot = SlotRow(key=_key(due), due_at=due, decided_at=self._clock(), run=run, reason=reason)
            session.add(slot)
        return _slot(slot)

    def last(self) -> Slot | None:
        """The latest slot that was settled."""
        # A clock that was ahead for a while leaves slots of the future behind.
        query = select(SlotRow).where(SlotRow.due_at <= self._clock()).order_by(SlotRow.due_at.desc()).limit(1)
        with self._database.read() as session:
            row = session.scalar(query)
        return _slot(row) if row else None

    def outlook(self, schedule: Schedule) -> Outlook:
        return Outlook(schedule, self._next_start(schedule), self.last())

    def _next_start(self, schedule: Schedule) -> datetime | None:
        """At a slot, or after the quiet hours that it falls into."""
        moment = self._clock()
        over, waiting = quiet_until(schedule, moment), latest_slot(schedule, moment)
        if over and waiting and not self.decided(waiting):
            return over
        slot = next_slot(schedule, moment)
        return (quiet_until(schedule, slot) or slot) if slot else None


def _key(due: datetime) -> str:
    return f"schedule {due.isoformat()}"


def _slot(row: SlotRow) -> Slot:
    return Slot(row.due_at, row.decided_at, row.run, row.reason)
