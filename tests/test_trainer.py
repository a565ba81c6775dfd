"""What the trainer does by itself: when it puts a run into the queue, and what it tells of the GPUs."""

import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from conftest import until
from pictures import photo, write
from structlog.testing import capture_logs

from storage.database import Database
from storage.gpus import GpuReports
from storage.models import Ending, Manifest, Models
from storage.photos import Photos
from storage.runs import RunOptions, Runs, RunState
from storage.settings import Settings
from trainer import snapshot
from trainer.service import Trainer

SLOT = datetime(2030, 1, 1, 2, 30, tzinfo=UTC)


@pytest.fixture
def database(settings: Settings) -> Iterator[Database]:
    database = Database(settings.database_file)
    yield database
    database.close()


@pytest.fixture
def trainer(settings: Settings, database: Database) -> Trainer:
    return Trainer(settings, database, threading.Event())


@pytest.fixture
def photos(settings: Settings, database: Database) -> Photos:
    """Two classes of three photos each."""
    photos = Photos(database, settings.photos_dir, settings.unlabelled_dir, settings.images)
    for number in range(6):
        photos.add(photo(number), "ab"[number % 2], "ann")
    return photos


def publish(settings: Settings, database: Database, made_of: str, promote: str | None = "better") -> Path:
    """A version, without a network, that is made of this snapshot; its folder."""
    runs, models = Runs(database), Models(database, settings.models_dir)
    runs.enqueue(RunOptions.from_settings(settings.training), "ann")
    run = runs.claim("box", timedelta(minutes=1))
    assert run
    made = write(models.folder / ".new-run" / "labels.txt", b"0:a\n1:b\n").parent
    manifest = Manifest(
        run=run.id, snapshot=made_of, photos=6, backbone="tiny", weights_digest="", input_size=32, mode="head", seed=0,
        metrics={}, software={}, created_at=SLOT,
    )  # fmt: skip
    number = models.publish(made, manifest, run.token, promote=promote, ending=lambda _number: Ending("made", {}))
    return models.folder / str(number)


def queued(database: Database) -> bool:
    return Runs(database).active() is not None


def test_slot_puts_one_run_into_the_queue(trainer: Trainer, photos: Photos, database: Database) -> None:
    """However often the same slot is told, it makes one run, also after that run has ended."""
    trainer.enqueue_slot(SLOT)
    runs = Runs(database)
    run = runs.claim("box", timedelta(minutes=1))
    assert run
    assert run.requested_by == "schedule"
    runs.finish(run.id, run.token, RunState.FAILED, "no luck")
    trainer.enqueue_slot(SLOT)
    assert not queued(database)
    trainer.enqueue_slot(SLOT + timedelta(days=1))
    assert queued(database)


def test_slot_without_two_classes_is_passed_over(trainer: Trainer, database: Database) -> None:
    """With nothing to learn, no run is made only to fail."""
    trainer.enqueue_slot(SLOT)
    assert not queued(database)


def test_photos_copied_in_by_hand_count(trainer: Trainer, settings: Settings, database: Database) -> None:
    """The class folders are looked at first, so nobody needs to run reindex before the night."""
    for number in range(6):
        write(settings.photos_dir / "ab"[number % 2] / f"{number}.jpg", photo(number))
    trainer.enqueue_slot(SLOT)
    assert queued(database)


def test_missing_photos_folder_makes_no_run(
    trainer: Trainer, photos: Photos, settings: Settings, database: Database
) -> None:
    """A disk that is not connected is no reason to train."""
    settings.photos_dir.rename(settings.data / "elsewhere")
    trainer.enqueue_slot(SLOT)
    assert not queued(database)


@pytest.mark.parametrize("then", ["refused", "rolled back"])
def test_same_photos_are_not_trained_on_every_night(
    trainer: Trainer, photos: Photos, settings: Settings, database: Database, then: str
) -> None:
    """Nothing changed since the newest version: so no run, though an older one is served. One more photo is enough."""
    publish(settings, database, "older")
    publish(settings, database, snapshot.take(photos).id, promote=None if then == "refused" else "better")
    if then == "rolled back":
        Models(database, settings.models_dir).rollback("ann")
    trainer.enqueue_slot(SLOT)
    assert not queued(database)
    photos.add(photo(7), "a", "ann")
    trainer.enqueue_slot(SLOT)
    assert queued(database)


def test_damaged_served_version_does_not_stop_the_nightly_training(
    trainer: Trainer, photos: Photos, settings: Settings, database: Database
) -> None:
    """A version that cannot be read is no reason to keep it."""
    folder = publish(settings, database, snapshot.take(photos).id)
    (folder / "manifest.json").unlink()
    trainer.enqueue_slot(SLOT)
    assert queued(database)


async def test_gpus_are_reported_again_after_a_fault_of_the_database(settings: Settings, database: Database) -> None:
    """A disk that fails for a while costs some reports, and not all that would follow."""
    stop = threading.Event()
    trainer = Trainer(settings, database, stop)
    database.close()
    aside = settings.database_file.rename(settings.data / "aside.db")
    settings.database_file.write_bytes(b"no database" * 1000)
    with capture_logs() as logs:
        thread = threading.Thread(target=trainer.report_gpus)
        thread.start()
        await until(lambda: any(entry["log_level"] == "warning" for entry in logs))
        aside.replace(settings.database_file)
        await until(lambda: bool(GpuReports(database).read()))
    stop.set()
    thread.join()
