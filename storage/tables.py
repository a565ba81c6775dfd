"""The tables. Times are UTC; a schema change here needs a migration beside it."""

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import JSON, BigInteger, DateTime, Dialect, ForeignKey, Index, MetaData, String, TypeDecorator
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

Sha256 = String(64)


class UtcDateTime(TypeDecorator[datetime]):
    """SQLite keeps no time zone: what goes in must have one, what comes out is in UTC."""

    impl = DateTime
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        del dialect
        if value is not None and value.tzinfo is None:
            raise ValueError("a time needs its time zone")
        return value and value.astimezone(UTC).replace(tzinfo=None)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        del dialect
        return value and value.replace(tzinfo=UTC)


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
    type_annotation_map = {datetime: UtcDateTime, dict[str, Any]: JSON}  # noqa: RUF012  SQLAlchemy's own convention.


class ClassRow(Table):
    __tablename__ = "classes"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(64))  # As first spelled; the folder's name.
    key: Mapped[str] = mapped_column(String(200), unique=True)  # Spellings with one key are one class.


class PhotoRow(Table):
    """A photo keeps its row, and so its split, when it is removed from its class."""

    __tablename__ = "photos"
    __table_args__ = (Index("ix_photos_class_split", "class_id", "split"),)

    sha256: Mapped[str] = mapped_column(Sha256, primary_key=True)
    class_id: Mapped[int | None] = mapped_column(ForeignKey("classes.id"))
    split: Mapped[str] = mapped_column(String(10))
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


class ChangeRow(Table):
    """The history of labels; the newest change of a photo says where it is."""

    __tablename__ = "changes"

    id: Mapped[int] = mapped_column(primary_key=True)
    at: Mapped[datetime]
    by: Mapped[str] = mapped_column(String(100))
    photo: Mapped[str] = mapped_column(ForeignKey("photos.sha256"), index=True)
    before: Mapped[int | None] = mapped_column(ForeignKey("classes.id"))
    after: Mapped[int | None] = mapped_column(ForeignKey("classes.id"))


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
    step: Mapped[str | None] = mapped_column(String(40))
    done: Mapped[int] = mapped_column(default=0)
    total: Mapped[int] = mapped_column(default=0)
    message: Mapped[str | None]
    result: Mapped[dict[str, Any] | None]


class VersionRow(Table):
    __tablename__ = "versions"

    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    created_at: Mapped[datetime]
    run: Mapped[int] = mapped_column(ForeignKey("runs.id"))
    manifest: Mapped[str] = mapped_column(Sha256)  # SHA-256 of manifest.json, which holds those of all other files.


class ServedRow(Table):
    """What is served, as a history: the newest row is the served pointer."""

    __tablename__ = "served"

    id: Mapped[int] = mapped_column(primary_key=True)
    version: Mapped[int] = mapped_column(ForeignKey("versions.number"))
    at: Mapped[datetime]
    by: Mapped[str] = mapped_column(String(100))
    reason: Mapped[str]


class FollowedRunRow(Table):
    """A chat message that is edited as a run goes on, until the run's end has been told."""

    __tablename__ = "followed_runs"
    __table_args__ = (Index("ix_followed_runs_told", "told"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    run: Mapped[int] = mapped_column(ForeignKey("runs.id"))
    chat: Mapped[int] = mapped_column(BigInteger)
    message: Mapped[int] = mapped_column(BigInteger)
    told: Mapped[bool] = mapped_column(default=False)


class GpuReportRow(Table):
    """What each trainer host last said of its GPUs; the bot may live on another host."""

    __tablename__ = "gpu_reports"

    host: Mapped[str] = mapped_column(String(100), primary_key=True)
    at: Mapped[datetime]
    report: Mapped[dict[str, Any]]
