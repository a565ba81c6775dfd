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

from storage.database import MIGRATIONS, cause_of, kind_of, unusable
from storage.texts import Text

STRANGE = Text("It is not one of Retrainbot's; restore it from a backup.")


class Schema(StrEnum):
    PRESENT = "present"
    OLDER = "older"  # The next start brings it up to date.
    NEWER = "newer"  # Or of another program.


@contextmanager
def looking(place: Path | str) -> Iterator[Session]:
    """`place` is a file or an address. Raises DatabaseError where it cannot be read, now or within the block."""
    kind = kind_of(place)
    file = kind.file
    engine = create_engine("sqlite://", creator=lambda: _connect(file), poolclass=NullPool) if file else kind.reading
    try:
        with Session(engine, expire_on_commit=False) as session:
            yield session
    except (DBAPIError, kind.error) as error:
        raise unusable(kind, error, kind.advice(cause_of(error)) or STRANGE) from error
    finally:
        engine.dispose()


def is_new(place: Path | str) -> bool:
    """Whether there is nothing yet. Raises DatabaseError where that cannot be told."""
    if file := kind_of(place).file:
        return not file.exists()
    with looking(place) as session:
        return MigrationContext.configure(session.connection()).get_current_revision() is None


def schema(session: Session) -> Schema:
    """How the database's tables compare with those that this version works with."""
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    script = ScriptDirectory.from_config(config)
    present = MigrationContext.configure(session.connection()).get_current_revision()
    if present == script.get_current_head():
        return Schema.PRESENT
    known = {revision.revision for revision in script.walk_revisions()}
    return Schema.OLDER if present is None or present in known else Schema.NEWER


def damage(session: Session) -> str | None:
    """What is broken in the file, in SQLite's words. Reads all of it; a server looks after its files by itself."""
    if session.connection().dialect.name != "sqlite":
        return None
    words = session.scalar(text("PRAGMA quick_check(1)"))
    return None if words == "ok" else str(words)


def _connect(file: Path) -> sqlite3.Connection:
    """Where nobody has the file open, it stays the only one: readers too would put two files beside it."""
    log = file.with_name(f"{file.name}-wal")
    alone = not (log.exists() and log.stat().st_size)
    return sqlite3.connect(f"{file.as_uri()}?mode=ro{'&immutable=1' if alone else ''}", uri=True)
