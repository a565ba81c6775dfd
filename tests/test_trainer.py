"""What the trainer does beside its runs: it tells of the GPUs."""

import threading
from collections.abc import Iterator

import pytest
from conftest import until
from structlog.testing import capture_logs

from storage.database import Database
from storage.gpus import GpuReports
from storage.settings import Settings
from trainer.service import Trainer


@pytest.fixture
def database(settings: Settings) -> Iterator[Database]:
    database = Database(settings.database_place)
    yield database
    database.close()


async def test_gpus_are_reported_again_after_a_fault_of_the_database(settings: Settings, database: Database) -> None:
    """A disk that fails for a while costs some reports, and not all that would follow."""
    stop = threading.Event()
    trainer = Trainer(settings, database, stop)
    database.close()
    aside = settings.database_place.rename(settings.data / "aside.db")
    settings.database_place.write_bytes(b"no database" * 1000)
    with capture_logs() as logs:
        thread = threading.Thread(target=trainer.report_gpus)
        thread.start()
        await until(lambda: any(entry["log_level"] == "warning" for entry in logs))
        aside.replace(settings.database_place)
        await until(lambda: bool(GpuReports(database).read()))
    stop.set()
    thread.join()
