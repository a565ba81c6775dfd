"""People rename, copy, move and delete in the class folders, and the catalogue follows."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from conftest import NewPlace, Place
from hypothesis import given, settings
from hypothesis import strategies as st
from pictures import encoded, noise, photo, write
from sqlalchemy import delete, func, select

from storage.database import Database
from storage.errors import PhotoError
from storage.files import sha256_of
from storage.history import History
from storage.photos import Photos
from storage.reindex import ReindexReport, reindex
from storage.settings import Images
from storage.tables import FingerprintRow

pytestmark = pytest.mark.both_databases

NAMES = ["daisy", "Daisy", "rose", "my class ", "oxeye", "not a class?", "con"]
EDITS = st.tuples(
    st.sampled_from(["add", "copy in", "rename", "delete", "move", "copy", "call", "junk"]),
    st.integers(0, 50),
    st.sampled_from(NAMES),
)

REINDEX = """
import sys
from pathlib import Path
from storage.database import Database
from storage.photos import Photos
from storage.reindex import reindex
from storage.settings import Images
folder = Path(sys.argv[1])
reindex(Photos(Database(sys.argv[2]), folder / "photos", folder / "unlabelled", Images()))
"""


def opened(folder: Path, place: Place) -> Photos:
    return Photos(Database(place), folder / "photos", folder / "unlabelled", Images())


@pytest.fixture
def photos(tmp_path: Path, place: Place) -> Iterator[Photos]:
    store = opened(tmp_path, place)
    for number in range(4):
        store.add(photo(number), "daisy", "ann")
    store.add(photo(4), "rose", "ann")
    yield store
    store.database.close()


def on_disk(photos: Photos) -> set[Path]:
    return {path for path in photos.folder.rglob("*") if path.is_file()}


def in_step(photos: Photos, report: ReindexReport) -> bool:
    """Whether catalogue and folders agree, save for what the report says was left alone."""
    left = {Path(refusal.path) for refusal in report.refused + report.conflicts}
    files = {path for path in on_disk(photos) if not {path, path.parent, path.parent.parent} & left}
    return files == {known.path for known in photos.all()}


def stored(photos: Photos, number: int) -> Path:
    """The file of the photo with this number."""
    return next(known.path for known in photos.all() if known.sha256 == photos.normalise(photo(number)).sha256)


def counts(photos: Photos) -> dict[str, int]:
    return {row.name: row.photos for row in photos.classes()}


def splits(photos: Photos) -> dict[str, str]:
    return {known.sha256: known.split for known in photos.all()}


def test_nothing_done_is_nothing_found(photos: Photos) -> None:
    """Folders that nobody touched give an empty report."""
    assert reindex(photos) == ReindexReport()


def test_photos_copied_in_are_added(photos: Photos) -> None:
    """Any name and format is taken, into old classes and new ones; the original goes once its photo is stored."""
    write(photos.folder / "daisy" / "IMG 1.PNG", encoded(noise(10), "PNG"))
    write(photos.folder / "tulip" / "x.webp", encoded(noise(11), "WEBP"))
    report = reindex(photos)
    assert (report.added, report.refused) == (2, [])
    assert counts(photos) == {"daisy": 5, "rose": 1, "tulip": 1}
    assert in_step(photos, report)


def test_deleted_files_leave_their_class(photos: Photos) -> None:
    """A deleted photo is in no class any more, and has its old split should it come back."""
    path, before = stored(photos, 1), splits(photos)
    path.unlink()
    assert reindex(photos).removed == 1
    assert counts(photos) == {"daisy": 3, "rose": 1}
    photos.add(photo(1), "daisy", "ann")
    assert splits(photos) == before


def test_moved_files_change_their_class(photos: Photos) -> None:
    """A file moved to another class's folder moves the photo, which keeps its split."""
    path, before = stored(photos, 1), splits(photos)
    path.rename(photos.folder / "rose" / path.name)
    report = reindex(photos)
    assert (report.moved, report.added, report.removed) == (1, 0, 0)
    assert counts(photos) == {"daisy": 3, "rose": 2}
    assert splits(photos) == before


def test_renamed_folder_renames_the_class(photos: Photos) -> None:
    """A folder's new name is the class's new name: the same class, the same splits."""
    before, ids = splits(photos), photos.class_ids()
    (photos.folder / "daisy").rename(photos.folder / "oxeye")
    report = reindex(photos)
    assert report == ReindexReport(renamed={"daisy": "oxeye"})
    assert photos.class_ids() == {"oxeye": ids["daisy"], "rose": ids["rose"]}
    assert splits(photos) == before


def test_case_of_a_folder_is_the_name_shown(photos: Photos) -> None:
    """A folder renamed only in case gives the class that spelling."""
    (photos.folder / "daisy").rename(photos.folder / "DAISY")
    assert reindex(photos) == ReindexReport(renamed={"daisy": "DAISY"})
    assert counts(photos) == {"DAISY": 4, "rose": 1}


def test_unsafe_folder_names_are_made_safe(photos: Photos) -> None:
    """A folder called `my class ` becomes my_class, and its photos with it."""
    (photos.folder / "daisy").rename(photos.folder / "my class ")
    report = reindex(photos)
    assert counts(photos) == {"my_class": 4, "rose": 1}
    assert in_step(photos, report)
    assert not (photos.folder / "my class ").exists()


def test_folders_of_one_class_are_merged(photos: Photos) -> None:
    """A second spelling of a class beside it joins it."""
    write(photos.folder / "Daisy" / "new.jpg", photo(20))
    write(photos.folder / "Daisy" / "same.jpg", photo(1))
    report = reindex(photos)
    assert (report.added, report.tidied, report.renamed) == (1, 1, {"Daisy": "daisy"})
    assert counts(photos) == {"daisy": 5, "rose": 1}
    assert in_step(photos, report)


def test_impossible_folder_names_are_reported(photos: Photos) -> None:
    """What cannot be a class stays as it is; its photos come back with a better name."""
    (photos.folder / "daisy").rename(photos.folder / "what?")
    report = reindex(photos)
    assert [(Path(refusal.path).name, "“?”" in refusal.reason) for refusal in report.refused] == [("what?", True)]
    assert (report.removed, len(list((photos.folder / "what?").iterdir()))) == (4, 4)
    (photos.folder / "what?").rename(photos.folder / "daisy")
    assert reindex(photos).added == 4


def test_same_photo_in_two_folders_is_a_conflict(photos: Photos) -> None:
    """The catalogue's class stays, and the other file is named and left; so also the next time."""
    copy = write(photos.folder / "rose" / stored(photos, 1).name, stored(photos, 1).read_bytes())
    other = write(photos.folder / "rose" / "same.jpg", photo(2))
    for _ in range(2):
        report = reindex(photos)
        assert not report.changed
        assert sorted(refusal.path for refusal in report.conflicts) == sorted(map(str, (copy, other)))
        assert all("“daisy”" in refusal.reason for refusal in report.conflicts)
    assert copy.exists()
    assert other.exists()


def test_swapped_folders_swap_their_photos(photos: Photos) -> None:
    """Two folders that trade names trade photos."""
    (photos.folder / "daisy").rename(photos.folder / "tmp")
    (photos.folder / "rose").rename(photos.folder / "daisy")
    (photos.folder / "tmp").rename(photos.folder / "rose")
    report = reindex(photos)
    assert (report.moved, counts(photos)) == (5, {"daisy": 1, "rose": 4})
    assert in_step(photos, report)


def test_renamed_files_get_their_names_back(photos: Photos) -> None:
    """A stored photo under another name is the same photo."""
    stored(photos, 1).rename(photos.folder / "daisy" / "nice.jpg")
    report = reindex(photos)
    assert report == ReindexReport(tidied=1)
    assert in_step(photos, report)


def test_edited_photo_under_a_stored_name_elsewhere_is_a_new_photo(photos: Photos) -> None:
    """A file whose name is the hash of something else is known by its content."""
    write(photos.folder / "rose" / stored(photos, 1).name, photo(30))
    report = reindex(photos)
    assert (report.added, report.conflicts) == (1, [])
    assert in_step(photos, report)


def test_catalogue_can_be_made_from_the_folders_alone(photos: Photos, new_place: NewPlace) -> None:
    """With the database lost, every photo is found again under its name."""
    before = {known.path for known in photos.all()}
    rebuilt = Photos(Database(new_place()), photos.folder, photos.places.unlabelled, Images())
    assert reindex(rebuilt).added == 5
    assert {known.path for known in rebuilt.all()} == before
    assert reindex(rebuilt) == ReindexReport()
    rebuilt.database.close()


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_what_is_no_photo_is_reported_and_left(photos: Photos, tmp_path: Path) -> None:
    """Broken files, folders in folders, links and files outside stay; hidden ones are passed over in silence."""
    outside = write(tmp_path / "outside.jpg", photo(40))
    write(photos.folder / "daisy" / "broken.jpg", photo(41)[:300])
    write(photos.folder / "daisy" / "deep" / "x.jpg", photo(42))
    write(photos.folder / "loose.jpg", photo(43))
    (photos.folder / "daisy" / "link.jpg").symlink_to(outside)
    (photos.folder / "linked").symlink_to(tmp_path)
    os.mkfifo(photos.folder / "rose" / "pipe")
    for name in (".DS_Store", "Thumbs.db", ".hidden.jpg"):
        write(photos.folder / "daisy" / name, b"clutter")
    before = on_disk(photos)
    report = reindex(photos)
    names = sorted(Path(refusal.path).name for refusal in report.refused)
    assert names == ["broken.jpg", "deep", "link.jpg", "linked", "loose.jpg", "pipe"]
    assert not report.changed
    assert on_disk(photos) == before


def test_leftovers_of_killed_writes_are_removed(photos: Photos) -> None:
    """Half-written files of a killed process go."""
    leftover = write(photos.folder / "daisy" / ".new-123", b"half")
    assert not reindex(photos).changed
    assert not leftover.exists()


def test_missing_folder_deletes_nothing(photos: Photos) -> None:
    """A disk that is not connected does not count as a thousand deletions."""
    photos.folder.rename(photos.folder.parent / "elsewhere")
    with pytest.raises(PhotoError, match="disk connected"):
        reindex(photos)
    assert counts(photos) == {"daisy": 4, "rose": 1}


def test_empty_folder_deletes_nothing(photos: Photos) -> None:
    """Nor does the empty folder that a disk leaves behind; an empty class folder says that it is meant."""
    for name in ("daisy", "rose"):
        shutil.rmtree(photos.folder / name)
    with pytest.raises(PhotoError, match="disk connected"):
        reindex(photos)
    assert counts(photos) == {"daisy": 4, "rose": 1}
    (photos.folder / "daisy").mkdir()
    assert reindex(photos).removed == 5


def test_restored_photo_returns_from_the_unlabelled_ones(photos: Photos) -> None:
    """A photo that was taken out by undo and is copied in again is back, with one file."""
    photos.add(photo(50), "rose", "ann")
    History(photos).undo_last("ann")
    write(photos.folder / "daisy" / "again.jpg", photo(50))
    report = reindex(photos)
    assert (report.added, counts(photos)) == (1, {"daisy": 5, "rose": 1})
    assert in_step(photos, report)
    assert not list(photos.places.unlabelled.iterdir())


def test_reindex_is_in_the_history(photos: Photos) -> None:
    """What was done by hand is one act of its own, which can be taken back."""
    (photos.folder / "daisy").rename(photos.folder / "oxeye")
    path = stored(photos, 4)
    write(photos.folder / "tulip" / path.name, path.read_bytes())
    path.unlink()
    write(photos.folder / "rose" / "new.jpg", photo(60))
    reindex(photos, "by hand")
    assert counts(photos) == {"oxeye": 4, "rose": 1, "tulip": 1}
    undone = History(photos).undo_last("by hand")
    assert (undone.back, undone.out, undone.renamed) == ({"rose": 1}, 1, ("oxeye", "daisy"))
    assert counts(photos) == {"daisy": 4, "rose": 1}
    assert not reindex(photos).changed


def test_old_data_folder_is_made_up(photos: Photos) -> None:
    """Photos from before there were fingerprints get theirs, and what was taken out of its class then is found."""
    removed = History(photos).remove([stored(photos, 4).stem], "ann")
    photos.places.unlabelled.rename(photos.folder.parent / "removed")
    with photos.database.write() as session:
        session.execute(delete(FingerprintRow))
    before = splits(photos)
    assert not reindex(photos).changed
    with photos.database.read() as session:
        assert session.scalar(select(func.count()).select_from(FingerprintRow)) == 4
    assert splits(photos) == before
    assert removed.act
    assert History(photos).undo(removed.act, "ann").back == {"rose": 1}
    twin = photos.add(encoded(noise(1).resize((96, 64))), "rose", "ann").receipts[0].sha256
    assert splits(photos)[twin] == before[stored(photos, 1).stem]


def edit(photos: Photos, act: str, number: int, name: str) -> None:
    """Do something to the folders as a person might."""
    files = sorted(path for path in on_disk(photos) if path.parent.parent == photos.folder)
    file = files[number % len(files)] if files else None
    folder = photos.folder / name
    if act == "add":
        photos.add(photo(number % 8), "daisy", "ann")
    elif act == "copy in":
        write(folder / f"{number}.png", encoded(noise(number % 8), "PNG"))
    elif act == "junk":
        write(folder / f"{number}.txt", b"no photo")
    elif file is None:
        return
    elif act == "delete":
        file.unlink()
    elif act == "call":
        file.rename(file.with_name(f"{number}{file.suffix}"))
    elif act == "rename" and not folder.exists():
        file.parent.rename(folder)
    elif act in {"move", "copy"} and file.parent != folder:
        folder.mkdir(exist_ok=True)
        shutil.copy(file, folder / file.name)
        if act == "move":
            file.unlink()


def pictures(photos: Photos) -> set[str]:
    """The photos that lie in the folders, by the hash of their normal form."""
    return {photos.normalise(path.read_bytes()).sha256 for path in on_disk(photos) if path.suffix != ".txt"}


def test_a_photo_in_a_refused_folder_is_not_stored(photos: Photos) -> None:
    """Where the stored file lies in a folder that can be no class, a copy of the photo takes its place."""
    copied = photos.folder / "tulip" / "copied in.png"
    write(copied, encoded(noise(1), "PNG"))
    assert reindex(photos).added == 1
    write(copied, encoded(noise(1), "PNG"))
    refused = photos.folder / "not a class?"
    refused.mkdir()
    (kept,) = copied.parent.glob("*.jpg")
    kept.rename(refused / kept.name)
    report = reindex(photos)
    assert (report.tidied, len(report.refused), kept.exists(), copied.exists()) == (1, 1, True, False)
    assert (refused / kept.name).exists()
    assert not reindex(photos).changed


@given(st.lists(st.lists(EDITS, min_size=1, max_size=6), min_size=1, max_size=3))
@settings(max_examples=25, deadline=None)
def test_any_edits_are_followed(
    tmp_path_factory: pytest.TempPathFactory, new_place: NewPlace, rounds: list[list[tuple[str, int, str]]]
) -> None:
    """After any edits the catalogue says what the folders hold; no photo is lost, no split changes, and a second
    reindex finds nothing to do.
    """
    photos = opened(tmp_path_factory.mktemp("store"), new_place())
    for number in range(3):
        photos.add(photo(number), "daisy", "ann")
    first = splits(photos)
    for edits in rounds:
        for act, number, name in edits:
            edit(photos, act, number, name)
        there = pictures(photos)
        report = reindex(photos)
        assert pictures(photos) == there
        assert in_step(photos, report)
        assert all(sha256_of(known.path) == known.sha256 for known in photos.all())
        assert not reindex(photos).changed
        present = splits(photos)
        assert all(first.setdefault(sha256, split) == split for sha256, split in present.items())
    photos.database.close()


def test_killed_reindex_loses_nothing(photos: Photos, place: Place) -> None:
    """After kill -9 while hand-copied photos are taken in, the next reindex finishes the work."""
    for number in range(16):
        write(photos.folder / "daisy" / f"{number}.png", encoded(noise(100 + number), "PNG"))
    there = pictures(photos)
    for left in (12, 6):
        command = [sys.executable, "-c", REINDEX, str(photos.folder.parent), str(place)]
        with subprocess.Popen(command) as child:
            while child.poll() is None and len(list(photos.folder.rglob("*.png"))) > left:
                pass
            child.kill()
    report = reindex(photos)
    assert pictures(photos) == there
    assert in_step(photos, report)
    assert not reindex(photos).changed


def test_busy_bot_is_not_disturbed(photos: Photos) -> None:
    """Photos that come and move while a reindex looks around are neither deleted, nor moved back, nor in conflict."""

    def work() -> None:
        for number in range(60):
            photos.add(photo(200 + number % 20), "ab"[number // 20 % 2], "bob")

    with ThreadPoolExecutor() as pool:
        working = pool.submit(work)
        while not working.done():
            report = reindex(photos)
            assert not report.changed
            assert not report.conflicts
        working.result()
    assert counts(photos) == {"a": 20, "daisy": 4, "rose": 1}
    assert in_step(photos, reindex(photos))
