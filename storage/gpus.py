"""What each trainer host last reported of its GPUs."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from pydantic import BaseModel, ConfigDict
from sqlalchemy import delete, func, select

from storage.database import Database
from storage.documents import PackedText
from storage.tables import GpuReportRow, GpuSampleRow

SAMPLE_EVERY, SAMPLES_KEPT = timedelta(minutes=1), timedelta(days=1)


class GpuProcess(BaseModel):
    """A process of ours on a card, and the MiB of its memory that it takes, where that is told."""

    model_config = ConfigDict(frozen=True)

    pid: int
    does: Literal["training", "answering"]
    memory_used: int | None = None


@dataclass(frozen=True)
class Sample:
    """What a card did at a moment: utilisation in percent, memory in MiB; None where it does not tell."""

    at: datetime
    utilisation: int | None
    memory_used: int | None


class Gpu(BaseModel):
    """One card. Memory in MiB, utilisation in percent, temperature in °C, power in watts; None where not told."""

    model_config = ConfigDict(frozen=True)

    index: int
    name: str
    memory_total: int | None = None
    memory_used: int | None = None
    utilisation: int | None = None
    temperature: int | None = None
    power: float | None = None
    slices: int | None = None  # Into so many it is divided by MIG; None where it is whole.
    processes: tuple[GpuProcess, ...] = ()  # Ours.


class GpuReport(BaseModel):
    """`gpus` as NVML lists them, and what TensorFlow makes of the machine."""

    model_config = ConfigDict(frozen=True)

    gpus: tuple[Gpu, ...] = ()
    driver: str | None = None
    problem: PackedText | None = None  # Why NVML lists none, in words.
    tensorflow: PackedText | None = None  # TensorFlow's version and the devices it would train on, in words.


class GpuReports:
    def __init__(self, database: Database) -> None:
        self._database = database

    def write(self, host: str, at: datetime, report: GpuReport) -> None:
        """The newest report of the host; and at most once a minute a sample of each card, kept for a day."""
        with self._database.write() as session:
            session.merge(GpuReportRow(host=host, at=at, report=report.model_dump(mode="json")))
            of_host = GpuSampleRow.host == host
            last = session.scalar(select(func.max(GpuSampleRow.at)).where(of_host))
            if report.gpus and (last is None or abs(at - last) >= SAMPLE_EVERY):
                session.execute(delete(GpuSampleRow).where(of_host, GpuSampleRow.at < at - SAMPLES_KEPT))
                for gpu in report.gpus:
                    figures = {"utilisation": gpu.utilisation, "memory_used": gpu.memory_used}
                    session.merge(GpuSampleRow(host=host, gpu=gpu.index, at=at, **figures))

    def read(self) -> list[tuple[str, datetime, GpuReport]]:
        """Host, time and report of each trainer, newest first."""
        with self._database.read() as session:
            rows = session.query(GpuReportRow).order_by(GpuReportRow.at.desc())
            return [(row.host, row.at, GpuReport.model_validate(row.report)) for row in rows]

    def samples(self, host: str, since: datetime) -> dict[int, list[Sample]]:
        """What each card of the host did, by its index, the oldest first."""
        query = select(GpuSampleRow).where(GpuSampleRow.host == host, GpuSampleRow.at >= since)
        found: dict[int, list[Sample]] = {}
        with self._database.read() as session:
            for row in session.scalars(query.order_by(GpuSampleRow.gpu, GpuSampleRow.at)):
                found.setdefault(row.gpu, []).append(Sample(row.at, row.utilisation, row.memory_used))
        return found
