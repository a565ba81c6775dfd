"""A PostgreSQL server of the tests' own, made of the system's packages in a temporary folder, and thrown away."""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psycopg

from storage.database import Database

MISSING = "NO POSTGRESQL: the tests of it need its server. Install it: apt-get install postgresql"
USER, PASSWORD = "retrainbot", "secret:of/the@tests?&%"
NOBODY = "nobody"  # The server refuses to run as root.
SECONDS = 60.0
PATIENCE = 2  # Seconds for which a server that has gone away is waited for.
# Another order of words and another time zone than Python's, so that nothing rests on the server's being the same.
LOCALE = ("--locale=C.UTF-8", "--locale-provider=icu", "--icu-locale=en-US")
PASSING = {  # Nothing of it needs to outlive the tests.
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "autovacuum": "off",
    "timezone": "Asia/Kolkata",
    "unix_socket_directories": "",
    "listen_addresses": "127.0.0.1",
}


def programs() -> Path | None:
    """The folder of the newest version's programs."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=lambda path: int(path.parts[-3]))
    on_path = shutil.which("postgres")
    return found[-1].parent if found else Path(on_path).parent if on_path else None


class Server:
    """Its databases are the tests' own; each is as the code of today makes it, unless it is asked for `bare`."""

    def __init__(self, bin_: Path, folder: Path) -> None:
        self._bin = bin_
        self._data = folder / "data"
        self._numbers = count(1)
        self._process: subprocess.Popen[bytes] | None = None
        self._log = folder / "log"
        self.port = 0

    def start(self) -> None:
        """Also again, after `stop`, at the same port."""
        if not self._data.exists():
            self._make()
        self.port = self.port or _free_port()
        options = [f"--{name}={value}" for name, value in {**PASSING, "port": str(self.port)}.items()]
        with self._log.open("ab") as log:
            command = [*_as_nobody(), str(self._bin / "postgres"), "-D", str(self._data), *options]
            self._process = subprocess.Popen(command, stdout=log, stderr=log)
        self._wait()

    def stop(self) -> None:
        """At once, whoever is connected."""
        if self._process:
            self._process.send_signal(signal.SIGINT)
            self._process.wait(SECONDS)
            self._process = None

    def database(self, *, bare: bool = False) -> str:
        """The address of a new database."""
        name = f"test_{next(self._numbers)}"
        self.run(f"CREATE DATABASE {name} TEMPLATE {'template0' if bare else self._template()}")
        return self.address(name)

    def drop(self, address: str) -> None:
        self.run(f"DROP DATABASE IF EXISTS {name_of(address)} WITH (FORCE)")

    @contextmanager
    def closed(self, address: str) -> Iterator[None]:
        """Within the block nobody is connected, or can connect, to this database."""
        name = name_of(address)
        self.run(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
        self.cut(name)
        yield
        self.run(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")

    def cut(self, name: str) -> None:
        """Break every connection to a database, as a restart does."""
        with self.connect() as connection:
            connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [name])

    def ask(self, question: str, name: str) -> Any:
        """The one value that answers it."""
        with self.connect(name) as connection:
            (answer,) = connection.execute(question).fetchone() or (None,)
        return answer

    def rows(self, address: str) -> str:
        """All that a database holds, as text."""
        with self.connect(name_of(address)) as connection:
            dumped = connection.execute("SELECT database_to_xml(true, false, '')::text").fetchone()
        return str(dumped)

    def address(self, name: str, password: str = PASSWORD) -> str:
        reach = f"{USER}:{quote(password, safe='')}@127.0.0.1:{self.port}"
        return f"postgresql+psycopg://{reach}/{name}?connect_timeout={PATIENCE}"

    def connect(self, name: str = "postgres", **options: Any) -> "psycopg.Connection[tuple[Any, ...]]":
        """A connection that commits each statement."""
        reach = {"host": "127.0.0.1", "port": self.port, "user": USER, "password": PASSWORD, "dbname": name}
        return psycopg.connect(**{**reach, "autocommit": True, **options})

    def run(self, statement: str, name: str = "postgres") -> None:
        with self.connect(name) as connection:
            connection.execute(statement)

    def _template(self) -> str:
        """The database that the others are copied from, which is faster than making the tables each time."""
        with self.connect() as connection:
            if not connection.execute("SELECT 1 FROM pg_database WHERE datname = 'ready'").fetchone():
                connection.execute("CREATE DATABASE ready")
                Database(self.address("ready")).close()
        return "ready"

    def _make(self) -> None:
        secret = self._data.parent / "password"
        secret.write_text(PASSWORD)
        locale = LOCALE if int(self._version()) >= 15 else LOCALE[:1]
        options = ("--auth=scram-sha-256", f"--username={USER}", f"--pwfile={secret}", "--encoding=UTF8", "--no-sync")
        command = [*_as_nobody(), str(self._bin / "initdb"), "-D", str(self._data), *options, *locale]
        subprocess.run(command, check=True, capture_output=True, timeout=SECONDS)

    def _version(self) -> str:
        told = subprocess.run([self._bin / "postgres", "--version"], check=True, capture_output=True, text=True)
        return told.stdout.split()[2].partition(".")[0]

    def _wait(self) -> None:
        assert self._process
        end = time.monotonic() + SECONDS
        while True:
            try:
                self.connect().close()
            except psycopg.OperationalError:
                if self._process.poll() is not None or time.monotonic() > end:
                    raise RuntimeError(f"PostgreSQL did not start:\n{self._log.read_text()}") from None
                time.sleep(0.02)
            else:
                return


@contextmanager
def serving() -> Iterator[Server]:
    """A server that runs within the block, and ends also where the tests are killed."""
    bin_ = programs()
    if bin_ is None:
        raise FileNotFoundError(MISSING)
    with tempfile.TemporaryDirectory(prefix="retrainbot-postgresql-") as folder:
        if os.getuid() == 0:
            shutil.chown(folder, NOBODY)
        server = Server(bin_, Path(folder))
        try:
            server.start()
            yield server
        finally:
            server.stop()


def name_of(address: str) -> str:
    """The database's name."""
    return address.rpartition("/")[2].partition("?")[0]


def _as_nobody() -> list[str]:
    """What a command begins with that ends with us, and runs as nobody where we are root."""
    others = ["--reuid", NOBODY, "--regid", "nogroup", "--clear-groups"] if os.getuid() == 0 else []
    return ["setpriv", "--pdeathsig", "INT", *others]


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
