"""Chat messages that follow a run, kept so that a restarted bot goes on with them."""

from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from storage.database import Database
from storage.tables import FollowedRunRow


@dataclass(frozen=True)
class Follow:
    """`message` is None until it was sent; `offer` is behind its button; `edited` says that it shows the end."""

    id: int
    run: int
    chat: int
    message: int | None
    language: str = "en"
    thread: int | None = None
    offer: int | None = None
    edited: bool = False


class Follows:
    def __init__(self, database: Database) -> None:
        self._database = database

    def add(
        self,
        run: int,
        chat: int,
        message: int,
        *,
        language: str = "en",
        thread: int | None = None,
        offer: int | None = None,
    ) -> None:
        with self._database.write() as session:
            begin(session, run, chat, message, language=language, thread=thread, offer=offer)

    def open(self) -> list[Follow]:
        """Messages whose run's end has not been told yet."""
        with self._database.read() as session:
            query = select(FollowedRunRow).where(FollowedRunRow.told.is_(False)).order_by(FollowedRunRow.id)
            return [_follow(row) for row in session.scalars(query)]

    def chats(self, run: int) -> set[int]:
        """Where anybody has followed this run."""
        with self._database.read() as session:
            return set(session.scalars(select(FollowedRunRow.chat).where(FollowedRunRow.run == run)))

    def sent(self, follow: int, message: int, offer: int | None) -> None:
        """It was sent as the message of this number, with this offer behind its button."""
        with self._database.write() as session:
            row = session.get_one(FollowedRunRow, follow)
            row.message, row.offer = message, offer

    def ended(self, follow: int) -> None:
        """The message shows the run's end."""
        with self._database.write() as session:
            session.get_one(FollowedRunRow, follow).edited = True

    def close(self, follow: int) -> None:
        """All was told, or cannot be."""
        with self._database.write() as session:
            session.get_one(FollowedRunRow, follow).told = True


def begin(
    session: Session,
    run: int,
    chat: int,
    message: int | None = None,
    *,
    language: str,
    thread: int | None = None,
    offer: int | None = None,
) -> None:
    """Follow a run, within a transaction."""
    row = FollowedRunRow(run=run, chat=chat, message=message, language=language, thread=thread, offer=offer)
    row.edited = False
    session.add(row)


def _follow(row: FollowedRunRow) -> Follow:
    return Follow(row.id, row.run, row.chat, row.message, row.language, row.thread, row.offer, row.edited)
