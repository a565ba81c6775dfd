"""The database in a file of its own, for backups: SQLite's as it is, PostgreSQL's row by row."""

import errno
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from sqlalchemy import URL, create_engine
from sqlalchemy.orm import Session

from storage.copying import copy_rows
from storage.database import Database
from storage.errors import BackupError

NAME = "retrainbot.db"  # How the file is called in a backup.


@contextmanager
def dumped(database: Database, target: Path) -> Iterator[Session]:
    """Write what is committed now to the file `target`, checked; others may read and write meanwhile.

    Within the block, the session reads exactly what was written. Raises BackupError where the database is damaged,
    OSError where the disk takes no more.
    """
    if database.file is None:
        _copy(database, target)
    with closing(sqlite3.connect(target)) as copy:
        try:
            if database.file is not None:
                with closing(sqlite3.connect(database.file)) as source:
                    source.backup(copy)
            copy.execute("PRAGMA journal_mode = DELETE")  # So that the one file is all of it.
            _check(copy)
        except sqlite3.Error as error:
            raise _explained(error, target) from error
    _sync(target)
    engine = create_engine(URL.create("sqlite", database=str(target)))
    try:
        with Session(engine) as session:
            yield session
    finally:
        engine.dispose()


def _copy(database: Database, target: Path) -> None:
    copied = Database(target)
    try:
        copy_rows(database, copied)
    finally:
        copied.close()


def load(dumped: Path, data: Path) -> Database:
    """Open in the data folder what was dumped there; its schema is brought up to date.

    Raises BackupError where it is damaged, DatabaseError where it was written by a newer version.
    """
    with closing(sqlite3.connect(dumped)) as copy:
        try:
            _check(copy)
        except sqlite3.Error as error:
            raise _explained(error, dumped) from error
    return Database(dumped.rename(data / NAME))


def _check(copy: sqlite3.Connection) -> None:
    problems = [row[0] for row in copy.execute("PRAGMA integrity_check") if row[0] != "ok"]
    if problems:
        raise BackupError(f"The database is damaged: {problems[0]}. Bring back an older backup.")


def _explained(error: sqlite3.Error, file: Path) -> Exception:
    name = getattr(error, "sqlite_errorname", "")
    if name.startswith("SQLITE_FULL"):
        return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(file))
    return BackupError(f"The database cannot be written to {file} ({error}). Check the disk that it is on.")


def _sync(file: Path) -> None:
    with file.open("rb") as written:
        os.fsync(written.fileno())
