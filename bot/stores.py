"""What the bot reads and writes."""

from dataclasses import dataclass

from storage.database import Database
from storage.follows import Follows
from storage.gpus import GpuReports
from storage.models import Models
from storage.photos import Photos
from storage.runs import Runs
from storage.settings import Settings


@dataclass(frozen=True)
class Stores:
    database: Database
    photos: Photos
    models: Models
    runs: Runs
    follows: Follows
    gpus: GpuReports


def open_stores(settings: Settings) -> Stores:
    """Raises DatabaseError."""
    database = Database(settings.database_file)
    return Stores(
        database,
        Photos(database, settings.photos_dir, settings.images),
        Models(database, settings.models_dir),
        Runs(database),
        Follows(database),
        GpuReports(database),
    )
