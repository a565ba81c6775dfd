"""A snapshot: the catalogue as arrays, what changed between two, and how it is kept."""

from pathlib import Path

import numpy as np
import pytest
from pictures import photo

from storage.database import Database
from storage.errors import RunError
from storage.photos import Photos
from storage.settings import Images
from storage.splits import Split
from trainer import snapshot

pytestmark = pytest.mark.both_databases


@pytest.fixture
def photos(tmp_path: Path, database: Database) -> Photos:
    photos = Photos(database, tmp_path / "photos", tmp_path / "unlabelled", Images())
    for number in range(9):
        photos.add(photo(number), ["rose", "daisy", "向日葵"][number % 3], "ann")
    return photos


def test_snapshot_holds_what_the_catalogue_holds(photos: Photos) -> None:
    """Every photo with its class, split and place, by hash."""
    taken = snapshot.take(photos)
    assert list(taken.photos()) == photos.all()
    assert taken.counts().tolist() == [3, 3, 3]
    assert [found.split for found in taken.of(Split.TEST).photos()] == [Split.TEST] * 3


def test_new_class_leaves_the_numbers_of_the_others_alone(photos: Photos) -> None:
    """Classes stand in the order in which they were made, wherever the alphabet would put them."""
    assert snapshot.take(photos).classes == ("rose", "daisy", "向日葵")
    for number in range(9, 12):
        photos.add(photo(number), "aster", "ann")
    assert snapshot.take(photos).classes == ("rose", "daisy", "向日葵", "aster")


def test_changes_are_counted_by_photo(photos: Photos) -> None:
    """Added, removed and relabelled photos are told apart, and a renamed class is another class."""
    before = snapshot.take(photos)
    photos.add(photo(20), "rose", "ann")
    photos.add(photo(0), "daisy", "ann")
    changes = snapshot.changes(before, snapshot.take(photos))
    assert (changes.added, changes.removed, changes.relabelled, changes.photos) == (1, 0, 1, 2)
    back = snapshot.changes(snapshot.take(photos), before)
    assert (back.added, back.removed, back.relabelled) == (0, 1, 1)
    assert snapshot.changes(before, before).photos == 0


def test_id_follows_every_label(photos: Photos) -> None:
    """The same photos have the same id each time; a moved photo gives another."""
    first = snapshot.take(photos)
    assert snapshot.take(photos).id == first.id
    photos.add(photo(0), "daisy", "ann")
    assert snapshot.take(photos).id != first.id


def test_kept_snapshot_comes_back(photos: Photos, tmp_path: Path) -> None:
    """What was written is read again; what is gone or damaged is None."""
    taken = snapshot.take(photos)
    taken.write(tmp_path / "kept")
    again = snapshot.read(tmp_path / "kept", taken.id, photos.folder)
    assert again
    assert (again.id, again.classes) == (taken.id, taken.classes)
    np.testing.assert_array_equal(again.rows, taken.rows)
    file = tmp_path / "kept" / f"{taken.id}.npz"
    file.write_bytes(file.read_bytes()[:100])
    assert snapshot.read(tmp_path / "kept", taken.id, photos.folder) is None
    assert snapshot.read(tmp_path / "kept", "0" * 16, photos.folder) is None


def test_class_that_loses_its_last_training_photo_is_left_out(photos: Photos) -> None:
    """Without some photos, the numbers close up; with one class left there is nothing to learn."""
    taken = snapshot.take(photos)
    roses = {found.sha256 for found in taken.photos() if found.class_name == "rose"}
    assert taken.without(roses).classes == ("daisy", "向日葵")
    assert taken.without(roses).counts().tolist() == [3, 3]
    with pytest.raises(RunError, match="two classes"):
        taken.without({found.sha256 for found in taken.photos() if found.class_name != "rose"})
