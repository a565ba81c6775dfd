"""Class folders and their catalogue. The folders are the truth; the catalogue adds splits, history and speed.

Whatever touches a folder does so inside the catalogue's write transaction, so that writers never interleave.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from pathlib import Path

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from storage import catalogue, labels
from storage.database import Database, now
from storage.errors import PhotoError
from storage.files import move_durably, write_durably
from storage.images import NormalPhoto, normalise
from storage.settings import Images
from storage.splits import Split
from storage.tables import ChangeRow, ClassRow, PhotoRow, SourceRow


class Outcome(StrEnum):
    ADDED = "added"
    DUPLICATE = "duplicate"  # It was in this class already.
    MOVED = "moved"  # It was in another class.


@dataclass(frozen=True)
class Photo:
    sha256: str
    class_name: str
    split: Split
    path: Path


@dataclass(frozen=True)
class Prepared:
    """Bytes made ready for the store. `photo` is None where they, with the SHA-256 `source`, are stored already."""

    source: str
    photo: NormalPhoto | None


@dataclass(frozen=True)
class Receipt:
    """What `add` did. `change` undoes it; None where nothing changed."""

    outcome: Outcome
    sha256: str
    class_name: str
    class_photos: int
    before: str | None
    change: int | None


@dataclass(frozen=True)
class ClassCount:
    name: str
    photos: int
    train: int
    validation: int
    test: int


class Photos:
    def __init__(self, database: Database, folder: Path, images: Images, clock: Callable[[], datetime] = now) -> None:
        self.folder = folder
        self.database = database
        self.clock = clock
        self._images = images

    def normalise(self, content: bytes) -> NormalPhoto:
        """The stored form of a photo. Raises ImageError."""
        images = self._images
        return normalise(content, images.max_side, images.max_megapixels * 1_000_000, images.quality)

    def add(self, content: bytes, class_name: str, by: str, *, move: bool = True) -> Receipt:
        """Store a photo under a class: `prepare`, then `store`.

        Raises LabelError, ImageError, or PhotoError as `store` does, and then nothing has changed.
        """
        name = labels.class_name(class_name)
        return self.store(self.prepare(content), name, by, move=move)

    def prepare(self, content: bytes) -> Prepared:
        """The slow half of `add`, which writes nothing and may run in threads. Raises ImageError."""
        source = hashlib.sha256(content).hexdigest()
        with self.database.read() as session:
            known = self.stored(session, source)
        return Prepared(source, None if known else self.normalise(content))

    def store(self, prepared: Prepared, class_name: str, by: str, *, move: bool = True) -> Receipt:
        """The short half of `add`. A known photo is not stored twice: if its class differs, it moves.

        `class_name` is made safe first. Raises LabelError, and PhotoError where the photo is in another class and
        `move` is false; then nothing has changed.
        """
        name = labels.class_name(class_name)
        photo = prepared.photo
        with self.database.write() as session:
            row = self.stored(session, prepared.source) or (session.get(PhotoRow, photo.sha256) if photo else None)
            class_row = catalogue.need_class(session, name)
            if row is None:
                if photo is None:
                    raise PhotoError("The photo was removed by hand just now; send it again.")
                row = catalogue.insert(session, photo, class_row, by, self.clock())
            before = catalogue.class_of(session, row)
            if not move and before not in (None, class_row) and self.location(before, row.sha256).exists():
                raise PhotoError(f"It is already stored under “{before.name if before else ''}”.")
            catalogue.remember_source(session, prepared.source, row)
            self._place(session, row, class_row, photo)
            return self._record(session, row, class_row, by)

    def undo(self, change: int, by: str) -> Receipt:
        """Take back one change of a photo's class; it returns to where it was, or out of all classes.

        Raises PhotoError where the photo has been changed again since.
        """
        with self.database.write() as session:
            done = session.get(ChangeRow, change)
            row = session.get(PhotoRow, done.photo) if done else None
            if done is None or row is None or catalogue.newest_change(session, row) != done.id:
                raise PhotoError("That was changed again since, so it cannot be undone.")
            before = session.get(ClassRow, done.before) if done.before is not None else None
            self._place(session, row, before, None)
            return self._record(session, row, before, by)

    def classes(self) -> list[ClassCount]:
        """Every class that holds photos, by name."""
        query = (
            select(ClassRow.name, PhotoRow.split, func.count())
            .join(PhotoRow, PhotoRow.class_id == ClassRow.id)
            .group_by(ClassRow.name, PhotoRow.split)
        )
        counts: dict[str, dict[str, int]] = {}
        with self.database.read() as session:
            for name, split, count in session.execute(query):
                counts.setdefault(name, {})[split] = count
        return [
            ClassCount(name, sum(by.values()), *(by.get(split, 0) for split in Split))
            for name, by in sorted(counts.items(), key=lambda item: labels.key(item[0]))
        ]

    def all(self) -> list[Photo]:
        """Every photo that is in a class, by hash."""
        query = select(PhotoRow.sha256, PhotoRow.split, ClassRow.name).join(ClassRow, PhotoRow.class_id == ClassRow.id)
        with self.database.read() as session:
            return [
                Photo(sha256, name, Split(split), self.path(name, sha256))
                for sha256, split, name in session.execute(query.order_by(PhotoRow.sha256))
            ]

    def read(self, path: Path) -> bytes:
        """The bytes of the photo that was stored at `path`, also where it has been moved or removed since.

        Raises OSError where its file is gone altogether.
        """
        try:
            return path.read_bytes()
        except FileNotFoundError:
            with self.database.write() as session:  # So nobody is moving it.
                row = session.get(PhotoRow, path.stem)
                return (self.location(catalogue.class_of(session, row), row.sha256) if row else path).read_bytes()

    def path(self, class_name: str, sha256: str) -> Path:
        return self.folder / class_name / f"{sha256}.jpg"

    def class_of(self, class_id: int) -> str:
        """The name of the class with this id. Raises PhotoError where there is none."""
        with self.database.read() as session:
            row = session.get(ClassRow, class_id)
        if row is None:
            raise PhotoError("That class no longer exists.")
        return row.name

    def class_ids(self) -> dict[str, int]:
        """The id of each class by its name."""
        with self.database.read() as session:
            return dict(session.execute(select(ClassRow.name, ClassRow.id)).all())

    def location(self, class_row: ClassRow | None, sha256: str) -> Path:
        """Where a photo's file lies. Photos in no class wait beside the class folders, so undo can bring them back."""
        return self.path(class_row.name, sha256) if class_row else self.folder.parent / "removed" / f"{sha256}.jpg"

    def stored(self, session: Session, source: str) -> PhotoRow | None:
        """The photo that these original bytes became, if its file is still there."""
        seen = session.get(SourceRow, source)
        row = seen and session.get(PhotoRow, seen.photo)
        return row if row and self.location(catalogue.class_of(session, row), row.sha256).exists() else None

    def _place(self, session: Session, row: PhotoRow, after: ClassRow | None, photo: NormalPhoto | None) -> None:
        """Bring the photo's file to where its class wants it."""
        present = self.location(catalogue.class_of(session, row), row.sha256)
        wanted = self.location(after, row.sha256)
        if present == wanted and wanted.exists():
            return
        if present.exists():
            move_durably(present, wanted)
        elif photo:
            write_durably(wanted, photo.content)
        else:
            raise PhotoError("The photo's file was removed by hand; run `retrainbot reindex`.")

    def _record(self, session: Session, row: PhotoRow, after: ClassRow | None, by: str) -> Receipt:
        """Write the new class and the history."""
        before = catalogue.class_of(session, row)
        change = catalogue.file_under(session, row, after, by, self.clock())
        return Receipt(
            outcome=Outcome.DUPLICATE if change is None else Outcome.MOVED if before else Outcome.ADDED,
            sha256=row.sha256,
            class_name=after.name if after else "",
            class_photos=catalogue.count(session, after),
            before=before.name if before else None,
            change=change.id if change else None,
        )
