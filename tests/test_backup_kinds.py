"""A backup is the same whatever kind of database there is, and each can be brought back as the other."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from conftest import POSTGRESQL, SQLITE
from home import Home, content
from postgresql import Server
from pydantic import SecretStr

from storage.backup import back_up
from storage.errors import BackupError
from storage.offers import Offers
from storage.reindex import reindex
from storage.restore import restore
from storage.settings import Settings

KINDS = (SQLITE, POSTGRESQL)
KILLED = """
import os, signal, sys
from pathlib import Path
import storage.restore
from storage.settings import read_settings
def die(*_, **__): os.kill(os.getpid(), signal.SIGKILL)
rename = Path.rename
if sys.argv[3] == "before the rows": storage.restore.copy_file = die
else: Path.rename = lambda path, target: die() if Path(target).parent == Path(sys.argv[2]) else rename(path, target)
storage.restore.restore(Path(sys.argv[1]), read_settings(data=Path(sys.argv[2])))
"""

Make = Callable[[str, str], Home]


@pytest.fixture
def make(postgresql: Server, tmp_path: Path) -> Iterator[Make]:
    """A data folder of that name, with a database of that kind."""
    homes: list[Home] = []

    def made(name: str, kind: str) -> Home:
        address = postgresql.database() if kind == POSTGRESQL else ""
        homes.append(Home(Settings(data=tmp_path / name, database=SecretStr(address))))
        return homes[-1]

    yield made
    for home in homes:
        home.close()
        if address := home.settings.database.get_secret_value():
            postgresql.drop(address)


def fill(home: Home) -> Home:
    """Photos of two classes, one in none, and a version."""
    for number in range(6):
        home.add(number, ["daisy", "rose"][number % 2])
    home.keep(100)
    home.publish()
    return home


@pytest.mark.parametrize("target", KINDS)
@pytest.mark.parametrize("source", KINDS)
def test_each_kind_is_brought_back_as_each(make: Make, tmp_path: Path, source: str, target: str) -> None:
    """Photos, splits, history, versions and runs are what they were, and go on."""
    home, other = fill(make("home", source)), make("other", target)
    offer = Offers(home.database).make(7, "undo", {"act": 1})
    report = back_up(tmp_path / "backup", home.settings)
    assert (report.photos, report.versions, report.missing) == (6, (1,), ())
    assert restore(tmp_path / "backup", other.settings).missing == ()
    assert (other.settings.data / "retrainbot.db").exists() == (target == SQLITE)
    assert content(other.settings.data, ["retrainbot"]) == content(home.settings.data, ["retrainbot"])
    assert not reindex(other.photos).changed
    assert [(item.sha256, item.class_name, item.split) for item in other.photos.all()] == [
        (item.sha256, item.class_name, item.split) for item in home.photos.all()
    ]
    assert other.models.verified(1).manifest == home.models.verified(1).manifest
    assert other.runs.newest() == home.runs.newest()
    assert other.history.undo_last("ann").out == 1
    assert Offers(other.database).make(7, "undo", {"act": 2}) > offer + 1000
    assert other.publish() == 2


def test_a_database_in_use_is_not_written_over(make: Make, tmp_path: Path) -> None:
    """A server's database that holds something is left alone, and so is the empty data folder."""
    home, other = fill(make("home", SQLITE)), make("other", POSTGRESQL)
    back_up(tmp_path / "backup", home.settings)
    other.claim()
    with pytest.raises(BackupError, match="has something in it"):
        restore(tmp_path / "backup", other.settings)
    assert list(other.settings.data.iterdir()) == []
    assert len(other.runs.newest()) == 1


@pytest.mark.parametrize("moment", ["before the rows", "before the files"])
def test_a_restore_that_was_killed_can_be_repeated(make: Make, tmp_path: Path, moment: str) -> None:
    """After kill -9 the database is empty, nothing is in the data folder but what the next try removes."""
    home, other = fill(make("home", SQLITE)), make("other", POSTGRESQL)
    back_up(tmp_path / "backup", home.settings)
    environment = {**os.environ, "RETRAINBOT_DATABASE": other.settings.database.get_secret_value()}
    command = [sys.executable, "-c", KILLED, str(tmp_path / "backup"), str(other.settings.data), moment]
    assert subprocess.run(command, env=environment, check=False).returncode == -signal.SIGKILL
    assert restore(tmp_path / "backup", other.settings).photos == 6
    assert not reindex(other.photos).changed
