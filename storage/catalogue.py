"""Rows of the catalogue within one transaction. Whoever changes them here brings the files along."""

from datetime import datetime

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from storage import labels, splits
from storage.images import NormalPhoto
from storage.splits import Split
from storage.tables import ChangeRow, ClassRow, PhotoRow, SourceRow


def find_class(session: Session, name: str) -> ClassRow | None:
    """The class with this name in any spelling."""
    return session.scalar(select(ClassRow).where(ClassRow.key == labels.key(name)))


def need_class(session: Session, name: str) -> ClassRow:
    """The class with this name in any spelling, made if it is new."""
    row = find_class(session, name)
    if row is None:
        row = ClassRow(name=name, key=labels.key(name))
        session.add(row)
        session.flush()
    return row


def class_of(session: Session, photo: PhotoRow) -> ClassRow | None:
    return session.get(ClassRow, photo.class_id) if photo.class_id is not None else None


def count(session: Session, class_row: ClassRow | None) -> int:
    """How many photos the class holds."""
    if class_row is None:
        return 0
    query = select(func.count()).select_from(PhotoRow).where(PhotoRow.class_id == class_row.id)
    return session.scalar(query) or 0


def insert(session: Session, photo: NormalPhoto, class_row: ClassRow, by: str, at: datetime) -> PhotoRow:
    """A row for a photo never seen before. Its split is chosen for this class; it is in no class yet."""
    query = select(PhotoRow.split, func.count()).where(PhotoRow.class_id == class_row.id).group_by(PhotoRow.split)
    counts = {Split(split): number for split, number in session.execute(query)}
    row = PhotoRow(
        sha256=photo.sha256,
        class_id=None,
        split=splits.choose(photo.sha256, counts),
        duplicates=photo.sha256,
        width=photo.width,
        height=photo.height,
        added_at=at,
        added_by=by,
    )
    session.add(row)
    session.flush()
    return row


def remember_source(session: Session, source: str, photo: PhotoRow) -> None:
    """Original bytes with this SHA-256 became this photo."""
    session.merge(SourceRow(sha256=source, photo=photo.sha256))


def file_under(session: Session, photo: PhotoRow, after: ClassRow | None, by: str, at: datetime) -> ChangeRow | None:
    """Set the photo's class and write the history; None where it is in that class already."""
    wanted = after.id if after else None
    if photo.class_id == wanted:
        return None
    change = ChangeRow(at=at, by=by, photo=photo.sha256, before=photo.class_id, after=wanted)
    photo.class_id = wanted
    session.add(change)
    session.flush()
    return change


def newest_change(session: Session, photo: PhotoRow) -> int | None:
    return session.scalar(select(func.max(ChangeRow.id)).where(ChangeRow.photo == photo.sha256))
