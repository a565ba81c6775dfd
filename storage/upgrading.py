"""What the data folder of an older version lacks; whoever follows the class folders makes up for it first."""

from itertools import islice
from pathlib import Path

from sqlalchemy import select
from sqlalchemy.orm import Session

from storage.errors import ImageError
from storage.folders import in_order
from storage.images import NormalPhoto
from storage.photos import Photos
from storage.tables import ClassRow, FingerprintRow, PhotoRow

BATCH = 64  # Photos that are committed together.


def make_up(photos: Photos) -> None:
    """Bring photos that are in no class to where they lie today, and give those without a fingerprint theirs."""
    _move_removed(photos, photos.places.unlabelled.parent / "removed")
    found = in_order(lambda path: _normal(photos, path), _without_fingerprint(photos))
    while batch := list(islice(found, BATCH)):
        with photos.database.write() as session:
            for path, photo in batch:
                if photo:
                    _take_fingerprint(photos, session, path.stem, photo.fingerprint)


def _move_removed(photos: Photos, old: Path) -> None:
    if old.is_dir():
        with photos.act("move", "reindex") as act:
            for path in old.glob("*.jpg"):
                act.moves.bring(path, photos.places.unlabelled / path.name)


def _without_fingerprint(photos: Photos) -> list[Path]:
    query = select(PhotoRow.sha256, ClassRow.name).join(ClassRow, PhotoRow.class_id == ClassRow.id)
    query = query.outerjoin(FingerprintRow).where(FingerprintRow.id.is_(None)).order_by(PhotoRow.sha256)
    with photos.database.read() as session:
        return [photos.path(name, sha256) for sha256, name in session.execute(query)]


def _normal(photos: Photos, path: Path) -> NormalPhoto | None:
    try:
        return photos.normalise(path.read_bytes())
    except (ImageError, OSError):  # `reindex` speaks of it where it must.
        return None


def _take_fingerprint(photos: Photos, session: Session, sha256: str, bits: str) -> None:
    """It joins the group of its near duplicates unless they have another split: no photo changes that."""
    if session.scalar(select(FingerprintRow.id).where(FingerprintRow.photo == sha256)):
        return
    row, nearest = session.get_one(PhotoRow, sha256), photos.fingerprints.nearest(session, bits)
    near = session.get(PhotoRow, nearest) if nearest else None
    if near and near.split == row.split:
        row.duplicates = near.duplicates
    session.add(FingerprintRow(photo=sha256, bits=bits))
    session.flush()
