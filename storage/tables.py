"""The tables. Times are UTC; a schema change here needs a migration beside it."""

from datetime import UTC, datetime
from typing import Any, TypeVar

from sqlalchemy import (
    JSON,
    BigInteger,
    DateTime,
    Dialect,
    ForeignKey,
    Index,
    MetaData,
    String,
    TypeDecorator,
    false,
    true,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from storage.texts import Text, read_text, write_text

Sha256 = String(64)
HIGHEST = 2**31 - 1  # No row has a higher number, and PostgreSQL takes none in a question.
Row = TypeVar("Row", bound="Table")


class UtcDateTime(TypeDecorator[datetime]):
    """What goes in must have a time zone, what comes out is in UTC: SQLite keeps none, PostgreSQL shows its own."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        del dialect
        if value is not None and value.tzinfo is None:
            raise ValueError("a time needs its time zone")
        return value and value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        del dialect
        return value and (value.astimezone(UTC) if value.tzinfo else value.replace(tzinfo=UTC))


class PackedText(TypeDecorator[str]):
    """A sentence that can be said in another language when it is read again."""

    impl = String
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        del dialect
        return None if value is None else write_text(value)

    def process_result_value(self, value: str | None, dialect: Dialect) -> Text | None:
        del dialect
        return None if value is None else read_text(value)


class Table(DeclarativeBase):
    # Named constraints, so that migrations can speak of them.
    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(column_0_label)s",
            "uq": "uq_%(table_name)s_%(column_0_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map = {  # noqa: RUF012  SQLAlchemy's own convention.
        datetime: UtcDateTime,
        dict[str, Any]: JSON,
        list[str]: JSON,
    }


def numbered(session: Session, table: type[Row], number: int) -> Row | None:
    """The row with a number that a person gave, however large; None where there is none."""
    return session.get(table, number) if number <= HIGHEST else None


class ClassRow(Table):
    __tablename__ = "classes"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(64))  # As first spelled; the folder's name.
    key: Mapped[str] = mapped_column(String(200), unique=True)  # Spellings with one key are one class.


class PhotoRow(Table):
    """A photo that was ever received. It keeps its row, and so its split, when it is removed from its class."""

    __tablename__ = "photos"
    __table_args__ = (Index("ix_photos_class_split", "class_id", "split", "duplicates"),)

    sha256: Mapped[str] = mapped_column(Sha256, primary_key=True)
    class_id: Mapped[int | None] = mapped_column(ForeignKey("classes.id"))
    split: Mapped[str | None] = mapped_column(String(10))  # None until it is first labelled.
    duplicates: Mapped[str] = mapped_column(Sha256, index=True)  # The group of near duplicates it belongs to.
    width: Mapped[int]
    height: Mapped[int]
    added_at: Mapped[datetime]
    added_by: Mapped[str] = mapped_column(String(100))


class SourceRow(Table):
    """Which original bytes became which photo, so that the same file is known without decoding it."""

    __tablename__ = "sources"

    sha256: Mapped[str] = mapped_column(Sha256, primary_key=True)
    photo: Mapped[str] = mapped_column(ForeignKey("photos.sha256"), index=True)


class FingerprintRow(Table):
    """The perceptual hash of a photo; ids rise, so that a reader can take in what is new."""

    __tablename__ = "fingerprints"

    id: Mapped[int] = mapped_column(primary_key=True)
    photo: Mapped[str] = mapped_column(ForeignKey("photos.sha256"), unique=True)
    bits: Mapped[str] = mapped_column(String(64))  # 256 bits in hexadecimal.


class ActRow(Table):
    """What one person did at once: an album labelled, a class renamed. It is undone at once, too."""

    __tablename__ = "acts"
    __table_args__ = (Index("ix_acts_by", "by", "id"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    at: Mapped[datetime]
    by: Mapped[str] = mapped_column(String(100))
    what: Mapped[str] = mapped_column(String(20))
    key: Mapped[str | None] = mapped_column(String(200), unique=True)  # Whatever is done again under a key is one act.


class ChangeRow(Table):
    """The history of labels. The newest change of a photo that was made and not undone says where it is."""

    __tablename__ = "changes"

    id: Mapped[int] = mapped_column(primary_key=True)
    at: Mapped[datetime]
    by: Mapped[str] = mapped_column(String(100))
    photo: Mapped[str] = mapped_column(ForeignKey("photos.sha256"), index=True)
    before: Mapped[int | None] = mapped_column(ForeignKey("classes.id"))
    after: Mapped[int | None] = mapped_column(ForeignKey("classes.id"))
    act: Mapped[int | None] = mapped_column(ForeignKey("acts.id"), index=True)
    made: Mapped[bool] = mapped_column(default=True, server_default=true())  # False: said, but the photo stayed.
    undoes: Mapped[int | None] = mapped_column(ForeignKey("changes.id"), index=True)


class RenameRow(Table):
    """The history of class names."""

    __tablename__ = "renames"

    id: Mapped[int] = mapped_column(primary_key=True)
    act: Mapped[int] = mapped_column(ForeignKey("acts.id"), index=True)
    class_id: Mapped[int] = mapped_column(ForeignKey("classes.id"), index=True)
    before: Mapped[str] = mapped_column(String(64))
    after: Mapped[str] = mapped_column(String(64))
    undoes: Mapped[int | None] = mapped_column(ForeignKey("renames.id"), index=True)


class InboxRow(Table):
    """An update of Telegram's, kept before it is confirmed, and for a while after it was worked."""

    __tablename__ = "inbox"
    __table_args__ = (
        Index("ix_inbox_waiting", "bot", "done_at", "due_at"),
        Index("ix_inbox_album", "bot", "chat", "album"),
    )

    bot: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    update_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    chat: Mapped[int] = mapped_column(BigInteger)  # 0 where the update has none.
    lane: Mapped[str] = mapped_column(String(10))  # Updates of one chat and lane are worked in order.
    album: Mapped[str | None] = mapped_column(String(64))
    content: Mapped[dict[str, Any]]
    received_at: Mapped[datetime]
    due_at: Mapped[datetime]  # Not before this.
    tries: Mapped[int] = mapped_column(default=0)
    done_at: Mapped[datetime | None]


class ReceivedRow(Table):
    """A message with a photo, and what became of it: a photo of the catalogue, or why it was refused."""

    __tablename__ = "received"
    __table_args__ = (Index("ix_received_album", "bot", "chat", "album"), Index("ix_received_person", "person", "at"))

    bot: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    chat: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    message: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    person: Mapped[int] = mapped_column(BigInteger)
    at: Mapped[datetime]
    album: Mapped[str | None] = mapped_column(String(64))
    file_unique_id: Mapped[str] = mapped_column(String(100), index=True)
    photo: Mapped[str | None] = mapped_column(ForeignKey("photos.sha256"))
    refused: Mapped[str | None] = mapped_column(PackedText)


class AlbumRow(Table):
    """An album that was answered: a photo of it that comes late joins its class, and its receipt is edited."""

    __tablename__ = "albums"

    bot: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    chat: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    album: Mapped[str] = mapped_column(String(64), primary_key=True)
    class_name: Mapped[str | None] = mapped_column(String(64))
    reply: Mapped[int | None] = mapped_column(BigInteger)  # Our message about it.


class SubjectRow(Table):
    """Which photos a message of ours is about."""

    __tablename__ = "subjects"

    bot: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    chat: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    message: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    photos: Mapped[list[str]]


class OfferRow(Table):
    """The buttons under one message: what they do, and to what. One of them can be used, once."""

    __tablename__ = "offers"

    id: Mapped[int] = mapped_column(primary_key=True)
    chat: Mapped[int] = mapped_column(BigInteger)
    what: Mapped[str] = mapped_column(String(20))
    content: Mapped[dict[str, Any]]
    made_at: Mapped[datetime]
    used_by: Mapped[str | None] = mapped_column(String(200))  # The key of the act.


class PersonRow(Table):
    """Somebody who was let in through the chat."""

    __tablename__ = "people"

    id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    name: Mapped[str] = mapped_column(String(200))
    role: Mapped[str] = mapped_column(String(10))
    added_at: Mapped[datetime]
    added_by: Mapped[str] = mapped_column(String(100))


class GroupRow(Table):
    """A group in which the people who are let in may use the bot."""

    __tablename__ = "groups"

    id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    title: Mapped[str] = mapped_column(String(200))
    added_at: Mapped[datetime]
    added_by: Mapped[str] = mapped_column(String(100))


class SecretRow(Table):
    """Random keys made on first use."""

    __tablename__ = "secrets"

    name: Mapped[str] = mapped_column(String(40), primary_key=True)
    value: Mapped[str] = mapped_column(String(128))


class RunRow(Table):
    __tablename__ = "runs"

    id: Mapped[int] = mapped_column(primary_key=True)
    state: Mapped[str] = mapped_column(String(10), index=True)
    options: Mapped[dict[str, Any]]
    requested_by: Mapped[str] = mapped_column(String(100))
    key: Mapped[str | None] = mapped_column(String(100), unique=True)  # One run for each slot of the schedule.
    created_at: Mapped[datetime]
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]
    token: Mapped[int] = mapped_column(default=0)  # The fencing token: it rises with every claim.
    lost: Mapped[int] = mapped_column(default=0)  # How many workers vanished during it.
    worker: Mapped[str | None] = mapped_column(String(100))
    lease_until: Mapped[datetime | None]
    cancelled_by: Mapped[str | None] = mapped_column(String(100))  # Who wants it to end; the worker sees to it.
    step: Mapped[str | None] = mapped_column(String(40))
    done: Mapped[int] = mapped_column(default=0)
    total: Mapped[int] = mapped_column(default=0)
    message: Mapped[str | None] = mapped_column(PackedText)
    result: Mapped[dict[str, Any] | None]


class SlotRow(Table):
    """A time at which the schedule was due, and what was decided then."""

    __tablename__ = "slots"

    key: Mapped[str] = mapped_column(String(100), primary_key=True)
    due_at: Mapped[datetime] = mapped_column(index=True)
    decided_at: Mapped[datetime]
    run: Mapped[int | None] = mapped_column(ForeignKey("runs.id"))  # None where it did not train.
    reason: Mapped[str] = mapped_column(PackedText)


class VersionRow(Table):
    __tablename__ = "versions"

    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    created_at: Mapped[datetime]
    run: Mapped[int] = mapped_column(ForeignKey("runs.id"))
    manifest: Mapped[str] = mapped_column(Sha256)  # SHA-256 of manifest.json, which holds those of all other files.
    pinned: Mapped[bool] = mapped_column(server_default=false())  # Kept, however old it gets.
    removed_at: Mapped[datetime | None]  # Its folder was removed to save room, or is being removed.


class ServedRow(Table):
    """What is served, as a history: the newest row is the served pointer."""

    __tablename__ = "served"

    id: Mapped[int] = mapped_column(primary_key=True)
    version: Mapped[int] = mapped_column(ForeignKey("versions.number"))
    at: Mapped[datetime]
    by: Mapped[str] = mapped_column(String(100))
    reason: Mapped[str] = mapped_column(PackedText)
    told: Mapped[bool] = mapped_column(server_default=true())  # False: the chats are still to hear of it.


class ChatRow(Table):
    """A private chat or a group that the bot has talked in."""

    __tablename__ = "chats"

    id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    language: Mapped[str] = mapped_column(String(10))
    blocked: Mapped[bool] = mapped_column(server_default=false())  # Nothing that is sent there arrives.
    all_photos: Mapped[bool] = mapped_column(server_default=false())  # A group whose photos are all meant for the bot.
    told_until: Mapped[int | None]  # It wants to hear of scheduled runs, and did up to this one.
    thread: Mapped[int | None] = mapped_column(BigInteger)  # The topic in which it wants to hear of them.


class FollowedRunRow(Table):
    """A chat message that is edited as a run goes on, until the run's end has been told."""

    __tablename__ = "followed_runs"
    __table_args__ = (Index("ix_followed_runs_told", "told"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    run: Mapped[int] = mapped_column(ForeignKey("runs.id"))
    chat: Mapped[int] = mapped_column(BigInteger)
    thread: Mapped[int | None] = mapped_column(BigInteger)
    language: Mapped[str] = mapped_column(String(10), server_default="en")
    message: Mapped[int | None] = mapped_column(BigInteger)  # None: it is still to be sent.
    offer: Mapped[int | None]  # The button that ends the run.
    edited: Mapped[bool] = mapped_column(server_default=false())  # It shows the end; the pictures may be missing yet.
    told: Mapped[bool] = mapped_column(default=False)


class GpuReportRow(Table):
    """What each trainer host last said of its GPUs; the bot may live on another host."""

    __tablename__ = "gpu_reports"

    host: Mapped[str] = mapped_column(String(100), primary_key=True)
    at: Mapped[datetime]
    report: Mapped[dict[str, Any]]


class GpuSampleRow(Table):
    """What a GPU did at a moment: utilisation in percent, memory in MiB; None where it does not tell."""

    __tablename__ = "gpu_samples"

    host: Mapped[str] = mapped_column(String(100), primary_key=True)
    gpu: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    at: Mapped[datetime] = mapped_column(primary_key=True)
    utilisation: Mapped[int | None]
    memory_used: Mapped[int | None]


class ServingRow(Table):
    """What the bot of each host last said of its serving; the trainer may live on another host."""

    __tablename__ = "servings"

    host: Mapped[str] = mapped_column(String(100), primary_key=True)
    at: Mapped[datetime]
    report: Mapped[dict[str, Any]]
