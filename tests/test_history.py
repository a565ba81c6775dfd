"""Changing one's mind: undo at any depth, and what is done to whole classes."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import NewPlace, Place
from hypothesis import given, settings
from hypothesis import strategies as st
from pictures import photo, write

from storage.database import Database
from storage.errors import LabelError, PhotoError
from storage.history import Changed, History, Undone
from storage.photos import Photos
from storage.reindex import reindex
from storage.settings import Images

pytestmark = pytest.mark.both_databases

MERGE_FOR_EVER = """
import sys
from itertools import count
from pathlib import Path
from storage.database import Database
from storage.history import History
from storage.photos import Photos
from storage.settings import Images
folder = Path(sys.argv[1])
history = History(Photos(Database(sys.argv[2]), folder / "photos", folder / "unlabelled", Images()))
for number in count():
    history.merge("daisy", "rose", "child", f"{sys.argv[3]}:{number}")
    print(number, flush=True)
    history.undo_last("child")
    history.rename("daisy", "oxeye", "child")
    history.undo_last("child")
    history.delete_class("daisy", "child")
    history.undo_last("child")
"""
ACTS = st.tuples(
    st.sampled_from(["label", "rename", "merge", "delete", "remove", "withdraw", "undo"]),
    st.sampled_from(["ann", "bob"]),
    st.sampled_from(["a", "b", "c", "B"]),
    st.sampled_from(["a", "b", "c", "d"]),
    st.integers(0, 5),
)


def opened(folder: Path, place: Place) -> Photos:
    return Photos(Database(place), folder / "photos", folder / "unlabelled", Images())


@pytest.fixture
def photos(tmp_path: Path, place: Place) -> Iterator[Photos]:
    """Three daisies by "ann", and a rose by "bob"."""
    store = opened(tmp_path, place)
    for number in range(3):
        store.add(photo(number), "daisy", "ann")
    store.add(photo(3), "rose", "bob")
    yield store
    store.database.close()


@pytest.fixture
def history(photos: Photos) -> History:
    return History(photos)


def classes(photos: Photos) -> dict[str, int]:
    return {row.name: row.photos for row in photos.classes()}


def state(photos: Photos) -> dict[str, tuple[str, str]]:
    """The class and split of every photo in a class."""
    return {known.sha256: (known.class_name, known.split) for known in photos.all()}


def in_step(photos: Photos) -> bool:
    """Whether class folders and catalogue say the same, and no photo is lost."""
    files = {path for path in photos.folder.rglob("*") if path.is_file()}
    return files == {known.path for known in photos.all()} and not reindex(photos).changed


def test_undo_takes_a_first_label_back(photos: Photos, history: History) -> None:
    """The photo is in no class then, but not lost."""
    before = state(photos)
    labelled = photos.add(photo(9), "tulip", "ann")
    assert labelled.act
    undone = history.undo(labelled.act, "bob")
    assert undone == Undone(labelled.act, "label", {}, 1, None, 0)
    assert state(photos) == before
    assert photos.holds(labelled.receipts[0].sha256)


def test_undo_takes_a_move_back(photos: Photos, history: History) -> None:
    """The photo returns to the class it came from."""
    before = state(photos)
    photos.add(photo(1), "rose", "bob")
    assert history.undo_last("bob").back == {"daisy": 1}
    assert state(photos) == before
    assert in_step(photos)


def test_undo_goes_as_deep_as_wanted(photos: Photos, history: History) -> None:
    """One person's acts are taken back from the newest to the first, and then there is nothing left."""
    history.rename("daisy", "oxeye", "ann")
    history.merge("oxeye", "rose", "ann")
    photos.add(photo(0), "tulip", "ann")
    done = [history.undo_last("ann").what for _ in range(6)]
    assert done == ["label", "merge", "rename", "label", "label", "label"]
    assert classes(photos) == {"rose": 1}
    with pytest.raises(PhotoError, match="nothing of yours"):
        history.undo_last("ann")
    assert in_step(photos)


def test_undo_leaves_alone_what_was_changed_since(photos: Photos, history: History) -> None:
    """Of an album of which somebody moved one photo on, the others return."""
    merged = history.merge("daisy", "rose", "ann")
    photos.add(photo(0), "tulip", "bob")
    assert merged.act
    undone = history.undo(merged.act, "ann")
    assert (undone.back, undone.kept) == ({"daisy": 2}, 1)
    assert classes(photos) == {"daisy": 2, "rose": 1, "tulip": 1}
    history.undo_last("bob")
    assert history.undo(merged.act, "ann").back == {"daisy": 1}


def test_act_is_undone_once(photos: Photos, history: History) -> None:
    """What was taken back cannot be taken back again, nor can taking back, nor what never was."""
    act = photos.add(photo(0), "rose", "ann").act
    assert act
    photos.path("rose", photos.normalise(photo(0)).sha256).unlink()
    history.undo(act, "ann")
    for wrong in (act, act + 1, 999):
        with pytest.raises(PhotoError, match="cannot be undone"):
            history.undo(wrong, "ann")


def test_undo_of_a_file_deleted_by_hand(photos: Photos, history: History) -> None:
    """What is gone stays gone, and the rest returns."""
    act = history.merge("daisy", "rose", "ann").act
    photos.path("rose", photos.normalise(photo(0)).sha256).unlink()
    assert act
    undone = history.undo(act, "ann", "update:1")
    assert (undone.back, undone.kept, undone.gone) == ({"daisy": 2}, 0, 1)
    assert history.undo(act, "ann", "update:1") == undone
    assert in_step(photos)


def test_undo_passes_photos_that_are_gone(photos: Photos, history: History) -> None:
    """An act of which nothing can come back is told of once, and the older ones follow."""
    history.rename("rose", "tulip", "ann")
    removed = history.remove([photos.normalise(photo(number)).sha256 for number in (0, 1)], "ann").act
    assert photos.prune_unlabelled(0) == 2
    assert removed
    assert history.undo_last("ann") == Undone(removed, "remove", {}, 0, None, 0, gone=2)
    assert [history.undo_last("ann").what for _ in range(2)] == ["rename", "label"]
    with pytest.raises(PhotoError, match="nothing of yours"):  # The other two labels were of the photos that are gone.
        history.undo_last("ann")
    assert in_step(photos)


def test_photo_that_was_gone_can_be_sent_again(photos: Photos, history: History) -> None:
    """Undo never brings it back into a class by itself, but it can be labelled anew, and that be undone."""
    sha256 = photos.normalise(photo(0)).sha256
    act = history.remove([sha256], "ann").act
    photos.prune_unlabelled(0)
    assert act
    history.undo(act, "ann")
    photos.keep(photos.prepare(photo(0)), "ann")
    assert photos.standings([sha256]) == {sha256: None}
    photos.label([sha256], "rose", "ann")
    assert history.undo_last("ann").out == 1
    assert photos.standings([sha256]) == {sha256: None}
    assert in_step(photos)


def test_undo_survives_a_file_in_the_way(photos: Photos, history: History) -> None:
    """A copy that somebody left where the photo goes back to is replaced by the photo itself."""
    sha256 = photos.add(photo(0), "rose", "ann").receipts[0].sha256
    write(photos.path("daisy", sha256), photos.path("rose", sha256).read_bytes())
    history.undo_last("ann")
    assert in_step(photos)


def test_rename_changes_nothing_but_the_name(photos: Photos, history: History) -> None:
    """The folder goes along; the class and every split stay."""
    before, ids = state(photos), photos.class_ids()
    changed = history.rename("DAISY", " ox eye", "ann")
    assert changed == Changed(changed.act, 3, {"daisy": 3}, "ox_eye")
    assert photos.class_ids() == {"ox_eye": ids["daisy"], "rose": ids["rose"]}
    assert {sha256: split for sha256, (_, split) in state(photos).items()} == {
        sha256: split for sha256, (_, split) in before.items()
    }
    assert not (photos.folder / "daisy").exists()
    assert in_step(photos)
    assert history.undo_last("ann").renamed == ("ox_eye", "daisy")
    assert state(photos) == before
    assert in_step(photos)


def test_rename_to_another_spelling(photos: Photos, history: History) -> None:
    """The same name in another case is another name for show; the very same name is nothing to do."""
    assert history.rename("daisy", "Daisy", "ann").after == "Daisy"
    assert history.rename("daisy", "Daisy", "ann") == Changed(None, 3, {}, "Daisy")
    assert in_step(photos)


def test_rename_to_another_class_is_refused(photos: Photos, history: History) -> None:
    """Two classes become one only by a merge."""
    before = state(photos)
    with pytest.raises(PhotoError, match="merge “daisy” into it"):
        history.rename("daisy", "ROSE", "ann")
    assert state(photos) == before
    assert in_step(photos)


def test_rename_to_the_name_of_an_empty_class(photos: Photos, history: History) -> None:
    """The empty one steps aside, and undoing all brings its photos back to it, under its name."""
    before = state(photos)
    history.merge("rose", "daisy", "ann")
    history.rename("daisy", "rose", "ann")
    assert classes(photos) == {"rose": 4}
    assert in_step(photos)
    history.undo_last("ann")
    history.undo_last("ann")
    assert state(photos) == before
    assert in_step(photos)


def test_undo_passes_a_name_that_was_taken(photos: Photos, history: History) -> None:
    """Older acts are undone past a rename that cannot be; then it is said what to do, and once it is done, it can."""
    photos.add(photo(0), "rose", "ann")
    renamed = history.rename("daisy", "oxeye", "ann").act
    photos.add(photo(9), "daisy", "bob")
    assert history.undo_last("ann").back == {"oxeye": 1}
    assert [history.undo_last("ann").out for _ in range(3)] == [1] * 3
    with pytest.raises(PhotoError, match="there is another class “daisy” now"):
        history.undo_last("ann")
    assert in_step(photos)
    history.rename("daisy", "marguerite", "bob")
    undone = history.undo_last("ann")
    assert (undone.act, undone.renamed) == (renamed, ("oxeye", "daisy"))
    assert in_step(photos)


def test_undo_does_not_undo_itself(photos: Photos, history: History) -> None:
    """What undo did besides, as to move an empty class out of the way, is no act of that person's."""
    history.rename("daisy", "oxeye", "ann")
    photos.add(photo(9), "daisy", "bob")
    history.undo_last("bob")
    assert history.undo_last("ann").renamed == ("oxeye", "daisy")  # Bob's empty class steps aside for it.
    assert [history.undo_last("ann").what for _ in range(3)] == ["label"] * 3
    with pytest.raises(PhotoError, match="nothing of yours"):
        history.undo_last("ann")
    assert in_step(photos)


def test_rename_after_a_kill(photos: Photos, history: History) -> None:
    """Where the folder has its new name already but the catalogue has not, another try finishes it."""
    (photos.folder / "daisy").rename(photos.folder / "oxeye")
    history.rename("daisy", "oxeye", "ann")
    assert classes(photos) == {"oxeye": 3, "rose": 1}
    assert in_step(photos)


def test_rename_onto_a_folder_that_is_there(photos: Photos, history: History) -> None:
    """Files that somebody has put into a folder of the new name stay, and reindex takes them in."""
    write(photos.folder / "oxeye" / "new.jpg", photo(20))
    (photos.folder / "tulip").mkdir()
    history.rename("daisy", "oxeye", "ann")
    history.rename("rose", "tulip", "ann")
    assert reindex(photos).added == 1
    assert classes(photos) == {"oxeye": 4, "tulip": 1}
    assert in_step(photos)


def test_merge_moves_every_photo(photos: Photos, history: History) -> None:
    """The emptied folder goes, splits stay, and undo brings back exactly those that came."""
    before = state(photos)
    changed = history.merge("daisy", "Rose", "ann")
    assert changed == Changed(changed.act, 3, {"daisy": 3}, "rose")
    assert (classes(photos), (photos.folder / "daisy").exists()) == ({"rose": 4}, False)
    assert in_step(photos)
    assert history.undo_last("ann").back == {"daisy": 3}
    assert state(photos) == before


def test_deleted_class_can_come_back(photos: Photos, history: History) -> None:
    """Its photos are in no class, and nothing is lost."""
    before = state(photos)
    changed = history.delete_class("daisy", "ann")
    assert changed == Changed(changed.act, 3, {"daisy": 3}, None)
    assert classes(photos) == {"rose": 1}
    assert in_step(photos)
    assert history.undo_last("ann").back == {"daisy": 3}
    assert state(photos) == before


def test_photos_are_removed_together(photos: Photos, history: History) -> None:
    """Those that are in no class, or never were here, do not count."""
    both = [photos.normalise(photo(number)).sha256 for number in (0, 3)]
    changed = history.remove([*both, "f" * 64], "ann")
    assert changed == Changed(changed.act, 2, {"daisy": 1, "rose": 1}, None)
    assert history.remove(both, "ann") == Changed(None, 0, {}, None)
    assert history.undo_last("ann").back == {"daisy": 1, "rose": 1}


def test_photos_of_one_person_are_withdrawn_together(photos: Photos, history: History) -> None:
    """Also those that others have moved since; other people's photos stay."""
    photos.add(photo(0), "rose", "bob")
    assert history.given_by("ann") == {"daisy": 2, "rose": 1}
    changed = history.withdraw("ann", "admin")
    assert (changed.photos, changed.before) == (3, {"daisy": 2, "rose": 1})
    assert (classes(photos), history.given_by("ann")) == ({"rose": 1}, {})
    assert in_step(photos)
    assert history.undo_last("admin").back == {"daisy": 2, "rose": 1}


def test_what_cannot_be_done_is_told(history: History) -> None:
    """Classes that are not there, names that cannot be, and a class into itself."""
    with pytest.raises(PhotoError, match="no class “tulip”"):
        history.rename("tulip", "x", "ann")
    with pytest.raises(PhotoError, match="no class “tulip”"):
        history.merge("daisy", "tulip", "ann")
    with pytest.raises(PhotoError, match="no class “tulip”"):
        history.delete_class("tulip", "ann")
    with pytest.raises(PhotoError, match="itself"):
        history.merge("daisy", "DAISY", "ann")
    with pytest.raises(LabelError):
        history.rename("daisy", "a/b", "ann")


def test_acts_done_again_under_their_keys_are_told_again(photos: Photos, history: History) -> None:
    """An update that is worked twice changes nothing the second time, and the answer is the same."""
    photos.add(photo(9), "tulip", "cat")
    sha256 = photos.normalise(photo(3)).sha256
    for act in (
        lambda: history.rename("daisy", "oxeye", "ann", "1"),
        lambda: history.merge("oxeye", "rose", "ann", "2"),
        lambda: history.undo_last("ann", "3"),
        lambda: history.undo_last("ann", "4"),
        lambda: history.remove([sha256], "ann", "5"),
        lambda: history.withdraw("cat", "ann", "6"),
        lambda: history.delete_class("daisy", "ann", "7"),
    ):
        first, after = act(), state(photos)
        assert (act(), state(photos)) == (first, after)
    assert in_step(photos)


@given(st.lists(ACTS, max_size=20))
@settings(max_examples=20, deadline=None)
def test_any_history_can_be_undone(
    tmp_path_factory: pytest.TempPathFactory, new_place: NewPlace, acts: list[tuple[str, str, str, str, int]]
) -> None:
    """Whatever people do: files and catalogue agree, no split ever changes, no photo is lost, and when everybody has
    taken back everything, no class has photos and every name is free.
    """
    photos = opened(tmp_path_factory.mktemp("store"), new_place())
    history = History(photos)
    known: dict[str, str] = {}
    for what, by, one, other, number in acts:
        try:
            do(history, photos, what, by, one, other, number)
        except PhotoError:
            continue
        assert in_step(photos)
        splits = {sha256: split for sha256, (_, split) in state(photos).items()}
        assert splits == {sha256: known.setdefault(sha256, split) for sha256, split in splits.items()}
        assert all(map(photos.holds, known))
    for _ in range(3):  # What one has done may hold up what the other did before.
        for by in ("ann", "bob"):
            undo_all(history, by)
    assert (photos.all(), in_step(photos)) == ([], True)
    photos.database.close()


def do(history: History, photos: Photos, what: str, by: str, one: str, other: str, number: int) -> None:
    if what == "label":
        photos.add(photo(number), one, by)
    elif what == "rename":
        history.rename(one, other, by)
    elif what == "merge":
        history.merge(one, other, by)
    elif what == "delete":
        history.delete_class(one, by)
    elif what == "remove":
        history.remove([photos.normalise(photo(number)).sha256], by)
    elif what == "withdraw":
        history.withdraw(by, by)
    else:
        history.undo_last(by)


def undo_all(history: History, by: str) -> None:
    try:
        while True:
            history.undo_last(by)
    except PhotoError:
        return


def test_kill_loses_nothing(photos: Photos, tmp_path: Path, place: Place) -> None:
    """After kill -9 amid merges, renames and deletions every photo is there, in a class or out, once."""
    for number in range(4, 60):
        photos.add(photo(number), "daisy", "ann")
    hashes = set(state(photos))
    for round_ in range(4):
        command = [sys.executable, "-c", MERGE_FOR_EVER, str(tmp_path), str(place), str(round_)]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as child:
            assert child.stdout
            for _ in range(2 + round_):
                child.stdout.readline()
            child.kill()
        reindex(photos)
        files = [path.stem for path in tmp_path.rglob("*.jpg")]
        assert sorted(files) == sorted(hashes)
        assert in_step(photos)
        out = hashes - set(state(photos))
        if "oxeye" in classes(photos):
            History(photos).rename("oxeye", "daisy", "ann")
        photos.label(sorted(hashes)[:40], "daisy", "ann")
        photos.label(sorted(hashes)[40:], "rose", "ann")
        assert out <= set(state(photos))
