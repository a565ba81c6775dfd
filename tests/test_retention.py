"""Which versions are kept, and that the others go without harm, whatever happens meanwhile."""

import fcntl
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from conftest import NewPlace, Place
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from pictures import write

from storage.database import Database, now
from storage.errors import ModelError
from storage.files import locked
from storage.labels import write_lines
from storage.models import Manifest, Models
from storage.pointer import BOT
from storage.retention import Retention
from storage.runs import RunOptions, Runs, RunState
from storage.settings import Training
from storage.tables import VersionRow

pytestmark = pytest.mark.both_databases

OPTIONS = RunOptions.from_settings(Training())


class House:
    """A folder of versions, with what reads and removes them."""

    def __init__(self, folder: Path, place: Place) -> None:
        self.database = Database(place)
        self.models = Models(self.database, folder / "models")
        self.runs = Runs(self.database)
        self.folder = folder / "models"

    def publish(self, *, promote: bool = True) -> int:
        run, _ = self.runs.enqueue(OPTIONS, "ann", join=False)
        claimed = self.runs.claim("box", timedelta(minutes=1))
        assert claimed
        made = self.folder / f".new-run-{run.id}"
        write(made / "saved_model.pb", b"graph" * 100)
        write(made / "labels.txt", write_lines(["daisy", "rose"]).encode())
        number = self.models.publish(made, _manifest(claimed.id), claimed.token, promote="better" if promote else None)
        self.runs.finish(claimed.id, claimed.token, RunState.SUCCEEDED, "done")
        return number

    def tidy(self, keep: int) -> list[int]:
        return Retention(self.database, self.folder, keep).tidy()

    def folders(self) -> list[str]:
        return sorted(path.name for path in self.folder.iterdir())

    @property
    def served(self) -> int:
        pointer = self.models.served()
        assert pointer
        return pointer.version


def _manifest(run: int) -> Manifest:
    return Manifest(
        run=run,
        snapshot="0" * 16,
        photos=20,
        backbone="tiny",
        weights_digest="0" * 16,
        input_size=32,
        mode="head",
        seed=0,
        metrics={},
        software={},
        created_at=datetime(2030, 1, 1, tzinfo=UTC),
    )


@pytest.fixture
def house(tmp_path: Path, place: Place) -> Iterator[House]:
    house = House(tmp_path, place)
    yield house
    house.database.close()


def test_the_newest_are_kept(house: House) -> None:
    """The last three stay and the older ones go, folder and all; who asks for one of those is told when and why."""
    for _ in range(6):
        house.publish()
    assert house.tidy(3) == [1, 2, 3]
    assert (house.models.numbers(), house.folders()) == ([4, 5, 6], ["4", "5", "6"])
    for ask in (house.models.get, house.models.verified, lambda number: house.models.promote(number, "ann")):
        with pytest.raises(ModelError, match=rf"Version 2 was removed on {now():%Y-%m-%d} to save room.*keep_versions"):
            ask(2)
    assert house.tidy(3) == []
    assert house.publish() == 7


def test_all_are_kept_if_that_is_wanted(house: House) -> None:
    """With 0, nothing is ever removed."""
    for _ in range(4):
        house.publish()
    assert house.tidy(0) == []
    assert house.models.numbers() == [1, 2, 3, 4]


def test_pinned_versions_stay(house: House) -> None:
    """A pinned version stays until its pin is taken away."""
    for _ in range(4):
        house.publish()
    assert house.models.pin(1, pinned=True).pinned
    assert house.tidy(1) == [2]  # 4 is served, and 3 the way back.
    assert not house.models.pin(1, pinned=False).pinned
    assert house.tidy(1) == [1]
    with pytest.raises(ModelError, match="removed"):
        house.models.pin(1, pinned=True)


def test_what_is_served_and_the_way_back_stay(house: House) -> None:
    """However many candidates came since, the served version and the one before it are there."""
    for promote in (True, True, False, False, False):
        house.publish(promote=promote)
    assert house.tidy(1) == [3, 4]
    assert house.models.rollback("ann").number == 1


def test_what_a_run_needs_stays(house: House) -> None:
    """A version that a run starts from stays while the run waits or is under way, and what is served meanwhile, too."""
    for _ in range(3):
        house.publish()
    run, _ = house.runs.enqueue(OPTIONS.model_copy(update={"init_version": 1}), "ann")
    house.models.promote(2, "ann")
    house.models.promote(3, "ann")
    assert house.tidy(1) == []
    claimed = house.runs.claim("box", timedelta(minutes=1))
    assert claimed
    assert house.tidy(1) == []
    house.runs.finish(run.id, claimed.token, RunState.FAILED, "no")
    assert house.tidy(1) == [1]


def test_what_is_read_stays(house: House) -> None:
    """A version that a process is loading is passed over, and goes the next time."""
    for _ in range(4):
        house.publish()
    with house.models.reading(1) as version:
        assert house.tidy(1) == [2]
        assert (version.folder / "saved_model.pb").exists()
    assert house.tidy(1) == [1]


def test_nobody_reads_what_is_being_removed(house: House, place: Place) -> None:
    """Who wants to read a version while it is removed waits until that is over, and is told."""
    for _ in range(3):
        house.publish()
    reader = [sys.executable, "-c", READ, str(house.folder.parent), str(place)]
    with subprocess.Popen(reader, stdout=subprocess.PIPE) as process:
        with locked(house.folder / "1", fcntl.LOCK_EX):
            assert process.stdout is not None
            assert process.stdout.readline() == b"asking\n"
            with house.database.write() as session:
                session.get_one(VersionRow, 1).removed_at = now()
        assert process.wait(60) == 0


READ = """
import sys
from pathlib import Path
from storage.database import Database
from storage.errors import ModelError
from storage.models import Models
folder = Path(sys.argv[1])
models = Models(Database(sys.argv[2]), folder / "models")
print("asking", flush=True)
try:
    with models.reading(1):
        sys.exit("It was read.")
except ModelError as error:
    assert "was removed" in str(error), error
"""

KILLED = """
import os, shutil, signal, sys
from pathlib import Path
import storage.retention
from storage.database import Database
from storage.retention import Retention
folder, place, moment = Path(sys.argv[1]), *sys.argv[2:]
def die(*_): os.kill(os.getpid(), signal.SIGKILL)
if moment == "before it is moved":
    storage.retention.move_durably = die
elif moment == "before it is removed":
    shutil.rmtree = die
Retention(Database(place), folder / "models", 1).tidy()
"""


@pytest.mark.parametrize("moment", ["before it is moved", "before it is removed"])
def test_a_kill_amid_a_removal_does_no_harm(house: House, place: Place, moment: str) -> None:
    """After kill -9 the version is gone for everybody, and what is left of its folder goes the next time."""
    for _ in range(3):
        house.publish()
    killed = subprocess.run([sys.executable, "-c", KILLED, str(house.folder.parent), str(place), moment], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert house.models.numbers() == [2, 3]
    assert len(house.folders()) == 3
    assert house.tidy(1) == []
    assert house.folders() == ["2", "3"]


def test_a_step_back_is_told_once(house: House) -> None:
    """Giving a version up moves the pointer back, says why in its history, and is to be told until it was."""
    house.publish()
    house.publish()
    back = house.models.give_up(2, "it does not answer")
    assert back
    assert (back.version, back.by, back.reason) == (1, BOT, "version 2 was given up: it does not answer")
    (step,) = house.models.steps_back()
    assert (step.before, step.served, step.run) == (2, back, 2)
    house.models.told(step)
    assert house.models.steps_back() == []
    assert house.models.give_up(2, "again") is None  # Another one is wanted by now.
    assert house.models.give_up(1, "it dies, too") is None  # Not its fault.
    house.models.promote(2, "ann")
    assert house.models.give_up(2, "still") is not None
    assert house.served == 1


def test_a_step_back_passes_over_what_is_gone(house: House) -> None:
    """Where the version before was removed by hand or pinned away, the way back leads to one that is there."""
    for _ in range(3):
        house.publish()
    house.models.promote(1, "ann")
    house.models.promote(3, "ann")
    assert house.tidy(1) == [2]
    back = house.models.give_up(3, "no")
    assert back
    assert back.version == 1


KINDS = ("publish", "candidate", "promote", "rollback", "give up", "pin", "tidy")
ACTS = st.lists(st.tuples(st.sampled_from(KINDS), st.integers(1, 8)), max_size=25)


@given(ACTS)
@hypothesis_settings(max_examples=25, deadline=None)
def test_whatever_happens_what_is_needed_is_there(new_place: NewPlace, acts: list[tuple[str, int]]) -> None:
    """After any sequence of acts the served version is whole, and so are the pinned and the two newest ones."""
    with tempfile.TemporaryDirectory() as folder:
        house = House(Path(folder), new_place())
        pinned: set[int] = set()
        for act, number in acts:
            try:
                match act:
                    case "publish" | "candidate":
                        house.publish(promote=act == "publish")
                    case "promote":
                        house.models.promote(number, "ann")
                    case "rollback":
                        house.models.rollback("ann")
                    case "give up":
                        house.models.give_up(number, "no")
                    case "pin":
                        house.models.pin(number, pinned=True)
                        pinned.add(number)
                    case _:
                        newest = house.models.numbers()[-2:]
                        house.tidy(2)
                        assert house.models.numbers()[-2:] == newest
            except ModelError:
                continue
            here = house.models.numbers()
            assert pinned <= set(here)
            assert house.models.served() is None or house.served in here
            for kept in here:
                house.models.verified(kept)
        house.database.close()
