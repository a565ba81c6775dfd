"""Five folds on the orchids with our EfficientNet-Lite0 features and our head."""

import tempfile
from pathlib import Path

import numpy as np

from benchmarks.extraction import BACKBONE, stored
from benchmarks.heads import accuracy
from benchmarks.orchids import FOLDS, SEEDS, folder, labels
from trainer.backbones import zoo
from trainer.features.extraction import Extractor
from trainer.features.store import FeatureStore

REFERENCE = 0.876


def main() -> None:
    orchids = folder()
    if orchids is None:
        return
    backbone = zoo.load(BACKBONE)
    with tempfile.TemporaryDirectory() as scratch:
        data, found = stored(orchids / "photos", Path(scratch) / "photos")
        store = FeatureStore(Path(scratch) / "features", backbone.name, backbone.digest, backbone.features)
        unreadable = Extractor(backbone).extract(data, [store])
        hashes = np.array([list(bytes.fromhex(sha256)) for sha256, _ in found], np.uint8)
        x = store.rows(hashes)[:]
    y = labels([name for _, name in found])
    values = [accuracy(x, y, seed) for seed in SEEDS]
    print(f"Our features and head on {len(y)} orchids ({len(unreadable)} unreadable), {FOLDS} folds")
    print(f"  accuracy               {np.mean(values):.4f}   (each: {', '.join(f'{value:.4f}' for value in values)};")
    print(f"                                  wanted: 0.8650 or more; reference: {REFERENCE})")


if __name__ == "__main__":
    main()
