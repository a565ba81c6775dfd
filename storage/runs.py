"""The queue of training runs: one at a time, claimed under a lease, told apart by a fencing token."""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import func, or_, select
from sqlalchemy.orm import Session

from storage.database import Database, now
from storage.errors import LeaseLostError, RunError
from storage.settings import BackboneName, Mode, Training
from storage.tables import RunRow, numbered
from storage.texts import Text

LONGEST_LEASE = timedelta(hours=1)  # The limit of training.lease_seconds.
MAX_ATTEMPTS = 3  # A run whose trainer vanished is taken up again; one that always takes it down is not.


class RunState(StrEnum):
    QUEUED = "queued"  # Waits for a worker.
    RUNNING = "running"  # A worker holds its lease.
    SUCCEEDED = "succeeded"  # Made a version; whether it was promoted is in the result.
    FAILED = "failed"  # Ended with a message; nothing was published.
    CANCELLED = "cancelled"  # Ended because a person said so.


FINAL = frozenset({RunState.SUCCEEDED, RunState.FAILED, RunState.CANCELLED})


class RunOptions(BaseModel):
    """What a run was asked to do. Kept with the run, so a later change of settings does not change it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    mode: Mode
    backbone: BackboneName
    weights: str
    seed: int
    force: bool = False  # Promote whatever the gate says.
    init_version: int | None = None  # Mode full starts from this version instead of the backbone's own weights.
    train_dir: str | None = None  # Where checkpoints go instead of the run's own folder.
    # These replace what the settings say when the run starts.
    batch_size: int | None = Field(None, ge=1)
    epochs: int | None = Field(None, ge=1)
    steps: int | None = Field(None, ge=1)
    learning_rate: float | None = Field(None, gt=0, lt=math.inf)
    time_budget: float | None = Field(None, gt=0, lt=math.inf)  # Minutes.

    @classmethod
    def from_settings(cls, training: Training, **changes: Any) -> "RunOptions":
        """The configured options with those of `changes` that are not None."""
        chosen = {key: value for key, value in changes.items() if value is not None}
        configured = {"mode": training.mode, "backbone": training.backbone}
        return cls(**{**configured, "weights": training.weights, "seed": training.seed, **chosen})


@dataclass(frozen=True)
class Run:
    id: int
    state: RunState
    options: RunOptions
    requested_by: str
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    token: int
    step: str | None
    done: int
    total: int
    message: str | None
    result: dict[str, Any] | None
    cancelled_by: str | None

    @property
    def final(self) -> bool:
        return self.state in FINAL


class Runs:
    def __init__(self, database: Database, clock: Callable[[], datetime] = now) -> None:
        self._database = database
        self._clock = clock

    def enqueue(self, options: RunOptions, by: str, key: str | None = None, *, join: bool = True) -> tuple[Run, bool]:
        """A new run and True, or False with the run that has this key, or with `join` the one that is under way."""
        with self._database.write() as session:
            row, new = put(session, options, by, self._clock(), key=key, join=join)
            return _run(row), new

    def get(self, run: int) -> Run:
        """Raises RunError where there is no such run."""
        with self._database.read() as session:
            row = numbered(session, RunRow, run)
        if row is None:
            raise RunError("There is no run {run}; `retrainbot runs` lists them.", run=run)
        return _run(row)

    def active(self) -> Run | None:
        """The run that is queued or running, if there is one."""
        with self._database.read() as session:
            row = _active(session)
        return _run(row) if row else None

    def newest(self, limit: int = 20) -> list[Run]:
        with self._database.read() as session:
            return [_run(row) for row in session.scalars(select(RunRow).order_by(RunRow.id.desc()).limit(limit))]

    def counts(self) -> dict[RunState, int]:
        """How many runs there are in each state."""
        query = select(RunRow.state, func.count()).group_by(RunRow.state)
        with self._database.read() as session:
            found = {state: count for state, count in session.execute(query)}  # noqa: C416  A row is not a pair to mypy.
        return {state: found.get(state.value, 0) for state in RunState}

    def claim(self, worker: str, lease: timedelta) -> Run | None:
        """Take the oldest queued run, unless one is running; None where there is nothing to do.

        A running run whose lease is over is put back first, or failed after the third.
        """
        with self._database.write() as session:
            self._expire(session)
            if session.scalar(select(RunRow.id).where(RunRow.state == RunState.RUNNING)):
                return None
            query = select(RunRow).where(RunRow.state == RunState.QUEUED).order_by(RunRow.id).limit(1)
            row = session.scalar(query)
            if row is None:
                return None
            row.state, row.worker = RunState.RUNNING, worker
            row.token += 1
            row.started_at = self._clock()
            row.lease_until = self._clock() + lease
            row.step, row.done, row.total, row.message = None, 0, 0, None
            return _run(row)

    def hold(self, reason: str) -> None:
        """Say of the runs that wait why none of them is begun."""
        told = RunRow.state == RunState.QUEUED, or_(RunRow.message.is_(None), RunRow.message != reason)
        with self._database.read() as session:
            if session.scalar(select(RunRow.id).where(*told).limit(1)) is None:
                return
        with self._database.write() as session:
            for row in session.scalars(select(RunRow).where(*told)):
                row.message = reason

    @contextmanager
    def none_running(self) -> Iterator[bool]:
        """Whether no run is under way; then none begins within the block, which should be short."""
        with self._database.write() as session:
            yield session.scalar(select(RunRow.id).where(RunRow.state == RunState.RUNNING).limit(1)) is None

    def heartbeat(self, run: int, token: int, lease: timedelta) -> None:
        """Keep the lease. Raises LeaseLostError where another worker has the run now."""
        with self._database.write() as session:
            held(session, run, token).lease_until = self._clock() + lease

    def progress(self, run: int, token: int, step: str, done: int, total: int) -> None:
        """Say how far the run is. Raises LeaseLostError."""
        with self._database.write() as session:
            row = held(session, run, token)
            row.step, row.done, row.total = step, done, total

    def finish(self, run: int, token: int, state: RunState, message: str, result: dict[str, Any] | None = None) -> None:
        """Bring the run to a final state. Raises LeaseLostError."""
        with self._database.write() as session:
            end(held(session, run, token), state, message, result, self._clock())

    def release(self, run: int, token: int) -> None:
        """Give the run back to the queue, as a worker that stops does. Raises LeaseLostError."""
        with self._database.write() as session:
            row = held(session, run, token)
            row.state, row.lease_until = RunState.QUEUED, None
            row.step, row.done, row.total = None, 0, 0

    def cancel(self, run: int, by: str) -> Run:
        """End a run that waits in the queue, or ask the worker to end one that is running.

        Raises RunError where there is no such run or it has ended.
        """
        with self._database.write() as session:
            row = numbered(session, RunRow, run)
            if row is None:
                raise RunError("There is no run {run}; `retrainbot runs` lists them.", run=run)
            if row.state in FINAL:
                raise RunError("Run {run} has ended already, so it cannot be cancelled.", run=run)
            row.cancelled_by = by
            if row.state == RunState.QUEUED:
                end(row, RunState.CANCELLED, Text("Cancelled by {by}.", by=by), None, self._clock())
            return _run(row)

    def _expire(self, session: Session) -> None:
        present = self._clock()
        # A lease longer than any setting allows was given when the clock was ahead.
        over = or_(RunRow.lease_until < present, RunRow.lease_until > present + LONGEST_LEASE)
        late = select(RunRow).where(RunRow.state == RunState.RUNNING, over)
        for row in session.scalars(late):
            row.lease_until = None
            row.lost += 1
            if row.cancelled_by:
                end(row, RunState.CANCELLED, Text("Cancelled by {by}.", by=row.cancelled_by), None, self._clock())
            elif row.lost < MAX_ATTEMPTS:
                row.state = RunState.QUEUED
            else:
                row.state, row.finished_at = RunState.FAILED, self._clock()
                row.message = Text(
                    "The trainer stopped {count} times during this run. See its log, then /train.", count=row.lost
                )


def put(
    session: Session, options: RunOptions, by: str, at: datetime, *, key: str | None, join: bool
) -> tuple[RunRow, bool]:
    """What `Runs.enqueue` does, within a transaction."""
    row = session.scalar(select(RunRow).where(RunRow.key == key)) if key else None
    row = row or (_active(session) if join else None)
    if row is not None:
        return row, False
    row = RunRow(state=RunState.QUEUED, options=options.model_dump(), requested_by=by, key=key, created_at=at)
    session.add(row)
    session.flush()
    return row, True


def held(session: Session, run: int, token: int) -> RunRow:
    """The row of a run that this token still holds. Raises LeaseLostError."""
    row = session.get(RunRow, run)
    if row is None or row.state != RunState.RUNNING or row.token != token:
        raise LeaseLostError(
            "Run {run} was given to another worker or ended; this attempt's results are dropped.", run=run
        )
    return row


def end(row: RunRow, state: RunState, message: str, result: dict[str, Any] | None, at: datetime) -> None:
    """Bring a run to a final state within a transaction."""
    row.state, row.message, row.result = state, message, result
    row.finished_at, row.lease_until = at, None


def _active(session: Session) -> RunRow | None:
    states = (RunState.QUEUED, RunState.RUNNING)
    return session.scalar(select(RunRow).where(RunRow.state.in_(states)).order_by(RunRow.id).limit(1))


def _run(row: RunRow) -> Run:
    return Run(
        row.id,
        RunState(row.state),
        RunOptions(**row.options),
        row.requested_by,
        row.created_at,
        row.started_at,
        row.finished_at,
        row.token,
        row.step,
        row.done,
        row.total,
        row.message,
        row.result,
        row.cancelled_by,
    )
