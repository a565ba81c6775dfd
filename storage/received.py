"""Messages with photos, and what became of each; albums; and which photos our own messages are about."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, select

from storage.database import Database, now
from storage.tables import AlbumRow, ReceivedRow, SubjectRow


@dataclass(frozen=True)
class Arrived:
    """What a message brought: the photo's SHA-256, or why it was refused."""

    photo: str | None
    refused: str | None = None


@dataclass(frozen=True)
class Origin:
    """The message that a photo came with, and Telegram's name of its file, which is the same for every bot and time."""

    chat: int
    message: int
    person: int
    album: str | None
    file_unique_id: str


@dataclass(frozen=True)
class Album:
    """What was done with an album: its class, where it has one, and our message about it."""

    class_name: str | None = None
    reply: int | None = None


class Received:
    """For one bot: other bots number their messages in their own way."""

    def __init__(self, database: Database, bot: int, clock: Callable[[], datetime] = now) -> None:
        self._database = database
        self._bot = bot
        self._clock = clock

    def put(self, origin: Origin, arrived: Arrived) -> None:
        row = ReceivedRow(
            bot=self._bot,
            chat=origin.chat,
            message=origin.message,
            person=origin.person,
            at=self._clock(),
            album=origin.album,
            file_unique_id=origin.file_unique_id,
            photo=arrived.photo,
            refused=arrived.refused,
        )
        with self._database.write() as session:
            session.merge(row)

    def get(self, chat: int, message: int) -> Arrived | None:
        with self._database.read() as session:
            row = session.get(ReceivedRow, (self._bot, chat, message))
        return Arrived(row.photo, row.refused) if row else None

    def twin(self, file_unique_id: str) -> str | None:
        """The photo that Telegram's file of this name became before."""
        query = select(ReceivedRow.photo).where(
            ReceivedRow.file_unique_id == file_unique_id, ReceivedRow.photo.is_not(None)
        )
        with self._database.read() as session:
            return session.scalar(query.limit(1))

    def count(self, person: int, since: datetime) -> int:
        """How many photos came from this person since then."""
        query = select(func.count()).where(ReceivedRow.person == person, ReceivedRow.at >= since)
        with self._database.read() as session:
            return session.scalar(query) or 0

    def album(self, chat: int, album: str) -> Album:
        with self._database.read() as session:
            row = session.get(AlbumRow, (self._bot, chat, album))
        return Album(row.class_name, row.reply) if row else Album()

    def set_album(self, chat: int, album: str, done: Album) -> None:
        """Once an album has a class and a reply, None leaves it what it has."""
        with self._database.write() as session:
            row = session.get(AlbumRow, (self._bot, chat, album))
            if row is None:
                row = AlbumRow(bot=self._bot, chat=chat, album=album)
                session.add(row)
            row.class_name = done.class_name or row.class_name
            row.reply = done.reply or row.reply

    def remember(self, chat: int, message: int, photos: Sequence[str]) -> None:
        """Our message is about these photos."""
        with self._database.write() as session:
            session.merge(SubjectRow(bot=self._bot, chat=chat, message=message, photos=list(photos)))

    def subjects(self, chat: int, message: int) -> list[str]:
        """The photos that our message is about."""
        with self._database.read() as session:
            row = session.get(SubjectRow, (self._bot, chat, message))
        return row.photos if row else []
