"""What the trainer lets go of: old runs and versions after each run; once a day features and records as well."""

import time
from collections.abc import Callable
from datetime import timedelta

import numpy as np
import structlog

from storage.database import Database, now
from storage.errors import DatabaseError, ModelError
from storage.housekeeping import Housekeeping
from storage.models import Models
from storage.photos import Photos
from storage.runs import Runs
from storage.settings import Settings
from trainer.features import tidy as features
from trainer.records import folders as records
from trainer.records.folders import Cleaned
from trainer.snapshot import Hashes

DAY_SECONDS = 86_400.0
RETRY_SECONDS = 600.0  # Where something was in use, or there was no room.
LEAST = 1 / 8  # Of a file of features; for less it is not written anew.

log = structlog.get_logger()


class Tidying:
    """`clock` gives seconds, for how often. Nothing here raises: what hinders passes, or is in the log."""

    def __init__(self, settings: Settings, database: Database, clock: Callable[[], float] = time.monotonic) -> None:
        self._settings = settings
        self._photos = Photos(database, settings.photos_dir, settings.unlabelled_dir, settings.images)
        self._models = Models(database, settings.models_dir)
        self._runs = Runs(database)
        self._house = Housekeeping(settings, database)
        self._clock = clock
        self._due = self._done = float("-inf")

    def after_run(self) -> None:
        """What a run leaves behind, and the ones before it."""
        self._house.tidy()

    def tend(self, *, short: bool = False) -> None:
        """Once a day, all of it; oftener while the disk is short of room. To be called while nothing is trained."""
        if self._clock() < (min(self._due, self._done + RETRY_SECONDS) if short else self._due):
            return
        self._house.tidy()
        try:
            whole = self.thorough()
        except (DatabaseError, OSError) as error:
            log.warning("features and records are not tidied", reason=str(error))
            whole = False
        self._done = self._clock()
        self._due = self._done + (DAY_SECONDS if whole else RETRY_SECONDS)

    def thorough(self) -> bool:
        """Features and records that nobody needs. False where something was in use. Raises DatabaseError, OSError."""
        known, stored = hashes_of(self._photos.hashes()), hashes_of(self._photos.stored_hashes())
        folder, dropped = self._settings.features_dir, 0
        with features.alone(folder) as held:
            self._remove_stale()
            for path in features.files(folder) if held else []:
                dropped += features.drop_others(path, stored, known=known, least=LEAST)
        cleaned = clean_records(self._settings, self._runs, known)
        if dropped or cleaned.shards:
            log.info("tidied", features=dropped, shards=cleaned.shards)
        return not cleaned.in_use

    def _remove_stale(self) -> None:
        since = now() - timedelta(days=self._settings.training.keep_features_days)
        used = self._networks()
        with self._runs.none_running() as idle:
            for path in (
                features.stale(self._settings.features_dir, self._settings.training.backbone, used, since.timestamp())
                if idle
                else []
            ):
                path.unlink()
                log.info("features of a network that is not used any more are removed", file=path.name)

    def _networks(self) -> set[tuple[str, str]]:
        """The backbone and digest of every version."""
        found = set()
        for number in self._models.numbers():
            try:
                manifest = self._models.get(number).manifest
            except ModelError:
                continue
            found.add((manifest.backbone, manifest.weights_digest))
        return found


def clean_records(settings: Settings, runs: Runs, known: Hashes) -> Cleaned:
    """Leave the newest records, without the photos that are known no more; nothing while a run may read them."""
    with runs.none_running() as idle:
        if not idle:
            return Cleaned(0, (settings.records_dir,) if settings.records_dir.exists() else ())
        return records.tidy(settings.records_dir, known)


def hashes_of(photos: list[str]) -> Hashes:
    """From hexadecimal, shape (n, 32)."""
    return np.frombuffer(bytes.fromhex("".join(photos)), np.uint8).reshape(-1, 32)
