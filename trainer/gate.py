"""May a candidate be served?"""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from storage.labels import shown
from storage.settings import Gate
from storage.texts import Text
from trainer.evaluate import Evaluation

NAMED = 10  # Classes named in a reason; there may be hundreds.
TOLD = 5  # Classes told to be better, and to be worse.
RESAMPLES = 2000
CONFIDENCE = 95  # Per cent.
ROUNDING = 1e-9  # Points; a fall of exactly as much as is allowed is allowed.


@dataclass(frozen=True)
class Change:
    """How a class fares: of its test photos, so many were right `before`, and are `after`."""

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
    reason: Text
    photos: int = 0
    difference: float | None = None
    interval: tuple[float, float] | None = None
    fallen: tuple[Change, ...] = ()  # The classes that fell by more than is allowed.
    better: tuple[Change, ...] = ()  # Those that changed most, at most 5 each way.
    worse: tuple[Change, ...] = ()
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

    @cached_property
    def changes(self) -> tuple[Change, ...]:
        """Of all classes, the deepest fall first."""
        counts = [
            np.bincount(self.truth[chosen], minlength=len(self.classes))
            for chosen in (slice(None), self.before, self.after)
        ]
        changes = [Change(name, *map(int, row)) for name, *row in zip(self.classes, *counts, strict=True) if row[0]]
        return tuple(sorted(changes, key=_points, reverse=True))

    def fallen(self, rules: Gate) -> tuple[Change, ...]:
        """The classes with enough test photos that fell by more than is allowed, the deepest fall first."""
        return tuple(
            change
            for change in self.changes
            if change.photos >= rules.class_photos and _points(change) > rules.class_drop + ROUNDING
        )


def judge(candidate: Evaluation, served: Evaluation | Text, rules: Gate, *, force: bool = False) -> Verdict:
    """Compare on the test photos that both were asked about, of classes that both know.

    `served` may be the reason why there is nothing to compare with.
    """
    if isinstance(served, Text):
        return Verdict(True, served)
    added = tuple(name for name in candidate.classes if name not in set(served.classes))
    removed = tuple(name for name in served.classes if name not in set(candidate.classes))
    changed = _changed(added, removed)
    compared = _compare(candidate, served)
    if not len(compared.truth):
        nothing = Text("there are no test photos that both it and the served version can be compared on")
        return Verdict(True, _joined(nothing, changed), classes_added=added, classes_removed=removed)
    difference, fallen = compared.difference, compared.fallen(rules)
    passed = difference >= -rules.tolerance - ROUNDING and not fallen
    outcome = _outcome(difference, fallen, passed=passed)
    if force and not passed:
        outcome = Text("promotion was forced, though {outcome}", outcome=outcome)
    reason = _joined(Text("{outcome}: {scores}", outcome=outcome, scores=_scores(compared)), changed)
    photos = len(compared.truth)
    better = tuple(change for change in reversed(compared.changes) if change.after > change.before)[:TOLD]
    worse = tuple(change for change in compared.changes if change.after < change.before)[:TOLD]
    return Verdict(
        passed or force, reason, photos, difference, compared.interval, fallen, better, worse, added, removed
    )


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


def _points(fall: Change) -> float:
    return 100 * (fall.before - fall.after) / fall.photos


def _outcome(difference: float, fallen: Sequence[Change], *, passed: bool) -> Text:
    if fallen:
        return Text("it recognises {falls} much worse than the served version", falls=_some(list(map(_deep, fallen))))
    if difference > ROUNDING:
        return Text("it is better than the served version")
    if difference >= -ROUNDING:
        return Text("it is as good as the served version")
    if passed:
        return Text("it is only a little worse than the served version")
    return Text("it is worse than the served version")


def _deep(fall: Change) -> Text:
    return Text(
        "{name} ({after} of {photos} right, was {before})",
        name=shown(fall.name),
        after=fall.after,
        photos=fall.photos,
        before=fall.before,
    )


def _scores(compared: Comparison) -> Text:
    low, high = compared.interval
    before, after = (100 * float(right.mean()) for right in (compared.before, compared.after))
    return Text(
        "{after:.1f}% of {photos} test photos right against {before:.1f}% ({difference:+.1f} points, {sure}% sure"
        " between {low:+.1f} and {high:+.1f})",
        photos=len(compared.truth),
        after=after,
        before=before,
        difference=compared.difference,
        sure=CONFIDENCE,
        low=low,
        high=high,
    )


def _changed(added: Sequence[str], removed: Sequence[str]) -> list[Text]:
    lines = [Text("new: {names}", names=_some(list(map(shown, added))))] if added else []
    return [*lines, Text("gone: {names}", names=_some(list(map(shown, removed))))] if removed else lines


def _joined(first: Text, others: Iterable[Text]) -> Text:
    for other in others:
        first = Text("{first}; {second}", first=first, second=other)
    return first


def _some(names: Sequence[str]) -> Text:
    some = _listed(names[:NAMED])
    return Text("{names} and {count} more", names=some, count=len(names) - NAMED) if len(names) > NAMED else some


def _listed(names: Sequence[str]) -> Text:
    first, *others = names
    listed = first if isinstance(first, Text) else Text("{name}", name=first)
    for other in others:
        listed = Text("{names}, {name}", names=listed, name=other)
    return listed
