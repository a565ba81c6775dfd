"""PostgreSQL's own troubles: told in words, without the password, and over when the server is well again."""

import json
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from datetime import timedelta
from pathlib import Path

import pytest
from conftest import Painter, chatting, manifest, until
from pictures import write
from postgresql import PASSWORD, PATIENCE, Server, name_of
from pydantic import SecretStr
from sqlalchemy import delete, select
from sqlalchemy.exc import DataError
from structlog.testing import capture_logs

from cli.checks.database import check
from cli.checks.finding import State
from storage.database import Database
from storage.errors import DatabaseError
from storage.labels import write_lines
from storage.models import Models
from storage.offers import Offers
from storage.runs import RunOptions, Runs
from storage.settings import Serving, Settings, Training
from storage.tables import ClassRow

HOLD = """
import sys
from storage.database import Database
with Database(sys.argv[1]).write():
    print("held", flush=True)
    sys.stdin.readline()
"""
READ = """
import sys
from sqlalchemy import delete, select
from storage.database import Database
from storage.tables import ClassRow
with Database(sys.argv[1]).read() as session:
    session.scalars(select(ClassRow)).all()
"""


@pytest.fixture
def address(postgresql: Server) -> Iterator[str]:
    address = postgresql.database()
    yield address
    postgresql.drop(address)


@pytest.fixture
def store(address: str) -> Iterator[Database]:
    database = Database(address)
    yield database
    database.close()


def add(database: Database, name: str = "daisy") -> None:
    with database.write() as session:
        session.add(ClassRow(name=name, key=name))


def names(database: Database) -> list[str]:
    with database.read() as session:
        return list(session.scalars(select(ClassRow.name).order_by(ClassRow.id)))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("of%2Fthe", "of%2Fanother"), "RETRAINBOT_DATABASE_PASSWORD"),
        ((":secret%3Aof%2Fthe%40tests%3F%26%25@", "@"), "RETRAINBOT_DATABASE_PASSWORD"),
        (("retrainbot:", "somebody:"), "Check the user"),
        (("/test_", "/nothing_"), "createdb"),
        (("127.0.0.1", "127.0.0.2"), "Check that the server runs"),
        (("127.0.0.1", "nowhere.invalid"), "Check that the server runs"),
        (("/test_", "/x?nonsense=1&x="), "the setting `database`"),
    ],
)
def test_wrong_address_is_told(address: str, change: tuple[str, str], words: str) -> None:
    """Whoever is not let in reads what of the setting is wrong; the password is never shown, not even a wrong one."""
    with pytest.raises(DatabaseError, match=words) as caught:
        Database(address.replace(*change))
    assert PASSWORD not in str(caught.value)
    assert "secret" not in str(caught.value)
    assert "\n" not in str(caught.value)
    assert "sqlalche" not in str(caught.value)


def test_password_is_not_in_what_is_shown(store: Database, address: str) -> None:
    """Neither an error's words nor the whole traceback hold the password; the database is named."""
    with store.write() as session:
        session.connection().exec_driver_sql("ALTER TABLE classes RENAME TO gone")
        session.connection().exec_driver_sql("CREATE VIEW classes AS SELECT * FROM gone WHERE 1 / 0 = id")
    told = subprocess.run([sys.executable, "-c", READ, address], capture_output=True, text=True, check=False)
    assert "division by zero" in told.stderr
    assert "secret" not in told.stderr


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("53100", "Free some space on its server's disk."),
        ("53300", "lacks memory or connections"),
        ("58030", "Check its server's disk."),
        ("XX001", "restore it from a backup"),
        ("57P03", "try again when it runs"),
    ],
)
def test_troubles_of_the_server_are_told(store: Database, code: str, words: str) -> None:
    """A full disk, or whatever else goes wrong there amid a write, is told with what to do; nothing is written."""
    with store.write() as session:
        session.connection().exec_driver_sql(
            "CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS"
            f" $$ BEGIN RAISE EXCEPTION 'no luck' USING ERRCODE = '{code}'; END $$"
        )
        session.connection().exec_driver_sql(
            "CREATE TRIGGER fail BEFORE INSERT ON classes FOR EACH ROW WHEN (NEW.id > 1) EXECUTE FUNCTION fail()"
        )
    with pytest.raises(DatabaseError, match=words) as caught, store.write() as session:
        session.add_all(ClassRow(name=name, key=name) for name in "ab")
    assert "no luck" in str(caught.value)
    assert names(store) == []


def test_read_only_server_is_told(postgresql: Server, store: Database, address: str) -> None:
    """A server that only repeats another one is told as such when something is to be written; it can be read."""
    name = name_of(address)
    postgresql.run(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    store.close()
    assert names(store) == []
    with pytest.raises(DatabaseError, match="can only be read"):
        add(store)


def test_missing_rights_are_told(postgresql: Server) -> None:
    """A user who may not make tables there reads how to change that."""
    address = postgresql.database(bare=True)
    postgresql.run("CREATE ROLE guest LOGIN PASSWORD 'guest'")
    postgresql.run("REVOKE CREATE ON SCHEMA public FROM public", name_of(address))
    with pytest.raises(DatabaseError, match="OWNER TO"):
        Database(address.replace(address[address.index("//") : address.index("@")], "//guest:guest"))
    postgresql.drop(address)
    postgresql.run("DROP ROLE guest")


def test_database_that_cannot_hold_every_name_is_refused(postgresql: Server) -> None:
    """Class names are of any script, so the database must be UTF-8; how to make one is told."""
    postgresql.run("CREATE DATABASE latin TEMPLATE template0 ENCODING LATIN1 LOCALE 'C'")
    with pytest.raises(DatabaseError, match=r"LATIN1.*--encoding=UTF8"):
        Database(postgresql.address("latin"))
    postgresql.drop(postgresql.address("latin"))


def test_server_that_is_away_is_told(postgresql: Server, address: str) -> None:
    """While the server is away that is told, and when it is back, the next use works as if nothing had been."""
    store = Database(address)
    postgresql.stop()
    for use in (names, add):
        with pytest.raises(DatabaseError, match="Check that the server runs"):
            use(store)
    postgresql.start()
    add(store)
    assert names(store) == ["daisy"]
    store.close()


def test_restart_of_the_server_is_waited_for(postgresql: Server, address: str) -> None:
    """Who reads or writes while the server starts again waits a moment, and notices nothing else."""
    store = Database(address.replace(f"={PATIENCE}", "=60"))
    add(store, "before")
    with ThreadPoolExecutor() as pool:
        postgresql.stop()
        reading, writing = pool.submit(names, store), pool.submit(add, store, "after")
        postgresql.start()
        assert reading.result() in (["before"], ["before", "after"])
        writing.result()
    assert names(store) == ["before", "after"]
    store.close()


def test_server_that_goes_away_amid_a_write_has_nothing_of_it(
    postgresql: Server, store: Database, address: str
) -> None:
    """A connection that breaks in the middle is told, and the whole write is as if it had never begun."""

    def write() -> None:
        with store.write() as session:
            session.add(ClassRow(name="lost", key="lost"))
            session.flush()
            postgresql.cut(name_of(address))

    with pytest.raises(DatabaseError, match=r"try again when it runs|Check that the server"):
        write()
    add(store, "found")
    assert names(store) == ["found"]


class Deaf:
    """Passes everything on between clients and the server, but not the answer to the next COMMIT: it hangs up then."""

    def __init__(self, port: int) -> None:
        self._server = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self.deaf = False
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client = self._listener.accept()[0]
                server = socket.create_connection(("127.0.0.1", self._server))
                threading.Thread(target=self._ask, args=(client, server), daemon=True).start()
                threading.Thread(target=self._answer, args=(client, server), daemon=True).start()

    def _ask(self, client: socket.socket, server: socket.socket) -> None:
        with suppress(OSError):
            while asked := client.recv(65536):
                ends = self.deaf and b"COMMIT\0" in asked
                if ends:
                    client.shutdown(socket.SHUT_RDWR)  # Before the server can have answered.
                server.sendall(asked)
                if ends:
                    break
            server.shutdown(socket.SHUT_WR)

    def _answer(self, client: socket.socket, server: socket.socket) -> None:
        with client, server, suppress(OSError):
            while answered := server.recv(65536):
                client.sendall(answered)
            client.shutdown(socket.SHUT_RDWR)


def test_version_whose_commit_was_not_confirmed_stays(
    postgresql: Server, store: Database, address: str, tmp_path: Path
) -> None:
    """A connection that breaks after the commit was sent is told as an error; the version is there, and whole."""
    runs, folder = Runs(store), tmp_path / "models" / ".new-1"
    runs.enqueue(RunOptions.from_settings(Training()), "ann")
    run = runs.claim("box", timedelta(minutes=1))
    assert run
    write(folder / "labels.txt", write_lines(["daisy", "rose"]).encode())
    with closing(Deaf(postgresql.port)) as deaf:
        models = Models(Database(address.replace(f":{postgresql.port}/", f":{deaf.port}/")), tmp_path / "models")
        assert models.numbers() == []
        deaf.deaf = True
        with pytest.raises(DatabaseError):
            models.publish(folder, manifest(run.id), run.token, promote="better")
    assert Models(store, tmp_path / "models").verified(1).classes == ("daisy", "rose")


async def test_bot_answers_when_the_database_is_back(
    postgresql: Server, address: str, tmp_path: Path, paint: Painter
) -> None:
    """What is sent while the database is away is answered when it is there again."""
    settings = Settings(data=tmp_path / "data", database=SecretStr(address), serving=Serving(standby=False))
    async with chatting(settings) as chat:
        with postgresql.closed(address), capture_logs() as logs:
            sent = await chat.person.photo(paint("red"), "rose")
            await until(lambda: any(entry["event"] == "no updates from Telegram" for entry in logs))
        assert "Learned" in (await chat.person.reply_to(sent["message_id"]))["text"]


def test_killed_writer_holds_up_nobody(store: Database, address: str) -> None:
    """After kill -9 amid a write the server gives the lock to the next one."""
    with subprocess.Popen([sys.executable, "-c", HOLD, address], stdin=-1, stdout=-1) as holder:
        assert holder.stdout
        assert holder.stdout.readline() == b"held\n"
        holder.kill()
        add(store)
    assert names(store) == ["daisy"]


def test_writer_that_waits_too_long_is_told(store: Database, address: str) -> None:
    """A write that never ends is not waited for for ever; how long can be said in the address."""
    other = Database(f"{address}&options=-c%20lock_timeout%3D1ms")
    with store.write(), pytest.raises(DatabaseError, match="keeps it locked"), other.write():
        raise AssertionError
    other.close()


def test_what_was_deleted_is_not_kept(postgresql: Server, store: Database, address: str) -> None:
    """After a scrub no row lies in the server's files that was deleted before; the others are all there."""
    size = "SELECT pg_relation_size('classes')"
    for number in range(500):
        add(store, f"class {number}")
    with store.write() as session:
        session.execute(delete(ClassRow).where(ClassRow.id > 1))
    before = postgresql.ask(size, name_of(address))
    store.scrub()
    assert postgresql.ask(size, name_of(address)) < before
    assert names(store) == ["class 0"]


def test_the_doctor_looks_at_it(postgresql: Server) -> None:
    """None yet, present, older, newer, away: told by its name, without the password, and never changed."""
    address = postgresql.database(bare=True)
    found = [check(address)]
    Database(address).close()
    found.append(check(address))
    for schema in ("0001", "9999"):
        postgresql.run(f"UPDATE alembic_version SET version_num = '{schema}'", name_of(address))  # noqa: S608
        found.append(check(address))
    postgresql.run("DROP TABLE alembic_version", name_of(address))
    found.append(check(address))
    with postgresql.closed(address):
        found.append(check(address))
    words = ("none yet", "up to date", "an older", "a newer", "none yet", "cannot be used")
    assert [word in finding.found for word, finding in zip(words, found, strict=True)] == [True] * 6
    states = [State.OK, State.OK, State.WARNING, State.FAILED, State.OK, State.FAILED]
    assert [finding.state for finding in found] == states
    assert all("secret" not in finding.line() for finding in found)
    assert all(f"“{name_of(address)}” on 127.0.0.1" in found[number].found for number in (1, 2, 3, 5))
    postgresql.drop(address)


def test_what_is_too_long_is_our_fault(store: Database) -> None:
    """What PostgreSQL refuses and SQLite would take is no trouble of the server's: it is not told as one."""
    with pytest.raises(DataError):
        add(store, "a" * 201)


def test_documents_come_back_as_they_were(store: Database) -> None:
    """JSON keeps its order, signs of any script, and what no text column takes."""
    content = {"b": ["😀", "\0"], "a": {"ü": None, "number": 0.1}}
    offer = Offers(store).get(Offers(store).make(1, "test", content))
    assert offer
    assert json.dumps(offer.content) == json.dumps(content)
