"""A database of SQLite's, brought into PostgreSQL, or into another file."""

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from conftest import NewPlace
from pictures import photo

from storage.copying import copy_file
from storage.database import Database
from storage.errors import DatabaseError
from storage.history import History
from storage.inbox import Arrival, Inbox, Lane
from storage.models import Models
from storage.photos import Photos
from storage.runs import RunOptions, Runs, RunState
from storage.settings import Images, Training
from storage.texts import Text

pytestmark = pytest.mark.both_databases
Open = Callable[[Database], Photos]


@pytest.fixture
def opened(tmp_path: Path) -> Open:
    return lambda database: Photos(database, tmp_path / "photos", tmp_path / "unlabelled", Images())


@pytest.fixture
def file(tmp_path: Path, opened: Open) -> Path:
    """A database of SQLite's with photos, their history, a run, and an update that waits."""
    file = tmp_path / "old.db"
    database = Database(file)
    photos, runs = opened(database), Runs(database)
    for number in range(6):
        photos.add(photo(number), ["rose", "daisy", "向日葵"][number % 3], "ann")
    History(photos).rename("rose", "dog rose", "ann")
    History(photos).undo_last("ann")
    run, _ = runs.enqueue(RunOptions.from_settings(Training()), "ann")
    claimed = runs.claim("box", timedelta(minutes=1))
    assert claimed
    runs.finish(run.id, claimed.token, RunState.FAILED, Text("Cancelled by {by}.", by="ann"), {"ü": [1, None]})
    Inbox(database, 4711).keep([Arrival(2**40, -(10**12), Lane.PHOTOS, None, {"text": "😀"})])
    database.close()
    return file


def test_everything_is_there_and_goes_on(file: Path, new_place: NewPlace, opened: Open) -> None:
    """Photos, splits, history, runs and what waits are the same; the next numbers follow the old ones."""
    source, target, told = Database(file), Database(new_place()), list[tuple[int, int]]()
    rows = copy_file(file, target, lambda done, total: told.append((done, total)))
    assert told[-1] == (rows, rows)
    before, after = opened(source), opened(target)
    assert after.all() == before.all()
    assert after.class_ids() == before.class_ids()
    assert Runs(target).newest() == Runs(source).newest()
    for inbox in (Inbox(target, 4711), Inbox(source, 4711)):
        assert inbox.next(-(10**12), Lane.PHOTOS, 9) == Inbox(source, 4711).next(-(10**12), Lane.PHOTOS, 9)
    assert Runs(target).enqueue(RunOptions.from_settings(Training()), "ann")[0].id == 2
    assert after.add(photo(9), "tulip", "ann").class_photos == 1
    assert max(after.class_ids().values()) == len(before.class_ids()) + 1
    undone = History(after).undo_last("ann")
    assert (undone.out, after.class_names()) == (1, before.class_names())
    assert History(after).undo_last("ann").what == "label"
    for database in (source, target):
        database.close()


def test_only_an_empty_database_is_filled(file: Path, new_place: NewPlace) -> None:
    """A second copy, or one into a database that is in use, is refused and changes nothing."""
    target = Database(new_place())
    copy_file(file, target)
    with pytest.raises(DatabaseError, match="only an empty one"):
        copy_file(file, target)
    assert len(Runs(target).newest()) == 1
    target.close()


def test_missing_file_is_told_and_not_made(new_place: NewPlace, tmp_path: Path) -> None:
    """A file that is not there stays so, and the database stays empty."""
    target = Database(new_place())
    with pytest.raises(DatabaseError, match=r"no file .*nothing\.db"):
        copy_file(tmp_path / "nothing.db", target)
    assert not (tmp_path / "nothing.db").exists()
    assert Models(target, tmp_path / "models").numbers() == []
    target.close()
