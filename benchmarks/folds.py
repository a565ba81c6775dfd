"""Five folds on the orchids with our EfficientNet-Lite0 features and our head, and how fast the features are made."""

import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks.heads import accuracy
from benchmarks.orchids import FOLDS, SEEDS, folder, labels
from storage.files import sha256_of
from storage.images import model_input, normalise
from trainer import backbones
from trainer.features import FeatureStore, extract

REFERENCE = 0.876


def main() -> None:
    orchids = folder()
    if orchids is None:
        return
    backbone = backbones.load("efficientnet_lite0")
    with tempfile.TemporaryDirectory() as scratch:
        photos, names = _stored(orchids / "photos", Path(scratch) / "photos")
        store = FeatureStore(Path(scratch) / "features", backbone.name, backbone.digest, backbone.features)
        started = time.perf_counter()
        unreadable = extract(backbone, photos, store)
        rate = len(photos) / (time.perf_counter() - started)
        started = time.perf_counter()
        for _, path in photos:
            model_input(path.read_bytes(), backbone.input_size)
        decode_rate = len(photos) / (time.perf_counter() - started)
        x = store.read([sha256 for sha256, _ in photos])
    values = [accuracy(x, labels(names), seed) for seed in SEEDS]
    print(f"Our features and head on {len(photos)} orchids ({len(unreadable)} unreadable), {FOLDS} folds")
    print(f"  accuracy               {np.mean(values):.4f}   (each: {', '.join(f'{value:.4f}' for value in values)};")
    print(f"                                  wanted: 0.8650 or more; reference: {REFERENCE})")
    print(f"  photos a second        {rate:.0f}       (decoding alone, on one core: {decode_rate:.0f})")


def _stored(source: Path, target: Path) -> tuple[list[tuple[str, Path]], list[str]]:
    """The photos as the bot would store them, and their class names; a photo sent twice stays twice."""
    photos, names = [], []
    target.mkdir()
    for number, path in enumerate(sorted(path for path in source.glob("*/*") if path.is_file())):
        stored = target / f"{number}.jpg"
        stored.write_bytes(normalise(path.read_bytes()).content)
        photos.append((sha256_of(stored), stored))
        names.append(path.parent.name)
    return photos, names


if __name__ == "__main__":
    main()
