"""A look at the database that changes nothing in it, not even an old schema."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path

from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session
from sqlalchemy.pool import NullPool

from storage.database import MIGRATIONS, kind_of
from storage.errors import DatabaseError
from storage.texts import Text


class Schema(StrEnum):
    PRESENT = "present"
    OLDER = "older"  # The next start brings it up to date.
    NEWER = "newer"  # Or of another program.


def exists(place: Path | str) -> bool:
    """Whether there is something to look at; also where a server does not answer, so that the look tells it."""
    if isinstance(place, Path):
        return place.exists()
    try:
        with looking(place) as session:
            return _revision(session) is not None
    except DatabaseError:
        return True


@contextmanager
def looking(place: Path | str) -> Iterator[Session]:
    """`place` is SQLite's file, or the address of PostgreSQL's.

    Raises DatabaseError where it cannot be read, now or within the block.
    """
    kind = kind_of(place)
    if isinstance(place, Path):
        engine = create_engine("sqlite://", creator=lambda: _connect(place), poolclass=NullPool)
    else:
        engine = kind.reading.execution_options(postgresql_readonly=True)
    try:
        with Session(engine, expire_on_commit=False) as session:
            yield session
    except (DBAPIError, kind.error) as error:
        cause = error.orig if isinstance(error, DBAPIError) and error.orig else error
        raise DatabaseError(
            "The database {name} cannot be used ({cause}). {advice}",
            name=kind.name,
            cause=" ".join(str(cause).split()),
            advice=kind.advice(cause) or Text("It is not one of Retrainbot's; restore it from a backup."),
        ) from error
    finally:
        engine.dispose()


def schema(session: Session) -> Schema:
    """How the database's tables compare with those that this version works with."""
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    script = ScriptDirectory.from_config(config)
    present = _revision(session)
    if present == script.get_current_head():
        return Schema.PRESENT
    known = {revision.revision for revision in script.walk_revisions()}
    return Schema.OLDER if present is None or present in known else Schema.NEWER


def _revision(session: Session) -> str | None:
    """The schema's number; None where there are no tables of ours."""
    return MigrationContext.configure(session.connection()).get_current_revision()


def damage(session: Session) -> str | None:
    """What is broken in the file, in SQLite's words. Reads all of it. PostgreSQL looks after itself."""
    if session.connection().dialect.name != "sqlite":
        return None
    words = session.scalar(text("PRAGMA quick_check(1)"))
    return None if words == "ok" else str(words)


def _connect(file: Path) -> sqlite3.Connection:
    """Where nobody has the file open, it stays the only one: readers too would put two files beside it."""
    log = file.with_name(f"{file.name}-wal")
    alone = not (log.exists() and log.stat().st_size)
    return sqlite3.connect(f"{file.as_uri()}?mode=ro{'&immutable=1' if alone else ''}", uri=True)
