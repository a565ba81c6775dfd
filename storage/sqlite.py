"""SQLite: one file, used by several processes of one computer at once."""

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Engine, create_engine, event

from storage.texts import Text

BUSY_TIMEOUT_MS = 30_000  # How long a writer waits for another one.
# What to do about an error of SQLite's, by the start of its name.
ADVICE = {
    "SQLITE_BUSY": Text("Another process keeps it locked; stop that one and try again."),
    "SQLITE_CANTOPEN": Text("Check that its folder can be written by this user."),
    "SQLITE_CORRUPT": Text("It is damaged; restore it from a backup."),
    "SQLITE_FULL": Text("Free some space on its disk."),
    "SQLITE_IOERR": Text("Check its disk."),
    "SQLITE_NOTADB": Text("It is damaged, or something else; restore it from a backup."),
    "SQLITE_PERM": Text("Check that it can be written by this user."),
    "SQLITE_READONLY": Text("Check that it can be written by this user."),
}


class Sqlite:
    """The folder of `file` must be there."""

    error: type[Exception] = sqlite3.Error

    def __init__(self, file: Path) -> None:
        self.name = str(file)
        self.file: Path | None = file
        self._file = file
        self.reading: Engine = create_engine(URL.create("sqlite", database=str(file)))
        event.listen(self.reading, "connect", _configure)
        event.listen(self.reading, "begin", _begin)
        self.writing: Engine = self.reading.execution_options(writes=True)

    def advice(self, cause: BaseException) -> Text | None:
        return ADVICE.get("_".join(getattr(cause, "sqlite_errorname", "").split("_")[:2]))

    def scrub(self) -> None:
        with closing(sqlite3.connect(self._file, BUSY_TIMEOUT_MS / 1000, isolation_level=None)) as connection:
            connection.execute("VACUUM")
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def _configure(connection: sqlite3.Connection, _record: Any) -> None:
    connection.isolation_level = None  # The driver would begin transactions by itself, and always deferred ones.
    connection.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}")
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA foreign_keys = ON")


def _begin(connection: Any) -> None:
    # A reader that turns writer half-way fails at once if somebody else wrote; a writer that says so waits its turn.
    writes = connection.get_execution_options().get("writes", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
