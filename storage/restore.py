"""A backup brought back into an empty data folder; see docs/backup.md."""

import fcntl
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from sqlalchemy import func, select

from storage.backup import IGNORED, Made, Told, alone, pools, read_manifest
from storage.copying import copy_file, is_empty
from storage.database import Database, now
from storage.dump import NAME, load
from storage.errors import BackupError
from storage.files import TEMPORARY, make_folder, sync_folder, sync_tree
from storage.folders import in_order
from storage.places import Places
from storage.pool import copy
from storage.settings import Settings
from storage.tables import ClassRow, OfferRow, PhotoRow

WORK = f"{TEMPORARY}restore"
GAP = 1_000_000  # Buttons that may have been offered since the backup was made.


@dataclass(frozen=True)
class RestoreReport:
    """`at` is when the backup was made. `missing` are files, by their path in the data folder, that are not in it."""

    data: Path
    at: datetime
    photos: int
    classes: int
    unlabelled: int
    versions: tuple[int, ...]
    missing: tuple[str, ...]


def restore(folder: Path, settings: Settings, *, told: Told = lambda *_: None) -> RestoreReport:
    """Bring the backup in `folder` into the data folder, every file compared with its hash.

    Until all of it is there, the data folder holds nothing but an unfinished folder, which the next try removes.
    Raises BackupError where there is no backup, or the data folder has something in it; OSError where the disk takes
    no more.
    """
    manifest = read_manifest(folder)
    if manifest is None:
        raise BackupError(f"There is no backup in {folder}. Name the folder that `retrainbot backup` was given.")
    if manifest.made is None:
        raise BackupError(f"The backup in {folder} was never finished. Finish it with `retrainbot backup`.")
    data = settings.data
    _check_empty(data)
    server = _server(settings)
    with alone(folder, fcntl.LOCK_SH):
        make_folder(data)
        work = data / WORK
        shutil.rmtree(work, ignore_errors=True)
        try:
            work.mkdir()
            report = _Restore(folder, work, manifest.made, told).bring(data)
            sync_tree(work)
            _move_in(work, data, server)
        except BaseException:
            shutil.rmtree(work, ignore_errors=True)
            raise
    return report


def _check_empty(data: Path) -> None:
    if not data.exists():
        return
    if not data.is_dir():
        raise BackupError(f"{data} is not a folder. Name a new or empty data folder with --data.")
    names = {path.name for path in data.iterdir()}
    if not names - {*IGNORED, WORK}:
        return
    if WORK in names and NAME not in names:
        raise BackupError(
            f"{data} holds what a restore left that was ended in its last moment. Delete what is in it, and try again."
        )
    raise BackupError(
        f"{data} has something in it, and nothing is written over. Move it away, or name another data folder with"
        " --data."
    )


def _server(settings: Settings) -> Database | None:
    """The empty database of PostgreSQL's that takes the rows; None where they stay in their file."""
    if not isinstance(settings.database_place, str):
        return None
    server = Database(settings.database_place)
    if is_empty(server):
        return server
    server.close()
    raise BackupError("The database that is configured has something in it, and nothing is written over. Make another.")


def _move_in(work: Path, data: Path, server: Database | None) -> None:
    """The database comes last: without it, nobody takes the folder for one that can be used."""

    def move_others() -> None:
        for path in work.iterdir():
            if not path.name.startswith(NAME):
                path.rename(data / path.name)

    if server is None:
        move_others()
        (work / NAME).rename(data / NAME)
    else:
        copy_file(work / NAME, server, settle=move_others)
        server.close()
        for path in work.iterdir():
            path.unlink()
    work.rmdir()
    sync_folder(data)


class _Restore:
    """Into the folder `work`, from which it is moved."""

    def __init__(self, folder: Path, work: Path, made: Made, told: Told) -> None:
        self._photo_pool, self._file_pool = pools(folder)
        self._work = work
        self._made = made
        self._told = told
        self._missing: list[str] = []

    def bring(self, data: Path) -> RestoreReport:
        database = self._database()
        try:
            _leave_gap(database)
            photos = dict(self._photos(database))
        finally:
            database.close()
        self._bring_files()
        self._bring_photos(photos)
        waiting = sum(name is None for name in photos.values())
        return RestoreReport(
            data=data,
            at=self._made.at,
            photos=len(photos) - waiting,
            classes=len({name for name in photos.values() if name is not None}),
            unlabelled=waiting,
            versions=self._made.versions,
            missing=tuple(sorted(self._missing)),
        )

    def _database(self) -> Database:
        sha256 = self._made.files.get(NAME, "")
        beside = self._work / f"{TEMPORARY}{NAME}"
        if not self._file_pool.holds(sha256, check=True):
            raise BackupError("The database of this backup is missing or damaged, and nothing else is of use without.")
        copy(self._file_pool.path(sha256), beside)
        return load(beside, self._work)

    def _bring_files(self) -> None:
        others = {name: sha256 for name, sha256 in self._made.files.items() if name != NAME}
        for done, (name, sha256) in enumerate(others.items(), 1):
            if not _bring(self._file_pool.path(sha256), self._work / name, sha256):
                self._missing.append(name)
            self._told("files", done, len(others))

    def _photos(self, database: Database) -> Iterator[tuple[str, str | None]]:
        """The class of each photo that the backup should have; of those in none, the ones that it has."""
        query = select(PhotoRow.sha256, ClassRow.name).outerjoin(ClassRow, PhotoRow.class_id == ClassRow.id)
        with database.read() as session:
            for sha256, name in session.execute(query.order_by(PhotoRow.sha256)):
                if self._photo_pool.holds(sha256, check=False):
                    yield sha256, name
                elif name is not None:
                    self._missing.append(f"photos/{name}/{sha256}.jpg")

    def _bring_photos(self, photos: dict[str, str | None]) -> None:
        places = Places(self._work / "photos", self._work / "unlabelled")
        targets = [places.path(name, sha256) for sha256, name in photos.items()]
        for done, (target, whole) in enumerate(in_order(self._bring_photo, targets), 1):
            if not whole:
                del photos[target.stem]
                self._missing.append(target.relative_to(self._work).as_posix())
            self._told("photos", done, len(targets))

    def _bring_photo(self, target: Path) -> bool:
        return _bring(self._photo_pool.path(target.stem), target, target.stem)


def _bring(source: Path, target: Path, sha256: str) -> bool:
    """Copy a file, so that the backup stays one of its own; False, and nothing is left, where it is damaged or gone."""
    make_folder(target.parent)
    try:
        whole = copy(source, target) == sha256
    except FileNotFoundError:
        return False
    if not whole:
        target.unlink()
    return whole


def _leave_gap(database: Database) -> None:
    """Buttons that were offered since are not to work as if they were others."""
    with database.write() as session:
        newest = session.scalar(select(func.max(OfferRow.id))) or 0
        row = OfferRow(id=newest + GAP, chat=0, what="restored", content={}, made_at=now(), used_by="restore")
        session.add(row)
