"""The flow that tutorials teach, for comparison: a frozen base under a new last layer, ten epochs of Keras' `fit`.

`python -m benchmarks.tutorial FOLDER SEED`, a process of its own as such a script is. FOLDER holds train/, validation/
and test/, each with class folders. Prints a JSON object: seconds from the first line to the exported model, and the
share of test photos that are right.
"""

import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

EPOCHS, BATCH, RATE, DROPOUT = 10, 32, 1e-3, 0.2
SIZE = 224


def run(folder: Path, seed: int) -> dict[str, float]:
    started = time.perf_counter()
    import keras  # noqa: PLC0415  As in a script, the time it takes counts.

    from trainer.backbones import zoo  # noqa: PLC0415

    keras.utils.set_random_seed(seed)
    train, validation, test = (_photos(keras, folder / split, seed) for split in ("train", "validation", "test"))
    base = zoo.load("efficientnet_lite0").network
    base.trainable = False
    top = keras.layers.Dense(len(list((folder / "train").iterdir())), activation="softmax")
    model = keras.Sequential([base, keras.layers.Dropout(DROPOUT), top])
    model.compile(keras.optimizers.Adam(RATE), loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    model.fit(train, validation_data=validation, epochs=EPOCHS, verbose=0)
    accuracy = model.evaluate(test, verbose=0)[1]
    with tempfile.TemporaryDirectory() as scratch:
        model.export(scratch, verbose=False)
    return {"seconds": time.perf_counter() - started, "accuracy": float(accuracy)}


def _photos(keras: Any, folder: Path, seed: int) -> Any:
    photos = keras.utils.image_dataset_from_directory(
        folder, seed=seed, image_size=(SIZE, SIZE), batch_size=BATCH, verbose=False
    )
    return photos.prefetch(2)


if __name__ == "__main__":
    print(json.dumps(run(Path(sys.argv[1]), int(sys.argv[2]))))
