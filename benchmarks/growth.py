"""What a run costs as data grows: snapshot, records, features and head, each in a process of its own.

`python -m benchmarks.growth [PHOTOS…]`. The photos are made up, of 1,000 classes: 2 KB of bytes each, and as features
points around the middle of their class. A million of them take 10 GB of disk.
"""

import multiprocessing
import os
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256, shake_128
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import insert

from storage.database import Database, now
from storage.photos import Photos
from storage.settings import Settings
from storage.splits import Split
from storage.tables import ClassRow, PhotoRow
from trainer.features.store import FeatureStore
from trainer.head.fit import fit
from trainer.head.losses import accuracy
from trainer.head.rows import Matrix
from trainer.records.builder import build
from trainer.snapshot import Snapshot, take
from trainer.worker import DEFAULTS

SIZES = (1_000, 10_000)
CLASSES, DIMENSION, BYTES = 1_000, 1280, 2_000
PART = 8_192  # Photos that are made at a time.
SPLIT_OF = (Split.TRAIN,) * 8 + (Split.VALIDATION, Split.TEST)
APART = 0.3  # Middles of classes, in the unit of what scatters around them.
NEW = 100  # One photo in so many comes last.

Step = Callable[["Made"], str]


@dataclass(frozen=True)
class Made:
    """Made-up photos, with the numbers 0 to `count` - 1, of all classes in turn."""

    folder: Path
    count: int

    @property
    def settings(self) -> Settings:
        return Settings(data=self.folder)

    @property
    def store(self) -> FeatureStore:
        return FeatureStore(self.settings.features_dir, "made_up", "0", DIMENSION)

    def photos(self) -> Photos:
        settings = self.settings
        database = Database(settings.database_place)
        return Photos(database, settings.photos_dir, settings.unlabelled_dir, settings.images)

    @cached_property
    def digests(self) -> NDArray[np.bytes_]:
        """SHA-256 by number."""
        digests: NDArray[np.bytes_] = np.load(self.folder / "digests.npy")
        return digests

    @cached_property
    def numbers(self) -> NDArray[np.int64]:
        """The photos' numbers by hash, as a snapshot has them."""
        return np.argsort(self.digests)

    def read(self, path: Path) -> bytes:
        """The bytes of the photo that would be at the path."""
        place = np.searchsorted(self.digests, np.bytes_(bytes.fromhex(path.stem)), sorter=self.numbers)
        return _content(int(self.numbers[place]))


def main() -> None:
    os.environ.update({**DEFAULTS, **os.environ})  # As a training run has it.
    sizes = [int(size) for size in sys.argv[1:]] or SIZES
    print(f"Cost as data grows: {CLASSES} classes, {DIMENSION} features; each step in a process of its own")
    print(f"  {'photos':>9}  {'step':30} {'seconds':>8} {'peak MB':>8}")
    for count in sizes:
        with tempfile.TemporaryDirectory() as folder:
            made = Made(Path(folder), count)
            _apart(_make, made)
            for name, step in STEPS.items():
                seconds, megabytes, words = _apart(step, made)
                print(f"  {count:9}  {name:30} {seconds:8.1f} {megabytes:8.0f}   {words}", flush=True)


def _apart(step: Step, made: Made) -> tuple[float, float, str]:
    """Seconds, megabytes at most, and what the step says."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(_measured, step, made).result()


def _measured(step: Step, made: Made) -> tuple[float, float, str]:
    started = time.perf_counter()
    words = step(made)
    return time.perf_counter() - started, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3, words


def _make(made: Made) -> str:
    digests = [sha256(_content(number)).digest() for number in range(made.count)]
    np.save(made.folder / "digests.npy", np.array(digests, "S32"))
    with made.photos().database.write() as session:
        session.execute(insert(ClassRow), [{"id": n + 1, "name": f"c{n}", "key": f"c{n}"} for n in range(CLASSES)])
        for numbers in _parts(made.count):
            session.execute(insert(PhotoRow), [_row(number, digests[number].hex()) for number in numbers])
    store = made.store
    for numbers in _parts(made.count):
        hashes = np.frombuffer(b"".join(digests[numbers.start : numbers.stop]), np.uint8).reshape(-1, 32)
        store.append(hashes, _features(numbers))
    return ""


def _parts(count: int) -> Iterator[range]:
    return (range(at, min(at + PART, count)) for at in range(0, count, PART))


def _content(number: int) -> bytes:
    return shake_128(number.to_bytes(8, "big")).digest(BYTES)


def _row(number: int, digest: str) -> dict[str, Any]:
    return {
        "sha256": digest,
        "class_id": number % CLASSES + 1,
        "split": SPLIT_OF[number // CLASSES % len(SPLIT_OF)],
        "duplicates": digest,
        "width": 640,
        "height": 480,
        "added_at": now(),
        "added_by": "growth",
    }


def _features(numbers: range) -> Matrix:
    """Directions of ever less weight, mixed, and cut off at zero, as a network's are."""
    weights = np.arange(1, DIMENSION + 1) ** -0.5
    fixed, random = np.random.default_rng(0), np.random.default_rng(numbers.start + 1)
    mix = (fixed.normal(0, DIMENSION**-0.5, (DIMENSION, DIMENSION)) * weights[:, None]).astype(np.float32)
    middles = fixed.standard_normal((CLASSES, DIMENSION), np.float32)
    points = APART * middles[np.array(numbers) % CLASSES]
    points += random.standard_normal(points.shape, np.float32)
    features: Matrix = np.maximum(points @ mix, 0)
    return features


def _nothing(_: Made) -> str:
    return "what a process with TensorFlow takes"


def _snapshot(made: Made) -> str:
    return f"{len(take(made.photos()))} photos"


def _records(made: Made) -> str:
    """All photos but the last ones, which are the newest."""
    data = take(made.photos())
    old = Snapshot(data.classes, data.rows[made.numbers < made.count - made.count // NEW], data.folder)
    return _built(made, old)


def _more_records(made: Made) -> str:
    return _built(made, take(made.photos()))


def _built(made: Made, data: Snapshot) -> str:
    built = build(data, made.settings.records_dir, read=made.read)
    return f"{built.shards} shards, {built.bytes / 1e6:.1f} MB written"


def _find_features(made: Made) -> str:
    missing = made.store.missing(take(made.photos()).hashes)
    return f"{np.count_nonzero(missing)} missing"


def _head(made: Made) -> str:
    data, store = take(made.photos()), made.store
    learn, judge, test = (data.of(split) for split in Split)
    started = time.perf_counter()
    rows = store.rows(learn.hashes), learn.labels, store.rows(judge.hashes), judge.labels
    head = fit(*rows, len(data.classes))
    seconds = time.perf_counter() - started
    scores = head.probabilities(store.rows(test.hashes)[: 10 * CLASSES])
    right = accuracy(scores, test.labels[: 10 * CLASSES])
    return f"{seconds:.1f} s of it the fit; {right:.3f} of test photos right; strength {head.regularisation:.2g}"


STEPS: dict[str, Step] = {
    "nothing": _nothing,
    "snapshot": _snapshot,
    "records, all but 1 %": _records,
    "records, that 1 % more": _more_records,
    "features, which are missing": _find_features,
    "head": _head,
}

if __name__ == "__main__":
    main()
