"""Rows of the catalogue within one transaction. Whoever changes them here brings the files along."""

from collections import Counter
from datetime import datetime

from sqlalchemy import ColumnElement, and_, exists, func, select
from sqlalchemy.orm import Session, aliased

from storage import labels
from storage.errors import PhotoError
from storage.images import NormalPhoto
from storage.splits import Split
from storage.tables import ChangeRow, ClassRow, FingerprintRow, PhotoRow, RenameRow, SourceRow


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


def known_class(session: Session, text: str) -> ClassRow:
    """The class that a person speaks of. Raises LabelError, and PhotoError where no such class holds photos."""
    name = labels.class_name(text)
    row = find_class(session, name)
    if row is None or not count(session, row):
        raise PhotoError("There is no class “{name}”. /classes lists those there are.", name=labels.shown(name))
    return row


def class_of(session: Session, photo: PhotoRow) -> ClassRow | None:
    return session.get(ClassRow, photo.class_id) if photo.class_id is not None else None


def name_of(class_row: ClassRow | None) -> str | None:
    return None if class_row is None else class_row.name


def members(session: Session, class_row: ClassRow) -> list[PhotoRow]:
    """The photos of a class, by hash."""
    return list(session.scalars(select(PhotoRow).where(PhotoRow.class_id == class_row.id).order_by(PhotoRow.sha256)))


def count(session: Session, class_row: ClassRow | None) -> int:
    """How many photos the class holds."""
    if class_row is None:
        return 0
    query = select(func.count()).select_from(PhotoRow).where(PhotoRow.class_id == class_row.id)
    return session.scalar(query) or 0


def split_counts(session: Session, class_row: ClassRow) -> Counter[Split]:
    """How many groups of near duplicates the class has in each split."""
    groups = func.count(PhotoRow.duplicates.distinct())
    query = select(PhotoRow.split, groups).where(PhotoRow.class_id == class_row.id).group_by(PhotoRow.split)
    return Counter({Split(split): number for split, number in session.execute(query) if split is not None})


def group_split(session: Session, group: str) -> Split | None:
    """The split that near duplicates share; None where none of them was ever labelled."""
    query = select(PhotoRow.split).where(PhotoRow.duplicates == group, PhotoRow.split.is_not(None)).limit(1)
    split = session.scalar(query)
    return Split(split) if split is not None else None


def insert(session: Session, photo: NormalPhoto, nearest: str | None, by: str, at: datetime) -> PhotoRow:
    """A row for a photo never seen before: in no class, with no split, and in the group of the nearest one, if any."""
    row = PhotoRow(
        sha256=photo.sha256,
        class_id=None,
        split=None,
        duplicates=session.get_one(PhotoRow, nearest).duplicates if nearest else photo.sha256,
        width=photo.width,
        height=photo.height,
        added_at=at,
        added_by=by,
    )
    session.add(row)
    session.flush()
    session.add(FingerprintRow(photo=photo.sha256, bits=photo.fingerprint))
    session.flush()
    return row


def remember_source(session: Session, source: str, photo: PhotoRow) -> None:
    """Original bytes with this SHA-256 became this photo."""
    session.merge(SourceRow(sha256=source, photo=photo.sha256))


def labeller(session: Session, sha256: str) -> str | None:
    """Who gave the photo its present label."""
    return session.scalar(select(ChangeRow.by).where(ChangeRow.photo == sha256, change_in_effect()))


def changes_in_effect(session: Session, act: int | None) -> set[int]:
    """The ids of the changes of an act that are still in effect."""
    return set(session.scalars(select(ChangeRow.id).where(ChangeRow.act == act, change_in_effect())))


def change_in_effect() -> ColumnElement[bool]:
    """Of each photo's changes the newest that was made, takes nothing back and is not taken back itself."""
    later = aliased(ChangeRow)
    superseded = exists(
        select(later.id).where(
            later.photo == ChangeRow.photo, later.id > ChangeRow.id, later.made, _stands(later, aliased(ChangeRow))
        )
    )
    return and_(ChangeRow.made, _stands(ChangeRow, aliased(ChangeRow)), ~superseded)


def change_left() -> ColumnElement[bool]:
    """Changes that were made and not taken back, whether or not there are newer ones."""
    return and_(ChangeRow.made, _stands(ChangeRow, aliased(ChangeRow)))


def rename_in_effect() -> ColumnElement[bool]:
    """The same of each class's names."""
    later = aliased(RenameRow)
    superseded = exists(
        select(later.id).where(
            later.class_id == RenameRow.class_id, later.id > RenameRow.id, _stands(later, aliased(RenameRow))
        )
    )
    return and_(_stands(RenameRow, aliased(RenameRow)), ~superseded)


def _stands(row: type[ChangeRow] | type[RenameRow], undoing: type[ChangeRow] | type[RenameRow]) -> ColumnElement[bool]:
    return and_(row.undoes.is_(None), ~exists(select(undoing.id).where(undoing.undoes == row.id)))
