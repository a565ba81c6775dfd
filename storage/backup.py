"""Backups of the data folder, made while everything runs; see docs/backup.md.

A backup holds files under the SHA-256 of their content, and one manifest, which says what they are. Nothing that the
present manifest names is changed or removed before the next one has taken its place, so a kill leaves the last backup.
"""

import fcntl
import secrets
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from importlib.metadata import version
from pathlib import Path, PurePosixPath
from typing import Annotated
from uuid import uuid4

from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationError
from sqlalchemy import select
from sqlalchemy.orm import Session

from storage.database import Database, now, open_database
from storage.dump import NAME, dumped
from storage.errors import BackupError, ModelError
from storage.files import TEMPORARY, locked, make_folder, sha256_of, write_durably
from storage.folders import in_order
from storage.models import MANIFEST as VERSION_MANIFEST
from storage.models import Models
from storage.photos import Photos
from storage.pool import Pool
from storage.reindex import reindex
from storage.settings import Settings
from storage.tables import ClassRow, PhotoRow, SecretRow, VersionRow

MANIFEST = "backup.json"
FORMAT = 1
IDENTITY = "backups"  # The name of the row that tells data folders apart.
TRIES = 3
REPORT_FILES = {".json", ".md", ".jpg", ".png"}  # Of a run's folder; the rest is of use to that run alone.
IGNORED = {"lost+found"}  # What an empty disk has.

Told = Callable[[str, int, int], None]


class Came(StrEnum):
    """How a file came into the backup."""

    HAD = "had"  # It was there already.
    LINKED = "linked"
    COPIED = "copied"
    GONE = "gone"  # It is not in the data folder any more.
    DAMAGED = "damaged"  # Its content is not what was stored.

    @property
    def here(self) -> bool:
        return self not in {Came.GONE, Came.DAMAGED}


def _inside(path: str) -> str:
    if PurePosixPath(path).is_absolute() or ".." in PurePosixPath(path).parts:
        raise ValueError("must be a path within the data folder")
    return path


class Made(BaseModel):
    """What a backup holds. `files` are all but the photos: SHA-256 by the path in the data folder.

    Which photos there are, and in which class, the database says. `missing` are files that could not be had.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    at: datetime
    retrainbot: str  # Its version.
    photos: int
    classes: int
    unlabelled: int
    versions: tuple[int, ...]
    files: dict[Annotated[str, AfterValidator(_inside)], str]
    missing: tuple[str, ...]


class Manifest(BaseModel):
    """`of` tells data folders apart; `made` is None until the first backup in this folder is whole."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: int
    of: str
    made: Made | None

    def write(self, folder: Path) -> None:
        write_durably(folder / MANIFEST, self.model_dump_json(indent=1).encode())


@dataclass(frozen=True)
class BackupReport:
    """`photos` are those in classes. Files were copied, linked, or there already; `removed` were needed no more.

    `missing` are files, by their path in the data folder, that are not there or damaged, and so not in the backup.
    """

    dir: Path
    at: datetime
    photos: int
    classes: int
    unlabelled: int
    versions: tuple[int, ...]
    copied: int
    linked: int
    reused: int
    removed: int
    missing: tuple[str, ...]


def read_manifest(folder: Path) -> Manifest | None:
    """What is in a folder of backups; None where it is none. Raises BackupError where it cannot be read."""
    try:
        content = (folder / MANIFEST).read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise BackupError(f"The backup in {folder} cannot be read ({error.strerror}). Check its rights.") from error
    try:
        manifest = Manifest.model_validate_json(content)
    except ValidationError as error:
        raise BackupError(
            f"{folder / MANIFEST} is damaged, or was written by a newer Retrainbot. Use that one, or another backup."
        ) from error
    if manifest.format != FORMAT:
        raise BackupError(f"The backup in {folder} was made by a newer Retrainbot. Install that version.")
    return manifest


def pools(folder: Path) -> tuple[Pool, Pool]:
    """Where the photos of a backup are, and where its other files are."""
    return Pool(folder / "photos", ".jpg"), Pool(folder / "files")


@contextmanager
def alone(folder: Path, how: int = fcntl.LOCK_EX) -> Iterator[None]:
    """Nobody else changes the backup in this folder meanwhile. Raises BackupError where somebody does."""
    with locked(folder, how | fcntl.LOCK_NB) as held:
        if not held:
            raise BackupError(f"Another backup is being made in {folder}. Wait until it is done.")
        yield


def back_up(folder: Path, settings: Settings, *, quick: bool = False, told: Told = lambda *_: None) -> BackupReport:
    """Bring the backup in `folder` up to date; what is in it already is compared with its hash, unless `quick`.

    Raises BackupError where the folder cannot be used for that, OSError where its disk takes no more; then the last
    backup is what it was.
    """
    data = settings.data
    if not data.is_dir() or not any(data.iterdir()):
        raise BackupError(f"There is nothing in {data} to back up. Name your data folder with --data.")
    if folder.resolve().is_relative_to(data.resolve()):
        raise BackupError(f"{folder} lies in the data folder, and would be lost with it. Name a folder elsewhere.")
    _check_use(folder)
    database = open_database(settings)
    try:
        photos = Photos(database, settings.photos_dir, settings.unlabelled_dir, settings.images)
        reindex(photos)
        make_folder(folder)
        with alone(folder):
            return _Backup(folder, settings, photos, quick=quick, told=told).make()
    finally:
        database.close()


def _check_use(folder: Path) -> None:
    """Raises BackupError where something else is in the folder."""
    if not folder.exists():
        return
    if not folder.is_dir():
        raise BackupError(f"{folder} is not a folder. Name one that is empty, or new, or holds a backup.")
    others = [path.name for path in folder.iterdir() if path.name not in IGNORED]
    if others and read_manifest(folder) is None and not all(name.startswith(TEMPORARY) for name in others):
        raise BackupError(f"{folder} holds something else than a backup. Name a folder that is empty, or new.")


class _Backup:
    def __init__(self, folder: Path, settings: Settings, photos: Photos, *, quick: bool, told: Told) -> None:
        self._folder = folder
        self._settings = settings
        self._photos = photos
        self._models = Models(photos.database, settings.models_dir)
        self._check = not quick
        self._told = told
        self._photo_pool, self._file_pool = pools(folder)
        self._count: Counter[Came] = Counter()
        self._kept: set[str] = set()  # Photos that are in the backup now.
        self._files: dict[str, str] = {}
        self._missing: list[str] = []

    def make(self) -> BackupReport:
        before = self._begin()
        for _ in range(TRIES):
            self._missing.clear()
            with ExitStack() as stack:
                known = self._dump(stack)  # First: what is in the database is on the disk, and photos never change.
                self._bring_versions(known.versions, before.made)
            self._bring_others()
            deleted = self._bring_photos(known.photos)
            if not deleted:
                break
        self._missing += deleted
        made = self._made(known)
        for pool in (self._photo_pool, self._file_pool):
            pool.sync()
        before.model_copy(update={"made": made}).write(self._folder)
        removed = self._photo_pool.keep(self._kept) + self._file_pool.keep(set(self._files.values()))
        return BackupReport(
            dir=self._folder,
            at=made.at,
            photos=made.photos,
            classes=made.classes,
            unlabelled=made.unlabelled,
            versions=made.versions,
            copied=self._count[Came.COPIED],
            linked=self._count[Came.LINKED],
            reused=self._count[Came.HAD],
            removed=removed,
            missing=made.missing,
        )

    def _begin(self) -> Manifest:
        """What is there; where nothing is, the folder is marked as ours before anything else is put there."""
        for path in self._folder.glob(f"{TEMPORARY}*"):
            path.unlink()
        _check_use(self._folder)  # Somebody may have been faster.
        mine, manifest = _identity(self._photos.database), read_manifest(self._folder)
        if manifest is None:
            manifest = Manifest(format=FORMAT, of=mine, made=None)
            manifest.write(self._folder)
        elif manifest.of != mine:
            raise BackupError(
                f"{self._folder} holds the backup of another data folder. Bring that one back with"
                f" `retrainbot restore`, or name another folder."
            )
        return manifest

    def _dump(self, stack: ExitStack) -> "_Known":
        """Copy the database; the versions that are in the copy are held against being removed."""
        beside = self._folder / f"{TEMPORARY}{uuid4().hex}"
        try:
            for _ in range(TRIES):
                held = {number: self._hold(number, stack) for number in self._models.numbers()}
                beside.unlink(missing_ok=True)
                with dumped(self._photos.database, beside) as session:
                    known = _known(session)
                if all(held.get(number) for number in known.versions):
                    break
            else:
                raise BackupError("Versions come and go all the time. Try again when no training is under way.")
            self._files[NAME] = sha256 = sha256_of(beside)
            self._file_pool.take(beside, sha256)
            self._count[Came.COPIED] += 1
        finally:
            beside.unlink(missing_ok=True)
        return known

    def _hold(self, number: int, stack: ExitStack) -> bool:
        folder = self._settings.models_dir / str(number)
        return stack.enter_context(locked(folder)) or not folder.exists()

    def _bring_versions(self, numbers: tuple[int, ...], before: Made | None) -> None:
        for done, number in enumerate(numbers, 1):
            folder = f"models/{number}"
            try:
                expected = self._models.files(number)
            except ModelError:  # It is damaged; perhaps the last backup has it.
                expected = _of_version(before, folder, self._models.manifest_digest(number))
                if not expected:
                    self._missing.append(f"{folder}/{VERSION_MANIFEST}")
            for name, sha256 in expected.items():
                self._put_file(f"{folder}/{name}", self._settings.data / folder / name, sha256)
            self._told("versions", done, len(numbers))

    def _bring_others(self) -> None:
        """Which photos each version was made of, and the reports of runs."""
        data = self._settings.data
        reports = (path for path in self._settings.runs_dir.glob("*/*") if path.suffix in REPORT_FILES)
        for path in [*self._settings.snapshots_dir.glob("*.npz"), *reports]:
            if not path.name.startswith(TEMPORARY):
                try:
                    self._put_file(path.relative_to(data).as_posix(), path, sha256_of(path))
                except FileNotFoundError:  # It was old, and made room.
                    continue

    def _put_file(self, name: str, source: Path, sha256: str) -> None:
        came = self._bring(self._file_pool, source, sha256)
        if came.here:
            self._files[name] = sha256
        else:
            self._missing.append(name)

    def _bring_photos(self, known: Mapping[str, tuple[str | None, bool]]) -> list[str]:
        """Every photo that is in a class or waits for one; which were in a class, and were deleted meanwhile."""
        waiting = {path.stem for path in self._settings.unlabelled_dir.glob("*.jpg")}
        paths = [
            self._photos.places.path(name, sha256)
            for sha256, (name, _) in known.items()
            if name is not None or sha256 in waiting
        ]
        gone = []
        for done, (path, came) in enumerate(in_order(self._bring_photo, paths), 1):
            if came.here:
                self._kept.add(path.stem)
            else:
                gone.append(path)
            self._told("photos", done, len(paths))
        standings = self._photos.standings([path.stem for path in gone])
        self._missing += [self._name(path) for path in gone if standings.get(path.stem) is not None]
        # What was in a class once, and is nowhere now, may have been deleted by mistake: an undo finds it here.
        for sha256, (name, labelled) in known.items():
            if name is None and labelled and self._photo_pool.holds(sha256, check=False):
                self._kept.add(sha256)
        return [
            self._name(path) for path in gone if known[path.stem][0] is not None and standings.get(path.stem) is None
        ]

    def _bring_photo(self, path: Path) -> Came:
        try:
            return self._bring(self._photo_pool, path, path.stem)
        except FileNotFoundError:
            with self._photos.held(path.stem) as present:
                return self._bring(self._photo_pool, present, path.stem) if present else Came.GONE

    def _bring(self, pool: Pool, source: Path, sha256: str) -> Came:
        if pool.holds(sha256, check=self._check):
            came = Came.HAD
        else:
            linked = pool.put(source, sha256)
            came = Came.DAMAGED if linked is None else Came.LINKED if linked else Came.COPIED
        self._count[came] += 1
        return came

    def _name(self, path: Path) -> str:
        return path.relative_to(self._settings.data).as_posix()

    def _made(self, known: "_Known") -> Made:
        names = [known.photos[sha256][0] for sha256 in self._kept]
        return Made(
            at=now(),
            retrainbot=version("retrainbot"),
            photos=sum(name is not None for name in names),
            classes=len({name for name in names if name is not None}),
            unlabelled=names.count(None),
            versions=known.versions,
            files=self._files,
            missing=tuple(sorted(self._missing)),
        )


@dataclass(frozen=True)
class _Known:
    """What the copy of the database says: the versions; of every photo its class, and whether it was ever in one."""

    versions: tuple[int, ...]
    photos: Mapping[str, tuple[str | None, bool]]


def _known(session: Session) -> _Known:
    versions = select(VersionRow.number).where(VersionRow.removed_at.is_(None)).order_by(VersionRow.number)
    query = select(PhotoRow.sha256, ClassRow.name, PhotoRow.split)
    query = query.outerjoin(ClassRow, PhotoRow.class_id == ClassRow.id).order_by(PhotoRow.sha256)
    photos = {sha256: (name, split is not None) for sha256, name, split in session.execute(query)}
    return _Known(tuple(session.scalars(versions)), photos)


def _identity(database: Database) -> str:
    """What tells this data folder from others; it comes along when it is brought back."""
    with database.write() as session:
        row = session.get(SecretRow, IDENTITY)
        if row is None:
            row = SecretRow(name=IDENTITY, value=secrets.token_hex(16))
            session.add(row)
        return row.value


def _of_version(before: Made | None, folder: str, manifest: str) -> dict[str, str]:
    """The files that the last backup has of a version; none where it is another one of that number."""
    files = {
        path.removeprefix(f"{folder}/"): sha256
        for path, sha256 in (before.files if before else {}).items()
        if path.startswith(f"{folder}/")
    }
    return files if files.get(VERSION_MANIFEST) == manifest else {}
