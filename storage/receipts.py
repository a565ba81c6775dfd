"""What became of photos that somebody gave or labelled."""

from dataclasses import dataclass
from enum import StrEnum

from sqlalchemy.orm import Session

from storage import catalogue
from storage.acts import Act
from storage.tables import ChangeRow, ClassRow, PhotoRow

PERSON = "telegram:"  # How the name of somebody in the chat begins, in the history.


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


def label(act: Act, sha256: str, class_row: ClassRow, *, contest: bool) -> Receipt:
    """Bring a stored photo into a class; with `contest`, not out of one where another person put it."""
    row = act.session.get(PhotoRow, sha256)
    if row is None:
        return Receipt(Outcome.GONE, sha256, None)
    before = catalogue.class_of(act.session, row)
    if contest and before not in (None, class_row) and _is_of_another(act, sha256):
        act.say(row, class_row)
        return Receipt(Outcome.CONTESTED, sha256, catalogue.name_of(before))
    if before is class_row:
        act.say(row, class_row)
    return place(act, row, class_row)


def told(act: Act) -> dict[str, Receipt | None]:
    """The receipts of what was done under the act's key before; None where a photo is no longer where that left it."""
    in_effect = catalogue.changes_in_effect(act.session, act.id)
    return {
        change.photo: _told(act.session, change) if _holds(act.session, change, in_effect) else None
        for change in act.changes
    }


def labelled(act: Act, class_row: ClassRow, receipts: list[Receipt]) -> Labelled:
    changed = any(receipt.outcome not in {Outcome.DUPLICATE, Outcome.GONE} for receipt in receipts)
    count = catalogue.count(act.session, class_row)
    return Labelled(act.id if changed else None, class_row.name, count, tuple(receipts))


def _is_of_another(act: Act, sha256: str) -> bool:
    """Whether another person gave the photo its present label."""
    labeller = catalogue.labeller(act.session, sha256)
    return labeller is not None and labeller != act.by and labeller.startswith(PERSON)


def _holds(session: Session, change: ChangeRow, in_effect: set[int]) -> bool:
    if change.made:
        return change.id in in_effect
    return session.get_one(PhotoRow, change.photo).class_id == change.before


def _told(session: Session, change: ChangeRow) -> Receipt:
    before = session.get(ClassRow, change.before) if change.before is not None else None
    after = session.get_one(ClassRow, change.after)
    contested = not change.made and before is not after
    outcome = Outcome.CONTESTED if contested else _outcome(before, after)
    return Receipt(outcome, change.photo, catalogue.name_of(before))


def _outcome(before: ClassRow | None, after: ClassRow) -> Outcome:
    return Outcome.ADDED if before is None else Outcome.DUPLICATE if before is after else Outcome.MOVED
