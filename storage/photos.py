"""Class folders and their catalogue. The folders are the truth; the catalogue adds splits, history and speed.

Whatever touches a folder does so inside the catalogue's write transaction, so that writers never interleave.
"""

import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from uuid import uuid4

from sqlalchemy import Row, exists, func, select
from sqlalchemy.orm import Session

from storage import catalogue, labels, receipts
from storage.acts import Act
from storage.database import Database, now
from storage.errors import PhotoError
from storage.files import TEMPORARY, make_folder, write_durably
from storage.fingerprints import Fingerprints
from storage.images import NormalPhoto, normalise
from storage.places import Moves, Places
from storage.receipts import Labelled, Outcome, Receipt
from storage.settings import Images
from storage.splits import Split
from storage.tables import ChangeRow, ClassRow, PhotoRow, SourceRow
from storage.texts import Text

GONE = Text("The photo is no longer stored; send it again.")

Decode = Callable[[bytes], NormalPhoto]


@dataclass(frozen=True)
class Photo:
    sha256: str
    class_name: str
    split: Split
    path: Path


@dataclass(frozen=True)
class Prepared:
    """Bytes made ready for the store. `photo` is None where they, with the SHA-256 `source`, are stored already.

    `staged` is where the photo waits on the disk, if it does.
    """

    source: str
    photo: NormalPhoto | None
    staged: Path | None = None


@dataclass(frozen=True)
class ClassCount:
    name: str
    photos: int
    train: int
    validation: int
    test: int


@dataclass(frozen=True)
class ClassPage:
    """Some photos of a class, the newest first, of the `total` that it holds."""

    name: str
    total: int
    photos: list[str]


class Photos:
    """`decode` makes the stored form of a photo, raising ImageError; without one it is done in this process."""

    def __init__(
        self,
        database: Database,
        folder: Path,
        unlabelled: Path,
        images: Images,
        clock: Callable[[], datetime] = now,
        decode: Decode | None = None,
    ) -> None:
        self.database = database
        self.folder = folder
        self.places = Places(folder, unlabelled)
        self.clock = clock
        self.fingerprints = Fingerprints(database)
        self.normalise = decode or partial(
            normalise,
            max_side=images.max_side,
            max_pixels=images.max_megapixels * 1_000_000,
            quality=images.quality,
            heic=images.heic,
        )

    def prepare(self, content: bytes) -> Prepared:
        """The slow half of storing, which writes nothing and may run in threads. Raises ImageError."""
        source = hashlib.sha256(content).hexdigest()
        with self.database.read() as session:
            known = self.stored(session, source)
        return Prepared(source, None if known else self.normalise(content))

    def stage(self, prepared: Prepared) -> Prepared:
        """Bring the photo onto the disk, beside where `keep` puts it; this is slow, too, and may run in threads."""
        if prepared.photo is None:
            return prepared
        make_folder(self.places.unlabelled)
        staged = self.places.unlabelled / f"{TEMPORARY}{uuid4().hex}"
        try:
            with staged.open("wb") as file:
                file.write(prepared.photo.content)
                file.flush()
                os.fsync(file.fileno())
        except BaseException:
            staged.unlink(missing_ok=True)
            raise
        return Prepared(prepared.source, prepared.photo, staged)

    def keep(self, prepared: Prepared, by: str) -> str:
        """Store a photo without a label, unless it is stored already; its SHA-256.

        Raises PhotoError where it was stored when it was prepared, and has been removed since.
        """
        with self.act("keep", by) as act:
            row = self._kept(act, prepared)
            if row is None:
                raise PhotoError(GONE)
            return row.sha256

    def label(
        self, photos: Sequence[str], class_name: str, by: str, key: str | None = None, *, contest: bool = False
    ) -> Labelled:
        """Put stored photos, by their hash, into a class; known ones move there.

        With `contest`, what another person has labelled otherwise stays, and this label is only written down. What was
        done under the same `key` before is told again, but for photos that were changed since; photos that it did not
        have are added to it, in its class, whatever `class_name` is now.
        Raises LabelError, and PhotoError where none of the photos is there any more; then nothing has changed.
        """
        name = labels.class_name(class_name)
        with self.act("label", by, key) as act:
            class_row = _class_before(act) or catalogue.need_class(act.session, name)
            told = receipts.told(act)
            new = [sha256 for sha256 in dict.fromkeys(photos) if sha256 not in told]
            given = told | {sha256: receipts.label(act, sha256, class_row, contest=contest) for sha256 in new}
            # As they were given, so that they are told again in the same order.
            done = [receipt for sha256 in dict.fromkeys([*photos, *told]) if (receipt := given[sha256])]
            if (new or not told) and all(receipt.outcome is Outcome.GONE for receipt in done):
                raise PhotoError(GONE)
            return receipts.labelled(act, class_row, done)

    def add(self, content: bytes, class_name: str, by: str, *, move: bool = True) -> Labelled:
        """Store one photo under a class: prepared, kept and labelled.

        Raises LabelError, ImageError, and PhotoError where it is in another class and `move` is false; then nothing has
        changed.
        """
        name = labels.class_name(class_name)
        prepared = self.prepare(content)
        with self.act("label", by) as act:
            receipt = self._store(act, prepared, name, move=move)
            if receipt.outcome is Outcome.CONTESTED:
                raise PhotoError("It is already stored under “{before}”.", before=receipt.before)
            if receipt.outcome is Outcome.GONE:
                raise PhotoError(GONE)
            return receipts.labelled(act, catalogue.need_class(act.session, name), [receipt])

    def store_all(
        self, items: Sequence[tuple[Prepared, str]], by: str, key: str | None = None, *, move: bool = False
    ) -> list[Receipt]:
        """Keep photos and put each into the class beside it, in one transaction; under one key, all are one act.

        Unless `move`, a photo of another class stays there, CONTESTED. Raises LabelError.
        """
        with self.act("label", by, key) as act:
            return [self._store(act, prepared, labels.class_name(name), move=move) for prepared, name in items]

    @contextmanager
    def act(self, what: str, by: str, key: str | None = None) -> Iterator[Act]:
        """A write transaction for one act; the folders are safe on the disk before it is committed."""
        with self.database.write() as session:
            moves = Moves(self.places)
            yield Act(session, self.places, moves, what, by, self.clock(), key)
            moves.sync()

    def classes(self) -> list[ClassCount]:
        """Every class that holds photos, by name."""
        query = (
            select(ClassRow.name, PhotoRow.split, func.count())
            .join(PhotoRow, PhotoRow.class_id == ClassRow.id)
            .group_by(ClassRow.name, PhotoRow.split)
        )
        counts: dict[str, dict[str | None, int]] = {}
        with self.database.read() as session:
            for name, split, count in session.execute(query):
                counts.setdefault(name, {})[split] = count
        return [
            ClassCount(name, sum(by.values()), *(by.get(split, 0) for split in Split))
            for name, by in sorted(counts.items(), key=lambda item: labels.key(item[0]))
        ]

    def page(self, class_name: str, start: int, count: int) -> ClassPage:
        """The photos of a class from the newest one's `start` on. Raises LabelError, and PhotoError without photos."""
        with self.database.read() as session:
            row = catalogue.known_class(session, class_name)
            query = select(PhotoRow.sha256).where(PhotoRow.class_id == row.id)
            newest = query.order_by(PhotoRow.added_at.desc(), PhotoRow.sha256).offset(start).limit(count)
            return ClassPage(row.name, catalogue.count(session, row), list(session.scalars(newest)))

    def since(self, at: datetime) -> dict[str, int]:
        """How many photos each class has that came after that time."""
        query = select(ClassRow.name, func.count()).join(PhotoRow, PhotoRow.class_id == ClassRow.id)
        with self.database.read() as session:
            return dict(sorted(session.execute(query.where(PhotoRow.added_at > at).group_by(ClassRow.name)).all()))

    def class_names(self) -> list[str]:
        """Every class that holds photos, in order, without counting them."""
        holds = exists().where(PhotoRow.class_id == ClassRow.id)
        with self.database.read() as session:
            return sorted(session.scalars(select(ClassRow.name).where(holds)))

    def class_ids(self) -> dict[str, int]:
        """The id of every class, those that hold nothing too, by its name."""
        with self.database.read() as session:
            return dict(session.execute(select(ClassRow.name, ClassRow.id)).all())

    def name_of(self, class_id: int) -> str | None:
        """The present name of a class, also of one that holds nothing any more; None where there never was one."""
        with self.database.read() as session:
            return catalogue.name_of(session.get(ClassRow, class_id))

    def all(self) -> list[Photo]:
        """Every photo that is in a class, by hash."""
        query = select(PhotoRow.sha256, PhotoRow.split, ClassRow.name).join(ClassRow, PhotoRow.class_id == ClassRow.id)
        with self.database.read() as session:
            return [
                Photo(sha256, name, Split(split), self.path(name, sha256))
                for sha256, split, name in session.execute(query.order_by(PhotoRow.sha256))
                if split is not None
            ]

    def labelled(self, part: int) -> Iterator[Sequence[Row[str, int | None, str | None, int, int]]]:
        """Of every photo in a class: hash, id of the class, split, width, height; by hash, `part` rows at a time."""
        columns = (PhotoRow.sha256, PhotoRow.class_id, PhotoRow.split, PhotoRow.width, PhotoRow.height)
        query = select(*columns).where(PhotoRow.class_id.is_not(None), PhotoRow.split.is_not(None))
        with self.database.read() as session:
            found = session.execute(query.order_by(PhotoRow.sha256).execution_options(yield_per=part))
            yield from found.partitions()

    def hashes(self) -> list[str]:
        """Every photo that was ever received and not forgotten."""
        with self.database.read() as session:
            return list(session.scalars(select(PhotoRow.sha256)))

    def stored_hashes(self) -> list[str]:
        """Every photo that is in a class or waits for one."""
        waiting = {path.stem for path in self.places.unlabelled.glob("*.jpg")}
        with self.database.read() as session:
            rows = session.execute(select(PhotoRow.sha256, PhotoRow.class_id))
            return [sha256 for sha256, class_id in rows if class_id is not None or sha256 in waiting]

    def last_change(self) -> int:
        """A number that rises with every change of a label."""
        with self.database.read() as session:
            return session.scalar(select(func.max(ChangeRow.id))) or 0

    def names_by_id(self) -> dict[int, str]:
        """The name of every class, those that hold nothing too."""
        with self.database.read() as session:
            return dict(session.execute(select(ClassRow.id, ClassRow.name)).all())

    def read(self, path: Path) -> bytes:
        """The bytes of the photo that was stored at `path`, also where it has been moved or removed since.

        Raises OSError where its file is gone altogether.
        """
        try:
            return path.read_bytes()
        except FileNotFoundError:
            with self.database.write() as session:  # So nobody is moving it.
                row = session.get(PhotoRow, path.stem)
                return ((row and self._find(session, row)) or path).read_bytes()

    @contextmanager
    def held(self, sha256: str) -> Iterator[Path | None]:
        """The photo's file, which nobody moves or removes within the block; None where it is gone."""
        with self.database.write() as session:
            row = session.get(PhotoRow, sha256)
            yield self._find(session, row) if row else None

    def content(self, sha256: str) -> bytes:
        """The bytes of a photo, in whatever class. Raises PhotoError where it is no longer stored."""
        with self.database.read() as session:
            row = session.get(PhotoRow, sha256)
            class_row = catalogue.class_of(session, row) if row else None
        try:
            return self.read(self.places.path(catalogue.name_of(class_row), sha256))
        except OSError as error:
            raise PhotoError(GONE) from error

    def holds(self, sha256: str) -> bool:
        """Whether the photo's file is there, in a class or not."""
        with self.database.read() as session:
            row = session.get(PhotoRow, sha256)
            return row is not None and self._find(session, row) is not None

    def standings(self, photos: Sequence[str]) -> dict[str, str | None]:
        """The class, or None, of each of these photos that was ever received."""
        query = select(PhotoRow.sha256, ClassRow.name).outerjoin(ClassRow, PhotoRow.class_id == ClassRow.id)
        with self.database.read() as session:
            return dict(session.execute(query.where(PhotoRow.sha256.in_(photos))).all())

    def path(self, class_name: str, sha256: str) -> Path:
        return self.places.path(class_name, sha256)

    def prune_unlabelled(self, max_bytes: int) -> int:
        """Remove the photos that have been in no class for longest, until the others take up at most `max_bytes`.

        They can be sent again. Returns how many went.
        """
        with self.database.write() as session:  # So nobody is labelling one of them.
            return self.places.prune(max_bytes, self.clock(), lambda sha256: _in_no_class(session, sha256))

    def stored(self, session: Session, source: str) -> PhotoRow | None:
        """The photo that these original bytes became, if its file is still there."""
        seen = session.get(SourceRow, source)
        row = seen and session.get(PhotoRow, seen.photo)
        return row if row and self._find(session, row) else None

    def insert(self, act: Act, photo: NormalPhoto) -> PhotoRow:
        """The row of a photo, made if it is new."""
        row = act.session.get(PhotoRow, photo.sha256)
        if row is None:
            nearest = self.fingerprints.nearest(act.session, photo.fingerprint)
            row = catalogue.insert(act.session, photo, nearest, act.by, act.at)
        return row

    def _find(self, session: Session, row: PhotoRow) -> Path | None:
        class_row = catalogue.class_of(session, row)
        return self.places.find(catalogue.name_of(class_row), row.sha256)

    def _kept(self, act: Act, prepared: Prepared) -> PhotoRow | None:
        """The stored photo; None where it was there already when it was prepared, and is no longer."""
        row = self.stored(act.session, prepared.source)
        photo = prepared.photo
        if row is None and photo:
            row = self.insert(act, photo)
            if not self._find(act.session, row):
                self._write(act, row, photo, prepared.staged)
            catalogue.remember_source(act.session, prepared.source, row)
        if prepared.staged:
            prepared.staged.unlink(missing_ok=True)
        return row

    def _write(self, act: Act, row: PhotoRow, photo: NormalPhoto, staged: Path | None) -> None:
        class_row = catalogue.class_of(act.session, row)
        wanted = self.places.path(catalogue.name_of(class_row), row.sha256)
        if staged:
            act.moves.bring(staged, wanted)
        else:
            write_durably(wanted, photo.content)

    def _store(self, act: Act, prepared: Prepared, name: str, *, move: bool) -> Receipt:
        row = self._kept(act, prepared)
        if row is None:
            return Receipt(Outcome.GONE, "", None)
        before = catalogue.class_of(act.session, row)
        if before and before.key != labels.key(name) and not move:
            return Receipt(Outcome.CONTESTED, row.sha256, before.name)
        return receipts.place(act, row, catalogue.need_class(act.session, name))


def _class_before(act: Act) -> ClassRow | None:
    """The class of what was done under the act's key before, by whatever name it goes now."""
    changes = act.changes
    return act.session.get_one(ClassRow, changes[0].after) if changes else None


def _in_no_class(session: Session, sha256: str) -> bool:
    row = session.get(PhotoRow, sha256)
    return row is None or row.class_id is None
