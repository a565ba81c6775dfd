"""When the schedule is due, most of all in the nights in which clocks are set."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.settings import Schedule
from storage.timetable import latest_slot, next_slot, quiet_until

MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
NEW_YEAR = datetime(2026, 1, 1, tzinfo=UTC)
# Where clocks are set by an hour at two o'clock, by an hour at midnight, by half an hour, and where they never are.
ZONES = ["Europe/Berlin", "America/New_York", "America/Santiago", "Australia/Lord_Howe", "Asia/Kolkata", "UTC"]
CRONS = ["30 2 * * *", "*/30 * * * *", "30 1-3 * * *", "15 0 * * *", "0 */6 * * mon-fri", "45 1,2 1-7 * sun"]


def slots(schedule: Schedule, start: datetime, end: datetime) -> list[datetime]:
    """Every slot after `start` up to `end`."""
    found, moment = [], start
    while (slot := next_slot(schedule, moment)) and slot <= end:
        found.append(slot)
        moment = slot
    return found


def shown(schedule: Schedule, moments: list[datetime]) -> str:
    """What the clock on the wall shows at each moment."""
    return " ".join(f"{moment.astimezone(schedule.zone):%H:%M}" for moment in moments)


SPRING_AND_AUTUMN = [
    # Berlin: at 2:00 the clock is set to 3:00, and in autumn at 3:00 to 2:00.
    ("30 2 * * *", "Europe/Berlin", "2026-03-29", "03:00"),
    ("30 2 * * *", "Europe/Berlin", "2026-10-25", "02:30"),
    ("30 1-3 * * *", "Europe/Berlin", "2026-03-29", "01:30 03:00 03:30"),
    ("30 1-3 * * *", "Europe/Berlin", "2026-10-25", "01:30 02:30 03:30"),
    ("*/30 1-3 * * *", "Europe/Berlin", "2026-03-29", "01:00 01:30 03:00 03:30"),
    ("*/30 1-3 * * *", "Europe/Berlin", "2026-10-25", "01:00 01:30 02:00 02:30 03:00 03:30"),
    # New York: at 2:00 to 3:00, and in autumn at 2:00 to 1:00.
    ("30 2 * * *", "America/New_York", "2026-03-08", "03:00"),
    ("30 1 * * *", "America/New_York", "2026-11-01", "01:30"),
    ("30 0-3 * * *", "America/New_York", "2026-03-08", "00:30 01:30 03:00 03:30"),
    ("30 0-3 * * *", "America/New_York", "2026-11-01", "00:30 01:30 02:30 03:30"),
    # Lord Howe: at 2:00 to 2:30, and in autumn at 2:00 to 1:30.
    ("15 2 * * *", "Australia/Lord_Howe", "2026-10-04", "02:30"),
    ("45 1 * * *", "Australia/Lord_Howe", "2026-04-05", "01:45"),
    ("*/15 1-2 * * *", "Australia/Lord_Howe", "2026-10-04", "01:00 01:15 01:30 01:45 02:30 02:45"),
    ("*/15 1-2 * * *", "Australia/Lord_Howe", "2026-04-05", "01:00 01:15 01:30 01:45 02:00 02:15 02:30 02:45"),
    # Santiago: at midnight to 1:00, and in autumn at midnight to 23:00.
    ("0 0 * * *", "America/Santiago", "2026-09-06", "01:00"),
    ("30 23 * * *", "America/Santiago", "2026-04-04", "23:30"),
]


@pytest.mark.parametrize(("cron", "zone", "day", "times"), SPRING_AND_AUTUMN)
def test_each_time_on_the_clock_is_due_once(cron: str, zone: str, day: str, times: str) -> None:
    """What the clock shows twice is due the first time; what it jumps over is due when it has jumped."""
    schedule = Schedule(cron=cron, time_zone=zone)
    midnight = datetime.fromisoformat(day).replace(tzinfo=ZoneInfo(zone)).astimezone(UTC)
    tomorrow = (datetime.fromisoformat(day) + timedelta(days=1)).replace(tzinfo=ZoneInfo(zone)).astimezone(UTC)
    found = slots(schedule, midnight - MINUTE, tomorrow - MINUTE)
    assert shown(schedule, found) == times
    assert all(slot.astimezone(schedule.zone).fold == 0 for slot in found)


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize("cron", ["30 2 * * *", "15 */2 * * *", "0 0 * * mon-fri"])
def test_a_year_has_each_slot_once(cron: str, zone: str) -> None:
    """Over a year, every time on the wall that the cron names has its slot, and no slot comes without one."""
    schedule = Schedule(cron=cron, time_zone=zone)
    start, end = (datetime(year, 1, 1, tzinfo=schedule.zone).astimezone(UTC) for year in (2026, 2027))
    # As if the clock on the wall were never set.
    walls = slots(Schedule(cron=cron), NEW_YEAR, datetime(2027, 1, 1, tzinfo=UTC))
    expected = {first_shown(schedule.zone, wall.replace(tzinfo=None)) for wall in walls}
    assert slots(schedule, start, end) == sorted(expected)


def first_shown(zone: ZoneInfo, wall: datetime) -> datetime:
    """The first minute, in UTC, at which the clock on the wall shows this or more."""
    near = wall.replace(tzinfo=zone).astimezone(UTC)
    if near.astimezone(zone).replace(tzinfo=None) == wall:
        return near
    minutes = (near + MINUTE * step for step in range(-120, 1))
    return next(time for time in minutes if time.astimezone(zone).replace(tzinfo=None) >= wall)


def test_an_interval_does_not_know_of_clocks_that_are_set() -> None:
    """Every six hours are six hours, in every night."""
    schedule = Schedule(every_hours=6, time_zone="Europe/Berlin")
    found = slots(schedule, datetime(2026, 3, 28, 23, 0, tzinfo=UTC), datetime(2026, 3, 30, tzinfo=UTC))
    assert [slot.hour for slot in found] == [0, 6, 12, 18, 0]


def test_an_interval_wins_over_the_cron() -> None:
    """Who sets every_hours need not take out the cron that stands there by default."""
    assert next_slot(Schedule(every_hours=24), datetime(2026, 5, 4, 1, 0, tzinfo=UTC)) == datetime(
        2026, 5, 5, tzinfo=UTC
    )


def test_without_a_schedule_nothing_is_due() -> None:
    """Training on demand only."""
    assert next_slot(Schedule(cron=""), NEW_YEAR) is None
    assert latest_slot(Schedule(cron=""), NEW_YEAR) is None


def test_a_slot_is_due_at_its_very_minute_and_within_the_grace_time() -> None:
    """A computer that was off at night trains when it is switched on in the morning, but not in the afternoon."""
    schedule, due = Schedule(cron="30 2 1 * *", grace_hours=12), datetime(2026, 5, 1, 2, 30, tzinfo=UTC)
    assert latest_slot(schedule, due - MINUTE) is None
    assert latest_slot(schedule, due) == due
    assert latest_slot(schedule, due + 12 * HOUR) == due
    assert latest_slot(schedule, due + 12 * HOUR + MINUTE) is None


def test_of_several_missed_slots_the_latest_counts() -> None:
    """A night without power makes one run."""
    schedule = Schedule(cron="*/30 * * * *")
    assert latest_slot(schedule, datetime(2026, 5, 4, 9, 10, tzinfo=UTC)) == datetime(2026, 5, 4, 9, 0, tzinfo=UTC)


schedules = st.builds(
    Schedule,
    cron=st.sampled_from(CRONS),
    every_hours=st.sampled_from([0.0, 0.0, 0.1, 1.5, 7.0, 24.0]),
    time_zone=st.sampled_from(ZONES),
    grace_hours=st.sampled_from([0.5, 2.0, 12.0, 30.0]),
)
moments = st.datetimes(datetime(2026, 1, 1), datetime(2027, 12, 31), timezones=st.just(UTC))  # noqa: DTZ001


@given(schedules, moments)
def test_latest_and_next_slot_agree(schedule: Schedule, now: datetime) -> None:
    """No slot lies between the latest one and now, nor between now and the next one."""
    latest, following = latest_slot(schedule, now), next_slot(schedule, now)
    assert following
    assert following > now
    assert latest_slot(schedule, following) == following
    since = latest or now - timedelta(hours=schedule.grace_hours)
    assert now - timedelta(hours=schedule.grace_hours) <= since <= now
    assert next_slot(schedule, since) == following


@pytest.mark.parametrize(
    ("quiet", "now", "until"),
    [
        ("", "2026-05-04T12:00", None),
        ("08:00-18:00", "2026-05-04T07:59", None),
        ("08:00-18:00", "2026-05-04T08:00", "2026-05-04T18:00"),
        ("08:00-18:00", "2026-05-04T18:00", None),
        ("22:00-06:30", "2026-05-04T23:00", "2026-05-05T06:30"),
        ("22:00-06:30", "2026-05-05T03:00", "2026-05-05T06:30"),
        ("22:00-06:30", "2026-05-05T06:30", None),
        ("22:00-06:30", "2026-05-05T12:00", None),
        # The clock jumps over the end, and shows it twice.
        ("01:00-02:30", "2026-03-29T01:59", "2026-03-29T03:00"),
        ("01:00-02:30", "2026-10-25T02:29", "2026-10-25T02:30"),
    ],
)
def test_quiet_hours(quiet: str, now: str, until: str | None) -> None:
    """Quiet hours begin and end by the clock on the wall, also over midnight."""
    schedule = Schedule(quiet=quiet, time_zone="Europe/Berlin")
    over = quiet_until(schedule, datetime.fromisoformat(now).replace(tzinfo=schedule.zone))
    assert over == (datetime.fromisoformat(until).replace(tzinfo=schedule.zone).astimezone(UTC) if until else None)


def test_quiet_hours_end_once_where_the_clock_shows_their_end_twice() -> None:
    """In the second pass of the hour they are over."""
    schedule = Schedule(quiet="01:00-02:30", time_zone="Europe/Berlin")
    assert quiet_until(schedule, datetime(2026, 10, 25, 2, 10, fold=1, tzinfo=schedule.zone)) is None
