"""The trainer process: the schedule puts runs into the queue, the worker takes them out. No TensorFlow in here."""

import signal
import socket
import threading
import time
from collections.abc import Callable
from types import FrameType

import structlog

from storage.database import Database, now, open_database
from storage.disk import Reserve
from storage.errors import DatabaseError
from storage.gpus import GpuReport, GpuReports
from storage.lifeline import follow_parent
from storage.notify import Notifier
from storage.runs import Runs
from storage.settings import Settings
from trainer import gpu
from trainer.monitor import Monitor
from trainer.schedule import Alarm, Planner
from trainer.tidying import Tidying
from trainer.worker import Worker

POLL_SECONDS = 0.25
REPORT_SECONDS = 10.0
PAUSE_SECONDS = 5.0  # Before the database is tried again.

log = structlog.get_logger()


def serve(settings: Settings) -> None:
    """Work until SIGTERM, SIGINT or the end of the parent process."""
    stop = threading.Event()
    _stop_on_signals(stop)
    follow_parent(stop.set)
    notifier = Notifier.from_environment()
    database = open_database(settings)
    alarm = Alarm(Planner(settings, database))
    trainer = Trainer(settings, database, stop, lambda: alarm.keep_up(now()), notifier)
    trainer.monitor.looks = lambda: alarm.looks
    with trainer.monitor.listening(settings.metrics):
        threading.Thread(target=trainer.report_gpus, name="gpus", daemon=True).start()
        alarm.start()
        log.info("trainer ready")
        notifier.ready()
        try:
            trainer.work()
        finally:
            notifier.stopping()
            alarm.stop()
            log.info("trainer stopped")


class Trainer:
    """`tend` is called again and again while nothing is trained, and `notifier` gets signs of life."""

    def __init__(
        self,
        settings: Settings,
        database: Database,
        stop: threading.Event,
        tend: Callable[[], None] = lambda: None,
        notifier: Notifier = Notifier(None),  # noqa: B008  It does nothing.
    ) -> None:
        self._notifier = notifier
        self._standby = settings.training.standby
        self._tend = tend
        self._stop = stop
        self._runs = Runs(database)
        self._reports = GpuReports(database)
        self._worker = Worker(self._runs, socket.gethostname(), settings.training.lease_seconds, stop)
        self.monitor = Monitor(database, settings.data)
        self._tidying = Tidying(settings, database)
        self._reserve = Reserve.of(settings)

    def work(self) -> None:
        """Work run after run until it is told to stop."""
        try:
            while not self._stop.wait(POLL_SECONDS):
                self._live()
                self._tend()
                try:
                    self._look()
                except DatabaseError as error:  # Such as a full disk; a run that is lost by it is taken up again.
                    log.warning("the queue cannot be used", reason=str(error))
                    self._stop.wait(PAUSE_SECONDS)
        finally:
            self._worker.close()

    def _look(self) -> None:
        short = self._reserve.short()
        if short:
            self._tidying.tend(short=True)
            self._runs.hold(short)
            return
        run = self._worker.claim()
        if run is not None:
            begun = time.monotonic()
            ended = self._worker.work(run, lambda _: self._live())
            if ended.final:
                self.monitor.ended(ended.state, time.monotonic() - begun)
            self._tidying.after_run()
            return
        if self._standby:
            self._worker.stand_by()
        self._tidying.tend()

    def _live(self) -> None:
        self.monitor.beat.here()
        self._notifier.alive()

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
        self.monitor.gpus = report
        try:
            self._reports.write(socket.gethostname(), now(), report)
        except DatabaseError as error:
            log.warning("the GPUs could not be reported", reason=str(error))


def _stop_on_signals(stop: threading.Event) -> None:
    def handle(_number: int, _frame: FrameType | None) -> None:
        stop.set()

    signal.signal(signal.SIGTERM, handle)
    signal.signal(signal.SIGINT, handle)
