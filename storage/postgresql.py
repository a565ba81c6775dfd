"""PostgreSQL: a server, used from several computers at once."""

import re
import time
from pathlib import Path
from typing import Any

import psycopg
from sqlalchemy import URL, Engine, create_engine, event, inspect, make_url

from storage.errors import DatabaseError
from storage.logs import hide
from storage.texts import Text

LOCK = 0x7265747261696E  # The number of the writers' lock; it is the database's own.
# A computer that has vanished amid a write holds up the others until the server gives it up, and a server that has
# vanished holds up us: each notices within half a minute. A writer waits as long for another one. What an address says
# of all these wins.
CONNECTING = {"connect_timeout": "15", "keepalives_idle": "15", "keepalives_interval": "5", "keepalives_count": "3"}
SERVER = "-c tcp_keepalives_idle=15 -c tcp_keepalives_interval=5 -c tcp_keepalives_count=3 -c lock_timeout=30s"

RETRY_SECONDS = 0.2

AWAY = Text("Check that the server runs and can be reached, and what the setting `database` says of it.")
PASSWORD = Text("Check the user in the setting `database`, and the password in RETRAINBOT_DATABASE_PASSWORD.")
NO_DATABASE = Text("Make it with createdb, or correct its name in the setting `database`.")
# What to do about an error of PostgreSQL's, by its code or the start of it.
ADVICE = {
    "08": AWAY,
    "25006": Text("It can only be read; name the server that takes writes in the setting `database`."),
    "28": PASSWORD,
    "3D": NO_DATABASE,
    "42501": Text("Make this user the database's owner: ALTER DATABASE name OWNER TO user."),
    "53100": Text("Free some space on its server's disk."),
    "53": Text("Its server lacks memory or connections; stop what takes them."),
    "55P03": Text("Another process keeps it locked; stop that one and try again."),
    "57P": Text("Its server is stopping or starting; try again when it runs."),
    "58": Text("Check its server's disk."),
    "XX001": Text("It is damaged; restore it from a backup."),
    "XX002": Text("It is damaged; restore it from a backup."),
}
# A server that lets nobody in tells no code, only words, which are English unless somebody has set another language.
WORDS = {
    r"password|role .* does not exist": PASSWORD,
    r"database .* does not exist": NO_DATABASE,
    r"connection option": AWAY,
}


class Postgresql:
    """`address` is a URL, such as postgresql+psycopg://user:password@host/name, of which only host and name are told.

    Writers take turns by a lock that the server keeps until their transaction ends, however it ends. While one has it,
    nobody else writes, so what it has read stays true, and each of its statements sees all that was committed before:
    a queue needs no `FOR UPDATE SKIP LOCKED`, and numbers that rise are seen in their order. As with SQLite, it guards
    files as well.
    """

    error: type[Exception] = psycopg.Error
    file: Path | None = None

    def __init__(self, address: str) -> None:
        url = make_url(address).set(drivername="postgresql+psycopg")
        url = url.set(query={**CONNECTING, "options": SERVER, "application_name": "retrainbot", **url.query})
        self.name = _name(url)
        hide(url.password or "")
        self._patience = 0.0  # An address that never worked is told at once; later, the server may be restarting.
        self._lost: float | None = None  # Since when.
        # A connection that a restart of the server has cut is replaced before it is used.
        engine = create_engine(url, pool_pre_ping=True)
        event.listen(engine, "do_connect", self._connect)
        event.listen(engine, "connect", self._check)
        event.listen(engine, "begin", _begin)
        # A reader sees one moment. A writer must not: that moment would be the one before it had waited its turn.
        self.reading: Engine = engine.execution_options(isolation_level="REPEATABLE READ")
        self.writing: Engine = engine.execution_options(isolation_level="READ COMMITTED", writes=True)

    def advice(self, cause: BaseException) -> Text | None:
        if not isinstance(cause, psycopg.Error):
            return None
        if cause.sqlstate:
            return next((advice for code, advice in ADVICE.items() if cause.sqlstate.startswith(code)), None)
        said = next((advice for words, advice in WORDS.items() if re.search(words, str(cause))), None)
        return said or (AWAY if isinstance(cause, psycopg.OperationalError) else None)

    def scrub(self) -> None:
        with self.reading.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            for table in inspect(connection).get_table_names():
                connection.exec_driver_sql(f'VACUUM FULL "{table}"')

    def _connect(self, _dialect: Any, _record: Any, _arguments: Any, options: Any) -> "psycopg.Connection[Any]":
        while True:
            try:
                connection = psycopg.connect(**options)
            except psycopg.OperationalError as error:
                self._lost = self._lost or time.monotonic()
                if time.monotonic() > self._lost + self._patience or self.advice(error) != AWAY:
                    raise
                time.sleep(RETRY_SECONDS)
            else:
                self._patience, self._lost = float(options["connect_timeout"]), None
                return connection

    def _check(self, connection: "psycopg.Connection[Any]", _record: Any) -> None:
        encoding = connection.info.parameter_status("server_encoding")
        if encoding != "UTF8":
            raise DatabaseError(
                "The database {name} keeps text as {encoding}, which not every class name fits into. Make another one:"
                " createdb --encoding=UTF8 --template=template0.",
                name=self.name,
                encoding=encoding,
            )


def _name(url: URL) -> str:
    host = f"{url.host or url.query.get('host', 'localhost')}{f':{url.port}' if url.port else ''}"
    return f"“{url.database}” on {host}"


def _begin(connection: Any) -> None:
    if connection.get_execution_options().get("writes", False):
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({LOCK})")
