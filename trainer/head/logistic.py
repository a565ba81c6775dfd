"""Multinomial logistic regression: its loss and slope over any number of photos, computed in TensorFlow.

Böhning, "Multinomial logistic regression algorithm", Annals of the Institute of Statistical Mathematics 44, 1992, for
the shape of its curvature.
"""

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from typing import Any, Self

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from trainer.head.lbfgs import Vector
from trainer.head.rows import Matrix, Rows, steps

SAMPLED = 5  # Steps whose features tell how the loss is curved.
SAVED = 10  # Passes that are saved by knowing it, or more.

Labels = NDArray[np.int64]
Step = tuple[
    Any, Any, Any
]  # Tensors of some photos: features with a column of ones (m, d + 1), labels and weights (m,).


@dataclass(frozen=True)
class Scale:
    """Features are centred by `mean` (d,), then divided by `unit`.

    One unit a column would make as much of a channel that hardly varies as of one that tells classes apart: on the
    orchids that costs half a point of accuracy (benchmarks/heads.py).
    """

    mean: Vector
    unit: float

    @classmethod
    def of(cls, x: Matrix) -> Self:
        """The mean of each column, and the root mean square of what is left."""
        mean = x.mean(axis=0, dtype=np.float64)
        squares = sum(float(((x[part] - mean) ** 2).sum()) for part in steps(len(x)))
        return cls(mean, float(np.sqrt(squares / x.size)) or 1.0)

    def apply(self, x: Matrix) -> Matrix:
        """Scaled features with a column of ones, float32 (n, d + 1)."""
        scaled = np.ones((len(x), x.shape[1] + 1), np.float32)
        np.subtract(x, self.mean.astype(np.float32), out=scaled[:, :-1])
        scaled[:, :-1] /= np.float32(self.unit)
        return scaled

    def undo(self, place: Vector) -> tuple[Matrix, Matrix]:
        """Weights (d, k) and bias (k,) for features as they come, from parameters for scaled ones."""
        table = place.reshape(len(self.mean) + 1, -1)
        weights = table[:-1] / self.unit
        return weights.astype(np.float32), (table[-1] - self.mean @ weights).astype(np.float32)


class Problem:
    """Photos to learn from: features (n, d), labels (n,) from 0 to `classes` - 1, what each photo counts for (n,).

    Features of more than `kept_bytes` are read again at each pass instead of being kept.
    """

    def __init__(
        self, x: Rows, y: Labels, photo_weights: Vector, classes: int, scale: Scale, kept_bytes: float = math.inf
    ) -> None:
        self._x, self._y, self._photo_weights, self._classes, self._scale = x, y, photo_weights, classes, scale
        self._size = x.shape[1] + 1
        self._kept = list(self._read()) if len(x) * x.shape[1] * 4 <= kept_bytes else None

    def __len__(self) -> int:
        return len(self._y)

    @property
    def tolerance(self) -> float:
        """A gradient without larger parts is as good as none; with many classes each has only a small part in it."""
        return min(1e-4, 1e-2 / self._classes)

    def nothing(self) -> Vector:
        """Parameters that say nothing: the flat table (d + 1, classes), whose last row is the bias."""
        return np.zeros(self._size * self._classes)

    def loss(self, place: Vector, strength: float) -> tuple[float, Vector]:
        """The mean weighted log loss plus `strength` / 2 times the squared weights, and its gradient."""
        table = place.reshape(-1, self._classes)
        parameters = tf.constant(table, tf.float32)
        loss, gradient = 0.0, np.zeros_like(table)
        for x, y, photo_weights in self._steps():
            part, slope = _loss(x, y, photo_weights, parameters)
            loss += float(part)
            gradient += slope.numpy()
        gradient /= len(self._y)
        gradient[:-1] += strength * table[:-1]
        return loss / len(self._y) + strength / 2 * float((table[:-1] ** 2).sum()), gradient.ravel()

    def inverse_curvature(self, strength: float) -> Callable[[Vector], Vector]:
        """What the inverse Hessian of the loss might be, up to a factor, times a gradient.

        For each class, as if it had the same doubtful share of every photo: then what is left of the Hessian is the
        covariance of the features. With few photos it would take longer to invert than it saves.
        """
        if SAVED * len(self) * self._classes < self._size**2:
            return np.copy
        hessian = self._covariance / self._classes + strength * np.eye(self._size)
        inverse = tf.constant(np.linalg.inv(hessian), tf.float32)
        return lambda gradient: _product(inverse, tf.constant(gradient.reshape(self._size, -1), tf.float32))

    @cached_property
    def _covariance(self) -> NDArray[np.float64]:
        some = [x for x, _, _ in islice(self._steps(), SAMPLED)]
        products = sum(tf.matmul(x, x, transpose_a=True).numpy().astype(np.float64) for x in some)
        return np.asarray(products) / sum(map(len, some))

    def _steps(self) -> Iterable[Step]:
        return self._kept or self._read()

    def _read(self) -> Iterator[Step]:
        for part in steps(len(self._y)):
            x = tf.constant(self._scale.apply(self._x[part]))
            yield x, tf.constant(self._y[part]), tf.constant(self._photo_weights[part])


def _product(matrix: Any, table: Any) -> Vector:
    """Flat."""
    product: Vector = tf.matmul(matrix, table).numpy().astype(np.float64).ravel()
    return product


def _loss_of(x: Any, y: Any, photo_weights: Any, parameters: Any) -> tuple[Any, Any]:
    # One operation for both the log loss of each photo and its slope.
    losses, slopes = tf.raw_ops.SparseSoftmaxCrossEntropyWithLogits(features=x @ parameters, labels=y)
    slopes *= tf.cast(photo_weights, tf.float32)[:, None]
    return tf.reduce_sum(photo_weights * tf.cast(losses, tf.float64)), tf.matmul(x, slopes, transpose_a=True)


_loss = tf.function(
    _loss_of,
    input_signature=[
        tf.TensorSpec((None, None), tf.float32),
        tf.TensorSpec((None,), tf.int64),
        tf.TensorSpec((None,), tf.float64),
        tf.TensorSpec((None, None), tf.float32),
    ],
    autograph=False,
)
