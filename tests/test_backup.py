"""Backups that are made while everything runs, and brought back: nothing is lost, whatever happens meanwhile."""

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from conftest import NewPlace
from home import Home, content
from pictures import encoded, noise, photo, write
from smalldisk import SmallDisk, small_disk
from test_cli import call, document

from cli.main import explain
from storage.backup import BackupReport, back_up
from storage.errors import BackupError, DatabaseError
from storage.files import sha256_of
from storage.offers import Offers
from storage.reindex import reindex
from storage.restore import restore
from storage.settings import Settings

LEFT_OUT = ("retrainbot.db",)  # Its bytes differ; what it says is compared.


@pytest.fixture
def home(settings: Settings) -> Iterator[Home]:
    """Photos of two classes, one in none, and a version."""
    home = Home(settings)
    for number in range(6):
        home.add(number, ["daisy", "rose"][number % 2])
    home.keep(100)
    home.publish()
    yield home
    home.close()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "backups"


@pytest.fixture
def other(tmp_path: Path) -> Iterator[Home]:
    """Where a backup is brought back to."""
    home = Home(Settings(data=tmp_path / "other"))
    yield home
    home.close()


def make(home: Home, folder: Path, *, quick: bool = False) -> BackupReport:
    return back_up(folder, home.settings, quick=quick)


def same(one: Home, other: Home) -> None:
    """Both data folders hold the same, the catalogue agrees with its folders, and every version is whole."""
    for home in (one, other):
        assert not reindex(home.photos).changed
    assert one.photos.all() == [
        type(photo)(photo.sha256, photo.class_name, photo.split, one.photos.path(photo.class_name, photo.sha256))
        for photo in other.photos.all()
    ]
    assert content(other.settings.data, LEFT_OUT) == content(one.settings.data, LEFT_OUT)
    assert [other.models.verified(number).number for number in one.models.numbers()] == one.models.numbers()
    assert other.models.served() == one.models.served()
    assert other.runs.newest() == one.runs.newest()


def test_what_is_brought_back_is_what_was_there(home: Home, folder: Path, other: Home) -> None:
    """Photos, splits, history, versions, reports and the served pointer come back, and an undo works there."""
    home.photos.add(photo(0), "rose", "bob")
    report = make(home, folder)
    assert (report.photos, report.classes, report.unlabelled, report.versions) == (6, 2, 1, (1,))
    assert report.missing == ()
    back = restore(folder, other.settings)
    assert (back.photos, back.classes, back.unlabelled, back.versions, back.missing) == (6, 2, 1, (1,), ())
    same(home, other)
    assert other.history.undo_last("bob").back == {"daisy": 1}
    assert len(home.photos.page("rose", 0, 10).photos) == 4


@pytest.mark.both_databases
def test_it_comes_back_into_a_database_of_either_kind(
    home: Home, folder: Path, new_place: NewPlace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows from a file or a server are brought into an empty file or server; into a filled one nothing is brought."""
    make(home, folder)
    for number, place in enumerate([tmp_path / "not used", new_place()]):
        monkeypatch.setenv("RETRAINBOT_DATABASE", place if isinstance(place, str) else "")
        other = Home(Settings(data=tmp_path / f"other {number}"))
        restore(folder, other.settings)
        same(home, other)
        other.history.undo_last("ann")
        other.close()
        if isinstance(place, str):
            with pytest.raises(BackupError, match="has something in it"):
                restore(folder, Settings(data=tmp_path / "another"))
            assert not (tmp_path / "another").exists()


def test_only_what_is_new_is_copied(home: Home, folder: Path, other: Home) -> None:
    """The second backup takes the new photo and the database; one that changed its class is there already."""
    first = make(home, folder)
    assert first.reused == 0
    home.photos.add(photo(0), "rose", "bob")
    home.add(50, "daisy")
    second = make(home, folder)
    assert second.copied + second.linked == 2
    assert second.removed == 1  # The database before.
    restore(folder, other.settings)
    same(home, other)


def test_files_are_linked_where_that_can_be(home: Home, folder: Path) -> None:
    """On one file system a photo takes its room once; it stays in the backup when it is deleted."""
    report = make(home, folder)
    assert report.copied == 1  # The database.
    stored = home.path(home.photos.all()[0].sha256)
    (kept,) = folder.glob(f"photos/*/{stored.name}")
    assert kept.samefile(stored)
    shutil.rmtree(home.settings.photos_dir)
    assert sha256_of(kept) == kept.stem


def test_photos_that_were_deleted_by_mistake_are_kept(home: Home, folder: Path, other: Home) -> None:
    """A class that somebody deleted by hand is in the next backups, too, and an undo brings it back from there."""
    make(home, folder)
    shutil.rmtree(home.settings.photos_dir / "daisy")
    report = make(home, folder)
    assert (report.photos, report.missing) == (3, ())
    restore(folder, other.settings)
    assert other.history.undo_last("reindex").back == {"daisy": 3}
    assert not reindex(other.photos).changed


def test_what_was_copied_in_by_hand_is_in_it(home: Home, folder: Path, other: Home) -> None:
    """A photo that lies in a class folder and that nobody has looked at yet is taken along."""
    write(home.settings.photos_dir / "tulip" / "mine.jpg", photo(77))
    assert make(home, folder).classes == 3
    restore(folder, other.settings)
    same(home, other)


def test_a_missing_photo_is_told(home: Home, folder: Path) -> None:
    """A photo that went bad before it was in any backup is named; once it is in one, the backup has the good one."""
    bad, late = (home.photos.all()[place] for place in (0, 1))
    bad.path.write_bytes(b"spoilt")
    report = make(home, folder)
    assert report.missing == (f"photos/{bad.class_name}/{bad.sha256}.jpg",)
    late.path.unlink()
    late.path.write_bytes(b"spoilt")
    assert late.sha256 not in str(make(home, folder).missing)


def test_a_damaged_backup_is_mended(home: Home, folder: Path, other: Home) -> None:
    """A file of the backup that went bad is noticed by its hash and taken anew; `quick` does not look."""
    make(home, folder)
    for kept in [next(folder.glob("photos/*/*")), *folder.glob("files/*/*")]:
        kept.unlink()
        kept.write_bytes(b"spoilt")
    assert make(home, folder, quick=True).copied == 1  # The database.
    assert make(home, folder).missing == ()
    restore(folder, other.settings)
    same(home, other)


def test_what_is_damaged_is_left_out_of_what_comes_back(home: Home, folder: Path, other: Home) -> None:
    """The rest is brought back, and what is missing is named."""
    make(home, folder)
    spoilt = next(folder.glob("photos/*/*"))
    spoilt.unlink()
    spoilt.write_bytes(b"spoilt")
    back = restore(folder, other.settings)
    assert [Path(name).name for name in back.missing] == [spoilt.name]
    assert back.photos + back.unlabelled == 6
    assert len(content(other.settings.data / "photos")) == back.photos


def test_without_its_database_nothing_comes_back(home: Home, folder: Path, other: Home) -> None:
    """Where the database of the backup is damaged that is told, and the data folder stays empty."""
    make(home, folder)
    name = json.loads((folder / "backup.json").read_text())["made"]["files"]["retrainbot.db"]
    kept = folder / "files" / name[:2] / name
    kept.write_bytes(kept.read_bytes()[:5000])
    with pytest.raises(BackupError, match="database of this backup"):
        restore(folder, other.settings)
    assert list(other.settings.data.iterdir()) == []


def test_old_buttons_do_not_work_as_new_ones(home: Home, folder: Path, other: Home) -> None:
    """What was offered after the backup is gone, and its number is not given to another offer."""
    offers = Offers(home.database)
    before = offers.make(7, "undo", {"act": 1})
    make(home, folder)
    lost = offers.make(7, "undo", {"act": 2})
    restore(folder, other.settings)
    again = Offers(other.database)
    assert again.get(before) is not None
    assert again.get(lost) is None
    assert again.make(7, "undo", {"act": 3}) > lost + 1000


def test_a_newer_database_is_refused(home: Home, folder: Path, other: Home) -> None:
    """A backup of a newer Retrainbot is not brought back by an older one."""
    with closing(sqlite3.connect(home.settings.database_file)) as connection:
        make(home, folder)
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
        connection.commit()
    home.close()
    target = folder.parent / "made.db"
    shutil.copyfile(home.settings.database_file, target)
    manifest = json.loads((folder / "backup.json").read_text())
    sha256 = sha256_of(target)
    shutil.copyfile(target, write(folder / "files" / sha256[:2] / sha256, b""))
    manifest["made"]["files"]["retrainbot.db"] = sha256
    (folder / "backup.json").write_text(json.dumps(manifest))
    with pytest.raises(DatabaseError, match="newer Retrainbot"):
        restore(folder, other.settings)
    assert list(other.settings.data.iterdir()) == []


# What is refused.


def test_the_data_folder_is_no_place_for_a_backup(home: Home) -> None:
    """A backup in it, also by another name for it, would be lost with it."""
    alias = home.settings.data.parent / "alias"
    alias.symlink_to(home.settings.data)
    for inside in (home.settings.data, home.settings.data / "backup", alias / "backup"):
        with pytest.raises(BackupError, match="lies in the data folder"):
            make(home, inside)


def test_a_folder_with_something_else_is_left_alone(home: Home, folder: Path) -> None:
    """A folder of somebody's is refused, and so is a file; nothing is put there."""
    write(folder / "letter.txt", b"mine")
    with pytest.raises(BackupError, match="holds something else"):
        make(home, folder)
    assert content(folder) == {"letter.txt": b"mine"}
    with pytest.raises(BackupError, match="is not a folder"):
        make(home, folder / "letter.txt")


def test_an_empty_data_folder_does_not_replace_a_backup(home: Home, folder: Path, other: Home) -> None:
    """Neither a folder whose disk is not connected nor a new one takes the place of what is in a backup."""
    make(home, folder)
    before = content(folder)
    with pytest.raises(BackupError, match="nothing in"):
        make(other, folder)
    other.add(1, "tulip")
    with pytest.raises(BackupError, match="another data folder"):
        make(other, folder)
    shutil.rmtree(home.settings.photos_dir)
    home.settings.photos_dir.mkdir()
    with pytest.raises(Exception, match="Is its disk connected"):
        make(home, folder)
    assert content(folder) == before


def test_nothing_is_written_over(home: Home, folder: Path) -> None:
    """A data folder with anything in it is left as it is."""
    make(home, folder)
    before = content(home.settings.data)
    with pytest.raises(BackupError, match="nothing is written over"):
        restore(folder, home.settings)
    assert content(home.settings.data) == before


@pytest.mark.parametrize("what", ["nothing", "unfinished", "newer", "no JSON"])
def test_what_is_no_backup_cannot_be_brought_back(tmp_path: Path, other: Home, what: str) -> None:
    """Each case has words of its own, and the data folder is not even made."""
    texts = {
        "nothing": ("", "There is no backup"),
        "unfinished": ('{"format": 1, "of": "x", "made": null}', "never finished"),
        "newer": ('{"format": 2, "of": "x", "made": null}', "newer Retrainbot"),
        "no JSON": ("{", "damaged"),
    }
    text, words = texts[what]
    if text:
        write(tmp_path / "backup.json", text.encode())
    with pytest.raises(BackupError, match=words):
        restore(tmp_path, other.settings)
    assert not other.settings.data.exists()


def test_a_backup_cannot_write_elsewhere(home: Home, folder: Path, other: Home) -> None:
    """Somebody has put a path out of the data folder into the manifest: it is refused."""
    make(home, folder)
    manifest = json.loads((folder / "backup.json").read_text())
    manifest["made"]["files"]["../../evil"] = manifest["made"]["files"]["retrainbot.db"]
    (folder / "backup.json").write_text(json.dumps(manifest))
    with pytest.raises(BackupError, match="damaged"):
        restore(folder, other.settings)


# Beside everything else, and through kills.

LIVE = """
import sys
from itertools import count
from pathlib import Path
from pictures import photo
from storage.database import Database
from storage.history import History
from storage.photos import Photos
from storage.settings import Settings
settings = Settings(data=Path(sys.argv[1]))
database = Database(settings.database_file)
photos = Photos(database, settings.photos_dir, settings.unlabelled_dir, settings.images)
for number in count(1000):
    sha256 = photos.add(photo(number), f"class {number % 3}", "child").receipts[0].sha256
    photos.add(photo(number - number % 7), f"class {(number + 1) % 3}", "child")
    if number % 5 == 0:
        History(photos).remove([sha256], "child")
        photos.prune_unlabelled(20_000)
    print(number, flush=True)
"""


def test_photos_may_come_and_move_meanwhile(home: Home, folder: Path, tmp_path: Path) -> None:
    """While another process adds, moves, takes out and prunes photos, each backup is whole and agrees with itself."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    live = [sys.executable, "-c", LIVE, str(home.settings.data)]
    with subprocess.Popen(live, stdout=subprocess.PIPE, env=environment) as process:
        assert process.stdout
        for turn in range(3):
            for _ in range(10):
                process.stdout.readline()
            report = make(home, folder)
            assert report.missing == ()
            back = Home(Settings(data=tmp_path / f"turn {turn}"))
            assert restore(folder, back.settings).missing == ()
            assert not reindex(back.photos).changed
            assert len(back.photos.all()) == report.photos >= 10
            back.close()
        process.kill()


KILLED = """
import os, signal, sys
from pathlib import Path
import storage.backup, storage.dump, storage.files, storage.pool
from cli.main import explain
from storage.backup import Manifest, back_up
from storage.pool import Pool
from storage.settings import Settings
data, folder, moment = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
def die(*_, **__): os.kill(os.getpid(), signal.SIGKILL)
def after(function, times=1):
    def work(*arguments, **options):
        nonlocal times
        done = function(*arguments, **options)
        times -= 1
        if times == 0:
            die()
        return done
    return work
match moment:
    case "before the database": storage.backup.dumped = die
    case "after the database": storage.backup.sha256_of = die
    case "amid the files": Pool.put = after(Pool.put, 3)
    case "amid a file": storage.pool.sha256_of = die
    case "amid the photos": Pool.put = after(Pool.put, 10)
    case "before the manifest": Pool.sync = die
    case "after the manifest": Pool.keep = die
    case "amid the removal": Pool.keep = after(Pool.keep)
back_up(folder, Settings(data=data))
"""
MOMENTS = (
    "before the database",
    "after the database",
    "amid the files",
    "amid a file",
    "amid the photos",
    "before the manifest",
    "after the manifest",
    "amid the removal",
)


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_kill_leaves_the_last_backup(home: Home, folder: Path, tmp_path: Path, other: Home, moment: str) -> None:
    """After kill -9 the backup before, or the new one, is whole; the next one finishes what was begun."""
    make(home, folder)
    old = [photo.sha256 for photo in home.photos.all()]
    home.photos.add(photo(0), "rose", "bob")
    for number in range(20, 26):
        home.add(number, "tulip")
    home.publish()
    command = [sys.executable, "-c", KILLED, str(home.settings.data), str(folder), moment]
    assert subprocess.run(command, check=False).returncode == -signal.SIGKILL
    back = Home(Settings(data=tmp_path / "back"))
    report = restore(folder, back.settings)
    assert report.missing == ()
    assert set(old) <= {photo.sha256 for photo in back.photos.all()}
    assert not reindex(back.photos).changed
    assert [back.models.verified(number).number for number in back.models.numbers()] == list(report.versions)
    back.close()
    assert make(home, folder).missing == ()
    assert list(folder.rglob(".new-*")) == []
    restore(folder, other.settings)
    same(home, other)


def test_a_first_backup_that_was_killed_goes_on(home: Home, folder: Path, other: Home) -> None:
    """It cannot be brought back, and says so; the next try takes what is there."""
    command = [sys.executable, "-c", KILLED, str(home.settings.data), str(folder), "amid the photos"]
    assert subprocess.run(command, check=False).returncode == -signal.SIGKILL
    with pytest.raises(BackupError, match="never finished"):
        restore(folder, other.settings)
    assert make(home, folder).reused > 0
    restore(folder, other.settings)
    same(home, other)


RESTORE_KILLED = """
import os, signal, sys
from pathlib import Path
import storage.restore
from storage.restore import restore
from storage.settings import Settings
def die(*_, **__): os.kill(os.getpid(), signal.SIGKILL)
match sys.argv[3]:
    case "amid the files": storage.restore.sync_tree = die
    case "in the last moment": Path.rmdir = die
restore(Path(sys.argv[1]), Settings(data=Path(sys.argv[2])))
"""


@pytest.mark.parametrize("moment", ["amid the files", "in the last moment"])
def test_a_restore_that_was_killed_can_be_repeated(home: Home, folder: Path, other: Home, moment: str) -> None:
    """Before its end the data folder counts as empty; after it, all is there."""
    make(home, folder)
    command = [sys.executable, "-c", RESTORE_KILLED, str(folder), str(other.settings.data), moment]
    assert subprocess.run(command, check=False).returncode == -signal.SIGKILL
    if moment == "amid the files":
        restore(folder, other.settings)
    shutil.rmtree(other.settings.data / ".new-restore", ignore_errors=True)
    same(home, other)


def test_two_backups_at_once_do_not_mix(home: Home, folder: Path) -> None:
    """The second one is refused while the first is at work."""
    make(home, folder)

    def second(step: str, done: int, _total: int) -> None:
        if (step, done) == ("photos", 1):
            with pytest.raises(BackupError, match="Another backup is being made"):
                make(home, folder)

    back_up(folder, home.settings, told=second)


# Disks.


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    with small_disk(tmp_path / "disk", 2000) as disk:
        yield disk


def test_files_are_copied_to_another_disk(home: Home, disk: SmallDisk, other: Home) -> None:
    """Where nothing can be linked, every file is copied once, and the backup needs the data folder no more."""
    folder = disk.folder / "backup"
    assert (make(home, folder).linked, make(home, folder).copied) == (0, 1)
    home.photos.add(photo(0), "rose", "bob")
    assert make(home, folder).copied == 1  # Again the database alone.
    restore(folder, other.settings)
    same(home, other)


@pytest.mark.parametrize("left", [8, 100, 300])
def test_a_full_disk_leaves_the_last_backup(home: Home, disk: SmallDisk, other: Home, left: int) -> None:
    """Wherever the room ends, the error names the disk; the backup before is whole, and the next one needs no help."""
    folder = disk.folder / "backup"
    make(home, folder)
    photos = len(home.photos.all())
    for number in range(40):
        home.photos.add(encoded(noise(500 + number, (120, 120)), quality=95), "tulip", "ann")
    home.publish()
    disk.fill(left)
    with pytest.raises(OSError, match="No space left on device") as caught:
        make(home, folder)
    assert "no room left on the disk" in explain(caught.value)
    assert list(folder.rglob(".new-*")) == []
    back = Home(Settings(data=other.settings.data.parent / "back"))
    assert (restore(folder, back.settings).photos, restore_missing(back)) == (photos, 0)
    back.close()
    disk.empty()
    assert make(home, folder).missing == ()
    restore(folder, other.settings)
    same(home, other)


def restore_missing(home: Home) -> int:
    """How many photos of the catalogue have no file."""
    return reindex(home.photos).removed


def test_a_disk_that_takes_nothing_is_told(home: Home, disk: SmallDisk) -> None:
    """A folder that cannot be written is named, for a first backup and for the next one."""
    disk.read_only()
    with pytest.raises(OSError, match="Read-only") as caught:
        make(home, disk.folder / "backup")
    assert "no right to use" in explain(caught.value)
    disk.read_only(on=False)
    make(home, disk.folder / "backup")
    disk.read_only()
    with pytest.raises(OSError, match="Read-only"):
        make(home, disk.folder / "backup")
    disk.read_only(on=False)


def test_a_restore_that_finds_no_room_leaves_nothing(home: Home, folder: Path, disk: SmallDisk) -> None:
    """The data folder stays empty, as it was, and with more room all comes back."""
    make(home, folder)
    back = Home(Settings(data=disk.folder / "data"))
    disk.fill(250)
    with pytest.raises(OSError, match="No space left on device"):
        restore(folder, back.settings)
    assert list(back.settings.data.iterdir()) == []
    disk.empty()
    restore(folder, back.settings)
    same(home, back)
    back.close()


# The commands.


def test_the_commands_say_what_they_did(home: Home, folder: Path, other: Home) -> None:
    """`backup` and `restore` print JSON; then `status`, `classes` and `reindex` of what came back agree."""
    home.close()
    made = document("--data", home.settings.data, "backup", folder)
    assert (made["dir"], made["photos"], made["versions"], made["missing"]) == (str(folder), 6, [1], [])
    back = document("--data", other.settings.data, "restore", folder)
    assert (back["data"], back["photos"], back["at"]) == (str(other.settings.data), 6, made["at"])
    for command in ("classes", "models"):
        assert document("--data", other.settings.data, command) == document("--data", home.settings.data, command)
    assert document("--data", other.settings.data, "status")["served"]["version"] == 1
    assert "agree" in call("--data", other.settings.data, "reindex").stdout


def test_a_backup_that_is_not_whole_exits_with_one(home: Home, folder: Path) -> None:
    """A script notices that photos could not be had; what else there is is safe all the same."""
    bad = home.photos.all()[0]
    bad.path.write_bytes(b"spoilt")
    home.close()
    done = call("--data", home.settings.data, "backup", folder)
    assert done.returncode == 1
    assert "5 photos" in done.stdout
    assert bad.path.name in done.stderr
    assert "missing or damaged" in done.stderr
