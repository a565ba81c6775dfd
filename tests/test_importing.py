"""Class folders from anywhere, copied into the store."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from conftest import NewPlace, Place
from hypothesis import given, settings
from hypothesis import strategies as st
from pictures import encoded, noise, photo, write
from sqlalchemy import func, select

from storage.database import Database
from storage.errors import PhotoError
from storage.history import History
from storage.images import NormalPhoto, normalise
from storage.importing import BATCH, ClassImport, import_folder
from storage.photos import Photos
from storage.reindex import reindex
from storage.settings import Images
from storage.tables import ChangeRow

IMPORT = """
import sys
from pathlib import Path
from storage.database import Database
from storage.importing import import_folder
from storage.photos import Photos
from storage.settings import Images
data = Path(sys.argv[2])
import_folder(Path(sys.argv[1]), Photos(Database(sys.argv[3]), data / "photos", data / "unlabelled", Images()))
"""

pytestmark = [pytest.mark.filterwarnings("ignore::UserWarning"), pytest.mark.both_databases]


def opened(folder: Path, place: Place, decode: Callable[[bytes], NormalPhoto] | None = None) -> Photos:
    return Photos(Database(place), folder / "photos", folder / "unlabelled", Images(), decode=decode)


@pytest.fixture
def photos(tmp_path: Path, place: Place) -> Iterator[Photos]:
    store = opened(tmp_path / "data", place)
    yield store
    store.database.close()


def on_disk(folder: Path) -> set[Path]:
    return {path for path in folder.rglob("*") if path.is_file() and "retrainbot.db" not in path.name}


def changes(photos: Photos) -> int | None:
    """How many lines the history has."""
    with photos.database.read() as session:
        return session.scalar(select(func.count()).select_from(ChangeRow))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two classes with five different photos and one twice."""
    for number in range(3):
        write(tmp_path / "in" / "Ox-eye daisy" / f"{number}.jpg", photo(number))
    write(tmp_path / "in" / "Ox-eye daisy" / "same.jpg", photo(0))
    for number in range(3, 5):
        write(tmp_path / "in" / "rose" / f"{number}.png", encoded(noise(number), "PNG"))
    return tmp_path / "in"


def test_every_photo_is_added_under_its_folder(photos: Photos, folder: Path) -> None:
    """Class folders become classes; the same photo twice in one is a duplicate."""
    report = import_folder(folder, photos)
    assert (report.added, report.duplicates, report.refused) == (5, 1, [])
    assert report.classes == [ClassImport("Ox-eye daisy", 3, 1), ClassImport("rose", 2)]
    assert {row.name: row.photos for row in photos.classes()} == {"Ox-eye_daisy": 3, "rose": 2}


def test_source_is_left_as_it_was(photos: Photos, folder: Path) -> None:
    """The imported folder is only read."""
    before = {path: path.read_bytes() for path in folder.rglob("*.*")}
    import_folder(folder, photos)
    assert {path: path.read_bytes() for path in folder.rglob("*.*")} == before


def test_second_import_adds_and_decodes_nothing(tmp_path: Path, folder: Path, place: Place) -> None:
    """Files that were imported before are known by their bytes; neither files nor history come of them."""
    decoded = []

    def decode(content: bytes) -> NormalPhoto:
        decoded.append(content)
        return normalise(content)

    photos = opened(tmp_path / "data", place, decode)
    import_folder(folder, photos)
    files, history, times = on_disk(tmp_path / "data"), changes(photos), len(decoded)
    report = import_folder(folder, photos)
    assert (report.added, report.duplicates, len(decoded)) == (0, 6, times)
    assert (on_disk(tmp_path / "data"), changes(photos)) == (files, history)
    photos.database.close()


def test_photo_of_another_class_is_refused(photos: Photos, folder: Path) -> None:
    """Importing never changes a label: one in two folders, or stored under another class, stays where it came first."""
    photos.add(photo(0), "tulip", "ann")
    write(folder / "zinnia" / "copy.jpg", photo(1))
    report = import_folder(folder, photos)
    assert [Path(refusal.path).name for refusal in report.refused] == ["0.jpg", "same.jpg", "copy.jpg"]
    assert "“tulip”" in report.refused[0].reason
    assert "“Ox-eye_daisy”" in report.refused[2].reason
    assert "zinnia" not in photos.class_ids()


def test_what_cannot_be_imported_has_a_reason(photos: Photos, folder: Path) -> None:
    """Broken files, loose files, nested folders, links and folders that name no class are each refused."""
    write(folder / "rose" / "broken.jpg", photo(9)[:300])
    write(folder / "rose" / "empty.jpg", b"")
    write(folder / "rose" / "deep" / "x.jpg", photo(10))
    write(folder / "loose.jpg", photo(11))
    write(folder / "what?" / "x.jpg", photo(12))
    (folder / "rose" / "link.jpg").symlink_to(folder / "loose.jpg")
    (folder / "linked").symlink_to(folder / "rose")
    os.mkfifo(folder / "rose" / "pipe")
    report = import_folder(folder, photos)
    names = sorted(Path(refusal.path).name for refusal in report.refused)
    assert names == ["broken.jpg", "deep", "empty.jpg", "link.jpg", "linked", "loose.jpg", "pipe", "x.jpg"]
    assert all(refusal.reason.endswith(".") for refusal in report.refused)
    assert (report.added, report.duplicates) == (5, 1)


def test_clutter_is_passed_over(photos: Photos, folder: Path) -> None:
    """What computers leave in folders is not counted."""
    for name in (".DS_Store", "Thumbs.db", "desktop.ini", "._1.jpg"):
        write(folder / "rose" / name, b"clutter")
    write(folder / ".git" / "x.jpg", photo(20))
    report = import_folder(folder, photos)
    assert (report.added, report.duplicates, report.refused) == (5, 1, [])


def test_progress_counts_every_file(photos: Photos, folder: Path) -> None:
    """The number done rises, and the last call says that all are."""
    for number in range(BATCH):
        write(folder / "tulip" / f"{number}.jpg", photo(100 + number))
    calls: list[tuple[int, int]] = []
    import_folder(folder, photos, progress=lambda done, total: calls.append((done, total)))
    assert calls == [(BATCH, BATCH + 6), (BATCH + 6, BATCH + 6)]


def test_import_is_one_act(photos: Photos, folder: Path) -> None:
    """However many photos it brings, an import is taken back at once; nothing is left on the way."""
    for number in range(BATCH):
        write(folder / "tulip" / f"{number}.jpg", photo(100 + number))
    import_folder(folder, photos)
    assert not any(photos.places.unlabelled.iterdir())
    undone = History(photos).undo_last("import")
    assert (undone.out, photos.all()) == (BATCH + 5, [])


def test_killed_import_loses_nothing(tmp_path: Path, folder: Path, place: Place) -> None:
    """After kill -9 on its way, another import of the same folder, or reindex, brings the rest."""
    for number in range(200):
        write(folder / "tulip" / f"{number}.jpg", photo(100 + number))
    data = tmp_path / "data"
    for wanted in (20, 90):
        with subprocess.Popen([sys.executable, "-c", IMPORT, str(folder), str(data), str(place)]) as child:
            while child.poll() is None and len(list(data.rglob("*.jpg"))) < wanted:
                pass
            child.kill()
    photos = opened(data, place)
    reindex(photos)
    report = import_folder(folder, photos)
    assert report.refused == []
    assert {row.name: row.photos for row in photos.classes()} == {"Ox-eye_daisy": 3, "rose": 2, "tulip": 200}
    assert {path for path in on_disk(data / "photos") if path.suffix == ".jpg"} == {
        known.path for known in photos.all()
    }
    photos.database.close()


def test_missing_folder_is_told(photos: Photos, tmp_path: Path) -> None:
    """A folder that is not there, or is a file, is named."""
    for wrong in (tmp_path / "nowhere", write(tmp_path / "file", b"")):
        with pytest.raises(PhotoError, match=wrong.name):
            import_folder(wrong, photos)


@given(st.lists(st.tuples(st.sampled_from(["a", "A ", "b", "c/d", "?"]), st.integers(-2, 6)), max_size=12))
@settings(max_examples=15, deadline=None)
def test_nothing_is_lost(
    tmp_path_factory: pytest.TempPathFactory, new_place: NewPlace, files: list[tuple[str, int]]
) -> None:
    """Added, duplicates and refused make up the files seen, for any folder."""
    folder = tmp_path_factory.mktemp("store")
    photos = opened(folder, new_place())
    (folder / "in").mkdir()
    for place, (name, number) in enumerate(files):
        write(folder / "in" / name / f"{place}.jpg", photo(number) if number >= 0 else b"no photo")
    seen = sum(1 for parent in (folder / "in").iterdir() for _ in parent.iterdir())
    report = import_folder(folder / "in", photos)
    assert report.added + report.duplicates + len(report.refused) == seen
    assert report.added == len(photos.all()) == sum(row.added for row in report.classes)
    photos.database.close()
