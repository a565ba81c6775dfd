"""Features of the orchids from nothing, beside what the computer can do at most: decoding and the network alone."""

import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median

import numpy as np

from benchmarks.orchids import folder
from storage.files import write_durably
from storage.images import model_input, normalise
from storage.splits import Split
from trainer.backbones import zoo
from trainer.backbones.zoo import Backbone
from trainer.features.extraction import DECODERS, Extractor
from trainer.features.store import FeatureStore
from trainer.snapshot import ROW, SPLITS, Snapshot

BACKBONE = "efficientnet_lite0"
BATCHES = (8, 16, 32, 64)
ROUNDS = 5
CALLS = 256  # Photos for the network in a round.
WANTED = 0.85


@dataclass(frozen=True)
class Round:
    """Photos a second of each, and the seconds it takes to build the network and call it once.

    All are measured in turns, so that whatever else the computer does troubles all alike.
    """

    decoding: float
    network: float
    cold: float
    warm: float
    building: float

    @property
    def limit(self) -> float:
        return 1 / (1 / self.decoding + 1 / self.network)


def main() -> None:
    orchids = folder()
    if orchids is None:
        return
    backbone = zoo.load(BACKBONE)
    with tempfile.TemporaryDirectory() as scratch:
        data, _ = stored(orchids / "photos", Path(scratch))
        first = len(data) / _extraction(Extractor(backbone), backbone, data)
        ready = [Extractor(backbone, size) for size in BATCHES]
        for extractor in ready:
            extractor.warm()
        rounds = [_round(backbone, data, ready) for _ in range(ROUNDS)]
    _tell(len(data), first, rounds)


def stored(source: Path, target: Path) -> tuple[Snapshot, list[tuple[str, str]]]:
    """The photos as the bot would store them; and the SHA-256 and class of each, a photo sent twice twice."""
    found = []
    for path in sorted(path for path in source.glob("*/*") if path.is_file()):
        photo = normalise(path.read_bytes())
        write_durably(target / path.parent.name / f"{photo.sha256}.jpg", photo.content)
        found.append((photo.sha256, path.parent.name))
    classes = sorted({name for _, name in found})
    rows = np.zeros(len(dict(found)), ROW)
    for row, (sha256, name) in zip(rows, sorted(dict(found).items()), strict=True):
        row["sha256"] = list(bytes.fromhex(sha256))
        row["label"], row["split"] = classes.index(name), SPLITS.index(Split.TRAIN)
    return Snapshot(tuple(classes), rows, target), found


def _round(backbone: Backbone, data: Snapshot, ready: list[Extractor]) -> Round:
    pixels = np.zeros((CALLS, backbone.input_size, backbone.input_size, 3), np.uint8)
    fresh = Extractor(backbone)
    return Round(
        decoding=len(data) / _seconds(lambda: _decode(data, backbone.input_size)),
        network=max(CALLS / _seconds(partial(one.features, pixels)) for one in ready),
        cold=len(data) / _extraction(fresh, backbone, data),
        warm=len(data) / _extraction(fresh, backbone, data),
        building=_seconds(Extractor(backbone).warm),
    )


def _extraction(extractor: Extractor, backbone: Backbone, data: Snapshot) -> float:
    """Seconds for all photos into an empty store."""
    with tempfile.TemporaryDirectory() as scratch:
        store = FeatureStore(Path(scratch), backbone.name, backbone.digest, backbone.features)
        return _seconds(lambda: extractor.extract(data, [store]))


def _decode(data: Snapshot, size: int) -> None:
    """All photos on all cores, and nothing else."""
    with ThreadPoolExecutor(DECODERS) as pool:
        for _ in pool.map(lambda photo: model_input(photo.path.read_bytes(), size), data.photos()):
            pass


def _seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def _tell(photos: int, first: float, rounds: list[Round]) -> None:
    def middle(value: Callable[[Round], float]) -> float:
        return median(map(value, rounds))

    print(f"Features of {photos} orchids, {BACKBONE}, photos a second (the middle of {ROUNDS} rounds)")
    print(f"  decoding alone, all cores        {middle(lambda one: one.decoding):.0f}")
    print(f"  network alone, its best batch    {middle(lambda one: one.network):.0f}")
    print(f"  the limit of both together       {middle(lambda one: one.limit):.0f}")
    cold, warm = (middle(lambda one: one.cold / one.limit), middle(lambda one: one.warm / one.limit))
    print(
        f"  extraction from nothing          {middle(lambda one: one.cold):.0f}    ({cold:.2f} of the limit;", end=" "
    )
    print(f"wanted: {WANTED}; the very first one: {first:.0f})")
    print(f"  the same, network kept           {middle(lambda one: one.warm):.0f}    ({warm:.2f} of the limit)")
    print(
        f"  seconds to build the network     {middle(lambda one: one.building):.2f}   (part of extraction from nothing)"
    )


if __name__ == "__main__":
    main()
