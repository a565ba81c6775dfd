"""The last layer: multinomial logistic regression on features, with its strength of regularisation chosen by itself."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from trainer.lbfgs import Vector, minimise

# Strong to weak: each fit starts where the one before ended, and a weaker one is a short way off.
STRENGTHS = tuple(float(10**exponent) for exponent in np.arange(0.5, -3.01, -0.5))
STRENGTH_UNCHOSEN = 0.1  # Where there is no validation photo to choose by.
PATIENCE = 2  # Strengths in a row that may be worse than the best before the search ends.
_ROWS = 4096  # Rows at a time: bounds the memory for many photos times many classes.

Matrix = NDArray[np.float32]
Labels = NDArray[np.int64]


@dataclass(frozen=True)
class Head:
    """Logits are features @ weights + bias: weights float32 (features, classes), bias float32 (classes,).

    `regularisation` is the strength that was chosen. The validation figures are those of the fit that never saw the
    validation photos: their mean log loss, the share of right answers (both nan without photos), and the
    probabilities, float32 (photos, classes).
    """

    weights: Matrix
    bias: Matrix
    regularisation: float
    validation_loss: float
    validation_accuracy: float
    validation_probabilities: Matrix

    def probabilities(self, features: Matrix) -> Matrix:
        """float32 (n, classes) for features (n, d)."""
        return np.exp(_log_softmax(features @ self.weights + self.bias))


def fit(
    train_x: Matrix,
    train_y: Labels,
    validation_x: Matrix,
    validation_y: Labels,
    classes: int,
    seed: int = 0,
    progress: Callable[[int, int], None] = lambda *_: None,
) -> Head:
    """Fit on features (n, d), all in the same unit, and labels (n,) from 0 to classes - 1.

    Every class weighs the same, however many photos it has. The strength is the one with the least log loss on the
    validation photos, the less trusted the fewer they are; with it the head is fitted once more on all photos. The
    problem is convex and the search starts at zero, so the result is the same for every `seed`.
    """
    del seed
    total = len(STRENGTHS) + 1
    chosen = _Fit.of(train_x, train_y, classes)
    if not len(validation_y):
        chosen = chosen.at(STRENGTH_UNCHOSEN)
        progress(total, total)
        weights, bias = chosen.unscaled()
        return Head(weights, bias, STRENGTH_UNCHOSEN, float("nan"), float("nan"), np.zeros((0, classes), np.float32))
    chosen = _choose(chosen, validation_x, validation_y, lambda done: progress(done, total))
    logs = chosen.log_probabilities(validation_x)
    everything = _Fit.of(np.concatenate([train_x, validation_x]), np.concatenate([train_y, validation_y]), classes)
    weights, bias = everything.at(chosen.strength).unscaled()
    progress(total, total)
    return Head(
        weights,
        bias,
        chosen.strength,
        _log_loss(logs, validation_y),
        float((logs.argmax(axis=1) == validation_y).mean()),
        np.exp(logs),
    )


def _choose(fit: "_Fit", x: Matrix, y: Labels, progress: Callable[[int], None]) -> "_Fit":
    best, best_loss, worse = fit, float("inf"), 0
    for done, strength in enumerate(STRENGTHS, 1):
        fit = fit.at(strength)
        loss = _cautious_loss(fit.log_probabilities(x), y)
        progress(done)
        if loss < best_loss:
            best, best_loss, worse = fit, loss, 0
        else:
            worse += 1
            if worse == PATIENCE:
                break
    return best


@dataclass(frozen=True)
class _Fit:
    """Photos, centred and scaled, and the parameters fitted to them at one strength."""

    x: Matrix
    y: Labels
    photo_weights: Vector
    mean: Vector
    scale: float
    parameters: Vector  # (features + 1, classes), flat; the last row is the bias.
    strength: float

    @classmethod
    def of(cls, x: Matrix, y: Labels, classes: int) -> Self:
        counts = np.bincount(y, minlength=classes)
        photo_weights = (len(y) / (np.count_nonzero(counts) * np.maximum(counts, 1)))[y]
        mean, scale = _moments(x)
        near_zero = ((x - mean.astype(np.float32)) / np.float32(scale)).astype(np.float32, copy=False)
        return cls(near_zero, y, photo_weights, mean, scale, np.zeros((x.shape[1] + 1) * classes), float("inf"))

    def at(self, strength: float) -> Self:
        """Fitted at another strength, from where this one is."""
        parameters = minimise(lambda place: self._loss(place, strength), self.parameters)
        return type(self)(self.x, self.y, self.photo_weights, self.mean, self.scale, parameters, strength)

    def unscaled(self) -> tuple[Matrix, Matrix]:
        """Weights and bias for features as they come."""
        table = self.parameters.reshape(self.x.shape[1] + 1, -1)
        weights = table[:-1] / self.scale
        return weights.astype(np.float32), (table[-1] - self.mean @ weights).astype(np.float32)

    def log_probabilities(self, x: Matrix) -> Matrix:
        weights, bias = self.unscaled()
        return _log_softmax(x @ weights + bias)

    def _loss(self, place: Vector, strength: float) -> tuple[float, Vector]:
        """The mean weighted log loss plus strength / 2 times the squared weights, and its gradient."""
        table = place.reshape(self.x.shape[1] + 1, -1)
        weights, bias = table[:-1].astype(np.float32), table[-1].astype(np.float32)
        gradient = np.zeros_like(table)
        loss = 0.0
        for at in range(0, len(self.y), _ROWS):
            part = slice(at, at + _ROWS)
            x, y, photo_weights = self.x[part], self.y[part], self.photo_weights[part]
            rows = np.arange(len(y))
            logs = _log_softmax(x @ weights + bias)
            loss -= float(photo_weights @ logs[rows, y].astype(np.float64))
            error = np.exp(logs)
            error[rows, y] -= 1
            error *= photo_weights[:, None].astype(np.float32)
            gradient[:-1] += x.T @ error
            gradient[-1] += error.sum(axis=0, dtype=np.float64)
        gradient /= len(self.y)
        gradient[:-1] += strength * table[:-1]
        return loss / len(self.y) + strength / 2 * float((table[:-1] ** 2).sum()), gradient.ravel()


def _moments(x: Matrix) -> tuple[Vector, float]:
    """The mean of each column, and one scale for all: the root mean square of what is left.

    One scale a column would make as much of a channel that hardly varies as of one that tells classes apart: on the
    orchids that costs half a point of accuracy (benchmarks/heads.py).
    """
    mean = x.mean(axis=0, dtype=np.float64)
    squares = sum(float(((x[at : at + _ROWS] - mean) ** 2).sum()) for at in range(0, len(x), _ROWS))
    return mean, float(np.sqrt(squares / x.size)) or 1.0


def _log_softmax(logits: Matrix) -> Matrix:
    shifted = logits - logits.max(axis=1, keepdims=True)
    logs: Matrix = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return logs


def _cautious_loss(logs: Matrix, y: Labels) -> float:
    """The log loss expected of photos like these, of which the next may be the first that is wrong.

    A perfect record on a few photos would make the most confident fit the best. By Laplace's rule of succession the
    next label is another class's with probability 1 / (n + 2), whatever the record: so much of each label is shared
    out among all classes.
    """
    doubt = 1 / (len(y) + 2)
    return (1 - doubt) * _log_loss(logs, y) - doubt * float(logs.mean(dtype=np.float64))


def _log_loss(logs: Matrix, y: Labels) -> float:
    return float(-logs[np.arange(len(y)), y].mean(dtype=np.float64))
