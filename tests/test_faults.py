"""Whatever happens during a run: it ends in words, nothing is lost, and the next run works; see docs/training.md."""

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
from conftest import Place, until

from demo import samples
from storage import lifeline
from storage.copying import copy_file
from storage.database import Database
from storage.models import Models
from storage.photos import Photos
from storage.runs import FINAL, Run, RunOptions, Runs, RunState
from storage.settings import Settings, Training
from storage.tables import RunRow
from trainer.worker import Worker

CLASSES = samples.CLASSES[:3]
STEPS = ("records", "backbone", "features", "head", "export", "evaluate", "report", "publish")
LEASE = 20.0


@dataclass(frozen=True)
class Shop:
    """A data folder with photos of three classes, and what works on it."""

    settings: Settings
    database: Database

    @property
    def runs(self) -> Runs:
        return Runs(self.database)

    @property
    def photos(self) -> Photos:
        settings = self.settings
        return Photos(self.database, settings.photos_dir, settings.unlabelled_dir, settings.images)

    @property
    def models(self) -> Models:
        return Models(self.database, self.settings.models_dir)

    def enqueue(self, **options: object) -> int:
        return self.runs.enqueue(RunOptions.from_settings(self.settings.training, **options), "ann", join=False)[0].id

    def work(self, watch: Callable[[Run], None] | None = None, stop: threading.Event | None = None) -> Run:
        """Claim the next run and work it, in a process of its own, to its end."""
        worker = Worker(self.runs, "box", LEASE, stop or threading.Event())
        run = worker.claim()
        assert run
        return worker.work(run, watch)

    def leftovers(self) -> list[Path]:
        """Unfinished files and folders anywhere."""
        return list(self.settings.data.rglob(".new-*"))


@pytest.fixture(scope="module")
def stocked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder in which nothing was trained yet."""
    data = tmp_path_factory.mktemp("stock") / "data"
    settings = Settings(data=data)
    database = Database(settings.database_place)
    photos = Photos(database, settings.photos_dir, settings.unlabelled_dir, settings.images)
    for place, name in enumerate(CLASSES):
        for number in range(6):
            photos.add(samples.photo(name, 100 * place + number), name, "ann")
    database.close()
    return data


@pytest.fixture
def shop(stocked: Path, settings: Settings, place: Place, monkeypatch: pytest.MonkeyPatch) -> Iterator[Shop]:
    shutil.copytree(stocked, settings.data, dirs_exist_ok=True)
    monkeypatch.setenv("RETRAINBOT_DATA", str(settings.data))  # For the children.
    database = Database(place)
    if isinstance(place, str):
        copy_file(settings.data / "retrainbot.db", database)
    training = Training(backbone="efficientnet_lite0")
    yield Shop(settings.model_copy(update={"training": training}), database)
    database.close()


def children(words: str = "trainer.run") -> list[int]:
    """The process ids of this process's children with these words in their command line."""
    pids = [int(pid) for path in Path("/proc/self/task").glob("*/children") for pid in path.read_text().split()]
    return [pid for pid in pids if words.encode() in Path(f"/proc/{pid}/cmdline").read_bytes()]


def a_trainer(environment: dict[str, str]) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(lifeline.child("cli.main", "trainer"), env=environment, stdin=subprocess.PIPE)


async def at(shop: Shop, run: int, step: str) -> ExitStack:
    """Wait until a run is at a step, and keep it there: it cannot go on until what this returns is closed."""
    holder = Database(shop.settings.database_place)
    async with asyncio.timeout(60):
        while True:  # Looked at while nobody can write: the step cannot be over when it has been seen.
            with ExitStack() as stack:
                stack.callback(holder.close)
                row = stack.enter_context(holder.write()).get_one(RunRow, run)
                if row.step == step or row.state in FINAL:
                    return stack.pop_all()
            await asyncio.sleep(0.002)


async def test_kill_at_every_step_loses_nothing(shop: Shop) -> None:
    """The training process is killed (-9) in each of its steps: told in words, and the run after all that works."""
    killed = []
    with ThreadPoolExecutor(1) as pool:
        for step in STEPS:
            run = shop.enqueue()
            working = pool.submit(shop.work)
            holder = await at(shop, run, step)
            killed.append(shop.runs.get(run).step)
            os.kill(children()[0], signal.SIGKILL)
            holder.close()
            ended = working.result()
            assert (ended.state, "killed" in (ended.message or "")) == (RunState.FAILED, True), step
    assert killed == list(STEPS)
    shop.enqueue()
    assert shop.work().state is RunState.SUCCEEDED
    served = shop.models.served()
    assert served
    assert shop.models.numbers() == [served.version]
    shop.models.verified(served.version)
    assert shop.leftovers() == []
    assert len(list(shop.photos.all())) == 18


async def test_network_killed_amid_its_training_loses_nothing(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """The process of a whole network is killed as the others are; the next run makes a version."""
    monkeypatch.setenv("RETRAINBOT_NETWORK__INPUT_SIZE", "32")
    run = shop.enqueue(mode="scratch", steps=3, batch_size=4)
    with ThreadPoolExecutor(1) as pool:
        working = pool.submit(shop.work)
        holder = await at(shop, run, "network")
        os.kill(children()[0], signal.SIGKILL)
        holder.close()
        assert "killed" in (working.result().message or "")
    shop.enqueue(mode="scratch", steps=3, batch_size=4)
    assert shop.work().state is RunState.SUCCEEDED
    assert shop.leftovers() == []


def test_time_that_is_used_up_is_told(shop: Shop) -> None:
    """A run whose time is over before every photo was looked at says so; what was done is kept for the next one."""
    shop.enqueue(time_budget=0.0001)
    ended = shop.work()
    assert ended.state is RunState.FAILED
    assert "time was used up" in (ended.message or "")


async def test_cancelled_run_ends_at_once_and_leaves_no_process(shop: Shop) -> None:
    """A run is cancelled in the midst of its work: nothing is published, and its process is gone."""
    run = shop.enqueue()
    with ThreadPoolExecutor(1) as pool:
        working = pool.submit(shop.work)
        holder = await at(shop, run, "features")
        holder.close()
        shop.runs.cancel(run, "bob")
        ended = working.result()
    assert children() == []
    assert (ended.state, ended.message) == (RunState.CANCELLED, "Cancelled by bob.")
    assert shop.models.served() is None


async def test_sigterm_gives_the_run_back(shop: Shop) -> None:
    """A trainer that is told to stop in the middle of a run leaves it in the queue, and no process behind."""
    run = shop.enqueue()
    environment = {**os.environ, "RETRAINBOT_SCHEDULE__CRON": "", lifeline.VARIABLE: "1"}
    with a_trainer(environment) as trainer:
        await until(lambda: shop.runs.get(run).step == "features")
        trainer.terminate()
        assert trainer.wait(30) == 0
    waiting = shop.runs.get(run)
    assert (waiting.state, waiting.step) == (RunState.QUEUED, None)
    assert children() == []


async def test_photos_and_classes_that_go_away_during_a_run(shop: Shop) -> None:
    """A photo that is damaged and a class that is deleted by hand after the snapshot: the run learns the others."""
    damaged = next(photo for photo in shop.photos.all() if photo.class_name == shop.photos.class_names()[0])
    gone = shop.photos.class_names()[-1]
    run = shop.enqueue()
    with ThreadPoolExecutor(1) as pool:
        working = pool.submit(shop.work)
        holder = await at(shop, run, "backbone")
        shutil.rmtree(shop.settings.photos_dir / gone)
        damaged.path.write_bytes(b"not a photo any more")
        holder.close()
        ended = working.result()
    assert ended.state is RunState.SUCCEEDED, ended.message
    assert shop.models.get(1).classes == tuple(shop.photos.class_names()[:-1])
    assert shop.models.get(1).manifest.photos == 11


def test_photo_that_was_damaged_before_a_run_is_left_out(shop: Shop) -> None:
    """One file that went bad does not stop training: the run learns the others."""
    damaged = next(iter(shop.photos.all()))
    damaged.path.write_bytes(b"not a photo any more")
    shop.enqueue()
    ended = shop.work()
    assert ended.state is RunState.SUCCEEDED, ended.message
    assert shop.models.get(1).manifest.photos == 17


async def test_run_that_is_taken_up_again_learns_the_photos_of_its_start(shop: Shop) -> None:
    """A trainer is killed amid a run and a photo comes meanwhile: the next attempt has the same snapshot."""
    run = shop.enqueue()
    stop = threading.Event()
    with ThreadPoolExecutor(1) as pool:
        working = pool.submit(shop.work, None, stop)
        holder = await at(shop, run, "backbone")
        stop.set()
        holder.close()
        assert working.result().state is RunState.QUEUED
    shop.photos.add(samples.photo(CLASSES[0], 9999), CLASSES[0], "ann")
    ended = shop.work()
    assert ended.state is RunState.SUCCEEDED, ended.message
    assert shop.models.get(1).manifest.photos == 18


@pytest.mark.both_databases
def test_two_trainers_share_one_queue(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two trainers at work on one queue: each run is worked once, and never two at a time."""
    monkeypatch.setenv("RETRAINBOT_DATA", str(settings.data))
    shop = Shop(settings, Database(settings.database_place))
    queued = [shop.enqueue() for _ in range(3)]  # Without photos, each ends as soon as it has begun.
    environment = {**os.environ, "RETRAINBOT_SCHEDULE__CRON": "", lifeline.VARIABLE: "1"}
    trainers = [a_trainer(environment) for _ in "12"]
    most = 0
    try:
        while not all(run.final for run in shop.runs.newest()):
            most = max(most, sum(run.state is RunState.RUNNING for run in shop.runs.newest()))
            time.sleep(0.01)
    finally:
        for trainer in trainers:
            trainer.terminate()
            trainer.communicate()
    ended = [shop.runs.get(run) for run in queued]
    assert [(run.state, run.token) for run in ended] == [(RunState.FAILED, 1)] * 3
    assert all("two classes" in (run.message or "") for run in ended)
    assert most == 1
    shop.database.close()


FULL_DISK = """
mount -t tmpfs -o size={size}k tmpfs {mount} && cp -r {stock} {mount}/data && exec {python} -c '{script}'
"""
TRAIN_THERE = """
import threading
from storage.database import Database
from storage.runs import RunOptions, Runs
from storage.settings import read_settings
from trainer.worker import Worker
settings = read_settings()
database = Database(settings.database_place)
runs = Runs(database)
runs.enqueue(RunOptions.from_settings(settings.training), "ann")
worker = Worker(runs, "box", 20.0, threading.Event())
run = worker.claim()
ended = worker.work(run)
left = [str(path) for path in settings.data.rglob(".new-*")]
print(ended.state.value, ended.step, len(list((settings.data / "models").glob("[0-9]*"))), ended.message, sep="|")
"""


@pytest.mark.parametrize("room", [200, 3000, 9000])
def test_full_disk_ends_a_run_in_words(stocked: Path, tmp_path: Path, room: int) -> None:
    """A disk with room for next to nothing, for the records, or for half a version: a plain message and no version."""
    mount = tmp_path / "small"
    mount.mkdir()
    size = sum(path.stat().st_blocks // 2 for path in stocked.rglob("*")) + room
    script = FULL_DISK.format(size=size, mount=mount, stock=stocked, python=sys.executable, script=TRAIN_THERE)
    environment = {**os.environ, "RETRAINBOT_DATA": str(mount / "data")}
    environment |= {"RETRAINBOT_TRAINING__BACKBONE": "efficientnet_lite0"}
    command = ["unshare", "--mount", *([] if os.getuid() == 0 else ["--user", "--map-root-user"]), "sh", "-c", script]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    state, step, versions, message = done.stdout.strip().rpartition("\n")[2].split("|")
    assert (state, versions) == ("failed", "0"), step
    assert "room" in message or "full" in message
