"""What the trainer makes of the slots of the schedule: a run, or a reason why not."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Broken, until
from pictures import photo, write
from structlog.testing import capture_logs

from storage.database import Database
from storage.history import History
from storage.models import Ending, Manifest, Models
from storage.photos import Photos
from storage.runs import RunOptions, Runs, RunState
from storage.settings import Schedule, Settings
from storage.slots import Slot, Slots
from storage.timetable import latest_slot, quiet_until
from trainer import snapshot
from trainer.schedule import Alarm, Planner

pytestmark = pytest.mark.both_databases

SLOT = datetime(2030, 1, 1, 2, 30, tzinfo=UTC)
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)


class Clock:
    """A clock that stands still until it is set."""

    def __init__(self) -> None:
        self.time = SLOT

    def __call__(self) -> datetime:
        return self.time


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def planner(settings: Settings, database: Database, clock: Clock) -> Callable[..., Planner]:
    """A planner with these settings of the schedule."""

    def make(**schedule: Any) -> Planner:
        return Planner(settings.model_copy(update={"schedule": Schedule(**schedule)}), database, clock)

    return make


@pytest.fixture
def photos(settings: Settings, database: Database) -> Photos:
    """Two classes of three photos each."""
    photos = Photos(database, settings.photos_dir, settings.unlabelled_dir, settings.images)
    for number in range(6):
        photos.add(photo(number), "ab"[number % 2], "ann")
    return photos


def publish(settings: Settings, database: Database, made_of: str, promote: str | None = "better") -> Path:
    """A version, without a network, that is made of this snapshot; its folder."""
    runs, models = Runs(database), Models(database, settings.models_dir)
    runs.enqueue(RunOptions.from_settings(settings.training), "ann")
    run = runs.claim("box", MINUTE)
    assert run
    made = write(models.folder / ".new-run" / "labels.txt", b"0:a\n1:b\n").parent
    manifest = Manifest(
        run=run.id, snapshot=made_of, photos=6, backbone="tiny", weights_digest="", input_size=32, mode="head", seed=0,
        metrics={}, software={}, created_at=SLOT,
    )  # fmt: skip
    number = models.publish(made, manifest, run.token, promote=promote, ending=lambda _number: Ending("made", {}))
    return models.folder / str(number)


def publish_present(settings: Settings, database: Database, photos: Photos) -> None:
    """A version made of the photos as they are now, whose snapshot is kept."""
    present = snapshot.take(photos)
    present.write(settings.snapshots_dir)
    publish(settings, database, present.id)


def end_run(database: Database) -> int:
    """Let the run that waits in the queue come to nothing."""
    runs = Runs(database)
    run = runs.claim("box", MINUTE)
    assert run
    runs.finish(run.id, run.token, RunState.FAILED, "no luck")
    return run.id


def test_slot_makes_one_run(planner: Callable[..., Planner], photos: Photos, database: Database, clock: Clock) -> None:
    """However often the trainer looks or is restarted, a slot trains once; the next one trains again."""
    made = planner().look()
    assert made
    assert (made.due, made.run, made.reason) == (SLOT, 1, "there is no version yet")
    assert Runs(database).get(1).requested_by == "schedule"
    end_run(database)
    clock.time += HOUR
    assert planner().look() is None
    clock.time += DAY
    again = planner().look()
    assert again
    assert (again.due, again.run) == (SLOT + DAY, 2)


def test_nothing_is_settled_before_its_time(planner: Callable[..., Planner], photos: Photos, clock: Clock) -> None:
    """Between two slots, and after the grace time, there is nothing to do."""
    clock.time = SLOT - MINUTE
    assert planner(grace_hours=12).look() is None


def test_missed_slot_is_made_up_for_once(planner: Callable[..., Planner], photos: Photos, clock: Clock) -> None:
    """A computer that was off over several slots trains once when it is on again."""
    clock.time = SLOT + 5 * HOUR
    made = planner(cron="*/30 * * * *").look()
    assert made
    assert made.due == SLOT + 5 * HOUR
    assert planner(cron="*/30 * * * *").look() is None


def test_slot_yields_to_a_run_that_is_under_way(
    planner: Callable[..., Planner], photos: Photos, database: Database, settings: Settings, clock: Clock
) -> None:
    """A run that somebody asked for takes the slot's place."""
    Runs(database).enqueue(RunOptions.from_settings(settings.training), "ann")
    made = planner().look()
    assert made
    assert (made.run, made.reason) == (None, "a run was under way already (run 1)")
    end_run(database)
    clock.time += HOUR
    assert planner().look() is None


def test_slot_without_two_classes_is_passed_over(planner: Callable[..., Planner]) -> None:
    """With nothing to learn, no run is made only to fail."""
    made = planner().look()
    assert made
    assert made.run is None
    assert "at least two classes" in made.reason


def test_photos_copied_in_by_hand_count(planner: Callable[..., Planner], settings: Settings) -> None:
    """The class folders are looked at first, so nobody needs to run reindex before the night."""
    for number in range(6):
        write(settings.photos_dir / "ab"[number % 2] / f"{number}.jpg", photo(number))
    made = planner().look()
    assert made
    assert made.run


def test_missing_photos_folder_makes_no_run(
    planner: Callable[..., Planner], photos: Photos, settings: Settings
) -> None:
    """A disk that is not connected is no reason to train, and the reason says what is wrong."""
    settings.photos_dir.rename(settings.data / "elsewhere")
    made = planner().look()
    assert made
    assert made.run is None
    assert str(settings.photos_dir) in made.reason


@pytest.mark.parametrize("then", ["refused", "rolled back"])
def test_same_photos_are_not_trained_on_every_night(
    planner: Callable[..., Planner], photos: Photos, settings: Settings, database: Database, clock: Clock, then: str
) -> None:
    """Nothing changed since the newest version: so no run, though an older one is served. One more photo is enough."""
    publish(settings, database, "older")
    publish(settings, database, snapshot.take(photos).id, promote=None if then == "refused" else "better")
    if then == "rolled back":
        Models(database, settings.models_dir).rollback("ann")
    made = planner().look()
    assert made
    assert (made.run, made.reason) == (None, "nothing changed since version 2")
    photos.add(photo(7), "a", "ann")
    clock.time += DAY
    made = planner().look()
    assert made
    assert made.run
    assert made.reason == "photos or classes changed since version 2"  # Its snapshot is gone, so nobody can count.


def test_so_many_photos_must_have_changed(
    planner: Callable[..., Planner], photos: Photos, settings: Settings, database: Database, clock: Clock
) -> None:
    """A photo counts that is new, or gone, or in another class; and the reason says how many there were."""
    publish_present(settings, database, photos)
    photos.add(photo(7), "a", "ann")
    photos.add(photo(0), "b", "ann")
    made = planner(min_changes=3).look()
    assert made
    assert (made.run, made.reason) == (
        None,
        "not enough: photos new, changed or gone since version 1: 2, of at least 3",
    )
    History(photos).remove([next(found.sha256 for found in photos.all() if found.class_name == "b")], "ann")
    clock.time += DAY
    made = planner(min_changes=3).look()
    assert made
    assert made.run
    assert made.reason == "photos new, changed or gone since version 1: 3"


def test_without_a_condition_every_slot_trains(
    planner: Callable[..., Planner], photos: Photos, settings: Settings, database: Database
) -> None:
    """min_changes = 0 means always."""
    publish_present(settings, database, photos)
    made = planner(min_changes=0).look()
    assert made
    assert made.run
    assert made.reason == "nothing changed since version 1, and min_changes is 0"


def test_damaged_version_does_not_stop_the_nightly_training(
    planner: Callable[..., Planner], photos: Photos, settings: Settings, database: Database
) -> None:
    """A version that cannot be read is no reason to keep it."""
    folder = publish(settings, database, snapshot.take(photos).id)
    (folder / "manifest.json").unlink()
    made = planner().look()
    assert made
    assert made.run


def test_quiet_hours_put_a_slot_off(planner: Callable[..., Planner], photos: Photos, clock: Clock) -> None:
    """A slot in quiet hours trains once they are over, and once only; a restart in between forgets nothing."""
    quiet = {"quiet": "22:00-06:00"}
    assert planner(**quiet).look() is None
    clock.time = SLOT.replace(hour=5, minute=59)
    assert planner(**quiet).look() is None
    clock.time += MINUTE
    made = planner(**quiet).look()
    assert made
    assert (made.due, made.run) == (SLOT, 1)
    assert planner(**quiet).look() is None


def test_quiet_hours_longer_than_the_grace_time_cost_a_slot(planner: Callable[..., Planner], photos: Photos) -> None:
    """What would be too late after them is settled at once, and says why."""
    made = planner(quiet="22:00-06:00", grace_hours=2).look()
    assert made
    assert made.run is None
    assert made.reason == "the quiet hours last until 06:00, and then it is too late for it"


@pytest.mark.parametrize("jump", [timedelta(hours=hours) for hours in (1, 5, 30, 24 * 40)])
def test_clock_that_jumps_ahead_and_back_trains_each_slot_once(
    planner: Callable[..., Planner], photos: Photos, database: Database, clock: Clock, jump: timedelta
) -> None:
    """A clock that is wrong for a while takes one slot early; every other one trains at its time."""
    trained = []
    for at in [SLOT, SLOT + jump, *(SLOT + step * HOUR for step in range(1, 24 * 4))]:
        clock.time = at
        made = planner(cron="30 */8 * * *").look()
        if made:
            trained.append(made.due)
            end_run(database)
    assert len(trained) == len(set(trained))
    assert {SLOT.replace(hour=0) + step * 8 * HOUR for step in range(12)} <= set(trained)


def test_clock_that_is_set_back_trains_nothing_twice(
    planner: Callable[..., Planner], photos: Photos, database: Database, clock: Clock
) -> None:
    """The hours that come twice have no slot the second time."""
    trained = []
    for at in [SLOT + step * HOUR for step in (*range(24), *range(12, 30))]:
        clock.time = at
        made = planner(every_hours=1).look()
        if made:
            trained.append(made.due)
            end_run(database)
    assert trained == [SLOT.replace(minute=0) + step * HOUR for step in range(30)]


@pytest.mark.parametrize(
    ("zone", "when", "quiet"),
    [
        ("Europe/Berlin", {"cron": "30 2 * * *"}, "22:00-02:30"),
        ("Australia/Lord_Howe", {"cron": "15 1-3 * * sun"}, ""),
        ("America/New_York", {"every_hours": 36}, "00:00-04:00"),
    ],
)
def test_over_a_year_each_slot_is_settled_once(
    database: Database, settings: Settings, clock: Clock, zone: str, when: dict[str, Any], quiet: str
) -> None:
    """A trainer that looks at random moments settles every slot that it can see, once and within the grace time."""
    schedule = Schedule(time_zone=zone, quiet=quiet, **when)
    slots, settled, random = Slots(database, clock), list[Slot](), np.random.default_rng(0)
    while clock.time < SLOT + 365 * DAY:
        clock.time += timedelta(hours=random.choice([1 / 60, 1, 12]) * random.uniform(0.1, 4))
        made = Planner(settings.model_copy(update={"schedule": schedule}), database, clock).look()
        settled += [made] if made else []
        due = latest_slot(schedule, clock.time)
        assert due is None or quiet_until(schedule, clock.time) or slots.decided(due)
    assert len({slot.due for slot in settled}) == len(settled) > 5
    assert all(slot.due <= slot.decided <= slot.due + 12 * HOUR for slot in settled)


async def test_schedule_is_looked_at_again_after_a_fault_of_the_database(
    planner: Callable[..., Planner], photos: Photos, broken: Broken
) -> None:
    """A disk or server that fails for a while puts a slot off and does not lose it."""
    made = planner()
    alarm = Alarm(made)
    with broken(), capture_logs() as logs:
        alarm.start()
        await until(lambda: any(entry["log_level"] == "warning" for entry in logs))
    alarm.stop()
    again = made.look()
    assert again
    assert again.run


def test_clock_that_is_set_back_does_not_put_off_the_next_look(planner: Callable[..., Planner]) -> None:
    """A computer that started with a clock a day ahead is not left without a schedule for that day."""
    alarm = Alarm(planner(cron=""))
    yesterday = datetime.now(UTC) - DAY
    alarm.keep_up(yesterday)
    assert alarm.next_look == yesterday
    alarm.keep_up(yesterday - MINUTE / 6)
    assert alarm.next_look == yesterday
