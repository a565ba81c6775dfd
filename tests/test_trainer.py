"""What the trainer does beside its runs: it tells of the GPUs."""

import threading

import pytest
from conftest import Broken, until
from structlog.testing import capture_logs

from storage.database import Database
from storage.gpus import GpuReports
from storage.settings import Settings
from trainer.service import Trainer

pytestmark = pytest.mark.both_databases


async def test_gpus_are_reported_again_after_a_fault_of_the_database(
    settings: Settings, database: Database, broken: Broken
) -> None:
    """A disk or server that fails for a while costs some reports, and not all that would follow."""
    stop = threading.Event()
    trainer = Trainer(settings, database, stop)
    with capture_logs() as logs:
        with broken():
            thread = threading.Thread(target=trainer.report_gpus)
            thread.start()
            await until(lambda: any(entry["log_level"] == "warning" for entry in logs))
        await until(lambda: bool(GpuReports(database).read()))
    stop.set()
    thread.join()
