"""What is old makes room: runs, lists of photos, features and records; what is needed stays, whatever happens."""

import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from conftest import Chat
from home import Home
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from pictures import write
from structlog.testing import capture_logs
from test_cli import call, document

from storage.files import sha256_of
from storage.follows import Follows
from storage.housekeeping import Housekeeping
from storage.runs import RunOptions, RunState
from storage.settings import Settings, Training
from storage.slots import Slots
from storage.tables import SlotRow
from storage.usage import usage
from trainer import snapshot
from trainer.features.store import FeatureStore
from trainer.tidying import DAY_SECONDS, RETRY_SECONDS, Tidying, hashes_of

OPTIONS = RunOptions.from_settings(Training())

both = pytest.mark.both_databases


def keeping(settings: Settings, **changes: int) -> Settings:
    return settings.model_copy(update={"training": settings.training.model_copy(update=changes)})


@pytest.fixture
def home(settings: Settings) -> Iterator[Home]:
    """Photos of two classes."""
    home = Home(settings)
    for number in range(8):
        home.add(number, ["daisy", "rose"][number % 2])
    yield home
    home.close()


def house(home: Home, keep: int) -> Housekeeping:
    return Housekeeping(keeping(home.settings, keep_runs=keep), home.database)


def fail(home: Home) -> int:
    """A run that ended badly, with what it left."""
    run = home.claim()
    folder = home.settings.runs_dir / str(run.id)
    write(folder / "report.json", b"{}")
    write(folder / "checkpoints" / "1.npz", b"weights" * 1000)
    home.runs.finish(run.id, run.token, RunState.FAILED, "no")
    return run.id


def folders(home: Home) -> list[str]:
    return sorted(path.name for path in home.settings.runs_dir.iterdir())


def rows(home: Home) -> list[int]:
    return sorted(run.id for run in home.runs.newest(1000))


@both
def test_the_newest_runs_are_kept(home: Home) -> None:
    """The last two stay with their reports, without checkpoints; the others go, rows and all."""
    for _ in range(5):
        fail(home)
    write(home.settings.runs_dir / "mine" / "notes.txt", b"somebody's")
    assert house(home, 2).tidy_runs() == [1, 2, 3]
    assert (rows(home), folders(home)) == ([4, 5], ["4", "5", "mine"])
    assert list(home.settings.runs_dir.glob("*/checkpoints")) == []
    assert house(home, 2).tidy_runs() == []
    assert fail(home) == 6


def test_all_runs_are_kept_if_that_is_wanted(home: Home) -> None:
    """With 0 no row and no report is ever removed."""
    for _ in range(4):
        fail(home)
    assert house(home, 0).tidy_runs() == []
    assert (rows(home), folders(home)) == ([1, 2, 3, 4], ["1", "2", "3", "4"])


@both
def test_runs_of_versions_are_kept(home: Home) -> None:
    """A version's report stays as long as the version; its run has a row even then."""
    for _ in range(3):
        home.publish()
    for _ in range(3):
        fail(home)
    assert house(home, 1).tidy_runs() == [4, 5]
    assert folders(home) == ["1", "2", "3", "6"]
    keep_two = home.settings.serving.model_copy(update={"keep_versions": 2})
    settings = keeping(home.settings, keep_runs=1).model_copy(update={"serving": keep_two})
    Housekeeping(settings, home.database).tidy()
    assert home.models.numbers() == [2, 3]
    assert (rows(home), folders(home)) == ([1, 2, 3, 6], ["2", "3", "6"])


@both
def test_runs_that_somebody_needs_are_kept(home: Home) -> None:
    """Those under way or waiting, the one that the schedule speaks of, and those whose end a chat has not heard."""
    slots = Slots(home.database, lambda: datetime(2030, 1, 1, tzinfo=UTC))
    slot = slots.decide(datetime(2029, 12, 31, tzinfo=UTC), "due", OPTIONS)
    assert slot
    claimed = home.runs.claim("box", timedelta(minutes=1))
    assert claimed
    home.runs.finish(claimed.id, claimed.token, RunState.FAILED, "no")
    followed = fail(home)
    Follows(home.database).add(followed, 7, 8)
    for _ in range(3):
        fail(home)
    active = home.claim()
    waiting, _ = home.runs.enqueue(OPTIONS, "ann", join=False)
    write(home.settings.runs_dir / str(active.id) / "checkpoints" / "1.npz", b"weights")
    house(home, 1).tidy_runs()
    assert rows(home) == [claimed.id, followed, active.id, waiting.id]
    assert (home.settings.runs_dir / str(active.id) / "checkpoints" / "1.npz").exists()
    (follow,) = Follows(home.database).open()
    Follows(home.database).close(follow.id)
    house(home, 1).tidy_runs()
    assert rows(home) == [claimed.id, active.id, waiting.id]


@both
def test_slots_of_long_ago_go(home: Home) -> None:
    """What was decided over three months ago is forgotten, but for the last of it."""
    start = datetime(2030, 1, 1, tzinfo=UTC)
    for day in range(10):
        Slots(home.database).decide(start + timedelta(days=day), "nothing changed")
    housekeeping = Housekeeping(home.settings, home.database, lambda: start + timedelta(days=95))
    housekeeping.tidy_runs()
    with home.database.read() as session:
        assert sorted(row.due_at.day for row in session.query(SlotRow)) == [6, 7, 8, 9, 10]
    Housekeeping(home.settings, home.database, lambda: start + timedelta(days=900)).tidy_runs()
    last = Slots(home.database, lambda: start + timedelta(days=900)).last()
    assert last
    assert last.due == start + timedelta(days=9)


def test_lists_of_photos_go_with_their_versions(home: Home) -> None:
    """Those of versions that are there stay; while a run is under way, or a version cannot be read, all stay."""
    home.publish()
    home.add(50, "daisy")
    home.publish()
    stray = write(home.settings.snapshots_dir / f"{'f' * 16}.npz", b"of a version that is gone")
    run = home.claim()
    assert house(home, 0).tidy_snapshots() == 0
    home.runs.finish(run.id, run.token, RunState.FAILED, "no")
    manifest = home.settings.models_dir / "1" / "manifest.json"
    content = manifest.read_bytes()
    manifest.write_bytes(b"spoilt")
    assert house(home, 0).tidy_snapshots() == 0
    manifest.write_bytes(content)
    assert house(home, 0).tidy_snapshots() == 1
    assert not stray.exists()
    assert len(list(home.settings.snapshots_dir.iterdir())) == 2


KILLED = """
import os, shutil, signal, sys
from pathlib import Path
import storage.housekeeping
from storage.database import Database
from storage.housekeeping import Housekeeping
from storage.settings import Settings, Training
def die(*_, **__): os.kill(os.getpid(), signal.SIGKILL)
match sys.argv[2]:
    case "before the folders": storage.housekeeping._folders = die
    case "before it is moved": Path.rename = die
    case "before it is removed": shutil.rmtree = lambda path, **_: die() if "gone" in str(path) else None
settings = Settings(data=Path(sys.argv[1]), training=Training(keep_runs=1))
Housekeeping(settings, Database(settings.database_place)).tidy_runs()
"""


@both
@pytest.mark.parametrize("moment", ["before the folders", "before it is moved", "before it is removed"])
def test_a_kill_does_no_harm(home: Home, moment: str) -> None:
    """After kill -9 what is left of old runs goes the next time, and what is to stay is there."""
    for _ in range(4):
        fail(home)
    killed = subprocess.run([sys.executable, "-c", KILLED, str(home.settings.data), moment], check=False)
    assert killed.returncode == -signal.SIGKILL
    house(home, 1).tidy_runs()
    assert (rows(home), folders(home)) == ([4], ["4"])
    assert (home.settings.runs_dir / "4" / "report.json").exists()


KINDS = ("publish", "candidate", "fail", "follow", "tell", "tidy")


@given(st.lists(st.sampled_from(KINDS), max_size=20))
@hypothesis_settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_whatever_happens_what_is_needed_is_there(acts: list[str]) -> None:
    """After any sequence of acts each version has its report and its photos, and each run that is untold its row."""
    with tempfile.TemporaryDirectory() as folder:
        home = Home(Settings(data=Path(folder) / "data"))
        for number in range(8):
            home.add(number, ["daisy", "rose"][number % 2])
        serving = home.settings.serving.model_copy(update={"keep_versions": 2})
        settings = keeping(home.settings, keep_runs=2).model_copy(update={"serving": serving})
        follows = Follows(home.database)
        for act in acts:
            match act:
                case "publish" | "candidate":
                    home.publish(promote=act == "publish")
                case "fail":
                    fail(home)
                case "follow":
                    for run in home.runs.newest(1):
                        follows.add(run.id, 7, 8)
                case "tell":
                    for follow in follows.open()[:1]:
                        follows.close(follow.id)
                case _:
                    Housekeeping(settings, home.database).tidy()
            for number in home.models.numbers():
                manifest = home.models.verified(number).manifest
                assert (settings.runs_dir / str(manifest.run) / "report.json").exists()
                assert snapshot.read(settings.snapshots_dir, manifest.snapshot, settings.photos_dir) is not None
            assert {follow.run for follow in follows.open()} <= set(rows(home))
            newest = {run.id for run in home.runs.newest(2)}
            assert newest <= set(rows(home))
        home.close()


# The trainer does it.


def test_the_trainer_tidies_once_a_day(home: Home) -> None:
    """At the start and a day later all is looked at; in between nothing; where something is in use, soon again."""
    moment = 0.0
    tidying = Tidying(keeping(home.settings, keep_runs=1), home.database, lambda: moment)
    stray = write(home.settings.snapshots_dir / f"{'f' * 16}.npz", b"x")
    tidying.tend()
    assert not stray.exists()
    moment += DAY_SECONDS - 1
    write(stray, b"x")
    tidying.tend()
    assert stray.exists()
    home.settings.records_dir.mkdir()
    run = home.claim()
    moment += 2
    tidying.tend()
    home.runs.finish(run.id, run.token, RunState.FAILED, "no")
    moment += RETRY_SECONDS
    tidying.tend()
    assert not stray.exists()


def test_what_hinders_is_logged(home: Home) -> None:
    """A part that fails does not keep the others from their work, nor the trainer."""
    for _ in range(3):
        fail(home)
    write(home.settings.snapshots_dir / f"{'f' * 16}.npz" / "in the way", b"x")
    home.settings.features_dir.write_bytes(b"in the way")
    home.settings.records_dir.write_bytes(b"in the way")
    with capture_logs() as logs:
        Tidying(keeping(home.settings, keep_runs=1), home.database, lambda: 0.0).tend()
    assert rows(home) == [3]
    assert [entry["log_level"] for entry in logs].count("warning") == 1


def test_features_of_photos_that_are_gone_go(home: Home) -> None:
    """When an eighth of a file is of photos that are no longer stored, it is written anew; else it is let be."""
    stored = [photo.sha256 for photo in home.photos.all()]
    store = FeatureStore(home.settings.features_dir, "network", "abc", 5)
    store.append(hashes_of(stored), np.ones((8, 5), np.float32))
    tidying = Tidying(home.settings, home.database, lambda: 0.0)
    assert tidying.thorough()
    assert not store.missing(hashes_of(stored)).any()
    home.history.remove(stored[:1], "ann")
    home.path(stored[0]).unlink()
    tidying.thorough()
    assert store.missing(hashes_of(stored)).tolist() == [True, *[False] * 7]


def test_records_of_old_snapshots_go(home: Home) -> None:
    """Of several the newest stay; while a run is under way nothing is touched."""
    from trainer.records import builder  # noqa: PLC0415  TensorFlow is slow to start.

    first = builder.build(snapshot.take(home.photos), home.settings.records_dir).dir
    home.add(90, "daisy")
    second = builder.build(snapshot.take(home.photos), home.settings.records_dir).dir
    tidying = Tidying(home.settings, home.database, lambda: 0.0)
    run = home.claim()
    assert not tidying.thorough()
    assert first.exists()
    home.runs.finish(run.id, run.token, RunState.FAILED, "no")
    hashes = {path.name: sha256_of(path) for path in second.glob("*.tfrecord")}
    assert tidying.thorough()
    assert not first.exists()
    assert {path.name: sha256_of(path) for path in second.glob("*.tfrecord")} == hashes


# It is told.


async def test_status_tells_in_the_chat(chat: Chat) -> None:
    """/status has a line on what is kept for a while."""
    write(chat.settings.runs_dir / "1" / "report.json", b"x" * 3_000_000)
    said = await chat.person.say("/status")
    text = (await chat.person.reply_to(said["message_id"]))["text"]
    assert "Kept for a while: versions 0 MB, runs 3 MB, features 0 MB" in text


def test_status_tells_on_the_command_line(home: Home) -> None:
    """`retrainbot status` has the line, and the bytes of each part as JSON."""
    home.publish()
    write(home.settings.records_dir / "abc" / "image.tfrecord", b"x" * 2_000_000)
    home.close()
    status = document("--data", home.settings.data, "status")
    assert status["kept"] == usage(home.settings)
    assert status["kept"]["records"] == 2_000_000
    assert "records 2 MB" in call("--data", home.settings.data, "status").stdout
