"""Updates of Telegram's, kept from before they are confirmed until after they were worked.

The updates of one chat stand in two lanes, and those of a lane are worked in order. A letter that is put off, because a
download hangs or Telegram refuses a reply, steps aside and comes back when it is due.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from itertools import takewhile
from typing import Any

from sqlalchemy import Select, delete, func, insert, or_, select, update
from sqlalchemy.orm import Session

from storage.database import Database, now
from storage.tables import InboxRow

QUIET = timedelta(seconds=1)


class Lane(StrEnum):
    PHOTOS = "photos"  # Whatever brings photos or changes them.
    QUICK = "quick"  # Questions and taps, which need not wait for photos.


@dataclass(frozen=True)
class Arrival:
    """An update as Telegram sent it, and what matters of it here. `album` is the group that its photo belongs to."""

    id: int
    chat: int
    lane: Lane
    album: str | None
    content: dict[str, Any]


@dataclass(frozen=True)
class Letter(Arrival):
    """An update that is kept. `tries` counts how often it was put off."""

    received_at: datetime
    due_at: datetime
    tries: int


class Inbox:
    """The inbox of one bot. An album is due when nothing more of it has come for the time `quiet`."""

    def __init__(
        self, database: Database, bot: int, quiet: timedelta = QUIET, clock: Callable[[], datetime] = now
    ) -> None:
        self._database = database
        self._bot = bot
        self._quiet = quiet
        self._clock = clock

    def keep(self, arrivals: Sequence[Arrival]) -> None:
        """Keep updates that came just now, all or none; those that are known already stay as they are."""
        if not arrivals:
            return
        at = self._clock()
        with self._database.write() as session:
            if new := self._new(session, arrivals):
                session.execute(insert(InboxRow), [self._row(arrival, at) for arrival in new])
            for chat, album in {(arrival.chat, arrival.album) for arrival in arrivals if arrival.album}:
                # More of it came, so the others of it wait a little longer.
                others = update(InboxRow).where(*self._untried(), InboxRow.chat == chat, InboxRow.album == album)
                session.execute(others.values(due_at=at + self._quiet))

    def resume(self) -> None:
        """After a start: what is missing of an album may be about to come."""
        with self._database.write() as session:
            albums = update(InboxRow).where(*self._untried(), InboxRow.album.is_not(None))
            session.execute(albums.values(due_at=self._clock() + self._quiet))

    def lanes(self) -> set[tuple[int, Lane]]:
        """The chats and lanes in which something is to be done."""
        query = select(InboxRow.chat, InboxRow.lane).where(*self._open()).distinct()
        with self._database.read() as session:
            return {(chat, Lane(lane)) for chat, lane in session.execute(query)}

    def next(self, chat: int, lane: Lane, limit: int) -> list[Letter]:
        """What is to be worked now: letters that were put off and are due, then the others in their order.

        The list ends before an album of which more may come.
        """
        at = self._clock()
        query = self._select().where(*self._open(), InboxRow.chat == chat, InboxRow.lane == lane)
        due = query.where(or_(InboxRow.tries == 0, InboxRow.due_at <= at))
        with self._database.read() as session:
            rows = session.execute(due.order_by(InboxRow.tries == 0, InboxRow.update_id).limit(limit))
            return list(takewhile(lambda letter: letter.due_at <= at, map(_letter, rows)))

    def wakes_at(self, chat: int, lane: Lane) -> datetime | None:
        """When something is to be worked in this lane; None where nothing waits in it."""
        waiting = select(InboxRow.due_at).where(InboxRow.chat == chat, InboxRow.lane == lane)
        head = waiting.where(*self._untried()).order_by(InboxRow.update_id).limit(1)
        back = waiting.where(*self._open(), InboxRow.tries > 0).order_by(InboxRow.due_at).limit(1)
        with self._database.read() as session:
            return min(filter(None, (session.scalar(head), session.scalar(back))), default=None)

    def backlog(self) -> tuple[int, datetime | None]:
        """How many letters are not worked yet, and when the oldest of them came."""
        query = select(func.count(), func.min(InboxRow.received_at)).where(*self._open())
        with self._database.read() as session:
            waiting, oldest = session.execute(query).one()
        return waiting, oldest

    def album(self, chat: int, album: str) -> list[Letter]:
        """Every letter of an album that is kept, worked or not, in order."""
        query = self._select().where(InboxRow.bot == self._bot, InboxRow.chat == chat, InboxRow.album == album)
        with self._database.read() as session:
            return [_letter(row) for row in session.execute(query.order_by(InboxRow.update_id))]

    def done(self, ids: Iterable[int]) -> None:
        """These were worked."""
        self._change(ids, done_at=self._clock())

    def put_off(self, ids: Iterable[int], wait: timedelta) -> None:
        """Work these again, not before the time `wait` has passed."""
        self._change(ids, due_at=self._clock() + wait, tries=InboxRow.tries + 1)

    def prune(self, age: timedelta) -> int:
        """Forget what was worked longer ago than that; returns how many letters that were."""
        old = delete(InboxRow).where(InboxRow.bot == self._bot, InboxRow.done_at < self._clock() - age)
        with self._database.write() as session:
            return len(session.execute(old.returning(InboxRow.update_id)).all())

    def _new(self, session: Session, arrivals: Sequence[Arrival]) -> list[Arrival]:
        by_id = {arrival.id: arrival for arrival in reversed(arrivals)}
        known = select(InboxRow.update_id).where(InboxRow.bot == self._bot, InboxRow.update_id.in_(by_id))
        return [by_id[number] for number in sorted(by_id.keys() - set(session.scalars(known)))]

    def _row(self, arrival: Arrival, at: datetime) -> dict[str, Any]:
        return {
            "bot": self._bot,
            "update_id": arrival.id,
            "chat": arrival.chat,
            "lane": arrival.lane,
            "album": arrival.album,
            "content": arrival.content,
            "received_at": at,
            "due_at": at,
            "tries": 0,
        }

    def _change(self, ids: Iterable[int], **values: Any) -> None:
        rows = update(InboxRow).where(InboxRow.bot == self._bot, InboxRow.update_id.in_(list(ids)))
        with self._database.write() as session:
            session.execute(rows.values(**values))

    def _open(self) -> tuple[Any, ...]:
        return InboxRow.bot == self._bot, InboxRow.done_at.is_(None)

    def _untried(self) -> tuple[Any, ...]:
        return *self._open(), InboxRow.tries == 0

    @staticmethod
    def _select() -> Select[Any]:
        return select(
            InboxRow.update_id,
            InboxRow.chat,
            InboxRow.lane,
            InboxRow.album,
            InboxRow.content,
            InboxRow.received_at,
            InboxRow.due_at,
            InboxRow.tries,
        )


def _letter(row: Any) -> Letter:
    return Letter(
        row.update_id, row.chat, Lane(row.lane), row.album, row.content, row.received_at, row.due_at, row.tries
    )
