"""The served pointer: a history of which version shall answer, since when, by whom and why. The newest entry counts."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from storage.tables import ServedRow, VersionRow

BOT = "bot"  # Who moved it, where the bot had to.


@dataclass(frozen=True)
class Served:
    version: int
    at: datetime
    by: str
    reason: str


@dataclass(frozen=True)
class StepBack:
    """An entry that the bot made: from which version it went back, and which run had made that one."""

    id: int
    served: Served
    before: int
    run: int


def newest(session: Session) -> Served | None:
    """None before the first version."""
    row = session.scalar(select(ServedRow).order_by(ServedRow.id.desc()).limit(1))
    return _served(row) if row else None


def way(session: Session) -> list[int]:
    """The versions that led to the served one, which is the last; those that were removed are left out.

    A step back is one along the versions that earned the pointer, not a swing between the last two.
    """
    here = set(session.scalars(select(VersionRow.number).where(VersionRow.removed_at.is_(None))))
    steps: list[int] = []
    for number in session.scalars(select(ServedRow.version).order_by(ServedRow.id)):
        if number in steps:
            del steps[steps.index(number) + 1 :]
        else:
            steps.append(number)
    return [number for number in steps if number in here]


def point(session: Session, served: Served) -> None:
    """Move it. What the bot does by itself is still to be told to the chats."""
    row = ServedRow(version=served.version, at=served.at, by=served.by, reason=served.reason)
    row.told = served.by != BOT
    session.add(row)


def since(session: Session, start: datetime) -> set[int]:
    """The versions that were served at any time from `start` on."""
    rows = session.execute(select(ServedRow.version, ServedRow.at).order_by(ServedRow.id)).all()
    later = {version for version, at in rows if at >= start}
    earlier = [version for version, at in rows if at < start]
    return later | set(earlier[-1:])


def untold(session: Session) -> list[StepBack]:
    """What the bot did that the chats have not heard of, oldest first."""
    rows = session.scalars(select(ServedRow).where(ServedRow.told.is_(False)).order_by(ServedRow.id)).all()
    found = []
    for row in rows:
        earlier = select(ServedRow.version).where(ServedRow.id < row.id).order_by(ServedRow.id.desc()).limit(1)
        before = session.get_one(VersionRow, session.scalars(earlier).one())
        found.append(StepBack(row.id, _served(row), before.number, before.run))
    return found


def _served(row: ServedRow) -> Served:
    return Served(row.version, row.at, row.by, row.reason)
