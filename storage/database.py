"""The database: a file of SQLite's, or a database of PostgreSQL's. What differs between them is in two modules."""

import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from storage.errors import DatabaseError
from storage.settings import Settings
from storage.sqlite import Sqlite
from storage.texts import Text

MIGRATIONS = Path(__file__).parent / "migrations"


def now() -> datetime:
    """The clock of production; whatever needs the time takes a function like it."""
    return datetime.now(UTC)


class Kind(Protocol):
    """What differs between SQLite and PostgreSQL.

    A transaction of `reading` sees one moment, whatever others write meanwhile. One of `writing` begins when no other
    one is under way, and sees all that was written before. `error` is what the driver raises.
    """

    name: str  # For people: it shows no password.
    reading: Engine
    writing: Engine
    error: type[Exception]
    file: Path | None  # Where all of it is in one.

    def advice(self, cause: BaseException) -> Text | None:
        """What to do about an error that is the machine's fault; None where it is ours."""

    def scrub(self) -> None:
        """Write all of it anew, so that nothing of what was deleted can be read any more."""


class Database:
    """`read()` and `write()` give a session each; a write is all of it or nothing, and no two are ever under way."""

    def __init__(self, place: Path | str) -> None:
        """Open the database and bring its schema up to date. `place` is a file, or the address of PostgreSQL's.

        Raises DatabaseError where it cannot be opened, is damaged, or was written by a newer version.
        """
        self._kind = kind_of(place)
        weakref.finalize(self, self._kind.reading.dispose)  # A server wants to be told that nobody is there any more.
        self._turn = threading.RLock()  # So that threads wait for each other here, where it costs nothing.
        with self._explained():
            _migrate(self._kind)

    @contextmanager
    def read(self) -> Iterator[Session]:
        """Raises DatabaseError where disk, rights, file or server do not allow it; so does `write`."""
        with self._explained(), Session(self._kind.reading, expire_on_commit=False) as session:
            yield session

    @contextmanager
    def write(self) -> Iterator[Session]:
        with (
            self._turn,
            self._explained(),
            Session(self._kind.writing, expire_on_commit=False) as session,
            session.begin(),
        ):
            session.connection()  # Takes the lock now, not at the first statement: it guards files as well.
            yield session

    @property
    def file(self) -> Path | None:
        """SQLite's file; None for PostgreSQL."""
        return self._kind.file

    def scrub(self) -> None:
        """Write the database anew, so that nothing of what was deleted can be read in its files any more.

        Others wait meanwhile if they want to write. Raises DatabaseError as `read` does.
        """
        with self._turn, self._explained():
            self._kind.scrub()

    def close(self) -> None:
        self._kind.reading.dispose()

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except (DBAPIError, self._kind.error) as error:
            cause = error.orig if isinstance(error, DBAPIError) and error.orig else error
            advice = self._kind.advice(cause)
            if advice is None:
                raise
            raise DatabaseError(
                "The database {name} cannot be used ({cause}). {advice}",
                name=self._kind.name,
                cause=" ".join(str(cause).split()),
                advice=advice,
            ) from error


def open_database(settings: Settings) -> Database:
    """The configured database, with the data folder beside it. Raises DatabaseError."""
    _make_folder(settings.data)
    return Database(settings.database_place)


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DatabaseError(
            "The folder {parent} cannot be made ({strerror}).", parent=folder, strerror=error.strerror
        ) from error


def kind_of(place: Path | str) -> Kind:
    """Connects to nothing yet."""
    if not str(place).startswith("postgresql"):
        file = Path(place)
        _make_folder(file.parent)
        return Sqlite(file)
    from storage.postgresql import Postgresql  # noqa: PLC0415  The driver is loaded only where it is used.

    return Postgresql(str(place))


def _migrate(kind: Kind) -> None:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    script = ScriptDirectory.from_config(config)
    with kind.reading.connect() as connection:
        present = MigrationContext.configure(connection).get_current_revision()
    if present == script.get_current_head():
        return
    if present is not None and present not in {revision.revision for revision in script.walk_revisions()}:
        raise DatabaseError(
            "The database was written by a newer Retrainbot (schema {present}). Install that version again.",
            present=present,
        )
    # One transaction, so that two processes that start together migrate once and a kill leaves the old schema.
    with kind.writing.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
