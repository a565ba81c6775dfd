"""One database file under several processes, old and new schemas, and damage."""

import json
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing, suppress
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from sqlalchemy import create_engine, select
from sqlalchemy.exc import IntegrityError

from storage.database import MIGRATIONS, Database
from storage.errors import DatabaseError
from storage.tables import ChangeRow, ClassRow, FingerprintRow, PhotoRow, Table

OLD_ROWS = """
INSERT INTO classes (id, name, key) VALUES (1, 'daisy', 'daisy'), (2, 'rose', 'rose');
INSERT INTO photos (sha256, class_id, split, duplicates, width, height, added_at, added_by) VALUES
    ('aaaa', 2, 'train', 'aaaa', 4, 3, '2026-01-01 00:00:00', 'telegram:1'),
    ('bbbb', NULL, 'test', 'bbbb', 4, 3, '2026-01-01 00:00:00', 'telegram:1');
INSERT INTO sources (sha256, photo) VALUES ('cccc', 'aaaa');
INSERT INTO changes (id, at, by, photo, before, after) VALUES
    (1, '2026-01-01 00:00:00', 'telegram:1', 'aaaa', NULL, 1),
    (2, '2026-01-01 00:00:00', 'telegram:1', 'aaaa', 1, 2),
    (3, '2026-01-01 00:00:00', 'telegram:1', 'bbbb', 1, NULL);
INSERT INTO runs (id, state, options, requested_by, created_at, token, lost, done, total) VALUES
    (1, 'succeeded', '{}', 'ann', '2026-01-01 00:00:00', 1, 0, 0, 0);
INSERT INTO versions (number, created_at, run, manifest) VALUES (1, '2026-01-01 00:00:00', 1, 'dddd');
INSERT INTO served (id, version, at, by, reason) VALUES (1, 1, '2026-01-01 00:00:00', 'ann', 'first');
"""
MIGRATE_UNTIL = """
import os, signal, sys
from pathlib import Path
from sqlalchemy import Engine, event
from storage.database import Database

@event.listens_for(Engine, "after_cursor_execute")
def kill(_connection, _cursor, statement, *_rest):
    if "CREATE TABLE " + sys.argv[2] in statement:
        os.kill(os.getpid(), signal.SIGKILL)

Database(Path(sys.argv[1]))
"""
OPEN = """
import sys
from pathlib import Path
from storage.database import Database
sys.stdin.readline()
Database(Path(sys.argv[1])).close()
"""
WRITE = """
import json, sys, time
from pathlib import Path
from storage.database import Database
from storage.tables import ClassRow
from storage.errors import DatabaseError
database, written, errors = Database(Path(sys.argv[1])), 0, []
sys.stdin.readline()
end = time.monotonic() + 2
while time.monotonic() < end:
    name = f"{sys.argv[2]} {written}"
    try:
        with database.write() as session:
            session.add(ClassRow(name=name, key=name))
        with database.read() as session:
            assert session.query(ClassRow).filter_by(name=name).one()
        written += 1
    except DatabaseError as error:
        errors.append(str(error))
print(json.dumps([written, errors]))
"""


def together(script: str, file: Path, processes: int) -> list[str]:
    """Run the script in several processes that start their work at one word, and return what they print."""
    children = [
        subprocess.Popen(
            [sys.executable, "-c", script, str(file), f"p{number}"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for number in range(processes)
    ]
    for child in children:
        assert child.stdin
        child.stdin.write("go\n")
        child.stdin.flush()
    printed = [child.communicate()[0] for child in children]
    assert [child.returncode for child in children] == [0] * processes
    return printed


def names(file: Path) -> list[str]:
    """Every class in the file."""
    database = Database(file)
    with database.read() as session:
        return list(session.scalars(select(ClassRow.name)))


def test_several_processes_may_open_a_new_database(tmp_path: Path) -> None:
    """Whoever comes first makes the schema, and the others find it."""
    together(OPEN, tmp_path / "new.db", 3)
    database = Database(tmp_path / "new.db")
    with database.read() as session:
        assert session.scalars(select(ClassRow)).all() == []
    database.close()


def test_four_writers_get_along(tmp_path: Path) -> None:
    """For two seconds four processes write and read; no write fails and none is lost."""
    file = tmp_path / "busy.db"
    Database(file).close()
    results = [json.loads(line) for line in together(WRITE, file, 4)]
    assert [errors for _, errors in results] == [[]] * 4
    assert all(written for written, _ in results)
    with sqlite3.connect(file) as connection:
        assert connection.execute("SELECT count(*) FROM classes").fetchone() == (sum(n for n, _ in results),)
    connection.close()


def test_migrations_make_the_tables_of_the_code(tmp_path: Path) -> None:
    """The schema that migrations lead to is the one that the code describes."""
    Database(tmp_path / "new.db").close()
    engine = create_engine(f"sqlite:///{tmp_path / 'new.db'}")
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, Table.metadata) == []
    engine.dispose()


def first_schema(file: Path) -> None:
    """A database as the first version made it, with photos, their history, and a run."""
    engine = create_engine(f"sqlite:///{file}")
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")
    engine.dispose()
    with closing(sqlite3.connect(file)) as old:
        old.execute("PRAGMA foreign_keys = ON")
        old.executescript(OLD_ROWS)


def rows(file: Path, *queries: str) -> list[list[tuple[object, ...]]]:
    with closing(sqlite3.connect(file)) as connection:
        return [connection.execute(query).fetchall() for query in queries]


def test_first_schema_is_carried_over(tmp_path: Path) -> None:
    """Photos keep class and split, and history and models what they point to; then new rows can be written."""
    file = tmp_path / "old.db"
    first_schema(file)
    queries = (
        "SELECT sha256, class_id, split, duplicates, added_by FROM photos ORDER BY sha256",
        "SELECT id, photo, before, after, by FROM changes ORDER BY id",
        "SELECT * FROM sources",
        "SELECT number, created_at, run, manifest FROM versions",
        "SELECT id, version, at, by, reason FROM served",
    )
    before = rows(file, *queries)
    database = Database(file)
    assert rows(file, *queries, "PRAGMA foreign_key_check") == [*before, []]
    with database.write() as session:
        assert [(row.made, row.act, row.undoes) for row in session.scalars(select(ChangeRow))] == [
            (True, None, None)
        ] * 3
        session.get_one(PhotoRow, "aaaa").split = None
        session.add(FingerprintRow(photo="aaaa", bits="0" * 64))
    with pytest.raises(IntegrityError), database.write() as session:
        session.add(FingerprintRow(photo="ffff", bits="0" * 64))
    database.close()


def test_kill_amid_a_migration_leaves_the_old_schema(tmp_path: Path) -> None:
    """After kill -9 the database is as it was, and the next start carries it over."""
    file = tmp_path / "old.db"
    first_schema(file)
    queries = "SELECT sql FROM sqlite_master ORDER BY name", "SELECT * FROM photos ORDER BY sha256"
    before = rows(file, *queries)
    for table in ("fingerprints", "renames", "people"):
        killed = subprocess.run([sys.executable, "-c", MIGRATE_UNTIL, str(file), table], check=False)
        assert killed.returncode == -signal.SIGKILL
        assert rows(file, *queries, "SELECT * FROM alembic_version") == [*before, [("0001",)]]
    Database(file).close()
    assert rows(file, "SELECT count(*) FROM photos", "SELECT * FROM alembic_version") == [[(2,)], [("0005",)]]


def test_opening_again_keeps_what_is_there(tmp_path: Path) -> None:
    """A second start finds the rows of the first."""
    first = Database(tmp_path / "new.db")
    with first.write() as session:
        session.add(ClassRow(name="daisy", key="daisy"))
    first.close()
    second = Database(tmp_path / "new.db")
    with second.read() as session:
        assert session.scalars(select(ClassRow.name)).all() == ["daisy"]
    second.close()


def test_failed_write_changes_nothing(tmp_path: Path) -> None:
    """A write is all of it or nothing."""
    database = Database(tmp_path / "new.db")
    with suppress(ZeroDivisionError), database.write() as session:
        session.add(ClassRow(name="daisy", key="daisy"))
        session.flush()
        _ = 1 / 0
    with database.read() as session:
        assert session.scalars(select(ClassRow)).all() == []
    database.close()


def test_newer_schema_is_refused(tmp_path: Path) -> None:
    """A database of a newer version is left alone, and the person told which."""
    file = tmp_path / "new.db"
    Database(file).close()
    with sqlite3.connect(file) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.close()
    with pytest.raises(DatabaseError, match=r"newer Retrainbot \(schema 9999\)"):
        Database(file)


@pytest.mark.parametrize(
    "content", [b"this is no database at all, only text" * 100, b"SQLite format 3\0" + b"\xff" * 4096]
)
def test_damaged_file_is_told(tmp_path: Path, content: bytes) -> None:
    """A file that is no database is named, with what to do and no SQL."""
    file = tmp_path / "new.db"
    file.write_bytes(content)
    with pytest.raises(DatabaseError, match="backup") as caught:
        Database(file)
    assert str(file) in str(caught.value)
    assert "sqlalche" not in str(caught.value)
    assert file.read_bytes() == content


def test_torn_database_is_told_when_read(tmp_path: Path) -> None:
    """Damage that shows only later is told in the same words."""
    file = tmp_path / "new.db"
    database = Database(file)
    with database.write() as session:
        session.add_all(ClassRow(name=str(number), key=str(number)) for number in range(2000))
    database.close()
    content = bytearray(file.read_bytes())
    content[8192:] = b"\xa5" * (len(content) - 8192)
    file.write_bytes(content)
    with pytest.raises(DatabaseError, match="backup"):
        names(file)


def test_unusable_place_is_told(tmp_path: Path) -> None:
    """A folder where the file should be, or a file where the folder should be, gives words."""
    (tmp_path / "folder.db").mkdir()
    with pytest.raises(DatabaseError, match=r"folder\.db"):
        Database(tmp_path / "folder.db")
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(DatabaseError, match="cannot be made"):
        Database(tmp_path / "file" / "new.db")


@pytest.mark.parametrize("name", ["a b.db", "50%.db", "what?.db", "#1.db", "日.db"])
def test_any_path_can_be_used(tmp_path: Path, name: str) -> None:
    """The data folder may be called whatever the file system allows."""
    Database(tmp_path / "100%?#" / name).close()
    assert (tmp_path / "100%?#" / name).stat().st_size > 0


def test_write_locks_from_its_first_moment(tmp_path: Path) -> None:
    """Two writers never overlap, even where one has not said anything to the database yet."""
    database = Database(tmp_path / "new.db")
    other = sqlite3.connect(tmp_path / "new.db", timeout=0, isolation_level=None)
    with database.write(), pytest.raises(sqlite3.OperationalError, match="locked"):
        other.execute("BEGIN IMMEDIATE")
    other.execute("BEGIN IMMEDIATE")
    other.close()
    database.close()
