import queue
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from hypothesis import given
from hypothesis import strategies as st

from storage.settings import Schedule
from trainer.schedule import latest_slot, slot_key, start

BERLIN = ZoneInfo("Europe/Berlin")


def slots_of(schedule: Schedule, start: datetime, hours: int) -> set[str]:
    """The keys that a trainer looking every ten minutes would see."""
    moments = [start + timedelta(minutes=10 * step) for step in range(6 * hours)]
    return {slot_key(slot) for moment in moments if (slot := latest_slot(schedule, moment))}


def test_the_slot_is_the_last_time_the_schedule_was_due() -> None:
    """At three in the morning, the slot of half past two has just been due."""
    schedule = Schedule(cron="30 2 * * *", time_zone="UTC")
    assert latest_slot(schedule, datetime(2026, 5, 4, 3, 0, tzinfo=UTC)) == datetime(2026, 5, 4, 2, 30, tzinfo=UTC)


def test_a_slot_is_due_at_its_very_minute() -> None:
    """A trainer that wakes exactly on time finds the slot."""
    schedule = Schedule(cron="30 2 * * *", time_zone="UTC")
    due = datetime(2026, 5, 4, 2, 30, tzinfo=UTC)
    assert latest_slot(schedule, due) == due


def test_a_slot_missed_within_the_grace_time_still_counts() -> None:
    """A computer that was off at night trains when it is switched on in the morning, but not a day later."""
    schedule = Schedule(cron="30 2 1 * *", time_zone="UTC", grace_hours=12)
    assert latest_slot(schedule, datetime(2026, 5, 1, 14, 0, tzinfo=UTC)) is not None
    assert latest_slot(schedule, datetime(2026, 5, 1, 15, 0, tzinfo=UTC)) is None


def test_a_slot_missed_while_the_computer_was_off_is_told_at_the_start() -> None:
    """A trainer that starts in the morning hears of the night's slot at once, not when the next one is due."""
    schedule = Schedule(cron="30 2 * * *", time_zone="UTC", grace_hours=12)
    told: queue.Queue[datetime] = queue.Queue()
    scheduler = start(schedule, told.put, lambda: datetime(2026, 5, 4, 9, 0, tzinfo=UTC))
    try:
        assert told.get(timeout=30) == datetime(2026, 5, 4, 2, 30, tzinfo=UTC)
    finally:
        scheduler.shutdown()


def test_without_a_schedule_nothing_is_told() -> None:
    """Training on demand only: the scheduler has no job at all."""
    told: queue.Queue[datetime] = queue.Queue()
    scheduler = start(Schedule(cron=""), told.put, lambda: datetime(2026, 5, 4, 9, 0, tzinfo=UTC))
    assert scheduler.get_jobs() == []
    scheduler.shutdown()


def test_a_slot_in_the_doubled_hour_of_autumn_has_one_key() -> None:
    """Half past two comes twice when summer time ends, and trains once."""
    schedule = Schedule(cron="30 2 * * *", time_zone="Europe/Berlin", grace_hours=1)
    seen = slots_of(schedule, datetime(2026, 10, 24, 23, 0, tzinfo=UTC), 5)
    assert seen == {"schedule 2026-10-25T02:30"}


def test_a_slot_in_the_hour_that_spring_skips_is_not_lost() -> None:
    """Half past two does not exist when summer time begins, and still trains once."""
    schedule = Schedule(cron="30 2 * * *", time_zone="Europe/Berlin", grace_hours=6)
    seen = slots_of(schedule, datetime(2026, 3, 28, 23, 0, tzinfo=UTC), 5)
    assert len(seen) == 1


@given(st.datetimes(datetime(2026, 1, 1), datetime(2027, 12, 31), timezones=st.just(UTC)))  # noqa: DTZ001
def test_every_slot_is_on_the_minute_that_the_schedule_names(moment: datetime) -> None:
    """Whatever the time, the slot found is one of the schedule's, not later than now and within the grace time."""
    schedule = Schedule(cron="15 */6 * * *", time_zone="Europe/Berlin", grace_hours=12)
    slot = latest_slot(schedule, moment)
    assert slot is not None
    assert moment - timedelta(hours=12) <= slot <= moment
    assert slot.astimezone(BERLIN).minute == 15
    assert slot.astimezone(BERLIN).hour % 6 == 0
