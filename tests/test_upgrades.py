"""Databases of earlier versions, with rows in every table: nothing is lost, whatever happens on the way."""

import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from conftest import Place
from sqlalchemy import (
    JSON,
    Boolean,
    Column,
    Connection,
    DateTime,
    Integer,
    MetaData,
    String,
    create_engine,
    insert,
    inspect,
    select,
)
from sqlalchemy.exc import IntegrityError
from sqlalchemy.types import TypeEngine

from storage.database import MIGRATIONS, Database
from storage.errors import DatabaseError
from storage.tables import ClassRow, FingerprintRow, Table

pytestmark = pytest.mark.both_databases

ROWS = 3
VERSION = "alembic_version"
CONFIG = Config()
CONFIG.set_main_option("script_location", str(MIGRATIONS))
REVISIONS = [script.revision for script in ScriptDirectory.from_config(CONFIG).walk_revisions()][::-1]
UPGRADE = """
import os, signal, sys
from sqlalchemy import Engine, event
from storage.database import Database

def kill(*_):
    os.kill(os.getpid(), signal.SIGKILL)

@event.listens_for(Engine, "after_cursor_execute")
def after(_connection, _cursor, statement, *_rest):
    if sys.argv[2] == "at its first change" and statement.split()[0] in {"ALTER", "CREATE", "DROP", "UPDATE"}:
        kill()

if sys.argv[2] == "at its end":
    event.listen(Engine, "commit", kill)
Database(sys.argv[1])
"""
VALUES: dict[type[TypeEngine[Any]], Callable[[int], Any]] = {
    Boolean: lambda number: number % 2 == 0,
    DateTime: lambda number: datetime(2026, 1, 1 + number, 2, 3, 4, 567_890, UTC),
    JSON: lambda number: {"ü": [number, None, 0.5]},
    String: lambda number: f"{number} ü",
    Integer: lambda number: number + 1,
}

State = dict[str, list[dict[str, Any]]]


@contextmanager
def connected(place: Place) -> Iterator[Connection]:
    """A connection that commits at the end, and knows nothing of the code's tables."""
    engine = create_engine(place if isinstance(place, str) else f"sqlite:///{place}")
    with engine.begin() as connection:
        yield connection
    engine.dispose()


def make_old(place: Place, revision: str) -> State:
    """A database as the version with this schema left it, with rows in every table; its state."""
    with connected(place) as connection:
        CONFIG.attributes["connection"] = connection
        command.upgrade(CONFIG, revision)
        tables = MetaData()
        tables.reflect(connection)
        for table in tables.sorted_tables:
            for number in range(ROWS if table.name != VERSION else 0):
                row = {column.name: value(column, number) for column in table.columns if not is_numbered(column)}
                connection.execute(insert(table).values(row))
    return state(place)


def value(column: Column[Any], number: int) -> Any:
    """Of the row with this number; the last row has as little in it as it may."""
    if column.nullable and number == ROWS - 1:
        return None
    for key in column.foreign_keys:
        is_own = key.column.table is column.table
        return value(key.column, number - is_own) if number >= is_own else None
    made = next(make for kind, make in VALUES.items() if isinstance(column.type, kind))(number)
    return f"{made} of {column.name}"[: column.type.length] if isinstance(column.type, String) else made


def is_numbered(column: Column[Any]) -> bool:
    """Whether the server gives the numbers, which must go on after an upgrade."""
    return bool(column.primary_key and column.server_default is not None)


def state(place: Place) -> State:
    """Every row of every table."""
    with connected(place) as connection:
        tables = MetaData()
        tables.reflect(connection)
        return {
            table.name: [dict(row._mapping) for row in connection.execute(select(table).order_by(*table.primary_key))]
            for table in tables.sorted_tables
        }


def schema(place: Place) -> dict[str, Any]:
    """Every column, key and index."""
    with connected(place) as connection:
        seen = inspect(connection)
        return {
            name: [
                [(column["name"], str(column["type"]), column["nullable"]) for column in seen.get_columns(name)],
                seen.get_foreign_keys(name),
                sorted(str(index["name"]) for index in seen.get_indexes(name)),
            ]
            for name in seen.get_table_names()
        }


def is_kept(before: State, after: State) -> bool:
    """Whether each row is still there, with all that was in it."""
    return all(
        [{name: row[name] for name in old} for old, row in zip(rows, after[table], strict=True)] == rows
        for table, rows in before.items()
        if table != VERSION
    )


@pytest.mark.parametrize("revision", REVISIONS)
def test_nothing_is_lost(bare_place: Place, revision: str) -> None:
    """Every row of every earlier schema is there after an upgrade, and new ones come beside them."""
    before = make_old(bare_place, revision)
    assert all(len(rows) == ROWS for table, rows in before.items() if table != VERSION)
    database = Database(bare_place)
    after = state(bare_place)
    assert is_kept(before, after)
    assert after[VERSION] == [{"version_num": REVISIONS[-1]}]
    with database.write() as session:
        session.add_all(ClassRow(name=name, key=name) for name in ("new", "newer"))
    assert [row["id"] for row in state(bare_place)["classes"]] == [1, 2, 3, 4, 5]
    with pytest.raises(IntegrityError), database.write() as session:
        session.add(FingerprintRow(photo="f" * 64, bits="0" * 64))
    database.close()


@pytest.mark.parametrize("moment", ["at its first change", "at its end"])
@pytest.mark.parametrize("revision", REVISIONS[:-1])
def test_kill_amid_an_upgrade_leaves_the_old_schema(bare_place: Place, revision: str, moment: str) -> None:
    """After kill -9 the database is as it was, and the next start carries it over."""
    before, old = make_old(bare_place, revision), schema(bare_place)
    killed = subprocess.run([sys.executable, "-c", UPGRADE, str(bare_place), moment], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert (state(bare_place), schema(bare_place)) == (before, old)
    Database(bare_place).close()
    assert is_kept(before, state(bare_place))


def test_kill_amid_the_first_start_leaves_nothing(bare_place: Place) -> None:
    """The tables of a new database are made all at once, too."""
    for moment in ("at its first change", "at its end"):
        killed = subprocess.run([sys.executable, "-c", UPGRADE, str(bare_place), moment], check=False)
        assert killed.returncode == -signal.SIGKILL
        assert state(bare_place) == {}
    Database(bare_place).close()
    assert state(bare_place)[VERSION] == [{"version_num": REVISIONS[-1]}]


def test_several_processes_may_upgrade_at_once(bare_place: Place) -> None:
    """Whoever comes first does it; the others wait, and find it done."""
    before = make_old(bare_place, REVISIONS[0])
    command = [sys.executable, "-c", UPGRADE, str(bare_place), "to the end"]
    for child in [subprocess.Popen(command) for _ in range(3)]:
        assert child.wait() == 0
    assert is_kept(before, state(bare_place))


def test_newer_schema_is_refused(place: Place) -> None:
    """A database of a newer version is left alone, and the person told which."""
    Database(place).close()
    with connected(place) as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    before = state(place)
    with pytest.raises(DatabaseError, match=r"newer Retrainbot \(schema 9999\)"):
        Database(place)
    assert state(place) == before


def test_migrations_make_the_tables_of_the_code(bare_place: Place) -> None:
    """The schema that migrations lead to is the one that the code describes."""
    Database(bare_place).close()
    with connected(bare_place) as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, Table.metadata) == []
