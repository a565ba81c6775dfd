"""Records as TF-Slim's converters lay them out: all photos shuffled, some held back, a fixed number of shards."""

from pathlib import Path

import numpy as np

from storage.errors import RecordsError
from storage.splits import Split
from trainer.records.layout import Part
from trainer.records.manifest import INDEX, LABELS, MANIFEST, Places, faults, load
from trainer.records.shards import BuiltRecords, Read, Source, Told, publish
from trainer.snapshot import SPLITS, Snapshot


def build(
    snapshot: Snapshot,
    folder: Path,
    *,
    shards: int,
    test: int,
    seed: int,
    progress: Told = lambda *_: None,
    read: Read = Path.read_bytes,
) -> BuiltRecords:
    """Write the photos to `folder`, `shards` files a split, with `test` photos, drawn by `seed`, as the test split.

    Classes are numbered by the alphabet, and the splits of the catalogue do not count. Raises RecordsError where there
    are too few photos, where `folder` holds anything but such records, or as `shards.publish` does.
    """
    if test >= len(snapshot):
        raise RecordsError(
            "There are {photos} photos, so {test} for the test leave none to learn. Ask for fewer.",
            photos=len(snapshot),
            test=test,
        )
    if not _is_free(folder):
        raise RecordsError(
            "{folder} holds something else than whole records. Name a new folder with --out.", folder=folder
        )
    order = np.random.default_rng(seed).permutation(len(snapshot))
    source = Source(_alphabetical(snapshot, order[:test]), read, progress)
    splits = ((Split.TRAIN, order[test:]), (Split.TEST, order[:test]))
    return publish(
        source, [Part(split, 0, rows) for split, photos in splits for rows in np.array_split(photos, shards)], folder
    )


def _is_free(folder: Path) -> bool:
    """Whether there is nothing that one would miss: no folder, an empty one, or one with such records alone."""
    present = list(folder.iterdir()) if folder.exists() else []
    if any(path.suffix != ".tfrecord" and path.name not in {MANIFEST, LABELS, INDEX} for path in present):
        return False
    try:
        return not present or not faults(load(folder), check=False)
    except RecordsError:
        return False


def _alphabetical(snapshot: Snapshot, test: Places) -> Snapshot:
    """The same photos with other numbers for the classes, and with these rows as the test split."""
    classes = tuple(sorted(snapshot.classes))
    rows = snapshot.rows.copy()
    rows["label"] = np.array([classes.index(name) for name in snapshot.classes])[snapshot.labels]
    rows["split"] = SPLITS.index(Split.TRAIN)
    rows["split"][test] = SPLITS.index(Split.TEST)
    return Snapshot(classes, rows, snapshot.folder)
