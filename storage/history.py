"""Changing one's mind: undo, and what is done to whole classes. Every act here can itself be undone."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import count

from sqlalchemy import and_, exists, func, or_, select
from sqlalchemy.orm import Session

from storage import catalogue, labels
from storage.acts import Act
from storage.errors import PhotoError
from storage.photos import Photos
from storage.tables import ActRow, ChangeRow, ClassRow, PhotoRow, RenameRow
from storage.texts import Text

UNDO = "undo"  # What such an act is called; it cannot be undone itself.
OVER = Text("That was changed again since, or undone already, so it cannot be undone.")


@dataclass(frozen=True)
class Changed:
    """What an act did: so many photos were in the classes `before`, and are in the class `after` (None: in no class).

    `act` undoes it; None where nothing changed.
    """

    act: int | None
    photos: int
    before: dict[str, int]
    after: str | None


@dataclass(frozen=True)
class Undone:
    """The act that was taken back, and what it was: "label", "rename", "merge", "delete", "remove" or "withdraw".

    Photos are `back` in these classes, or `out` of all; `kept` were changed again since, and left alone; `gone` are no
    longer stored. `renamed` is the name that the class had until now, and the one it has again.
    """

    act: int
    what: str
    back: dict[str, int]
    out: int
    renamed: tuple[str, str] | None
    kept: int
    gone: int = 0


class History:
    """Each method is one act in one transaction; under a `key` that was used before it only tells what was done then.

    Class names may be spelled in any way. All raise PhotoError where what is asked for cannot be done; then nothing
    has changed.
    """

    def __init__(self, photos: Photos) -> None:
        self._photos = photos

    def undo(self, act: int, by: str, key: str | None = None) -> Undone:
        """Take back what is still in effect of an act: photos return to where they were before it."""
        return self._undo(lambda _session: act, by, key)

    def undo_last(self, by: str, key: str | None = None) -> Undone:
        """Take back this person's newest act that is still in effect; again and again, as deep as wanted.

        A rename is passed over while another class has the old name; only where nothing older is left is that told.
        """
        return self._undo(lambda session: _newest(session, by), by, key)

    def rename(self, class_name: str, new: str, by: str, key: str | None = None) -> Changed:
        """Give a class and its folder another name; nothing else about its photos changes. Raises LabelError."""
        name = labels.class_name(new)
        with self._photos.act("rename", by, key) as act:
            if act.id is None:
                class_row = catalogue.known_class(act.session, class_name)
                if class_row.name == name:
                    return Changed(None, catalogue.count(act.session, class_row), {}, name)
                if holder := _holder(act.session, class_row, name):
                    ours, theirs = labels.shown(class_row.name), labels.shown(holder.name)
                    raise PhotoError(
                        "There is a class “{theirs}” already; merge “{ours}” into it instead.", theirs=theirs, ours=ours
                    )
                _rename(act, class_row, name)
            renamed = act.renames[-1]
            photos = catalogue.count(act.session, act.session.get_one(ClassRow, renamed.class_id))
            return Changed(act.id, photos, {renamed.before: photos}, renamed.after)

    def merge(self, class_name: str, into: str, by: str, key: str | None = None) -> Changed:
        """Move every photo of one class into another. Raises LabelError."""
        return self._move("merge", by, key, lambda act: _merge(act, class_name, into))

    def delete_class(self, class_name: str, by: str, key: str | None = None) -> Changed:
        """Take every photo of a class out of it. Raises LabelError."""
        return self._move("delete", by, key, lambda act: _delete(act, class_name))

    def remove(self, photos: Sequence[str], by: str, key: str | None = None) -> Changed:
        """Take photos, by their hash, out of their classes."""
        return self._move("remove", by, key, lambda act: _take_out(act, _known(act.session, photos)))

    def withdraw(self, person_by: str, by: str, key: str | None = None) -> Changed:
        """Take every photo that a person gave out of its class."""
        return self._move("withdraw", by, key, lambda act: _take_out(act, _given(act.session, person_by)))

    def given_by(self, person_by: str) -> dict[str, int]:
        """How many photos of each class a person gave."""
        query = (
            select(ClassRow.name, func.count())
            .join(PhotoRow, PhotoRow.class_id == ClassRow.id)
            .where(PhotoRow.added_by == person_by)
            .group_by(ClassRow.name)
        )
        with self._photos.database.read() as session:
            return dict(sorted(session.execute(query).all()))

    def _undo(self, wanted: Callable[[Session], int], by: str, key: str | None) -> Undone:
        with self._photos.act(UNDO, by, key) as undoing:
            if undoing.id is None:
                _take_back(undoing, wanted(undoing.session))
            return _undone(undoing)

    def _move(self, what: str, by: str, key: str | None, move: Callable[[Act], None]) -> Changed:
        with self._photos.act(what, by, key) as act:
            if act.id is None:
                move(act)
            return _changed(act)


def _merge(act: Act, class_name: str, into: str) -> None:
    source, target = (catalogue.known_class(act.session, name) for name in (class_name, into))
    if source is target:
        raise PhotoError("“{name}” cannot be merged with itself.", name=labels.shown(source.name))
    _empty(act, source, target)


def _delete(act: Act, class_name: str) -> None:
    _empty(act, catalogue.known_class(act.session, class_name), None)


def _empty(act: Act, source: ClassRow, target: ClassRow | None) -> None:
    for photo in catalogue.members(act.session, source):
        act.place(photo, target)
    act.moves.drop_folder(source.name)


def _take_out(act: Act, photos: Iterable[PhotoRow]) -> None:
    for photo in photos:
        act.place(photo, None)


def _known(session: Session, photos: Sequence[str]) -> list[PhotoRow]:
    rows = (session.get(PhotoRow, sha256) for sha256 in photos)
    return [row for row in rows if row and row.class_id is not None]


def _given(session: Session, person_by: str) -> list[PhotoRow]:
    query = select(PhotoRow).where(PhotoRow.added_by == person_by, PhotoRow.class_id.is_not(None))
    return list(session.scalars(query.order_by(PhotoRow.sha256)))


def _rename(act: Act, class_row: ClassRow, name: str, *, undoes: int | None = None) -> None:
    """Whatever class has the name already must be empty."""
    other = catalogue.find_class(act.session, name)
    if other and other is not class_row:  # Undo may bring photos back to it, so it stays, under a name that is free.
        act.rename(other, _free_name(act.session, name))
    act.rename(class_row, name, undoes=undoes)


def _holder(session: Session, class_row: ClassRow, name: str) -> ClassRow | None:
    """Another class that holds photos under this name."""
    other = catalogue.find_class(session, name)
    return other if other is not class_row and catalogue.count(session, other) else None


def _free_name(session: Session, name: str) -> str:
    names = (f"{name[:40]}_(old{number})" for number in count(1))
    return next(name for name in names if not catalogue.find_class(session, name))


def _newest(session: Session, by: str) -> int:
    """The newest act that can be undone; where there is none, one that says what stands in its way."""
    theirs = and_(ActRow.by == by, ActRow.what != UNDO)
    renames = select(RenameRow).join(ActRow, RenameRow.act == ActRow.id).where(theirs, catalogue.rename_in_effect())
    renamed = session.scalars(renames.order_by(RenameRow.id)).all()
    free = {rename.act for rename in renamed if not _is_held(session, rename)}
    changed = exists(select(ChangeRow.id).where(ChangeRow.act == ActRow.id, catalogue.change_in_effect()))
    query = select(ActRow.id).where(theirs, or_(changed, ActRow.id.in_(free))).order_by(ActRow.id.desc()).limit(1)
    act = session.scalar(query) or (renamed[-1].act if renamed else None)
    if act is None:
        raise PhotoError("There is nothing of yours left to undo.")
    return act


def _is_held(session: Session, rename: RenameRow) -> bool:
    """Whether another class that holds photos has the name that the class had before."""
    return _holder(session, session.get_one(ClassRow, rename.class_id), rename.before) is not None


def _take_back(undoing: Act, act: int) -> None:
    found = undoing.session.get(ActRow, act)
    if found is None or found.what == UNDO:
        raise PhotoError(OVER)
    _bring_back(undoing, act)
    problem = _name_back(undoing, act)
    if undoing.id is None:
        raise PhotoError(problem or OVER)


def _bring_back(undoing: Act, act: int) -> None:
    """Photos return to where they were before the act."""
    session = undoing.session
    changes = select(ChangeRow).where(ChangeRow.act == act, catalogue.change_in_effect()).order_by(ChangeRow.id)
    for change in session.scalars(changes).all():
        photo = session.get_one(PhotoRow, change.photo)
        before = session.get(ClassRow, change.before) if change.before is not None else None
        if not undoing.place(photo, before, undoes=change.id):
            undoing.lose(photo, undoes=change.id)


def _name_back(undoing: Act, act: int) -> Text | None:
    """Classes get back the names that they had before the act; why one of them did not, in words."""
    session, problem = undoing.session, None
    renames = select(RenameRow).where(RenameRow.act == act, catalogue.rename_in_effect()).order_by(RenameRow.id.desc())
    for rename in session.scalars(renames).all():
        class_row = session.get_one(ClassRow, rename.class_id)
        if holder := _holder(session, class_row, rename.before):
            ours, theirs = labels.shown(class_row.name), labels.shown(holder.name)
            problem = Text(
                "“{ours}” cannot have its old name again, for there is another class “{theirs}” now. Give that one"
                " another name with /rename, and undo again.",
                ours=ours,
                theirs=theirs,
            )
        else:
            _rename(undoing, class_row, rename.before, undoes=rename.id)
    return problem


def _changed(act: Act) -> Changed:
    changes = act.changes
    places = _names(act.session)
    before = Counter(places[change.before] for change in changes if change.before is not None)
    after = changes[0].after if changes else None
    return Changed(act.id, len(changes), dict(before), None if after is None else places[after])


def _undone(undoing: Act) -> Undone:
    session = undoing.session
    changes = [change for change in undoing.changes if change.undoes is not None]
    renames = [rename for rename in undoing.renames if rename.undoes is not None]
    places = _names(session)
    back = Counter(places[change.after] for change in changes if change.after is not None)
    gone = sum(not change.made for change in changes)
    first = session.get(ChangeRow, changes[0].undoes) if changes else session.get(RenameRow, renames[0].undoes)
    act = session.get_one(ActRow, first and first.act)
    left = select(func.count()).select_from(ChangeRow).where(ChangeRow.act == act.id, catalogue.change_left())
    return Undone(
        act=act.id,
        what=act.what,
        back=dict(back),
        out=len(changes) - back.total() - gone,
        renamed=next(((rename.before, rename.after) for rename in renames), None),
        kept=session.scalar(left) or 0,
        gone=gone,
    )


def _names(session: Session) -> dict[int, str]:
    return dict(session.execute(select(ClassRow.id, ClassRow.name)).all())
