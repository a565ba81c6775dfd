"""Photos in class folders, and the catalogue beside them."""

import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from conftest import NewPlace, Place
from hypothesis import given, settings
from hypothesis import strategies as st
from pictures import encoded, noise, photo, write
from sqlalchemy import select

from storage.database import Database
from storage.errors import ImageError, LabelError, PhotoError
from storage.history import History
from storage.photos import Photos
from storage.receipts import Labelled, Outcome, Receipt
from storage.reindex import reindex
from storage.settings import Images
from storage.splits import Split
from storage.tables import ChangeRow, ClassRow, PhotoRow

pytestmark = pytest.mark.both_databases

ADD_FOR_EVER = """
import sys
from itertools import count
from pathlib import Path
from pictures import photo
from storage.database import Database
from storage.photos import Photos
from storage.settings import Images
folder = Path(sys.argv[1])
photos = Photos(Database(sys.argv[2]), folder / "photos", folder / "unlabelled", Images())
for number in count(int(sys.argv[3])):
    labelled = photos.add(photo(number % 40), f"class {(number // 40 + number) % 3}", "child")
    print(labelled.receipts[0].sha256, labelled.class_name, flush=True)
"""


def opened(folder: Path, place: Place) -> Photos:
    return Photos(Database(place), folder / "photos", folder / "unlabelled", Images())


@pytest.fixture
def photos(tmp_path: Path, place: Place) -> Iterator[Photos]:
    store = opened(tmp_path, place)
    yield store
    store.database.close()


def added(photos: Photos, number: int, name: str) -> str:
    """The SHA-256 of a photo that "ann" has put into a class."""
    return photos.add(photo(number), name, "ann").receipts[0].sha256


def outcomes(labelled: Labelled) -> list[Outcome]:
    return [receipt.outcome for receipt in labelled.receipts]


def unlabelled(photos: Photos) -> set[str]:
    return {path.stem for path in photos.places.unlabelled.iterdir()}


def history(photos: Photos, sha256: str) -> list[tuple[str, str, bool]]:
    """Who gave a photo which label, and whether it was followed."""
    query = select(ChangeRow.by, ClassRow.name, ChangeRow.made).join(ClassRow, ChangeRow.after == ClassRow.id)
    with photos.database.read() as session:
        rows = session.execute(query.where(ChangeRow.photo == sha256).order_by(ChangeRow.id))
        return [(by, name, made) for by, name, made in rows]


def on_disk(photos: Photos) -> set[Path]:
    return {path for path in photos.folder.rglob("*") if path.is_file()}


def in_step(photos: Photos) -> bool:
    """Whether catalogue and class folders say the same."""
    return on_disk(photos) == {photo.path for photo in photos.all()}


def test_photo_is_stored_under_its_class(photos: Photos) -> None:
    """The first photo of a class makes its folder, and the receipt says so."""
    labelled = photos.add(photo(1), "Ox-eye daisy", "ann")
    assert (outcomes(labelled), labelled.class_name, labelled.class_photos) == ([Outcome.ADDED], "Ox-eye_daisy", 1)
    assert on_disk(photos) == {photos.folder / "Ox-eye_daisy" / f"{labelled.receipts[0].sha256}.jpg"}


def test_same_photo_is_stored_once(photos: Photos) -> None:
    """Sent again as it was, or as it is stored, it is a duplicate."""
    stored = photos.content(added(photos, 1, "daisy"))
    again = [photos.add(content, "Daisy", "bob") for content in (photo(1), stored)]
    assert [outcomes(labelled) for labelled in again] == [[Outcome.DUPLICATE]] * 2
    assert [labelled.act for labelled in again] == [None] * 2
    assert len(on_disk(photos)) == 1


def test_spellings_of_a_class_are_one(photos: Photos) -> None:
    """The first spelling is kept for show."""
    names = [photos.add(photo(n), name, "ann").class_name for n, name in enumerate(["Daisy", "daisy", "ＤＡＩＳＹ "])]
    assert names == ["Daisy"] * 3
    assert [(row.name, row.photos) for row in photos.classes()] == [("Daisy", 3)]


def test_names_are_in_the_same_order_everywhere(photos: Photos) -> None:
    """Whatever order of words the database's server has been set up with."""
    for number, name in enumerate(["b", "ä", "a_c", "B1", "ab"]):
        added(photos, number, name)
    assert photos.class_names() == ["B1", "a_c", "ab", "b", "ä"]
    assert list(photos.since(datetime(2026, 1, 1, tzinfo=UTC))) == photos.class_names()
    assert list(History(photos).given_by("ann")) == photos.class_names()


def test_photo_moves_to_another_class(photos: Photos) -> None:
    """A second label moves the photo, and its split stays."""
    sha256 = added(photos, 1, "daisy")
    split = photos.all()[0].split
    moved = photos.add(photo(1), "rose", "bob")
    assert moved.receipts == (Receipt(Outcome.MOVED, sha256, "daisy"),)
    assert [(known.class_name, known.split) for known in photos.all()] == [("rose", split)]
    assert on_disk(photos) == {photos.path("rose", sha256)}


def test_photo_stays_where_moving_is_not_wanted(photos: Photos) -> None:
    """Without `move` another label is refused and changes nothing, not even the list of classes."""
    photos.add(photo(1), "daisy", "ann")
    with pytest.raises(PhotoError, match="already stored under “daisy”"):
        photos.add(photo(1), "rose", "bob", move=False)
    assert list(photos.class_ids()) == photos.class_names() == ["daisy"]
    assert outcomes(photos.add(photo(1), "daisy", "bob", move=False)) == [Outcome.DUPLICATE]


def test_removed_photo_can_be_sent_again(photos: Photos) -> None:
    """After an undo the same photo goes to whatever class it is sent with, in its old split."""
    photos.add(photo(1), "daisy", "ann")
    split = photos.all()[0].split
    History(photos).undo_last("ann")
    assert outcomes(photos.add(photo(1), "rose", "ann")) == [Outcome.ADDED]
    assert photos.all()[0].split == split
    assert in_step(photos)


def test_photo_deleted_by_hand_can_be_sent_again(photos: Photos) -> None:
    """A file that somebody deleted is stored anew."""
    photos.path("daisy", added(photos, 1, "daisy")).unlink()
    photos.add(photo(1), "daisy", "ann")
    assert in_step(photos)


@pytest.mark.parametrize(
    ("content", "name", "error"), [(b"no photo", "daisy", ImageError), (photo(1), "a/b", LabelError)]
)
def test_refused_photo_changes_nothing(photos: Photos, content: bytes, name: str, error: type[Exception]) -> None:
    """Neither file, nor row, nor class comes of what is refused."""
    with pytest.raises(error):
        photos.add(content, name, "ann")
    assert not photos.folder.exists()
    assert photos.class_ids() == {}


def test_classes_are_counted_by_split(photos: Photos) -> None:
    """Of ten photos of a class one validates and one tests; names are in order whatever their case."""
    for number in range(10):
        photos.add(photo(number), "rose", "ann")
    photos.add(photo(10), "Daisy", "ann")
    assert [row.name for row in photos.classes()] == ["Daisy", "rose"]
    rose = photos.classes()[1]
    assert (rose.photos, rose.train, rose.validation, rose.test) == (10, 8, 1, 1)


@given(st.lists(st.tuples(st.integers(0, 5), st.sampled_from(["a", "b", "c"]), st.booleans()), max_size=25))
@settings(max_examples=15, deadline=None)
def test_any_history_leaves_catalogue_and_folders_in_step(
    tmp_path_factory: pytest.TempPathFactory, new_place: NewPlace, acts: list[tuple[int, str, bool]]
) -> None:
    """Adding, moving and undoing in any order: every photo has one file and keeps its first split."""
    photos = opened(tmp_path_factory.mktemp("store"), new_place())
    first: dict[str, Split] = {}
    for number, name, undo in acts:
        labelled = photos.add(photo(number), name, "ann")
        sha256 = labelled.receipts[0].sha256
        splits = {known.sha256: known.split for known in photos.all()}
        assert splits[sha256] == first.setdefault(sha256, splits[sha256])
        if undo and labelled.act:
            History(photos).undo(labelled.act, "ann")
        assert in_step(photos)
    assert not reindex(photos).changed
    photos.database.close()


def test_killed_writers_lose_nothing(tmp_path: Path, place: Place) -> None:
    """After kill -9 while adding, again and again, what was answered is there, and reindex puts the rest right."""
    answered: dict[str, str] = {}
    for round_ in range(4):
        command = [sys.executable, "-c", ADD_FOR_EVER, str(tmp_path), str(place), str(17 * round_)]
        tests = {"PYTHONPATH": f"{Path(__file__).parent}:{Path(__file__).parent.parent}"}
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=tests) as child:
            assert child.stdout
            lines = [child.stdout.readline() for _ in range(20 + 3 * round_)]
            child.kill()
            lines += child.stdout.readlines()
        answered.update(dict[str, str](line.split() for line in lines if line.endswith("\n")))
    photos = opened(tmp_path, place)
    reindex(photos)
    assert in_step(photos)
    assert not reindex(photos).changed
    stored = {known.sha256: known.class_name for known in photos.all()}
    # At most the one photo in hand at each kill may have been moved on without an answer.
    differing = [sha256 for sha256, name in answered.items() if stored.get(sha256) != name]
    assert answered.keys() <= stored.keys()
    assert len(differing) <= 4
    assert Counter(path.suffix for path in on_disk(photos)) == {".jpg": len(stored)}
    photos.database.close()


def test_photo_waits_for_its_label(photos: Photos) -> None:
    """A photo without a label is kept in no class and no split; its label decides both."""
    sha256 = photos.keep(photos.prepare(photo(1)), "telegram:1")
    assert (photos.all(), unlabelled(photos), photos.standings([sha256])) == ([], {sha256}, {sha256: None})
    assert photos.keep(photos.prepare(photo(1)), "telegram:2") == sha256
    labelled = photos.label([sha256], "daisy", "telegram:2")
    assert labelled.receipts == (Receipt(Outcome.ADDED, sha256, None),)
    assert (in_step(photos), unlabelled(photos)) == (True, set())
    assert photos.standings([sha256]) == {sha256: "daisy"}
    assert photos.standings(["f" * 64]) == {}


def test_photos_are_looked_up_together(photos: Photos) -> None:
    """Each that was ever received, with its class if it is in one."""
    daisy, waiting = added(photos, 1, "daisy"), photos.keep(photos.prepare(photo(2)), "ann")
    assert photos.standings([daisy, waiting, "f" * 64]) == {daisy: "daisy", waiting: None}
    assert photos.standings([]) == {}


def test_class_is_known_by_its_number(photos: Photos) -> None:
    """Under its present name, also once it holds nothing; a number that was never given is nothing."""
    for number, name in enumerate(["daisy", "rose"]):
        photos.add(photo(number), name, "ann")
    ids = photos.class_ids()
    History(photos).rename("daisy", "oxeye", "ann")
    History(photos).merge("rose", "oxeye", "ann")
    assert [photos.name_of(ids[name]) for name in ("daisy", "rose")] == ["oxeye", "rose"]
    assert photos.name_of(max(ids.values()) + 1) is None


def test_content_is_read_wherever_the_photo_is(photos: Photos) -> None:
    """In no class, in one, or moved by hand; what is gone altogether is told."""
    sha256 = photos.keep(photos.prepare(photo(1)), "ann")
    content = photos.content(sha256)
    photos.label([sha256], "daisy", "ann")
    assert (photos.content(sha256), photos.holds(sha256)) == (content, True)
    path = write(photos.path("rose", sha256), content)
    photos.path("daisy", sha256).unlink()
    assert (photos.content(sha256), photos.holds(sha256)) == (content, True)
    path.unlink()
    assert not photos.holds(sha256)
    with pytest.raises(PhotoError, match="send it again"):
        photos.content(sha256)


def test_album_is_one_act(photos: Photos) -> None:
    """Photos that are labelled together have a receipt each, in their order, however they fared."""
    rose, daisy = added(photos, 1, "rose"), added(photos, 2, "daisy")
    new, lost = (photos.keep(photos.prepare(photo(number)), "ann") for number in (3, 4))
    (photos.places.unlabelled / f"{lost}.jpg").unlink()
    labelled = photos.label([new, rose, daisy, lost, "f" * 64, new], "Daisy", "ann")
    assert outcomes(labelled) == [Outcome.ADDED, Outcome.MOVED, Outcome.DUPLICATE, Outcome.GONE, Outcome.GONE]
    assert (labelled.class_name, labelled.class_photos) == ("daisy", 3)
    assert in_step(photos)


def test_label_of_photos_that_are_gone_is_refused(photos: Photos) -> None:
    """Where none of the photos is there any more nothing comes of their label, not even a class."""
    with pytest.raises(PhotoError, match="send it again"):
        photos.label(["f" * 64], "daisy", "ann")
    assert photos.class_ids() == {}


def test_act_done_again_under_its_key_is_told_again(photos: Photos) -> None:
    """Nothing changes a second time, and the receipts are those of the first time, in their order."""
    rose, daisy = added(photos, 1, "rose"), added(photos, 2, "daisy")
    album = ["f" * 64, daisy, rose]
    first = photos.label(album, "daisy", "ann", "update:1")
    assert outcomes(first) == [Outcome.GONE, Outcome.DUPLICATE, Outcome.MOVED]
    assert photos.label(album, "daisy", "ann", "update:1") == first
    History(photos).rename("daisy", "oxeye", "bob")
    again = photos.label(album, "daisy", "ann", "update:1")
    assert (again.class_name, outcomes(again)) == ("oxeye", outcomes(first))


def test_what_was_changed_since_is_not_told_again(photos: Photos) -> None:
    """Of an act that is done again, neither what was taken back nor what was moved on is done or told again."""
    rose, daisy, new = added(photos, 1, "rose"), added(photos, 2, "daisy"), added(photos, 3, "rose")
    labelled = photos.label([rose, daisy, new], "daisy", "ann", "update:1")
    photos.label([daisy], "tulip", "bob")
    again = photos.label([rose, daisy, new], "daisy", "ann", "update:1")
    assert again == replace(labelled, class_photos=2, receipts=(labelled.receipts[0], labelled.receipts[2]))
    photos.label([new], "tulip", "bob")
    photos.label([new], "daisy", "bob")  # Where it is now is bob's doing.
    History(photos).undo_last("ann")
    again = photos.label([rose, daisy, new], "daisy", "ann", "update:1")
    assert again == Labelled(None, "daisy", 1, ())
    assert photos.standings([rose, daisy, new]) == {rose: "rose", daisy: "tulip", new: "daisy"}


def test_late_photo_joins_its_act(photos: Photos) -> None:
    """Under a key that was used before, only photos that it did not have are labelled, and undo takes back all."""
    first, late = (photos.keep(photos.prepare(photo(number)), "ann") for number in (1, 2))
    act = photos.label([first], "daisy", "ann", "album:1").act
    whole = photos.label([first, late], "daisy", "ann", "album:1")
    assert (whole.act, outcomes(whole), whole.class_photos) == (act, [Outcome.ADDED] * 2, 2)
    assert History(photos).undo_last("ann").out == 2


def test_one_key_has_one_class(photos: Photos) -> None:
    """A late photo joins the class that its act has, under whatever name, even where another one is said now."""
    first, late, later = (photos.keep(photos.prepare(photo(number)), "ann") for number in (1, 2, 3))
    photos.label([first], "daisy", "ann", "album:1")
    assert photos.label([first, late], "rose", "ann", "album:1").class_name == "daisy"
    History(photos).rename("daisy", "oxeye", "bob")
    assert photos.label([first, late, later], "daisy", "ann", "album:1").class_name == "oxeye"
    assert {known.class_name for known in photos.all()} == {"oxeye"}
    assert "rose" not in photos.class_ids()


def test_disagreement_is_told_while_there_is_one(photos: Photos) -> None:
    """A label that was only written down is told again until somebody settles it."""
    sha256 = photos.add(photo(1), "daisy", "telegram:1").receipts[0].sha256
    contested = photos.label([sha256], "rose", "telegram:2", "update:1", contest=True)
    photos.label([sha256], "rose", "telegram:2", "update:2")
    assert photos.label([sha256], "rose", "telegram:2", "update:1", contest=True).receipts == ()
    History(photos).undo_last("telegram:2")
    assert photos.label([sha256], "rose", "telegram:2", "update:1", contest=True) == contested


def test_two_people_who_disagree(photos: Photos) -> None:
    """The first label stays, both are in the history, and whoever settles it decides."""
    sha256 = photos.add(photo(1), "daisy", "telegram:1").receipts[0].sha256
    for _ in range(2):  # The second time under the same key.
        contested = photos.label([sha256], "rose", "telegram:2", "update:1", contest=True)
        assert contested.receipts == (Receipt(Outcome.CONTESTED, sha256, "daisy"),)
    assert photos.standings([sha256]) == {sha256: "daisy"}
    assert history(photos, sha256) == [("telegram:1", "daisy", True), ("telegram:2", "rose", False)]
    assert outcomes(photos.label([sha256], "rose", "telegram:2")) == [Outcome.MOVED]
    assert photos.standings([sha256]) == {sha256: "rose"}
    assert outcomes(photos.label([sha256], "daisy", "telegram:1", contest=True)) == [Outcome.CONTESTED]
    assert in_step(photos)


@pytest.mark.parametrize("before", ["telegram:2", "import", "reindex"])
def test_ones_own_label_and_an_imported_one_are_not_contested(photos: Photos, before: str) -> None:
    """Only another person's label is."""
    photos.add(photo(1), "daisy", before)
    sha256 = photos.all()[0].sha256
    assert outcomes(photos.label([sha256], "rose", "telegram:2", contest=True)) == [Outcome.MOVED]


def test_label_of_a_photo_in_no_class_is_not_contested(photos: Photos) -> None:
    """A label that was taken back is nobody's any more."""
    photos.add(photo(1), "daisy", "telegram:1")
    sha256 = photos.all()[0].sha256
    History(photos).undo_last("telegram:1")
    assert outcomes(photos.label([sha256], "rose", "telegram:2", contest=True)) == [Outcome.ADDED]


def test_move_that_was_not_committed_is_settled_by_the_next_call(photos: Photos) -> None:
    """A kill between a photo's move and its commit leaves the file elsewhere; whatever is done next finds it."""
    sha256 = photos.keep(photos.prepare(photo(1)), "ann")
    moved = photos.places.unlabelled / f"{sha256}.jpg"
    write(photos.path("daisy", sha256), moved.read_bytes())
    moved.unlink()
    assert photos.prepare(photo(1)).photo is None
    assert outcomes(photos.label([sha256], "rose", "ann")) == [Outcome.ADDED]
    assert in_step(photos)


def test_room_for_unlabelled_photos_is_bounded(photos: Photos) -> None:
    """The ones that waited longest go, and can be sent again; photos in a class are not touched."""
    kept = [photos.keep(photos.prepare(photo(number)), "ann") for number in range(4)]
    for age, sha256 in enumerate(reversed(kept)):
        os.utime(photos.places.path(None, sha256), (1e9 - age, 1e9 - age))
    photos.label(kept[:1], "daisy", "ann")
    size = photos.places.path(None, kept[3]).stat().st_size
    assert photos.prune_unlabelled(10 * size) == 0
    History(photos).undo_last("ann")  # It comes back as the newest.
    assert photos.prune_unlabelled(2 * size + size // 2) == 2
    assert unlabelled(photos) == {kept[0], kept[3]}
    assert not photos.holds(kept[1])
    assert photos.keep(photos.prepare(photo(1)), "ann") == kept[1]
    assert photos.holds(kept[1])


def test_file_that_vanishes_does_not_stop_making_room(photos: Photos) -> None:
    """A person, or another process, may take files away at the same time."""
    kept = [photos.keep(photos.prepare(photo(number)), "ann") for number in range(3)]
    (photos.places.unlabelled / f"{'f' * 64}.jpg").symlink_to("nothing")

    def goes_first(sha256: str) -> bool:
        photos.places.path(None, sha256).unlink()
        return True

    photos.places.prune(0, photos.clock(), goes_first)
    assert not any(map(photos.holds, kept))


def test_photos_that_look_the_same_share_a_split(photos: Photos) -> None:
    """Near duplicates never judge what was learnt from one of them, whatever their classes."""
    for number in range(12):
        photos.add(photo(number), "daisy", "ann")
        photos.add(encoded(noise(number).resize((96, 64)), quality=60), "rose" if number % 2 else "daisy", "ann")
    with photos.database.read() as session:
        groups = session.execute(select(PhotoRow.duplicates, PhotoRow.split)).all()
    assert Counter(Counter(group for group, _ in groups).values()) == {2: 12}
    assert len(set(groups)) == 12
    assert {split for _, split in groups} == set(Split)


def test_burst_of_one_scene_is_one_group(photos: Photos) -> None:
    """However many near duplicates a class has, its other photos reach every split."""
    for quality in range(40, 80):
        photos.add(encoded(noise(0), quality=quality), "daisy", "ann")
    for number in (1, 2):
        photos.add(photo(number), "daisy", "ann")
    (daisy,) = photos.classes()
    assert (daisy.train, daisy.validation, daisy.test) == (40, 1, 1)
