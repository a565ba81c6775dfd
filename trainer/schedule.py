"""What becomes of each slot of the schedule: a run in the queue, or the reason why not."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import structlog
from apscheduler.schedulers.background import BackgroundScheduler

from storage.database import Database, now
from storage.errors import ModelError, PhotoError, RetrainbotError, RunError
from storage.models import Models, Version
from storage.photos import Photos
from storage.reindex import reindex
from storage.runs import RunOptions
from storage.settings import Settings
from storage.slots import Slot, Slots
from storage.texts import Text
from storage.timetable import grace, latest_slot, quiet_until
from trainer import snapshot
from trainer.snapshot import Snapshot

LOOK_SECONDS = 10  # A look at the clock costs next to nothing, and sees also that it was set.

log = structlog.get_logger()


class Planner:
    """Looks at the clock again and again, and settles each slot once; several missed ones are settled as one."""

    def __init__(self, settings: Settings, database: Database, clock: Callable[[], datetime] = now) -> None:
        self._settings = settings
        self._schedule = settings.schedule
        self._clock = clock
        self._slots = Slots(database, clock)
        self._photos = Photos(database, settings.photos_dir, settings.unlabelled_dir, settings.images)
        self._models = Models(database, settings.models_dir)

    def tend(self) -> None:
        """Look, and wait for better times where the disk does not allow it."""
        try:
            self.look()
        except (RetrainbotError, OSError) as error:
            log.warning("the schedule could not be looked at", reason=str(error))

    def look(self) -> Slot | None:
        """Settle the slot that is due, if one is. Raises DatabaseError or OSError where the disk does not allow it."""
        moment = self._clock()
        due = latest_slot(self._schedule, moment)
        if due is None or self._slots.decided(due):
            return None
        over = quiet_until(self._schedule, moment)
        if over is None:
            return self._settle(due)
        if over < due + grace(self._schedule):
            return None  # It can wait for the end of the quiet hours.
        until = over.astimezone(self._schedule.zone)
        reason = Text("the quiet hours last until {time}, and then it is too late for it", time=f"{until:%H:%M}")
        return self._decide(due, reason)

    def _settle(self, due: datetime) -> Slot | None:
        try:
            reindex(self._photos)
            wanted, reason = self._wanted(snapshot.take(self._photos))
        except (PhotoError, RunError) as error:
            return self._decide(due, error.text)
        return self._decide(due, reason, RunOptions.from_settings(self._settings.training) if wanted else None)

    def _decide(self, due: datetime, reason: str, options: RunOptions | None = None) -> Slot | None:
        slot = self._slots.decide(due, reason, options)
        if slot is not None:
            log.info("schedule", due=slot.due.isoformat(), run=slot.run, reason=slot.reason)
        return slot

    def _wanted(self, present: Snapshot) -> tuple[bool, Text]:
        """Whether enough has changed since the newest version, served or not, and how much."""
        try:
            newest = self._newest()
        except ModelError as error:
            return True, Text("what the newest version was made of cannot be told ({reason})", reason=error.text)
        if newest is None:
            return True, Text("there is no version yet")
        number, least = newest.number, self._schedule.min_changes
        made_of = newest.manifest.taken or newest.manifest.snapshot  # A photo that is left out each time is not new.
        if made_of == present.id:
            nothing = Text("nothing changed since version {number}", number=number)
            return (True, Text("{nothing}, and min_changes is 0", nothing=nothing)) if least == 0 else (False, nothing)
        before = snapshot.read(self._settings.snapshots_dir, made_of, self._photos.folder)
        if before is None:
            return True, Text("photos or classes changed since version {number}", number=number)
        count = snapshot.changes(before, present).photos
        changed = Text("photos new, changed or gone since version {number}: {count}", number=number, count=count)
        if count >= least:
            return True, changed
        return False, Text("not enough: {changed}, of at least {least}", changed=changed, least=least)

    def _newest(self) -> Version | None:
        numbers = self._models.numbers()
        return self._models.get(numbers[-1]) if numbers else None


class Alarm:
    """Has the planner look at the clock again and again, on a thread of its own, until it is stopped."""

    def __init__(self, planner: Planner) -> None:
        self._scheduler = BackgroundScheduler(timezone=UTC)
        self._job = self._scheduler.add_job(
            planner.tend,
            "interval",
            seconds=LOOK_SECONDS,
            next_run_time=datetime.now(UTC),  # At once, because the computer may have been off.
            misfire_grace_time=None,
            coalesce=True,
            max_instances=1,
        )

    def start(self) -> None:
        self._scheduler.start()

    def stop(self) -> None:
        self._scheduler.shutdown(wait=False)

    @property
    def looks(self) -> bool:
        """Whether the planner will look again."""
        return bool(self._scheduler.running) and self._job.next_run_time is not None

    @property
    def next_look(self) -> datetime:
        moment: datetime = self._job.next_run_time
        return moment

    def keep_up(self, moment: datetime) -> None:
        """See to it that the next look is soon: where the clock was set back, it would be as far off as that."""
        if self.next_look - moment > timedelta(seconds=2 * LOOK_SECONDS):
            self._job.modify(next_run_time=moment)
