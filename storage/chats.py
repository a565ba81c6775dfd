"""What the bot knows of each chat: its language, what it wants to hear of, and whether anything arrives there."""

from dataclasses import dataclass

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from storage.database import Database
from storage.follows import begin
from storage.tables import ChatRow, RunRow

SCHEDULE = "schedule"  # Who asks for scheduled runs.


@dataclass(frozen=True)
class Chat:
    """`all_photos` says of a group that its photos are all meant for the bot; `hears` of scheduled runs."""

    id: int
    language: str = "en"
    blocked: bool = False
    all_photos: bool = False
    hears: bool = False


class Chats:
    """`language` is the one that a chat has until somebody speaks there."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._known: dict[int, Chat] = {}  # Only this process writes them.

    def get(self, chat: int) -> Chat:
        if chat not in self._known:
            with self._database.read() as session:
                row = session.get(ChatRow, chat)
            self._known[chat] = _chat(row) if row else Chat(chat)
        return self._known[chat]

    def met(self, chat: int, language: str) -> None:
        """Somebody spoke there in this language; so what is said there arrives."""
        known = self.get(chat)
        if known.language != language or known.blocked:
            self._set(chat, language=language, blocked=False)

    def block(self, chat: int) -> None:
        """Nothing arrives there any more, until somebody speaks."""
        if not self.get(chat).blocked:
            self._set(chat, blocked=True)

    def take_all_photos(self, chat: int, *, takes: bool) -> None:
        self._set(chat, all_photos=takes)

    def hear(self, chat: int, thread: int | None, language: str) -> None:
        """Tell this chat of scheduled runs from now on, in this topic."""
        with self._database.write() as session:
            row = _row(session, chat)
            row.told_until = session.scalar(select(func.max(RunRow.id))) or 0
            row.thread, row.language = thread, language
        self._known.pop(chat, None)

    def hear_no_more(self, chat: int) -> None:
        self._set(chat, told_until=None)

    def hearing(self) -> list[Chat]:
        """Those that want to hear of scheduled runs."""
        with self._database.read() as session:
            rows = session.scalars(select(ChatRow).where(ChatRow.told_until.is_not(None), ChatRow.blocked.is_(False)))
            return [_chat(row) for row in rows]

    def follow_scheduled(self) -> None:
        """Have every chat that wants to hear of scheduled runs follow those that it has not heard of."""
        with self._database.read() as session:
            newest = session.scalar(select(func.max(RunRow.id)).where(RunRow.requested_by == SCHEDULE)) or 0
            late = select(ChatRow.id).where(ChatRow.told_until < newest, ChatRow.blocked.is_(False)).limit(1)
            if session.scalar(late) is None:
                return
        with self._database.write() as session:
            for row in session.scalars(select(ChatRow).where(ChatRow.told_until < newest, ChatRow.blocked.is_(False))):
                wanted = RunRow.requested_by == SCHEDULE, RunRow.id > row.told_until, RunRow.id <= newest
                for run in session.scalars(select(RunRow.id).where(*wanted).order_by(RunRow.id)):
                    begin(session, run, row.id, language=row.language, thread=row.thread)
                row.told_until = newest

    def _set(self, chat: int, **changes: object) -> None:
        with self._database.write() as session:
            row = _row(session, chat)
            for name, value in changes.items():
                setattr(row, name, value)
        self._known.pop(chat, None)


def _row(session: Session, chat: int) -> ChatRow:
    row = session.get(ChatRow, chat)
    if row is None:
        row = ChatRow(id=chat, language="en", blocked=False, all_photos=False)
        session.add(row)
    return row


def _chat(row: ChatRow) -> Chat:
    return Chat(row.id, row.language, row.blocked, row.all_photos, row.told_until is not None)
