"""What was decided for each slot of the schedule, whatever happens meanwhile."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
from conftest import Place
from sqlalchemy import select

from storage.database import Database
from storage.runs import RunOptions, Runs, RunState
from storage.settings import Schedule, Training
from storage.slots import Slots
from storage.tables import RunRow, SlotRow

pytestmark = pytest.mark.both_databases

DUE = datetime(2030, 1, 1, 2, 30, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
OPTIONS = RunOptions.from_settings(Training())

DECIDE = """
import sys
from datetime import UTC, datetime, timedelta
from storage.database import Database
from storage.runs import RunOptions, Runs, RunState
from storage.settings import Training
from storage.slots import Slots
database = Database(sys.argv[1])
slots, runs = Slots(database), Runs(database)
due = datetime(2030, 1, 1, tzinfo=UTC)
while True:
    due += timedelta(hours=1)
    slots.decide(due, "it is a test", RunOptions.from_settings(Training()))
    if run := runs.claim("box", timedelta(minutes=1)):
        runs.finish(run.id, run.token, RunState.FAILED, "it is a test")
    print(due, flush=True)
"""


def slots(database: Database, at: datetime = DUE + MINUTE) -> Slots:
    return Slots(database, lambda: at)


def test_slot_is_settled_by_one_run(database: Database) -> None:
    """The first decision stands, and is there after a restart, also when its run has ended."""
    made = slots(database).decide(DUE, "12 photos", OPTIONS)
    assert made
    assert (made.due, made.decided, made.run, made.reason) == (DUE, DUE + MINUTE, 1, "12 photos")
    runs = Runs(database)
    run = runs.claim("box", MINUTE)
    assert run
    runs.finish(run.id, run.token, RunState.FAILED, "no luck")
    assert slots(database).decide(DUE, "13 photos", OPTIONS) is None
    assert slots(database).decided(DUE)
    assert slots(database).last() == made
    assert len(runs.newest()) == 1


def test_slot_is_settled_without_a_run(database: Database) -> None:
    """The reason is kept, and no run is made, then or later."""
    made = slots(database).decide(DUE, "nothing changed")
    assert made
    assert (made.run, made.reason) == (None, "nothing changed")
    assert slots(database).decide(DUE, "something changed", OPTIONS) is None
    assert Runs(database).newest() == []


def test_slot_does_not_join_a_run_that_is_under_way(database: Database) -> None:
    """A person's run is not the schedule's; the slot says which it was."""
    run, _ = Runs(database).enqueue(OPTIONS, "ann")
    made = slots(database).decide(DUE, "12 photos", OPTIONS)
    assert made
    assert (made.run, made.reason) == (None, f"a run was under way already (run {run.id})")


def test_two_trainers_settle_a_slot_once(place: Place, database: Database) -> None:
    """Whoever is first decides; the others make no run."""
    both = [Slots(Database(place)) for _ in range(2)]
    for number in range(20):
        due = DUE + timedelta(days=number)
        with ThreadPoolExecutor(2) as pool:
            made = list(pool.map(lambda slots, due=due: slots.decide(due, "it is a test", OPTIONS), both))
        assert [slot is None for slot in made].count(True) == 1
    with database.read() as session:
        assert len(list(session.scalars(select(SlotRow)))) == 20
        assert len(list(session.scalars(select(RunRow)))) == 1  # It has not ended, so the others had to yield.


@pytest.mark.parametrize("after", [1, 4, 9])
def test_killed_trainer_leaves_no_slot_half_settled(place: Place, database: Database, after: int) -> None:
    """After kill -9 every slot has its run and every run its slot, and the next decision goes on from there."""
    with subprocess.Popen([sys.executable, "-c", DECIDE, str(place)], stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout
        for _ in range(after):
            child.stdout.readline()
        child.kill()
    with database.read() as session:
        settled = {row.run: row.key for row in session.scalars(select(SlotRow))}
        assert {row.id: row.key for row in session.scalars(select(RunRow))} == settled
    assert len(settled) >= after
    assert slots(database).decide(DUE + timedelta(days=3650), "it is a test") is not None


def test_last_slot_is_the_latest_that_is_past(database: Database) -> None:
    """A clock that was ahead for a while leaves a decision for the future, which is not told as the last one."""
    assert slots(database).last() is None
    ahead = DUE + timedelta(days=300)
    slots(database, at=ahead).decide(ahead, "the clock was wrong")
    slots(database).decide(DUE, "nothing changed")
    last = slots(database).last()
    assert last
    assert last.reason == "nothing changed"


def test_document_of_a_slot(database: Database) -> None:
    """JSON has times in ISO form."""
    made = slots(database).decide(DUE, "nothing changed")
    assert made
    assert made.document() == {
        "due": "2030-01-01T02:30:00+00:00",
        "decided": "2030-01-01T02:31:00+00:00",
        "run": None,
        "reason": "nothing changed",
    }


@pytest.mark.parametrize(
    ("quiet", "now", "settled", "start"),
    [
        ("", "00:00", False, "02:30"),
        ("", "02:31", True, "14:30"),
        ("01:00-06:00", "00:00", False, "06:00"),
        ("01:00-06:00", "03:00", False, "06:00"),  # It waits.
        ("01:00-06:00", "03:00", True, "14:30"),
    ],
)
def test_next_start_knows_of_quiet_hours(database: Database, quiet: str, now: str, settled: bool, start: str) -> None:
    """A slot in quiet hours starts after them, whether it is still to come or waits already."""
    schedule = Schedule(cron="30 2,14 * * *", quiet=quiet)
    hours, minutes = map(int, now.split(":"))
    store = slots(database, at=DUE.replace(hour=hours, minute=minutes))
    if settled:
        store.decide(DUE, "nothing changed")
    outlook = store.outlook(schedule)
    assert outlook.lines()[0] == f"Training is next due at 2030-01-01 {start} (UTC)."
    assert outlook.document()["next"] == f"2030-01-01T{start}:00+00:00"


def test_outlook_in_words(database: Database) -> None:
    """The times are those of the schedule's zone; the conditions and the last slot are told where there are any."""
    schedule = Schedule(time_zone="Europe/Berlin", min_changes=10, quiet="08:00-18:00")
    lines = slots(database).outlook(schedule).lines()
    assert lines == [
        "Training is next due at 2030-01-02 02:30 (Europe/Berlin).",
        "It starts only if photos are new, changed or gone since the newest version: at least 10.",
        "It does not start in the quiet hours, 08:00-18:00.",
    ]
    slots(database).decide(DUE, "nothing changed since version 2")
    told = "Last time, at 2030-01-01 03:30, it did not train: nothing changed since version 2"
    assert slots(database).outlook(schedule).lines() == [*lines, told]
    always = Schedule(min_changes=0)
    assert slots(database).outlook(always).lines()[1] == told.replace("03:30", "02:30")


def test_outlook_without_a_schedule(database: Database) -> None:
    """Training on demand only; what the schedule did before is still told."""
    slots(database).decide(DUE, "there is no version yet", OPTIONS)
    outlook = slots(database).outlook(Schedule(cron=""))
    assert outlook.document()["next"] is None
    assert outlook.lines() == [
        "There is no schedule: training starts when somebody asks for it.",
        "Last time, at 2030-01-01 02:30, it was run 1: there is no version yet",
    ]
