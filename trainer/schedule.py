"""When training is due. APScheduler only puts runs into the queue."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.cron import CronTrigger

from storage.settings import Schedule


def latest_slot(schedule: Schedule, now: datetime) -> datetime | None:
    """The last slot at or before `now` that is still within the grace time; None where there is none."""
    trigger = _trigger(schedule)
    moment = now.astimezone(UTC) - timedelta(hours=schedule.grace_hours)
    slot = None
    while (following := trigger.get_next_fire_time(None, moment)) and following.astimezone(UTC) <= now:
        slot = following
        # Where the clock is set back, the trigger may name a time that has gone by already.
        moment = max(moment, following.astimezone(UTC)) + timedelta(minutes=1)
    return slot


def slot_key(slot: datetime) -> str:
    """The same for both passes of an hour that the clock goes through twice, so that such a slot trains once."""
    return f"schedule {slot.replace(tzinfo=None).isoformat(timespec='minutes')}"


def start(schedule: Schedule, due: Callable[[datetime], None], clock: Callable[[], datetime]) -> BackgroundScheduler:
    """Call `due` with each slot, on a thread of its own, until the scheduler is shut down.

    The first call comes at once where a slot was missed within the grace time: the computer may have been off.
    """
    scheduler = BackgroundScheduler(timezone=UTC)

    def fire() -> None:
        slot = latest_slot(schedule, clock())
        if slot is not None:
            due(slot)

    if schedule.cron:
        scheduler.add_job(
            fire,
            _trigger(schedule),
            next_run_time=datetime.now(UTC),
            misfire_grace_time=int(schedule.grace_hours * 3600),
            coalesce=True,
            max_instances=1,
        )
    scheduler.start()
    return scheduler


def _trigger(schedule: Schedule) -> CronTrigger:
    return CronTrigger.from_crontab(schedule.cron, timezone=schedule.zone)
