"""The last layer: multinomial logistic regression on features, with its strength of regularisation chosen by itself."""

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from trainer.curve import Curve, Point
from trainer.head.lbfgs import Vector, descend
from trainer.head.logistic import Labels, Problem, Scale
from trainer.head.losses import accuracy, cautious_loss, log_loss, log_softmax
from trainer.head.rows import Joined, Matrix, Rows, some

# Strong to weak: each fit starts where the one before ended, and a weaker one is a short way off. The more classes, the
# weaker is what suits them.
STRENGTHS = tuple(float(10**exponent) for exponent in np.arange(0.5, -5.01, -0.5))
STRENGTH_UNCHOSEN = 0.1  # Where there is no validation photo to choose by.
PATIENCE = 2  # Strengths in a row that may be worse than the best before the search ends.
ENOUGH = 300  # Steps of a search among few photos; hardly any needs so many.

Weighting = Literal["balanced", "none"]


@dataclass(frozen=True)
class Bounds:
    """What keeps a fit within its time and memory, however many photos there are.

    Strengths are tried on `few` photos and judged by `few` at most; more than that are read in about `passes` passes
    each time they are fitted, and their features held in memory only if they have no more than `kept_bytes`.
    """

    few: int = 20_000
    passes: int = 10
    kept_bytes: int = 1 << 30


BOUNDS = Bounds()


@dataclass(frozen=True, eq=False)
class Head:
    """Logits are features @ weights + bias: weights float32 (features, classes), bias float32 (classes,).

    `start_weights` and `start_bias` are those of the fit that never saw a validation photo. `validation_logits`,
    float32 (photos, classes), are its answers to validation photos, all of them or `Bounds.few`, and
    `validation_labels`, int64 (photos,), what is right. `regularisation` is the strength that was chosen,
    `class_weights` float64 (classes,) what each photo of a class counted for: 1 on average, and 0 for a class without
    photos. `curve` has a point for each strength that was tried.
    """

    weights: Matrix
    bias: Matrix
    start_weights: Matrix
    start_bias: Matrix
    regularisation: float
    class_weights: Vector
    validation_logits: Matrix
    validation_labels: Labels
    curve: Curve

    @property
    def validation_accuracy(self) -> float:
        """The share of right answers, 0 to 1; nan without photos."""
        return accuracy(self.validation_logits, self.validation_labels)

    @property
    def validation_loss(self) -> float:
        """The mean log loss; nan without photos."""
        return log_loss(log_softmax(self.validation_logits), self.validation_labels)

    def probabilities(self, features: Matrix) -> Matrix:
        """float32 (n, classes) for features (n, d)."""
        return np.exp(log_softmax(features @ self.weights + self.bias))


def fit(
    train_x: Rows,
    train_y: Labels,
    validation_x: Rows,
    validation_y: Labels,
    classes: int,
    *,
    class_weights: Weighting = "balanced",
    progress: Callable[[int, int], None] = lambda *_: None,
    stop: Callable[[], bool] = lambda: False,
    bounds: Bounds = BOUNDS,
) -> Head:
    """Fit on features (n, d), all in the same unit, and labels (n,) from 0 to classes - 1.

    "balanced": every class weighs the same, however many photos it has; "none": every photo does. The strength is the
    one with the least log loss on the validation photos, the less trusted the fewer they are; with it the head is
    fitted once more on all photos. Equal photos give an equal head.

    Of many photos, `bounds.few`, as evenly from all classes as can be, choose the strength and where to begin; from
    there all are read in a bounded number of passes. Between two of them `stop` says whether to make do with what has
    been found.
    """
    photos = _Photos(train_x, train_y, classes, class_weights)
    judges = _Judges.of(validation_x, validation_y, bounds.few)
    search = _Search(bounds, progress, stop)
    few = _even_sample(train_y, bounds.few)
    x = some(train_x, few)
    scale = Scale.of(x)
    place, strength, curve = search.choose(photos.sampled(few, x, scale), judges, scale)
    if len(few) < len(train_y):
        strength *= (len(few) / len(train_y)) ** 0.5  # More photos need less; it fell by so much, or by less or more.
        place = search.descend(photos.problem(scale, bounds.kept_bytes), strength, place)
    start = scale.undo(place)
    if len(validation_y):
        photos = photos.with_more(validation_x, validation_y)
        place = search.descend(photos.problem(scale, bounds.kept_bytes), strength, place)
    search.end()
    logits = judges.logits(*start)
    return Head(*scale.undo(place), *start, strength, photos.class_weights, logits, judges.y, curve)


@dataclass(frozen=True, eq=False)
class _Photos:
    x: Rows
    y: Labels
    classes: int
    weighting: Weighting

    @property
    def class_weights(self) -> Vector:
        counts = self._counts(self.y)
        if self.weighting == "none":
            return (counts > 0).astype(np.float64)
        return np.where(counts > 0, len(self.y) / (np.count_nonzero(counts) * np.maximum(counts, 1)), 0.0)

    def problem(self, scale: Scale, kept_bytes: int) -> Problem:
        return Problem(self.x, self.y, self.class_weights[self.y], self.classes, scale, kept_bytes)

    def sampled(self, few: Labels, x: Matrix, scale: Scale) -> Problem:
        """The photos at the places `few`, whose features are `x`, standing for all of their class."""
        y = self.y[few]
        stands_for = self._counts(self.y) / np.maximum(self._counts(y), 1) * (len(y) / len(self.y))
        return Problem(x, y, (self.class_weights * stands_for)[y], self.classes, scale)

    def with_more(self, x: Rows, y: Labels) -> "_Photos":
        return _Photos(Joined((self.x, x)), np.concatenate([self.y, y]), self.classes, self.weighting)

    def _counts(self, y: Labels) -> NDArray[np.int64]:
        return np.bincount(y, minlength=self.classes)


@dataclass(frozen=True, eq=False)
class _Judges:
    """Validation photos, spread evenly over all there are."""

    x: Matrix
    y: Labels

    @classmethod
    def of(cls, x: Rows, y: Labels, most: int) -> "_Judges":
        places = np.linspace(0, len(y), min(most, len(y)), endpoint=False).astype(np.int64)
        return cls(some(x, places), y[places])

    def logits(self, weights: Matrix, bias: Matrix) -> Matrix:
        return self.x @ weights + bias


class _Search:
    """The searches of one fit, one after another."""

    def __init__(self, bounds: Bounds, progress: Callable[[int, int], None], stop: Callable[[], bool]) -> None:
        self._bounds = bounds
        self._total = len(STRENGTHS) + 2 * bounds.passes
        self._progress = progress
        self._stop = stop
        self._done = 0

    def choose(self, problem: Problem, judges: _Judges, scale: Scale) -> tuple[Vector, float, Curve]:
        """The parameters and the strength that the judges like best, and what they said of each."""
        points: list[Point] = []
        place, best, best_place, best_loss = problem.nothing(), 0, problem.nothing(), float("inf")
        for strength in STRENGTHS if len(judges.y) else (STRENGTH_UNCHOSEN,):
            place = deque(self._places(problem, strength, place), maxlen=1)[0]
            logs = log_softmax(judges.logits(*scale.undo(place)))
            points.append(_point(strength, problem.loss(place, 0.0)[0], logs, judges.y))
            self._tell(len(points))
            loss = cautious_loss(logs, judges.y)
            if loss < best_loss or len(points) == 1:
                best, best_place, best_loss = len(points) - 1, place, loss
            elif len(points) > best + PATIENCE:
                break
        self._done = len(STRENGTHS)
        return best_place, points[best].at, Curve("regularisation", tuple(points), best)

    def descend(self, problem: Problem, strength: float, place: Vector) -> Vector:
        """Better parameters, from those at `place`, after as few passes over the photos as there is time for."""
        for done, better in enumerate(self._places(problem, strength, place)):
            place = better
            self._tell(min(done, self._bounds.passes))
            if self._many(problem) and self._stop():
                break
        self._done += self._bounds.passes
        return place

    def end(self) -> None:
        self._progress(self._total, self._total)

    def _places(self, problem: Problem, strength: float, place: Vector) -> Iterator[Vector]:
        places = descend(
            partial(problem.loss, strength=strength),
            place,
            guess=problem.inverse_curvature(strength),
            tolerance=problem.tolerance,
        )
        return islice(places, self._bounds.passes if self._many(problem) else ENOUGH)

    def _many(self, problem: Problem) -> bool:
        return len(problem) > self._bounds.few

    def _tell(self, done: int) -> None:
        self._progress(self._done + done, self._total)


def _even_sample(y: Labels, most: int) -> Labels:
    """The places of so many photos, as evenly from all classes as can be, ascending; of all where there are no more."""
    mixed = np.random.default_rng(0).permutation(len(y))
    by_class = mixed[np.argsort(y[mixed], kind="stable")]
    firsts = np.searchsorted(y[by_class], y[by_class])
    turns = np.arange(len(y)) - firsts  # Each class gives one photo a turn, while it has any.
    return np.sort(by_class[np.argsort(turns, kind="stable")[:most]])


def _point(strength: float, train_loss: float, logs: Matrix, y: Labels) -> Point:
    if not len(y):
        return Point(strength, train_loss)
    return Point(strength, train_loss, validation_loss=log_loss(logs, y), validation_accuracy=accuracy(logs, y))
