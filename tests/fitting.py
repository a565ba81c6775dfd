"""A small fit of a tiny network, the same whoever does it; run as a program, in a process of its own."""

import hashlib
import io
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path

import numpy as np
import tensorflow as tf
from networks import SIZE, tiny_backbone, tiny_head
from numpy.typing import NDArray
from PIL import Image

from storage.runs import RunOptions
from storage.settings import Settings
from trainer.network.fit import Hooks, Task, Trained, train
from trainer.network.learner import Start
from trainer.network.plan import Plan

CLASSES = 3


@dataclass(frozen=True)
class Painted:
    """Photos whose class is how light they are, each with noise of its own."""

    photos: int
    seed: int = 0

    def __len__(self) -> int:
        return self.photos

    @property
    def labels(self) -> NDArray[np.int64]:
        return np.arange(self.photos) % CLASSES

    def jpeg(self, place: int) -> bytes:
        random = np.random.default_rng([self.seed, place])
        pixels = random.integers(0, 100, (SIZE, SIZE, 3)) + 70 * (place % CLASSES)
        buffer = io.BytesIO()
        Image.fromarray(pixels.astype(np.uint8)).save(buffer, "JPEG", quality=90)
        return buffer.getvalue()


def plan(**changes: object) -> Plan:
    """Mode full, 6 epochs of 5 steps."""
    options = RunOptions(mode="full", backbone="efficientnet_lite0", weights="", seed=3, batch_size=8, epochs=6)
    return replace(Plan.of(Settings(), options), **{"learning_rate": 1e-2, **changes})  # type: ignore[arg-type]


def task(**changes: object) -> Task:
    start = Start(tiny_backbone(), *tiny_head(CLASSES))
    return Task("snapshot", start, Painted(40), Painted(12, seed=1), plan(**changes))


def digest(trained: Trained) -> str:
    """Of every weight, to the last bit."""
    arrays = [*trained.backbone.network.get_weights(), trained.weights, trained.bias]
    return hashlib.sha256(b"".join(array.tobytes() for array in arrays)).hexdigest()


def every_step() -> Callable[[], float]:
    """A clock by which each step takes as long as a fit goes without a checkpoint."""
    ticks = count(0.0, 30.0)
    return lambda: next(ticks)


def alone(folder: Path) -> None:
    """Tell each step, with a checkpoint for each."""
    train(task(), folder, Hooks(progress=lambda step, _: _say(step), clock=every_step()))


def on_two_devices(folder: Path) -> None:
    """Share each batch between two devices, and print the validation logits."""
    (cpu,) = tf.config.list_physical_devices("CPU")
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    trained = train(task(adapt=True, epochs=1), folder, Hooks(), devices=("CPU:0", "CPU:1"))
    _say(trained.validation_logits.tolist())


def _say(what: object) -> None:
    sys.stdout.write(f"{what}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    {"alone": alone, "on_two_devices": on_two_devices}[sys.argv[1]](Path(sys.argv[2]))
