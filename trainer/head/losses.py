"""How far answers are from the truth. Without photos every figure is nan."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[Any]  # float32 or float64, (photos, classes).
Labels = NDArray[np.int64]  # Of the right class, (photos,).


def log_softmax(logits: Floats) -> Floats:
    """Logarithms of probabilities."""
    shifted = logits - logits.max(axis=1, keepdims=True)
    logs: Floats = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return logs


def log_loss(logs: Floats, truth: Labels) -> float:
    """The mean of minus the logarithm of the right class's probability."""
    return float(-logs[np.arange(len(truth)), truth].mean(dtype=np.float64)) if len(truth) else float("nan")


def cautious_loss(logs: Floats, truth: Labels) -> float:
    """The log loss expected of photos like these, of which the next may be the first that is wrong.

    A perfect record on a few photos would make the most confident answers the best. By Laplace's rule of succession
    the next label is another class's with probability 1 / (n + 2), whatever the record: so much of each label is
    shared out among all classes.
    """
    if not len(truth):
        return float("nan")
    doubt = 1 / (len(truth) + 2)
    return (1 - doubt) * log_loss(logs, truth) - doubt * float(logs.mean(dtype=np.float64))


def accuracy(scores: Floats, truth: Labels) -> float:
    """The share of photos whose best class is the right one, 0 to 1."""
    return float((scores.argmax(axis=1) == truth).mean()) if len(truth) else float("nan")
