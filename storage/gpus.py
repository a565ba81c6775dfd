"""What each trainer host last reported of its GPUs."""

from datetime import datetime

from pydantic import BaseModel, ConfigDict

from storage.database import Database
from storage.tables import GpuReportRow


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


class GpuReport(BaseModel):
    """`gpus` as NVML lists them, and what TensorFlow makes of the machine."""

    model_config = ConfigDict(frozen=True)

    gpus: tuple[Gpu, ...] = ()
    driver: str | None = None
    problem: str | None = None  # Why NVML lists none, in words.
    tensorflow: str | None = None  # TensorFlow's version and the devices it would train on, in words.


class GpuReports:
    def __init__(self, database: Database) -> None:
        self._database = database

    def write(self, host: str, at: datetime, report: GpuReport) -> None:
        with self._database.write() as session:
            session.merge(GpuReportRow(host=host, at=at, report=report.model_dump()))

    def read(self) -> list[tuple[str, datetime, GpuReport]]:
        """Host, time and report of each trainer, newest first."""
        with self._database.read() as session:
            rows = session.query(GpuReportRow).order_by(GpuReportRow.at.desc())
            return [(row.host, row.at, GpuReport.model_validate(row.report)) for row in rows]
