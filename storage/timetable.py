"""When the schedule is due: plain functions of the settings and the time, so that a clock may jump as it likes."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import dropwhile, takewhile

from apscheduler.triggers.cron import CronTrigger

from storage.settings import Schedule

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def latest_slot(schedule: Schedule, now: datetime) -> datetime | None:
    """The last slot at or before `now` that is still within the grace time, in UTC; None where there is none."""
    latest = None
    for slot in takewhile(lambda slot: slot <= now, _slots(schedule, now - grace(schedule))):
        latest = slot
    return latest


def next_slot(schedule: Schedule, now: datetime) -> datetime | None:
    """The first slot after `now`, in UTC; None where there is none."""
    return next((slot for slot in _slots(schedule, now) if slot > now), None)


def quiet_until(schedule: Schedule, moment: datetime) -> datetime | None:
    """The end, in UTC, of the quiet hours that `moment` lies in; None where it lies in none."""
    if not schedule.quiet:
        return None
    begin, end = schedule.quiet.split("-")
    today = datetime.combine(_wall(schedule, moment).date(), datetime.min.time())
    for day in (today - timedelta(days=1), today):  # Those of yesterday may last over midnight.
        last = day if end > begin else day + timedelta(days=1)
        if _instant(schedule, day + _since_midnight(begin)) <= moment:
            over = _instant(schedule, last + _since_midnight(end))
            if moment < over:
                return over
    return None


def grace(schedule: Schedule) -> timedelta:
    return timedelta(hours=schedule.grace_hours)


def _slots(schedule: Schedule, start: datetime) -> Iterator[datetime]:
    """Slots at or after `start`, in order and without end."""
    if schedule.every_hours:
        return _by_interval(timedelta(hours=schedule.every_hours), start)
    # In the second pass of a doubled hour, what the clock shows was due in the first.
    return dropwhile(lambda slot: slot < start, _by_cron(schedule, start)) if schedule.cron else iter(())


def _by_interval(interval: timedelta, start: datetime) -> Iterator[datetime]:
    slot = EPOCH - (EPOCH - start) // interval * interval
    while True:
        yield slot
        slot += interval


def _by_cron(schedule: Schedule, start: datetime) -> Iterator[datetime]:
    """The trigger reads the clock on the wall as if it were never set; `_instant` says when it shows each time."""
    trigger = CronTrigger.from_crontab(schedule.cron, timezone=UTC)
    wall = trigger.get_next_fire_time(None, _wall(schedule, start).replace(tzinfo=UTC))
    previous = None
    while wall is not None:
        slot = _instant(schedule, wall.replace(tzinfo=None))
        if slot != previous:  # Times that the clock jumped over all come when it has jumped.
            yield slot
        previous = slot
        wall = trigger.get_next_fire_time(None, wall + MINUTE)


def _wall(schedule: Schedule, moment: datetime) -> datetime:
    """What the clock on the wall shows, without a zone."""
    return moment.astimezone(schedule.zone).replace(tzinfo=None)


def _instant(schedule: Schedule, wall: datetime) -> datetime:
    """When the clock on the wall first shows this time, in UTC; where it jumps over it, when it has jumped."""
    moment = wall.replace(tzinfo=schedule.zone).astimezone(UTC)
    if _wall(schedule, moment) != wall:
        offset = moment.astimezone(schedule.zone).utcoffset()
        while (moment - MINUTE).astimezone(schedule.zone).utcoffset() == offset:
            moment -= MINUTE
    return moment


def _since_midnight(time: str) -> timedelta:
    """Of a time such as 08:30."""
    hours, minutes = time.split(":")
    return timedelta(hours=int(hours), minutes=int(minutes))
