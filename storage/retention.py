"""Old versions make room: the newest are kept, every pinned one, and all that somebody may still need."""

import fcntl
import shutil
from collections.abc import Callable
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path

import structlog
from sqlalchemy import select
from sqlalchemy.orm import Session

from storage import pointer
from storage.database import Database, now
from storage.errors import ModelError
from storage.files import TEMPORARY, locked, move_durably
from storage.models import present
from storage.runs import RunOptions, RunState
from storage.tables import RunRow, VersionRow

GONE = f"{TEMPORARY}gone-"  # How a folder is called while it is being removed.

log = structlog.get_logger()


class Retention:
    """Keeps the newest `keep` versions of those in `folder`; 0 keeps all."""

    def __init__(self, database: Database, folder: Path, keep: int, clock: Callable[[], datetime] = now) -> None:
        self._database = database
        self._folder = folder
        self._keep = keep
        self._clock = clock

    def tidy(self) -> list[int]:
        """Remove the versions that nobody needs, and return their numbers; a kill at any time does no harm.

        Kept are those that are pinned, served, next in the way back, named by a run that waits or is under way, served
        since the oldest such run was asked for, or read by any process at the moment.
        """
        for left in self._folder.glob(f"{GONE}*"):
            shutil.rmtree(left)
        with ExitStack() as stack:
            numbers = self._mark(stack) if self._keep else []
            for number in self._marked():
                self._remove(number)
        if numbers:
            log.info("old versions removed", versions=numbers)
        return numbers

    def delete(self, number: int) -> None:
        """Remove this version now. Raises ModelError where there is none, or somebody needs it."""
        with ExitStack() as stack:
            with self._database.write() as session:
                row = present(session, number)
                if row.pinned:
                    raise ModelError(
                        "Version {number} is pinned; `retrainbot unpin {number}` lets it go.", number=number
                    )
                if number in pointer.way(session)[-1:]:
                    raise ModelError("Version {number} is served; promote another one first.", number=number)
                if number in _needed_by_runs(session):
                    raise ModelError("A run needs version {number}; wait until it has ended.", number=number)
                if not self._hold(number, stack):
                    raise ModelError("Version {number} is being read at the moment; try again.", number=number)
                row.removed_at = self._clock()
            self._remove(number)
        log.info("version deleted", version=number)

    def _mark(self, stack: ExitStack) -> list[int]:
        """Write down which versions go, and hold their folders; from then on nobody can serve or read them."""
        with self._database.write() as session:
            gone = [row for row in self._old(session) if self._hold(row.number, stack)]
            for row in gone:
                row.removed_at = self._clock()
            return [row.number for row in gone]

    def _old(self, session: Session) -> list[VersionRow]:
        here = select(VersionRow).where(VersionRow.removed_at.is_(None)).order_by(VersionRow.number)
        needed = {*pointer.way(session)[-2:], *_needed_by_runs(session)}
        older = list(session.scalars(here))[: -self._keep]
        return [row for row in older if not row.pinned and row.number not in needed]

    def _hold(self, number: int, stack: ExitStack) -> bool:
        folder = self._folder / str(number)
        return stack.enter_context(locked(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)) or not folder.exists()

    def _marked(self) -> list[int]:
        with self._database.read() as session:
            return list(session.scalars(select(VersionRow.number).where(VersionRow.removed_at.is_not(None))))

    def _remove(self, number: int) -> None:
        folder = self._folder / str(number)
        if folder.exists():
            aside = self._folder / f"{GONE}{number}"
            move_durably(folder, aside)
            shutil.rmtree(aside)


def _needed_by_runs(session: Session) -> set[int]:
    """What runs that wait or are under way start from, and what was served while they were there."""
    active = select(RunRow).where(RunRow.state.in_([RunState.QUEUED, RunState.RUNNING]))
    runs = list(session.scalars(active))
    named = {RunOptions.model_validate(run.options).init_version for run in runs}
    served = pointer.since(session, min(run.created_at for run in runs)) if runs else set()
    return {number for number in named if number is not None} | served
