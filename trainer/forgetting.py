"""What training has made of photos of somebody who is forgotten: versions, features, records."""

from collections.abc import Collection
from dataclasses import dataclass

from storage.errors import ModelError
from storage.models import Models
from storage.photos import Photos
from storage.runs import Runs, RunState
from storage.settings import Settings
from trainer import snapshot
from trainer.features import tidy as features
from trainer.records.folders import Cleaned
from trainer.snapshot import Snapshot
from trainer.tidying import clean_records, hashes_of


@dataclass(frozen=True)
class Learned:
    """`photos` of those asked about were among the ones that the version was made of; None where nobody can tell."""

    version: int
    photos: int | None
    served: bool


def learned(models: Models, settings: Settings, photos: Collection[str]) -> list[Learned]:
    """The versions that were made of any of these photos, by their SHA-256."""
    if not photos:
        return []
    served = models.served()
    found = []
    for number in models.numbers():
        count = _count(_made_of(models, settings, number), photos)
        if count is None or count:
            found.append(Learned(number, count, served is not None and served.version == number))
    return found


def learning(runs: Runs, settings: Settings, photos: Collection[str]) -> list[int]:
    """The runs under way that have begun with any of these photos."""
    active = [run.id for run in runs.newest() if run.state is RunState.RUNNING]
    return [run for run in active if any(_count(data, photos) for data in _begun_with(settings, run))]


def clean(photos: Photos, runs: Runs, settings: Settings) -> tuple[int, Cleaned]:
    """Let features and records go whose photo is known no more: how many features, and what became of the records.

    Records are left alone while a run is under way, which may read them. Raises OSError.
    """
    known = hashes_of(photos.hashes())
    dropped = 0
    with features.alone(settings.features_dir) as held:
        if held:
            dropped = sum(features.drop_others(path, known) for path in features.files(settings.features_dir))
    return dropped, clean_records(settings, runs, known)


def _made_of(models: Models, settings: Settings, number: int) -> Snapshot | None:
    try:
        identity = models.get(number).manifest.snapshot
    except ModelError:
        return None
    return snapshot.read(settings.snapshots_dir, identity, settings.photos_dir)


def _begun_with(settings: Settings, run: int) -> list[Snapshot | None]:
    folder = settings.runs_dir / str(run)
    return [snapshot.read(folder, path.stem, settings.photos_dir) for path in folder.glob("*.npz")]


def _count(data: Snapshot | None, photos: Collection[str]) -> int | None:
    if data is None:
        return None
    return sum(row.tobytes().hex() in photos for row in data.hashes)
