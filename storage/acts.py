"""What one person does at once: the files move, the rows follow and the history is written, all of it or nothing."""

from collections import Counter
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from storage import catalogue, labels, splits
from storage.places import Moves, Places
from storage.splits import Split
from storage.tables import ActRow, ChangeRow, ClassRow, PhotoRow, RenameRow


class Act:
    """One act within a write transaction. It has an id once it has changed something.

    What was done before under the same key is taken up again: `changes` and `renames` tell what it did.
    """

    def __init__(
        self, session: Session, places: Places, moves: Moves, what: str, by: str, at: datetime, key: str | None
    ) -> None:
        self.session = session
        self.moves = moves
        self.by = by
        self.at = at
        self._places = places
        self._what = what
        self._key = key
        self._row = session.scalar(select(ActRow).where(ActRow.key == key)) if key else None
        self._counts: dict[int, Counter[Split]] = {}

    @property
    def id(self) -> int | None:
        return self._row.id if self._row else None

    @property
    def changes(self) -> list[ChangeRow]:
        """In their order, those of an earlier time included."""
        query = select(ChangeRow).where(ChangeRow.act == self.id).order_by(ChangeRow.id)
        return list(self.session.scalars(query)) if self._row else []

    @property
    def renames(self) -> list[RenameRow]:
        query = select(RenameRow).where(RenameRow.act == self.id).order_by(RenameRow.id)
        return list(self.session.scalars(query)) if self._row else []

    def place(self, photo: PhotoRow, after: ClassRow | None, *, undoes: int | None = None) -> bool:
        """Bring the photo into a class, or out of all. False, and nothing is done, where its file is gone."""
        before = catalogue.class_of(self.session, photo)
        present = self._places.find(catalogue.name_of(before), photo.sha256)
        if present:
            self.moves.bring(present, self._places.path(catalogue.name_of(after), photo.sha256))
        elif after:
            return False
        self.record(photo, after, undoes=undoes)
        return True

    def record(self, photo: PhotoRow, after: ClassRow | None, *, undoes: int | None = None) -> bool:
        """The rows of `place`, where the file is in its new place already. False where it is in that class already."""
        wanted = after.id if after else None
        if photo.class_id == wanted:
            return False
        self._write(photo, wanted, undoes=undoes)
        for class_id in (photo.class_id, wanted):
            if class_id is not None and photo.split is not None:
                self._counts.pop(class_id, None)
        if after and photo.split is None:
            photo.split = self._deal(photo, after)
        photo.class_id = wanted
        return True

    def lose(self, photo: PhotoRow, *, undoes: int) -> None:
        """Take back a change of a photo whose file is gone: it is in no class then, whatever older changes say."""
        self._write(photo, None, made=False, undoes=undoes)
        self._write(photo, None)
        photo.class_id = None

    def say(self, photo: PhotoRow, class_row: ClassRow) -> None:
        """Keep a label that changes nothing: the photo is there already, or somebody else says otherwise.

        Without a key, only the latter is worth a row.
        """
        if self._key or photo.class_id != class_row.id:
            self._write(photo, class_row.id, made=False)

    def rename(self, class_row: ClassRow, name: str, *, undoes: int | None = None) -> None:
        """Give the class and its folder another name, which no other class may have."""
        self.moves.rename_folder(class_row.name, name)
        self.record_rename(class_row, name, undoes=undoes)

    def record_rename(self, class_row: ClassRow, name: str, *, undoes: int | None = None) -> None:
        """The rows of `rename`, where the folder has its new name already."""
        row = RenameRow(act=self._need(), class_id=class_row.id, before=class_row.name, after=name, undoes=undoes)
        class_row.name, class_row.key = name, labels.key(name)
        self.session.add(row)
        self.session.flush()

    def _write(self, photo: PhotoRow, after: int | None, *, made: bool = True, undoes: int | None = None) -> None:
        self.session.add(
            ChangeRow(
                at=self.at,
                by=self.by,
                photo=photo.sha256,
                before=photo.class_id,
                after=after,
                act=self._need(),
                made=made,
                undoes=undoes,
            )
        )

    def _need(self) -> int:
        if self._row is None:
            self._row = ActRow(at=self.at, by=self.by, what=self._what, key=self._key)
            self.session.add(self._row)
            self.session.flush()
        return self._row.id

    def _deal(self, photo: PhotoRow, after: ClassRow) -> Split:
        """The split at the first label: that of the photo's near duplicates, so that they never judge each other."""
        shared = catalogue.group_split(self.session, photo.duplicates)
        if shared:
            self._counts.pop(after.id, None)
            return shared
        if after.id not in self._counts:
            self._counts[after.id] = catalogue.split_counts(self.session, after)
        split = splits.choose(photo.sha256, self._counts[after.id])
        self._counts[after.id][split] += 1
        return split
