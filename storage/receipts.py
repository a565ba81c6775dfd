"""What became of photos that somebody gave or labelled."""

from dataclasses import dataclass
from enum import StrEnum

from sqlalchemy.orm import Session

from storage import catalogue
from storage.acts import Act
from storage.tables import ChangeRow, ClassRow, PhotoRow


class Outcome(StrEnum):
    ADDED = "added"
    DUPLICATE = "duplicate"  # It was in this class already.
    MOVED = "moved"  # It was in another class.
    CONTESTED = "contested"  # It is in another class, and stays there.
    GONE = "gone"  # Its file is no longer there.


@dataclass(frozen=True)
class Receipt:
    """What became of one photo; `before` is the class it was in."""

    outcome: Outcome
    sha256: str
    before: str | None


@dataclass(frozen=True)
class Labelled:
    """What a label did. `act` undoes it; None where nothing changed. The class has `class_photos` photos now."""

    act: int | None
    class_name: str
    class_photos: int
    receipts: tuple[Receipt, ...]


def place(act: Act, row: PhotoRow, class_row: ClassRow) -> Receipt:
    """Bring a photo into a class."""
    before = catalogue.class_of(act.session, row)
    name = catalogue.name_of(before)
    if not act.place(row, class_row):
        return Receipt(Outcome.GONE, row.sha256, name)
    return Receipt(_outcome(before, class_row), row.sha256, name)


def told(session: Session, change: ChangeRow) -> Receipt:
    """The receipt of a change that was made, or of a label that was said, at an earlier time."""
    before = session.get(ClassRow, change.before) if change.before is not None else None
    after = session.get_one(ClassRow, change.after)
    contested = not change.made and before is not after
    outcome = Outcome.CONTESTED if contested else _outcome(before, after)
    return Receipt(outcome, change.photo, catalogue.name_of(before))


def labelled(act: Act, class_row: ClassRow, receipts: list[Receipt]) -> Labelled:
    changed = any(receipt.outcome not in {Outcome.DUPLICATE, Outcome.GONE} for receipt in receipts)
    count = catalogue.count(act.session, class_row)
    return Labelled(act.id if changed else None, class_row.name, count, tuple(receipts))


def _outcome(before: ClassRow | None, after: ClassRow) -> Outcome:
    return Outcome.ADDED if before is None else Outcome.DUPLICATE if before is after else Outcome.MOVED
