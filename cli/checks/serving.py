"""Whether the served version can be loaded, and answers as it did when it was made."""

import asyncio
from pathlib import Path

from cli.checks.finding import Finding, blame, failed, ok
from serving.backend import Backend
from serving.local import Local
from serving.tensorflow_serving import TensorFlowServing
from storage.errors import DatabaseError, ModelError
from storage.looking import exists, looking
from storage.models import check_files, read_version
from storage.pointer import newest
from storage.settings import Settings
from storage.tables import VersionRow

CHECK = "served version"


def check(settings: Settings) -> Finding:
    """Takes seconds where there is one: it starts TensorFlow."""
    if not exists(settings.database_place):
        return _none()
    try:
        with looking(settings.database_place) as session:
            served = newest(session)
            row = session.get(VersionRow, served.version) if served else None
    except DatabaseError:
        return failed(CHECK, "The database does not tell which it is.", "See what is said of the database.")
    if served is None or row is None:
        return _none()
    folder = settings.models_dir / str(row.number)
    try:
        check_files(read_version(row.number, folder), row.manifest)
        asyncio.run(_load(settings, row.number, folder))
    except ModelError as error:
        return blame(CHECK, error)
    return ok(CHECK, f"Version {row.number} loads, and answers as it did when it was made.")


def _none() -> Finding:
    return ok(CHECK, "There is none yet; the first run makes one.")


async def _load(settings: Settings, number: int, folder: Path) -> None:
    """Raises ModelError where it does not load, or answers otherwise than it did."""
    serving = settings.serving
    backend: Backend
    if serving.backend == "tensorflow_serving":
        backend = TensorFlowServing(serving.address, start_timeout=serving.start_timeout)
    else:
        backend = Local(serving.threads or None, serving.start_timeout, standby=False)
    try:
        server = await backend.start(number, folder, lambda _: None)
        await server.close()
    finally:
        await backend.close()
