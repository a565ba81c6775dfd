"""What is old makes room: runs with their reports, and lists of photos; versions do so in retention.py.

Each part can be repeated: what a kill leaves half-removed goes the next time.
"""

import shutil
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

import structlog
from sqlalchemy import delete, exists, select
from sqlalchemy.orm import Session

from storage.database import Database, now
from storage.errors import DatabaseError, ModelError
from storage.files import TEMPORARY
from storage.models import Models
from storage.retention import Retention
from storage.runs import FINAL, Runs
from storage.settings import Settings
from storage.tables import FollowedRunRow, RunRow, SlotRow, VersionRow

GONE = f"{TEMPORARY}gone-"  # How a folder is called while it is being removed.
CHECKPOINTS = "checkpoints"
SLOTS_KEPT = timedelta(days=90)

log = structlog.get_logger()


class Housekeeping:
    """Done after each run, and once a day."""

    def __init__(self, settings: Settings, database: Database, clock: Callable[[], datetime] = now) -> None:
        self._settings = settings
        self._database = database
        self._runs = Runs(database, clock)
        self._models = Models(database, settings.models_dir)
        self._versions = Retention(database, settings.models_dir, settings.serving.keep_versions, clock)
        self._clock = clock

    def tidy(self) -> None:
        """Let go of all that is old; what hinders one part is logged, and keeps the others from nothing."""
        for part in (self._versions.tidy, self.tidy_runs, self.tidy_snapshots):
            try:
                part()
            except (DatabaseError, OSError) as error:
                log.warning("what is old is not removed", reason=str(error))

    def tidy_runs(self) -> list[int]:
        """Remove the folders of old runs, and return their numbers; rows go as well.

        Kept are the newest `training.keep_runs`, those that wait or are under way, that of the last slot, those whose
        end is still to be told, and those that made a version: their folder as long as that, their row for good.
        """
        folder = self._settings.runs_dir
        for left in folder.glob(f"{GONE}*"):
            shutil.rmtree(left)
        with self._database.write() as session:
            old = self._old(session)
            _remove_rows(session, old - set(session.scalars(select(VersionRow.run))))
            _remove_slots(session, self._clock() - SLOTS_KEPT)
            rows = set(session.scalars(select(RunRow.id)))
            ended = set(session.scalars(select(RunRow.id).where(RunRow.state.in_(FINAL))))
        here = _folders(folder)
        gone = {number for number in here if number in old or (number not in rows and number < max(rows, default=0))}
        for number in sorted(here & ended - gone):
            shutil.rmtree(folder / str(number) / CHECKPOINTS, ignore_errors=True)  # Nobody goes on from them.
        for number in sorted(gone):
            aside = folder / f"{GONE}{number}"
            (folder / str(number)).rename(aside)
            shutil.rmtree(aside)
        return sorted(gone)

    def tidy_snapshots(self) -> int:
        """Remove the lists of photos of versions that are gone, while no run is under way; how many went."""
        with self._runs.none_running() as idle:
            needed = self._needed_snapshots()
            if not idle or needed is None:
                return 0
            old = [path for path in self._settings.snapshots_dir.glob("*.npz") if path.stem not in needed]
            for path in old:
                path.unlink()
        return len(old)

    def _old(self, session: Session) -> set[int]:
        """The runs that nobody needs any more."""
        keep = self._settings.training.keep_runs
        if not keep:
            return set()
        untold = exists().where(FollowedRunRow.run == RunRow.id, FollowedRunRow.told.is_(False))
        served = exists().where(VersionRow.run == RunRow.id, VersionRow.removed_at.is_(None))
        older = select(RunRow.id).order_by(RunRow.id.desc()).offset(keep)
        over = select(RunRow.id).where(RunRow.id.in_(older), RunRow.state.in_(FINAL), ~untold, ~served)
        last = session.scalar(select(SlotRow.run).order_by(SlotRow.due_at.desc()).limit(1))
        return set(session.scalars(over)) - {last}

    def _needed_snapshots(self) -> set[str] | None:
        """Those of the versions that are there; None where that cannot be told of each."""
        needed: set[str] = set()
        for number in self._models.numbers():
            try:
                manifest = self._models.get(number).manifest
            except ModelError:
                return None
            needed |= {manifest.snapshot, manifest.taken}
        return needed


def _folders(folder: Path) -> set[int]:
    return {int(path.name) for path in folder.glob("*") if path.name.isdecimal() and path.is_dir()}


def _remove_rows(session: Session, runs: set[int]) -> None:
    for run in runs:
        for rows in (FollowedRunRow.run, SlotRow.run, RunRow.id):
            session.execute(delete(rows.class_).where(rows == run))


def _remove_slots(session: Session, before: datetime) -> None:
    """What was decided long ago, but for the last of it."""
    newest = session.scalar(select(SlotRow.due_at).order_by(SlotRow.due_at.desc()).limit(1))
    session.execute(delete(SlotRow).where(SlotRow.due_at < before, SlotRow.due_at != newest))
