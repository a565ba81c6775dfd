"""What the bot reads and writes."""

from collections.abc import Callable
from dataclasses import dataclass

from storage.chats import Chats
from storage.database import Database, open_database
from storage.disk import Reserve
from storage.follows import Follows
from storage.gpus import GpuReports
from storage.history import History
from storage.images import NormalPhoto
from storage.models import Models
from storage.offers import Offers
from storage.people import People
from storage.photos import Photos
from storage.quarantine import Quarantine
from storage.runs import Runs
from storage.servings import Servings
from storage.settings import Settings
from storage.slots import Slots


@dataclass(frozen=True)
class Stores:
    database: Database
    photos: Photos
    history: History
    quarantine: Quarantine
    offers: Offers
    people: People
    chats: Chats
    models: Models
    runs: Runs
    slots: Slots
    follows: Follows
    gpus: GpuReports
    servings: Servings
    reserve: Reserve


def open_stores(settings: Settings, decode: Callable[[bytes], NormalPhoto] | None = None) -> Stores:
    """`decode` makes photos normal, else it is done in this process. Raises DatabaseError."""
    database = open_database(settings)
    photos = Photos(database, settings.photos_dir, settings.unlabelled_dir, settings.images, decode=decode)
    return Stores(
        database,
        photos,
        History(photos),
        Quarantine(settings.quarantine_dir, settings.intake.quarantine_mb * 1_000_000),
        Offers(database),
        People(database, settings.telegram.users),
        Chats(database),
        Models(database, settings.models_dir),
        Runs(database),
        Slots(database),
        Follows(database),
        GpuReports(database),
        Servings(database),
        Reserve.of(settings),
    )
