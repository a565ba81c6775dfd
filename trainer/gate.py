"""May a candidate be served?"""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from storage.labels import shown
from storage.settings import Gate
from trainer.evaluate import Evaluation

NAMED = 10  # Classes named in a reason; there may be hundreds.
RESAMPLES = 2000
CONFIDENCE = 95  # Per cent.
ROUNDING = 1e-9  # Points; a fall of exactly as much as is allowed is allowed.


@dataclass(frozen=True)
class Fall:
    """A class that is recognised too much worse: of its test photos, so many were right `before`, and are `after`."""

    name: str
    photos: int
    before: int
    after: int


@dataclass(frozen=True)
class Verdict:
    """`reason` reads after "because". What follows it is None or empty where nothing was compared.

    `difference` is the candidate's accuracy less the served version's, in points, and lies in `interval` with 95 %
    confidence; both are of the `photos` test photos of classes that both versions know.
    """

    promoted: bool
    reason: str
    photos: int = 0
    difference: float | None = None
    interval: tuple[float, float] | None = None
    fallen: tuple[Fall, ...] = ()
    classes_added: tuple[str, ...] = ()
    classes_removed: tuple[str, ...] = ()

    def document(self) -> dict[str, Any]:
        """The verdict as JSON."""
        return asdict(self)


@dataclass(frozen=True)
class Comparison:
    """`truth` has shape (photos,), indices into `classes`; `before` and `after` say which answers were right."""

    classes: tuple[str, ...]
    truth: NDArray[np.int64]
    before: NDArray[np.bool_]
    after: NDArray[np.bool_]

    @property
    def difference(self) -> float:
        """Of the accuracies, in points; more than 0 where the candidate is better."""
        return 100 * float(self.after.mean() - self.before.mean())

    @cached_property
    def interval(self) -> tuple[float, float]:
        """The paired bootstrap's percentile interval of the difference, in points (Efron and Tibshirani, 1993, ch. 13).

        A photo adds -1, 0 or 1 to the difference, so to draw photos again is to draw how many there are of each.
        """
        change = self.after.astype(int) - self.before
        shares = np.bincount(change + 1, minlength=3) / len(change)
        drawn = np.random.default_rng(0).multinomial(len(change), shares, RESAMPLES)
        tail = (100 - CONFIDENCE) / 2
        low, high = np.percentile(100 * (drawn[:, 2] - drawn[:, 0]) / len(change), [tail, 100 - tail])
        return float(low), float(high)

    def fallen(self, rules: Gate) -> tuple[Fall, ...]:
        """The classes with enough test photos that fell by more than is allowed, the deepest fall first."""
        counts = [
            np.bincount(self.truth[chosen], minlength=len(self.classes))
            for chosen in (slice(None), self.before, self.after)
        ]
        falls = [Fall(name, *map(int, row)) for name, *row in zip(self.classes, *counts, strict=True)]
        deep = [
            fall for fall in falls if fall.photos >= rules.class_photos and _points(fall) > rules.class_drop + ROUNDING
        ]
        return tuple(sorted(deep, key=_points, reverse=True))


def judge(candidate: Evaluation, served: Evaluation | str, rules: Gate, *, force: bool = False) -> Verdict:
    """Compare on the test photos that both were asked about, of classes that both know.

    `served` may be the reason why there is nothing to compare with.
    """
    if isinstance(served, str):
        return Verdict(True, served)
    added = tuple(name for name in candidate.classes if name not in set(served.classes))
    removed = tuple(name for name in served.classes if name not in set(candidate.classes))
    changed = _changed(added, removed)
    compared = _compare(candidate, served)
    if not len(compared.truth):
        reason = "there are no test photos that both it and the served version can be compared on"
        return Verdict(True, reason + changed, classes_added=added, classes_removed=removed)
    difference, fallen = compared.difference, compared.fallen(rules)
    passed = difference >= -rules.tolerance - ROUNDING and not fallen
    forced = "promotion was forced, though " if force and not passed else ""
    reason = f"{forced}{_outcome(difference, fallen, passed=passed)}: {_scores(compared)}{changed}"
    photos = len(compared.truth)
    return Verdict(passed or force, reason, photos, difference, compared.interval, fallen, added, removed)


def _compare(candidate: Evaluation, served: Evaluation) -> Comparison:
    classes = tuple(name for name in candidate.classes if name in set(served.classes))
    place = {name: number for number, name in enumerate(classes)}
    before, after = _answers(served, place), _answers(candidate, place)
    both = [(photo.class_name, photo.sha256) for photo in candidate.photos if photo.sha256 in before.keys() & after]
    truth = np.array([place[name] for name, _ in both], np.int64)
    return Comparison(
        classes,
        truth,
        np.array([before[photo] for _, photo in both], np.int64) == truth,
        np.array([after[photo] for _, photo in both], np.int64) == truth,
    )


def _answers(evaluation: Evaluation, place: dict[str, int]) -> dict[str, int]:
    """For each photo of these classes, by hash, which of them it was taken for."""
    if not place:
        return {}
    index = {name: column for column, name in enumerate(evaluation.classes)}
    best = evaluation.probabilities[:, [index[name] for name in place]].argmax(axis=1)
    answers = zip(evaluation.photos, best.tolist(), strict=True)
    return {photo.sha256: answer for photo, answer in answers if photo.class_name in place}


def _points(fall: Fall) -> float:
    return 100 * (fall.before - fall.after) / fall.photos


def _outcome(difference: float, fallen: Sequence[Fall], *, passed: bool) -> str:
    if fallen:
        falls = (f"{shown(fall.name)} ({fall.after} of {fall.photos} right, was {fall.before})" for fall in fallen)
        return f"it recognises {_some(falls)} much worse than the served version"
    if difference > ROUNDING:
        return "it is better than the served version"
    if difference < -ROUNDING:
        return f"it is {'only a little ' if passed else ''}worse than the served version"
    return "it is as good as the served version"


def _scores(compared: Comparison) -> str:
    low, high = compared.interval
    before, after = (100 * float(right.mean()) for right in (compared.before, compared.after))
    photos = f"{len(compared.truth)} test photo{'s' if len(compared.truth) != 1 else ''}"
    doubt = f"{compared.difference:+.1f} points, {CONFIDENCE}% sure between {low:+.1f} and {high:+.1f}"
    return f"{after:.1f}% of {photos} right against {before:.1f}% ({doubt})"


def _changed(added: Sequence[str], removed: Sequence[str]) -> str:
    words = [("new", added), ("gone", removed)]
    return "".join(f"; {word}: {_some(map(shown, names))}" for word, names in words if names)


def _some(names: Iterable[str]) -> str:
    every = list(names)
    more = [f"and {len(every) - NAMED} more"] if len(every) > NAMED else []
    return ", ".join(every[:NAMED] + more)
