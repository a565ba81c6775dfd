"""Training a whole network, from what it knows already or from nothing."""

import hashlib
import json
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import structlog
from numpy.typing import NDArray

from storage.images import Pixels
from trainer.backbones.zoo import Backbone, digest_of
from trainer.calibration import best_temperature
from trainer.curve import Curve, Point
from trainer.faults import OutOfMemoryError, in_plain_words, not_a_number
from trainer.head.losses import accuracy, log_softmax
from trainer.network.batches import Feed, Labels, Samples, Targets, plain_batches, targets_of
from trainer.network.checkpoints import Checkpoints
from trainer.network.course import Course, listed, named
from trainer.network.learner import Learner, Start
from trainer.network.plan import Plan

HALVINGS = 2  # How often a batch that does not fit into memory is halved.
KEEP_SECONDS = 30.0  # So much work a kill may cost.

log = structlog.get_logger()


@dataclass(frozen=True, eq=False)
class Trained:
    """The weights with the least validation loss: logits are the backbone's features @ weights + bias.

    `ended` says in words why no more was learnt. `validation_logits` float32 (n, classes) and `validation_labels` (n,)
    are of the validation photos that could be read.
    """

    backbone: Backbone
    weights: NDArray[np.float32]
    bias: NDArray[np.float32]
    curve: Curve
    batch_size: int
    steps: int
    ended: str
    validation_logits: NDArray[np.float32]
    validation_labels: Labels


@dataclass(frozen=True, eq=False)
class Task:
    """What to learn, from where, and how; `snapshot` is the id of the photos, labels and splits."""

    snapshot: str
    start: Start
    train: Samples
    validation: Samples
    plan: Plan

    @property
    def purpose(self) -> str:
        """16 hexadecimal digits that change with anything the result depends on."""
        backbone = self.start.backbone
        parts = [self.snapshot, self.plan.document(), backbone.name, backbone.digest, backbone.input_size]
        parts += self.start.weights.shape
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Hooks:
    """Whom a fit tells how it goes on: of each epoch, and steps done and in all. It ends early when `stop` says so."""

    told: Callable[[Point], None] = lambda _: None
    progress: Callable[[int, int], None] = lambda *_: None
    stop: Callable[[], bool] = lambda: False
    clock: Callable[[], float] = time.monotonic


def train(task: Task, folder: Path, hooks: Hooks, devices: Sequence[str] = ()) -> Trained:
    """Train the network, going on from the checkpoint in `folder` if there is one of this very task.

    The start's own network takes over the trained weights. A batch that does not fit into memory is halved, twice at
    most. Raises RunError, saying what to do, where memory never suffices, the loss grows beyond all numbers, or the
    GPU is lost.
    """
    checkpoints = Checkpoints(folder, task.purpose)
    kept = checkpoints.newest()
    batch_size = Course.of(kept).batch_size if kept else task.plan.batch_size
    for _ in range(HALVINGS):
        try:
            return _Fit(task, batch_size, devices).run(checkpoints, hooks)
        except OutOfMemoryError:
            checkpoints.clear()
            batch_size = max(1, batch_size // 2)
            log.warning("memory does not suffice", next_batch_size=batch_size)
    return _Fit(task, batch_size, devices).run(checkpoints, hooks)


class _Fit:
    def __init__(self, task: Task, batch_size: int, devices: Sequence[str]) -> None:
        plan, size, classes = task.plan, task.start.backbone.input_size, task.start.bias.size
        self._task = task
        self._epoch_steps = max(1, round(len(task.train) / batch_size))
        self._steps = plan.steps or plan.epochs * self._epoch_steps
        targets = targets_of(task.train.labels, classes, plan.label_smoothing, balanced=plan.balanced)
        self._feed = Feed(task.train, targets, size, batch_size, plan.seed, plan.augmentation)
        self._course = Course(batch_size)
        with in_plain_words():
            self._learner = Learner(task.start, plan, batch_size, self._steps, devices)

    def run(self, checkpoints: Checkpoints, hooks: Hooks) -> Trained:
        with in_plain_words():
            self._resume(checkpoints, hooks)
            if not self._course.points:  # What is no better than the start shall not take its place.
                self._measure(hooks)
            ended = self._learn(checkpoints, hooks)
            if self._course.sums.photos:
                self._measure(hooks)
            self._keep(checkpoints)
        return self._trained(ended)

    def _learn(self, checkpoints: Checkpoints, hooks: Hooks) -> str:
        """Learn until there is a reason to end."""
        kept = hooks.clock()
        with closing(self._feed.batches(self._course.step)) as batches:
            while not (ended := self._ended(hooks)):
                self._step(*next(batches))
                hooks.progress(self._course.step, self._steps)
                if self._course.step % self._epoch_steps == 0:
                    self._measure(hooks)
                if hooks.clock() - kept >= KEEP_SECONDS:
                    self._keep(checkpoints)
                    kept = hooks.clock()
        return ended

    def _ended(self, hooks: Hooks) -> str:
        if self._course.step >= self._steps:
            return "every step was done"
        # While the rate is high, validation tells little: what comes of it shows when the rate falls.
        since = self._steps // 2 // self._epoch_steps
        if self._course.worse(since) >= self._task.plan.patience:
            return f"{self._task.plan.patience} epochs in a row brought nothing better"
        return "its time was used up" if hooks.stop() else ""

    def _step(self, pixels: Pixels, targets: Targets) -> None:
        loss, log_loss, right, photos = self._learner.step(pixels, targets)
        if not np.isfinite(loss):
            raise not_a_number()
        self._course.sums.add(log_loss, right, photos)
        self._course.step += 1

    def _measure(self, hooks: Hooks) -> None:
        """Look at the validation photos, and keep the weights if there were none better."""
        course, backbone = self._course, self._task.start.backbone
        seen = [
            (self._learner.logits(pixels), labels)
            for pixels, labels in plain_batches(self._task.validation, backbone.input_size, course.batch_size)
        ]
        logits = np.concatenate([np.zeros((0, self._task.start.bias.size), np.float32), *(rows for rows, _ in seen)])
        labels = np.concatenate([np.zeros(0, np.int64), *(part for _, part in seen)])
        at, rate = course.step / self._epoch_steps, self._learner.learning_rate
        losses = _losses(logits, labels)
        loss, right = (float(losses.mean()), accuracy(logits, labels)) if len(labels) else (None, None)
        point = Point(at, *course.sums.means(), loss, right, rate)
        if course.add(point, losses):
            course.weights, course.logits, course.labels = self._learner.weights, logits, labels
        hooks.told(point)

    def _resume(self, checkpoints: Checkpoints, hooks: Hooks) -> None:
        kept = checkpoints.newest()
        if kept:
            self._course = Course.of(kept)
            self._learner.restore(listed("state", kept))
        for point in self._course.points:  # Whoever listens may have begun anew, too.
            hooks.told(point)

    def _keep(self, checkpoints: Checkpoints) -> None:
        checkpoints.write(self._course.step, {**self._course.arrays(), **named("state", self._learner.state)})

    def _trained(self, ended: str) -> Trained:
        course, backbone = self._course, self._task.start.backbone
        *network, weights, bias = course.weights
        backbone.network.set_weights(network)
        return Trained(
            replace(backbone, digest=digest_of(backbone.network)[:16]),
            weights,
            bias,
            course.curve(),
            course.batch_size,
            course.step,
            ended,
            course.logits,
            course.labels,
        )


def _losses(logits: NDArray[np.float32], labels: Labels) -> NDArray[np.float64]:
    """The log loss of each photo, at the best temperature for all, shape (photos,).

    It is at that temperature that a network is served: smoothed labels alone would make a good one look bad. Raises
    RunError where a logit is no number.
    """
    if not np.isfinite(logits).all():
        raise not_a_number()
    temperature = np.float32(best_temperature(logits, labels))
    logs = log_softmax(logits / temperature) if len(labels) else logits
    losses: NDArray[np.float64] = -logs[np.arange(len(labels)), labels].astype(np.float64)
    return losses
