"""The trainer process: the schedule puts runs into the queue, the worker takes them out. No TensorFlow in here."""

import signal
import socket
import threading
from datetime import datetime
from types import FrameType

import structlog

from storage.database import Database, now
from storage.errors import DatabaseError, ModelError, RetrainbotError
from storage.gpus import GpuReport, GpuReports
from storage.lifeline import follow_parent
from storage.models import Models
from storage.photos import Photos
from storage.reindex import reindex
from storage.runs import RunOptions, Runs
from storage.settings import Settings
from trainer import gpu, schedule, snapshot
from trainer.worker import Worker

POLL_SECONDS = 0.5
REPORT_SECONDS = 10.0

log = structlog.get_logger()


def serve(settings: Settings) -> None:
    """Work until SIGTERM, SIGINT or the end of the parent process."""
    stop = threading.Event()
    _stop_on_signals(stop)
    follow_parent(stop.set)
    database = Database(settings.database_file)
    trainer = Trainer(settings, database, stop)
    reports = threading.Thread(target=trainer.report_gpus, name="gpus", daemon=True)
    reports.start()
    scheduler = schedule.start(settings.schedule, trainer.enqueue_slot, now)
    log.info("trainer ready", schedule=settings.schedule.cron or "on demand")
    try:
        trainer.work()
    finally:
        scheduler.shutdown(wait=False)
        log.info("trainer stopped")


class Trainer:
    def __init__(self, settings: Settings, database: Database, stop: threading.Event) -> None:
        self._settings = settings
        self._stop = stop
        self._runs = Runs(database)
        self._photos = Photos(database, settings.photos_dir, settings.unlabelled_dir, settings.images)
        self._models = Models(database, settings.models_dir)
        self._reports = GpuReports(database)
        self._worker = Worker(self._runs, socket.gethostname(), settings.training.lease_seconds, stop)

    def work(self) -> None:
        while not self._stop.wait(POLL_SECONDS):
            run = self._worker.claim()
            if run is not None:
                self._worker.work(run)

    def enqueue_slot(self, slot: datetime) -> None:
        """One run for a slot of the schedule, unless nothing changed since the newest version was made."""
        try:
            reindex(self._photos)
            present = snapshot.take(self._photos).id
        except RetrainbotError as error:
            log.info("scheduled run skipped", reason=str(error))
            return
        if present == self._newest_snapshot():
            log.info("scheduled run skipped", reason="no photo or label changed since the newest version")
            return
        self._runs.enqueue(RunOptions.from_settings(self._settings.training), "schedule", schedule.slot_key(slot))

    def _newest_snapshot(self) -> str | None:
        """What the newest version was made of, served or not: the same photos would give the same again."""
        numbers = self._models.numbers()
        try:
            return self._models.get(numbers[-1]).manifest.snapshot if numbers else None
        except ModelError as error:
            log.warning("the newest version cannot be read", reason=str(error))
            return None

    def report_gpus(self) -> None:
        """Tell the bot about this host's GPUs, again and again; it is also the trainer's sign of life."""
        tensorflow = None
        while not self._stop.is_set():
            self._report(gpu.report(tensorflow))
            if tensorflow is None:  # It takes seconds, so the first report goes without.
                tensorflow = gpu.tensorflow_view()
            else:
                self._stop.wait(REPORT_SECONDS)

    def _report(self, report: GpuReport) -> None:
        try:
            self._reports.write(socket.gethostname(), now(), report)
        except DatabaseError as error:
            log.warning("the GPUs could not be reported", reason=str(error))


def _stop_on_signals(stop: threading.Event) -> None:
    def handle(_number: int, _frame: FrameType | None) -> None:
        stop.set()

    signal.signal(signal.SIGTERM, handle)
    signal.signal(signal.SIGINT, handle)
