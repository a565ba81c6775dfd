"""What is known of a finished run: what its report says and its pictures show."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from storage.runs import Run
from storage.splits import Split
from storage.texts import Text
from trainer.calibration import Calibration, Reliability
from trainer.curve import Curve
from trainer.evaluate import Evaluation
from trainer.gate import Verdict
from trainer.snapshot import SPLITS, Changes, Snapshot

ENOUGH = 30  # Photos of a class; fewer, and each one more helps much.


@dataclass(frozen=True)
class Score:
    """How one class fares. Shares are from 0 to 1, or None where no test photo tells."""

    number: int  # Its place in labels.txt.
    name: str
    photos: Mapping[Split, int]
    weight: float  # What one of its photos counts for in training; 1 is the average.
    judged: int  # Its test photos.
    answered: int  # Test photos of any class that were taken for it.
    right: int

    @property
    def total(self) -> int:
        return sum(self.photos.values())

    @property
    def missing(self) -> int:
        """How many photos more would be enough to begin with."""
        return max(0, ENOUGH - self.total)

    @property
    def recall(self) -> float | None:
        return _share(self.right, self.judged)

    @property
    def precision(self) -> float | None:
        return _share(self.right, self.answered)

    @property
    def f1(self) -> float | None:
        """The harmonic mean of precision and recall."""
        return _share(2 * self.right, self.judged + self.answered) if self.judged else None


@dataclass(frozen=True)
class MixUp:
    """`count` of the `judged` test photos of the class `truth` were taken for `answer`; both are numbers of classes."""

    truth: int
    answer: int
    count: int
    judged: int


@dataclass(frozen=True)
class Mistake:
    """A test photo, by its place in the evaluation, whose answer is wrong, and how probable the answer seemed."""

    place: int
    truth: int
    answer: int
    probability: float


@dataclass(frozen=True, eq=False)
class Facts:
    """`served` and `changes` say what was served when the run began, and how its photos differ; None where unknown.

    `class_weights` has shape (classes,). `details` are further facts of the mode, in words that a reader knows.
    """

    run: Run
    version: int
    data: Snapshot
    candidate: Evaluation
    verdict: Verdict
    seconds: Mapping[str, float]
    served: Evaluation | Text
    served_version: int | None = None
    changes: Changes | None = None
    curve: Curve | None = None
    calibration: Calibration | None = None
    class_weights: NDArray[Any] | None = None
    details: Mapping[str, str | float] = field(default_factory=dict)
    network: str = ""  # The backbone that was trained; empty where it is the one that was asked for.

    @cached_property
    def counts(self) -> NDArray[np.int64]:
        """Photos of each class in each split, shape (classes, splits)."""
        counts = np.zeros((len(self.data.classes), len(SPLITS)), np.int64)
        np.add.at(counts, (self.data.labels, self.data.rows["split"]), 1)
        return counts

    @property
    def split_counts(self) -> dict[Split, int]:
        return dict(zip(SPLITS, map(int, self.counts.sum(axis=0)), strict=True))

    @cached_property
    def answers(self) -> NDArray[np.int64]:
        """The number of the class that each test photo was taken for."""
        answers: NDArray[np.int64] = self.candidate.probabilities.argmax(axis=1)
        return answers

    @cached_property
    def confusion(self) -> NDArray[np.int64]:
        return self.candidate.confusion()

    @cached_property
    def scores(self) -> tuple[Score, ...]:
        """By number of class."""
        counts = self.confusion
        weights = np.ones(len(counts)) if self.class_weights is None else self.class_weights
        return tuple(
            Score(
                number,
                name,
                dict(zip(SPLITS, map(int, self.counts[number]), strict=True)),
                float(weights[number]),
                int(counts[number].sum()),
                int(counts[:, number].sum()),
                int(counts[number, number]),
            )
            for number, name in enumerate(self.data.classes)
        )

    @cached_property
    def mix_ups(self) -> tuple[MixUp, ...]:
        """The most frequent first, of those the ones that befall the larger part of their class."""
        wrong = self.confusion * (1 - np.eye(len(self.confusion), dtype=np.int64))
        judged = self.confusion.sum(axis=1)
        pairs = [MixUp(int(t), int(a), int(wrong[t, a]), int(judged[t])) for t, a in np.argwhere(wrong)]
        return tuple(sorted(pairs, key=lambda pair: (-pair.count, pair.judged, pair.truth, pair.answer)))

    @cached_property
    def mistakes(self) -> tuple[Mistake, ...]:
        """The most confident first."""
        sureness = self.candidate.probabilities.max(axis=1, initial=0)
        wrong = np.flatnonzero(self.answers != self.candidate.truth)
        wrong = wrong[np.argsort(-sureness[wrong], kind="stable")]
        truth, answers = self.candidate.truth, self.answers
        return tuple(Mistake(int(i), int(truth[i]), int(answers[i]), float(sureness[i])) for i in wrong)

    @property
    def judged(self) -> int:
        """How many test photos there are."""
        return len(self.candidate.truth)

    @property
    def right(self) -> int:
        """How many of them were answered rightly."""
        return self.judged - len(self.mistakes)

    @property
    def accuracy(self) -> float | None:
        return _share(self.right, self.judged)

    @property
    def likely_accuracy(self) -> tuple[float, float] | None:
        """Between which shares the true one lies, at 95 %; None without test photos."""
        return wilson(self.right, self.judged) if self.judged else None

    @cached_property
    def reliability(self) -> Reliability | None:
        """How far the percentages come true on the test photos; None without a calibration or test photos."""
        if self.calibration is None or not self.judged:
            return None
        return self.calibration.on(self.candidate.probabilities, self.candidate.truth)


def wilson(right: int, judged: int) -> tuple[float, float]:
    """The 95 % interval of a share, by Wilson's score (J. Am. Stat. Assoc. 22, 1927); `judged` is 1 or more."""
    z, share = 1.96, right / judged
    middle = (share + z * z / (2 * judged)) / (1 + z * z / judged)
    reach = z / (1 + z * z / judged) * math.sqrt(share * (1 - share) / judged + (z / (2 * judged)) ** 2)
    return max(0.0, middle - reach), min(1.0, middle + reach)


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None
