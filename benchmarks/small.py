"""Versions of a network so small that only what is around it takes time."""

import shutil
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

import keras
import numpy as np

from storage import labels
from storage.database import Database, now
from storage.models import GOLDEN, LABELS, Manifest, Models
from storage.runs import RunOptions, Runs, RunState
from storage.settings import Settings, Training
from trainer.backbones.zoo import Backbone
from trainer.export import export

SIDE = 96
COLOURS = ("red", "green", "blue")


def network(folder: Path) -> None:
    """Write a SavedModel into `folder` that tells which of the COLOURS a photo has most of, and its golden inputs."""
    pixels = keras.Input((SIDE, SIDE, 3), dtype="uint8")
    means = keras.layers.GlobalAveragePooling2D()(keras.layers.Rescaling(1 / 255)(pixels))
    weights, bias = np.asarray(20 * np.eye(3), np.float32), np.zeros(3, np.float32)
    export(Backbone("small", SIDE, 3, "0" * 16, keras.Model(pixels, means)), weights, bias, folder)
    golden = np.random.default_rng(0).integers(0, 256, (2, SIDE, SIDE, 3), dtype=np.uint8)
    exponents = np.exp((golden / 255).mean(axis=(1, 2)) @ weights)
    probabilities = np.asarray(exponents / exponents.sum(axis=1, keepdims=True), np.float32)
    np.savez_compressed(folder / GOLDEN, pixels=golden, probabilities=probabilities)


def publish(settings: Settings, graph: Path, classes: Sequence[str], backbone: str = "small", side: int = SIDE) -> int:
    """Serve a version made of this SavedModel, and return its number."""
    database = Database(settings.database_place)
    models, runs = Models(database, settings.models_dir), Runs(database)
    runs.enqueue(RunOptions.from_settings(Training()), "benchmark")
    run = runs.claim("benchmark", timedelta(minutes=1))
    if run is None:
        raise SystemExit("Another run is under way.")
    made = settings.models_dir / f".new-{run.id}"
    shutil.copytree(graph, made)
    (made / LABELS).write_text(labels.write_lines(classes), "utf-8")
    manifest = Manifest(
        run=run.id,
        snapshot="0" * 16,
        photos=0,
        backbone=backbone,
        weights_digest="0" * 16,
        input_size=side,
        mode="head",
        seed=0,
        metrics={},
        software={},
        created_at=now(),
    )
    number = models.publish(made, manifest, run.token, promote="it is a benchmark")
    runs.finish(run.id, run.token, RunState.SUCCEEDED, "done")
    database.close()
    return number
