"""All that one database holds, brought into another one."""

from collections.abc import Callable
from pathlib import Path

from sqlalchemy import Column, Connection, func, insert, select

from storage.database import Database
from storage.errors import DatabaseError
from storage.tables import Table

PART = 1000  # Rows at a time.
Watch = Callable[[int, int], None]


def copy_file(
    file: Path, target: Database, watch: Watch = lambda *_: None, settle: Callable[[], None] = lambda: None
) -> int:
    """Copy every row of SQLite's `file`, whose schema is brought up to date first, as `copy_rows` does.

    Raises DatabaseError where there is no such file or it cannot be used, too.
    """
    if not file.is_file():
        raise DatabaseError("There is no file {file}.", file=file)
    source = Database(file)
    try:
        return copy_rows(source, target, watch, settle)
    finally:
        source.close()


def copy_rows(
    source: Database,
    target: Database,
    watch: Watch = lambda *_: None,
    settle: Callable[[], None] = lambda: None,
) -> int:
    """Copy every row, as they are at one moment, all or none; how many they were.

    `watch` is told how many are copied, and of how many; `settle` is done before they are committed. Raises
    DatabaseError where the target holds anything already.
    """
    with source.read() as reading, target.write() as writing:
        old, new = reading.connection(), writing.connection()
        if _count(new):
            raise DatabaseError("The database that is configured holds something already; only an empty one is filled.")
        total, done = _count(old), 0
        for table in Table.metadata.sorted_tables:
            rows = old.execution_options(yield_per=PART).execute(select(table).order_by(*table.primary_key))
            for part in rows.mappings().partitions():
                new.execute(insert(table), [dict(row) for row in part])
                done += len(part)
                watch(done, total)
            _go_on(new, table.autoincrement_column)
        settle()
    return done


def is_empty(database: Database) -> bool:
    with database.read() as session:
        return _count(session.connection()) == 0


def _count(connection: Connection) -> int:
    return sum(
        connection.scalar(select(func.count()).select_from(table)) or 0 for table in Table.metadata.sorted_tables
    )


def _go_on(connection: Connection, numbers: "Column[int] | None") -> None:
    """PostgreSQL counts by itself, whatever numbers come from elsewhere; let it go on after them."""
    if numbers is not None and connection.dialect.name == "postgresql":
        sequence = func.pg_get_serial_sequence(numbers.table.name, numbers.name)
        connection.execute(select(func.setval(sequence, func.max(numbers))))
