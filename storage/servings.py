"""What the bot last said of its serving; it may live on another host."""

from datetime import datetime

from pydantic import BaseModel, ConfigDict

from storage.database import Database
from storage.documents import PackedText
from storage.tables import ServingRow


class VersionReport(BaseModel):
    """One version in memory, or on its way there. `seconds` is how long it has been in its state."""

    model_config = ConfigDict(frozen=True)

    number: int
    state: str
    seconds: float
    memory_bytes: int | None = None  # Of its process alone; None where nobody can tell.
    pid: int | None = None


class ServingReport(BaseModel):
    """`waiting` photos of at most `most_waiting` wait for the model. `updates` says why none come from Telegram."""

    model_config = ConfigDict(frozen=True)

    answering: int | None
    versions: tuple[VersionReport, ...]
    problem: PackedText | None
    waiting: int
    most_waiting: int
    standby_memory_bytes: int = 0
    updates: PackedText | None = None


class Servings:
    def __init__(self, database: Database) -> None:
        self._database = database

    def write(self, host: str, at: datetime, report: ServingReport) -> None:
        with self._database.write() as session:
            session.merge(ServingRow(host=host, at=at, report=report.model_dump(mode="json")))

    def read(self) -> list[tuple[str, datetime, ServingReport]]:
        """Host, time and report of each bot, newest first."""
        with self._database.read() as session:
            rows = session.query(ServingRow).order_by(ServingRow.at.desc())
            return [(row.host, row.at, ServingReport.model_validate(row.report)) for row in rows]
