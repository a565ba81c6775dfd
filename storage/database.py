"""One SQLite file, used by several processes at once."""

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import URL, Engine, create_engine, event
from sqlalchemy.exc import DatabaseError as DriverError
from sqlalchemy.orm import Session

from storage.errors import DatabaseError

BUSY_TIMEOUT_MS = 30_000  # How long a writer waits for another one.
# What to do about an error of SQLite's, by the start of its name.
ADVICE = {
    "SQLITE_BUSY": "Another process keeps it locked; stop that one and try again.",
    "SQLITE_CANTOPEN": "Check that its folder can be written by this user.",
    "SQLITE_CORRUPT": "It is damaged; restore it from a backup.",
    "SQLITE_FULL": "Free some space on its disk.",
    "SQLITE_IOERR": "Check its disk.",
    "SQLITE_NOTADB": "It is damaged, or something else; restore it from a backup.",
    "SQLITE_PERM": "Check that it can be written by this user.",
    "SQLITE_READONLY": "Check that it can be written by this user.",
}
MIGRATIONS = Path(__file__).parent / "migrations"


def now() -> datetime:
    """The clock of production; whatever needs the time takes a function like it."""
    return datetime.now(UTC)


class Database:
    """`read()` and `write()` give a session each; a write is one immediate transaction, all of it or nothing."""

    def __init__(self, file: Path) -> None:
        """Open the database and bring its schema up to date.

        Raises DatabaseError where it cannot be opened, is damaged, or was written by a newer version.
        """
        self.file = file
        self._engine = create_engine(URL.create("sqlite", database=str(file)))
        event.listen(self._engine, "connect", _configure)
        event.listen(self._engine, "begin", _begin)
        self._writer = self._engine.execution_options(writes=True)
        self._turn = threading.RLock()  # SQLite's own waiting is a sleep of up to 0.1 s; other processes wait by it.
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            with self._explained():
                _migrate(self._writer)
        except OSError as error:
            raise DatabaseError(
                "The folder {parent} cannot be made ({strerror}).", parent=file.parent, strerror=error.strerror
            ) from error

    @contextmanager
    def read(self) -> Iterator[Session]:
        """Raises DatabaseError where the disk, its rights or the file do not allow it; so does `write`."""
        with self._explained(), Session(self._engine, expire_on_commit=False) as session:
            yield session

    @contextmanager
    def write(self) -> Iterator[Session]:
        with self._turn, self._explained(), Session(self._writer, expire_on_commit=False) as session, session.begin():
            session.connection()  # Takes the lock now, not at the first statement: it guards files as well.
            yield session

    def close(self) -> None:
        self._engine.dispose()

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except (DriverError, sqlite3.Error) as error:
            cause = error.orig if isinstance(error, DriverError) else error
            code = "_".join(getattr(cause, "sqlite_errorname", "").split("_")[:2])
            if code not in ADVICE:  # Not the machine's fault but ours.
                raise
            raise DatabaseError(
                "The database {file} cannot be used ({cause}). {advice}",
                file=self.file,
                cause=cause,
                advice=ADVICE[code],
            ) from error


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


def _migrate(engine: Engine) -> None:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    script = ScriptDirectory.from_config(config)
    with engine.connect() as connection:
        present = MigrationContext.configure(connection).get_current_revision()
    if present == script.get_current_head():
        return
    if present is not None and present not in {revision.revision for revision in script.walk_revisions()}:
        raise DatabaseError(
            "The database was written by a newer Retrainbot (schema {present}). Install that version again.",
            present=present,
        )
    # One transaction, so that two processes that start together migrate once and a kill leaves the old schema.
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
