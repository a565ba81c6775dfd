"""One database under several processes, and a file that is damaged or in the wrong place."""

import json
import sqlite3
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import psycopg
import pytest
from conftest import Place
from sqlalchemy import select
from sqlalchemy.exc import StatementError

from storage.database import Database
from storage.errors import DatabaseError
from storage.postgresql import LOCK
from storage.tables import ClassRow, GroupRow, SecretRow

both = pytest.mark.both_databases

OPEN = """
import sys
from storage.database import Database
sys.stdin.readline()
Database(sys.argv[1]).close()
"""
WRITE = """
import json, sys, time
from storage.database import Database
from storage.tables import ClassRow
from storage.errors import DatabaseError
from storage.postgresql import LOCK
database, written, errors = Database(sys.argv[1]), 0, []
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


def together(script: str, place: Place, processes: int) -> list[str]:
    """Run the script in several processes that start their work at one word, and return what they print."""
    children = [
        subprocess.Popen(
            [sys.executable, "-c", script, str(place), f"p{number}"],
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


def names(place: Place) -> list[str]:
    """Every class in the database."""
    database = Database(place)
    with database.read() as session:
        return list(session.scalars(select(ClassRow.name)))


@both
def test_several_processes_may_open_a_new_database(bare_place: Place) -> None:
    """Whoever comes first makes the schema, and the others find it."""
    together(OPEN, bare_place, 3)
    assert names(bare_place) == []


@both
def test_eight_writers_get_along(place: Place) -> None:
    """For two seconds eight processes write and read; no write fails and none is lost."""
    Database(place).close()
    results = [json.loads(line) for line in together(WRITE, place, 8)]
    assert [errors for _, errors in results] == [[]] * 8
    assert all(written for written, _ in results)
    assert len(names(place)) == sum(written for written, _ in results)


@both
def test_opening_again_keeps_what_is_there(place: Place) -> None:
    """A second start finds the rows of the first."""
    first = Database(place)
    with first.write() as session:
        session.add(ClassRow(name="daisy", key="daisy"))
    first.close()
    assert names(place) == ["daisy"]


@both
def test_failed_write_changes_nothing(database: Database) -> None:
    """A write is all of it or nothing."""
    with suppress(ZeroDivisionError), database.write() as session:
        session.add(ClassRow(name="daisy", key="daisy"))
        session.flush()
        _ = 1 / 0
    with database.read() as session:
        assert session.scalars(select(ClassRow)).all() == []


@both
def test_reader_sees_one_moment(database: Database, place: Place) -> None:
    """What others write meanwhile comes into view with the next read; it does not wait for the present one."""
    other = Database(place)
    with database.read() as session:
        assert session.scalars(select(ClassRow)).all() == []
        with other.write() as writer:
            writer.add(ClassRow(name="daisy", key="daisy"))
        assert session.scalars(select(ClassRow)).all() == []
    assert names(place) == ["daisy"]
    other.close()


@both
def test_writer_sees_what_was_written_while_it_waited(database: Database, place: Place) -> None:
    """Two that count up at once, each with what it has read, lose nothing; also where both began at the same time."""
    both_ = [database, Database(place)]

    def count_up(database: Database) -> None:
        with database.write() as session:
            row = session.get(SecretRow, "count") or SecretRow(name="count", value="0")
            row.value = str(int(row.value) + 1)
            session.add(row)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(count_up, both_ * 50))
    with database.read() as session:
        assert session.get_one(SecretRow, "count").value == "100"
    both_[1].close()


@both
def test_numbers_rise_in_the_order_of_the_writes(database: Database) -> None:
    """Whoever remembers the highest number that it has seen misses nothing, whatever was given up in between."""
    seen = []
    for number in range(6):
        with suppress(ZeroDivisionError), database.write() as session:
            session.add_all(ClassRow(name=f"{number}{place}", key=f"{number}{place}") for place in "ba")
            session.flush()
            _ = 1 / (number % 3)
        with database.read() as session:
            seen.append(session.execute(select(ClassRow.name).order_by(ClassRow.id)).scalars().all())
    assert seen[-1] == ["1b", "1a", "2b", "2a", "4b", "4a", "5b", "5a"]


@both
def test_times_come_back_in_utc(database: Database) -> None:
    """A time of any zone comes back as the same moment, to the microsecond, and can be compared in queries."""
    there = datetime(2026, 3, 29, 2, 30, 0, 123_456, ZoneInfo("Asia/Tokyo"))
    with database.write() as session:
        session.add(GroupRow(id=-(10**12), title="😀 it’s", added_at=there, added_by="ann"))
    with database.read() as session:
        row = session.scalars(select(GroupRow).where(GroupRow.added_at == there)).one()
        assert (row.id, row.title, row.added_at, row.added_at.tzinfo) == (-(10**12), "😀 it’s", there, UTC)
        assert session.scalars(select(GroupRow).where(GroupRow.added_at > there)).all() == []
    with pytest.raises(StatementError, match="time zone"), database.write() as session:
        session.add(GroupRow(id=2, title="", added_at=there.replace(tzinfo=None), added_by="ann"))


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


def is_locked(place: Place) -> bool:
    """Whether a writer is at work."""
    if isinstance(place, Path):
        with closing(sqlite3.connect(place, timeout=0, isolation_level=None)) as other:
            try:
                other.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError:
                return True
            return False
    with closing(psycopg.connect(place.replace("+psycopg", ""))) as connection:
        return connection.execute("SELECT pg_try_advisory_lock(%s)", [LOCK]).fetchone() == (False,)


@both
def test_write_locks_from_its_first_moment(database: Database, place: Place) -> None:
    """Two writers never overlap, even where one has not said anything to the database yet; readers lock nobody out."""
    with database.write():
        assert is_locked(place)
    with database.read() as session:
        assert session.scalars(select(ClassRow)).all() == []
        assert not is_locked(place)
