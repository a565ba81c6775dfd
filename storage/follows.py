"""Chat messages that follow a run, kept so that a restarted bot goes on with them."""

from dataclasses import dataclass

from sqlalchemy import select

from storage.database import Database
from storage.tables import FollowedRunRow


@dataclass(frozen=True)
class Follow:
    id: int
    run: int
    chat: int
    message: int


class Follows:
    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, run: int, chat: int, message: int) -> None:
        with self._database.write() as session:
            session.add(FollowedRunRow(run=run, chat=chat, message=message))

    def open(self) -> list[Follow]:
        """Messages whose run's end has not been told yet."""
        with self._database.read() as session:
            rows = session.scalars(select(FollowedRunRow).where(FollowedRunRow.told.is_(False)))
            return [Follow(row.id, row.run, row.chat, row.message) for row in rows]

    def chats(self, run: int) -> set[int]:
        """Where anybody has followed this run."""
        with self._database.read() as session:
            return set(session.scalars(select(FollowedRunRow.chat).where(FollowedRunRow.run == run)))

    def close(self, follow: int) -> None:
        """The end was told, or the message is gone."""
        with self._database.write() as session:
            session.get_one(FollowedRunRow, follow).told = True
