"""How far a network may be trusted: percentages that come true, and from which one on its answer is sure.

Guo, Pleiss, Sun and Weinberger, "On Calibration of Modern Neural Networks", 2017: section 2 for the expected
calibration error, 4.2 for the temperature.
"""

import math
from dataclasses import dataclass

import numpy as np

from trainer.head.losses import Floats, Labels, log_softmax

BINS = 15
WIDEST = math.log(20)  # Of the logarithm of a temperature, either way.
HALVINGS = 12  # Of that range: temperatures within 0.1 %.
DOUBT = 10.0  # Photos' worth of the belief that the percentages are right as they are.


@dataclass(frozen=True)
class Reliability:
    """Measured on some photos: the expected calibration errors, 0 to 1, before and after the temperature.

    `sure_share` is the part of the photos that is answered surely, `sure_precision` the part of those answers that is
    right; None where no answer is sure. Without photos the others are nan.
    """

    ece_before: float
    ece_after: float
    sure_share: float
    sure_precision: float | None


@dataclass(frozen=True)
class Calibration:
    """Logits are to be divided by `temperature`; then an answer is sure from the probability `sure_above` on.

    `sure_above` is 1 where no lower one gives the precision that was asked for, and None where no photo could tell.
    The rest is as in Reliability, on the validation photos.
    """

    temperature: float
    ece_before: float
    ece_after: float
    sure_above: float | None
    sure_share: float
    sure_precision: float | None

    def on(self, probabilities: Floats, truth: Labels) -> Reliability:
        """On other photos: `probabilities` (photos, classes) have the temperature in them, `truth` is (photos,)."""
        logs = np.log(np.maximum(probabilities, np.finfo(np.float32).tiny))
        before = np.exp(log_softmax(logs * self.temperature))
        return _reliability(before, probabilities, truth, self.sure_above)


def calibrate(logits: Floats, truth: Labels, precision: float) -> Calibration:
    """From a network's answers, float (photos, classes), and the truth (photos,) of photos it has not learnt from.

    `precision`, 0 to 1, is the part of the sure answers that is to be right. A class for photos of nothing counts as
    any other does: to be wrongly sure of it is to turn away a photo that was meant.
    """
    temperature = best_temperature(logits, truth)
    before, after = (np.exp(log_softmax(some)) for some in (logits, logits / np.float32(temperature)))
    sure_above = _sure_above(after, truth, precision) if len(truth) else None
    measured = _reliability(before, after, truth, sure_above)
    return Calibration(
        temperature,
        measured.ece_before,
        measured.ece_after,
        sure_above,
        measured.sure_share,
        measured.sure_precision,
    )


def calibration_error(probabilities: Floats, truth: Labels) -> float:
    """The expected calibration error of the best class's probability, 0 to 1, in BINS bins of equal width."""
    if not len(truth):
        return float("nan")
    confidence = probabilities.max(axis=1).astype(np.float64)
    surplus = confidence - (probabilities.argmax(axis=1) == truth)
    bins = np.minimum((confidence * BINS).astype(np.int64), BINS - 1)
    return float(np.abs(np.bincount(bins, surplus, BINS)).sum()) / len(truth)


def best_temperature(logits: Floats, truth: Labels) -> float:
    """The temperature with the least log loss; 1 without photos.

    The loss is convex in the sharpness, 1 / temperature. A few photos, all of them right, would make it as sharp as may
    be: so the distance from 1 counts, too, for as much as DOUBT photos, by a term that is convex as well.
    """
    low, high = -WIDEST, WIDEST
    for _ in range(HALVINGS if len(truth) else 0):
        middle = (low + high) / 2
        low, high = (low, middle) if _slope(logits, truth, math.exp(middle)) > 0 else (middle, high)
    return math.exp(-(low + high) / 2)


def _slope(logits: Floats, truth: Labels, sharpness: float) -> float:
    """Of the log loss of all photos and DOUBT * (sharpness - 1 - log(sharpness)), in the sharpness."""
    answers = np.exp(log_softmax(logits * np.float32(sharpness)))
    expected = (answers * logits).sum(axis=1, dtype=np.float64)
    return float((expected - logits[np.arange(len(truth)), truth]).sum()) + DOUBT * (1 - 1 / sharpness)


def _sure_above(probabilities: Floats, truth: Labels, precision: float) -> float:
    """The lowest probability above which as many answers as wanted are right.

    Both by count and by what the probabilities promise on average: either alone is too hopeful where photos are few,
    since the threshold is chosen on the very photos that are counted. An interval's lower end would never let ten or
    twenty photos be enough (benchmarks/heads.py).
    """
    order = np.argsort(-probabilities.max(axis=1), kind="stable")
    confidence = probabilities.max(axis=1)[order].astype(np.float64)
    right = (probabilities.argmax(axis=1) == truth)[order]
    enough = np.minimum(np.cumsum(right), np.cumsum(confidence)) >= precision * np.arange(1, len(truth) + 1)
    # Equally probable answers are all sure or none.
    places = np.flatnonzero(enough & np.append(confidence[1:] < confidence[:-1], True))
    if not len(places):
        return 1.0
    last = int(places[-1])
    lowest = float(confidence[last])
    return min(lowest, precision) if last == len(truth) - 1 else lowest  # No photo speaks against lower ones.


def _reliability(before: Floats, after: Floats, truth: Labels, sure_above: float | None) -> Reliability:
    sure = after.max(axis=1) >= (np.inf if sure_above is None else sure_above)
    right = (after.argmax(axis=1) == truth)[sure]
    return Reliability(
        calibration_error(before, truth),
        calibration_error(after, truth),
        float(sure.mean()) if len(truth) else float("nan"),
        float(right.mean()) if len(right) else None,
    )
