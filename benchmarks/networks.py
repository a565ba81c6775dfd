"""Whole networks: what mode full gains over the last layer alone, and how soon mode scratch has learnt the samples."""

import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.orchids import Labels, folder, folds, labels
from demo import samples
from storage.runs import RunOptions
from storage.settings import Mode, Settings
from trainer.backbones import zoo
from trainer.backbones.zoo import Backbone
from trainer.curve import Point
from trainer.head import fit
from trainer.network.batches import Feed, plain_batches
from trainer.network.fit import Hooks, Task, Trained, train
from trainer.network.learner import Start
from trainer.network.plan import Plan

NAME = "efficientnet_lite0"
SEEDS = (0, 1, 2)
PARTS = 10  # Of the orchids, two test and one validates.
SCRATCH_SIZE = 64
SCRATCH_EPOCHS = 30
PER_CLASS = (120, 15, 30)  # Sample photos to learn from, to choose by and to test with.

Features = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Photos:
    """Photos in memory."""

    jpegs: Sequence[bytes]
    labels: Labels

    def __len__(self) -> int:
        return len(self.jpegs)

    def jpeg(self, place: int) -> bytes:
        return self.jpegs[place]

    def at(self, places: Labels) -> "Photos":
        return Photos([self.jpegs[place] for place in places], self.labels[places])


@dataclass(frozen=True)
class Accuracies:
    """On the same test photos: of the last layer, fitted on all other photos, and of the network above it."""

    head: float
    full: float
    seconds: float
    trained: Trained


def main() -> None:
    scratch()
    full()


def scratch() -> None:
    """The sample photos, from random weights."""
    learn, choose, test = (_samples(count, seed) for count, seed in zip(PER_CLASS, (0, 1000, 2000), strict=True))
    backbone = zoo.untrained(NAME, SCRATCH_SIZE)
    shape = backbone.features, len(samples.CLASSES)
    start = Start(backbone, np.zeros(shape, np.float32), np.zeros(shape[1], np.float32))
    seconds, trained = _train(start, learn, choose, replace(_plan("scratch"), epochs=SCRATCH_EPOCHS))
    print(f"Mode scratch, {NAME} at {SCRATCH_SIZE} pixels, {len(learn)} sample photos of {shape[1]} signs")
    print(f"  test accuracy  {accuracy(trained, test):.4f} of {len(test)} photos   (wanted: 0.95 or more)")
    print(f"  seconds        {seconds:.0f}   ({trained.ended} after {trained.steps} steps)")
    _speed(trained, learn, seconds)


def full() -> None:
    """The orchids, from the pretrained weights."""
    orchids = folder()
    if orchids is None:
        return
    paths = sorted(path for path in (orchids / "photos").glob("*/*") if path.is_file())
    photos = Photos([path.read_bytes() for path in paths], labels([path.parent.name for path in paths]))
    features = _features(zoo.load(NAME), photos)
    print(f"Mode full against mode head, {NAME}, {len(photos)} orchids, a fifth of them for testing")
    results = [_compare(photos, features, seed) for seed in SEEDS]
    gains = [100 * (result.full - result.head) for result in results]
    print(f"  mean gain {np.mean(gains):+.1f} points   (wanted: above 0 in the mean)")
    _speed(results[-1].trained, photos, results[-1].seconds)


def _compare(photos: Photos, features: Features, seed: int) -> Accuracies:
    fold, classes = folds(photos.labels, PARTS, seed), int(photos.labels.max()) + 1
    learn, choose, test = (np.flatnonzero(part) for part in (fold > 2, fold == 2, fold < 2))
    x, y = features, photos.labels
    layer = fit.fit(x[learn], y[learn], x[choose], y[choose], classes)
    start = Start(zoo.load(NAME), layer.start_weights, layer.start_bias)
    seconds, trained = _train(start, photos.at(learn), photos.at(choose), replace(_plan("full"), seed=seed))
    answers = (x[test] @ layer.weights + layer.bias).argmax(axis=1)
    result = Accuracies(float((answers == y[test]).mean()), accuracy(trained, photos.at(test)), seconds, trained)
    print(
        f"  split {seed}: head {result.head:.4f}, full {result.full:.4f} of {len(test)} test photos,"
        f" {seconds:.0f} s, {trained.ended} after {trained.steps} steps"
    )
    return result


def accuracy(trained: Trained, test: Photos) -> float:
    right = 0
    for pixels, truth in plain_batches(test, trained.backbone.input_size, 32):
        logits = np.asarray(trained.backbone.network(pixels, training=False)) @ trained.weights + trained.bias
        right += int((logits.argmax(axis=1) == truth).sum())
    return right / len(test)


def _train(start: Start, learn: Photos, choose: Photos, plan: Plan) -> tuple[float, Trained]:
    with tempfile.TemporaryDirectory() as into:
        started = time.perf_counter()
        trained = train(Task("benchmark", start, learn, choose, plan), Path(into), Hooks(told=_tell))
        return time.perf_counter() - started, trained


def _tell(point: Point) -> None:
    print(f"    {point}", file=sys.stderr)


def _plan(mode: Mode) -> Plan:
    return Plan.of(Settings(), RunOptions(mode=mode, backbone=NAME, weights="imagenet", seed=0))


def _features(backbone: Backbone, photos: Photos) -> Features:
    batches = plain_batches(photos, backbone.input_size, 32)
    return np.concatenate([np.asarray(backbone.network(pixels, training=False)) for pixels, _ in batches])


def _samples(count: int, seed: int) -> Photos:
    drawn = [samples.photo(name, seed + number) for name in samples.CLASSES for number in range(count)]
    return Photos(drawn, np.repeat(np.arange(len(samples.CLASSES)), count))


def _speed(trained: Trained, photos: Photos, seconds: float) -> None:
    """Photos a second that were learnt from, beside how many can be decoded and varied when nothing else is done."""
    learnt, plan = trained.steps * trained.batch_size, _plan("full")
    targets = np.eye(trained.bias.size, dtype=np.float32)
    feed = Feed(photos, targets, trained.backbone.input_size, trained.batch_size, 0, plan.augmentation)
    started, batches = time.perf_counter(), 10
    for _ in zip(range(batches), feed.batches(0), strict=False):
        pass
    alone = batches * trained.batch_size / (time.perf_counter() - started)
    print(
        f"  photos learnt  {learnt / seconds:.0f} a second, validation included; decoding and varying alone {alone:.0f}"
    )


if __name__ == "__main__":
    main()
