"""Which candidates are served, and what people read about it."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.photos import Photo
from storage.settings import Gate
from storage.splits import Split
from storage.texts import Text
from trainer.evaluate import Evaluation
from trainer.gate import judge

RULES = Gate()
CLASSES = ("cat", "dog", "owl")


def evaluation(truth: list[int], answers: list[int], classes: tuple[str, ...] = CLASSES, first: int = 0) -> Evaluation:
    """Photos numbered from `first`, and the classes that they are taken for; the next best is the first other one."""
    photos = tuple(Photo(f"{first + n:064x}", classes[t], Split.TEST, Path(f"{n}.jpg")) for n, t in enumerate(truth))
    probabilities = np.full((len(truth), len(classes)), 0.1, np.float32)
    probabilities[np.arange(len(truth)), answers] = 0.8
    return Evaluation(classes, photos, np.array(truth, np.int64), probabilities)


def right(*counts: tuple[int, int], classes: tuple[str, ...] = CLASSES) -> Evaluation:
    """For each class how many of how many photos are right; the others are taken for the next class."""
    truth = [name for name, (_, photos) in enumerate(counts) for _ in range(photos)]
    wrong = [(name + 1) % len(counts) for name in range(len(counts))]
    answers = [name if n < good else wrong[name] for name, (good, photos) in enumerate(counts) for n in range(photos)]
    return evaluation(truth, answers, classes)


def test_the_first_version_is_served() -> None:
    """Where there is nothing to compare with, anything that can answer is better, for the reason given."""
    verdict = judge(evaluation([0, 1], [1, 0]), Text("the served version 3 is damaged"), RULES)
    assert (verdict.promoted, verdict.reason) == (True, "the served version 3 is damaged")
    assert (verdict.difference, verdict.interval) == (None, None)


def test_an_equal_version_is_served() -> None:
    """Newer photos speak for a version that is not worse."""
    verdict = judge(evaluation([0, 1], [0, 0]), evaluation([0, 1], [1, 1]), RULES)
    assert verdict.promoted
    assert verdict.reason.startswith("it is as good as the served version: 50.0% of 2 test photos right against 50.0%")


def test_a_better_version_is_served_with_its_figures() -> None:
    """The reason gives both accuracies, the difference, and how far chance may have made it."""
    verdict = judge(right((45, 50), (48, 50)), right((40, 50), (47, 50)), RULES)
    assert verdict.promoted
    assert (verdict.photos, verdict.interval) == (100, (2, 11))
    assert verdict.reason == (
        "it is better than the served version:"
        " 93.0% of 100 test photos right against 87.0% (+6.0 points, 95% sure between +2.0 and +11.0)"
    )
    assert verdict.difference == pytest.approx(6)


def test_a_worse_version_is_kept_back() -> None:
    """One more wrong test photo is enough, and the reason gives both figures."""
    verdict = judge(evaluation([0, 1], [0, 0]), evaluation([0, 1], [0, 1]), RULES)
    assert not verdict.promoted
    assert verdict.reason.startswith("it is worse than the served version: 50.0% of 2 test photos right against 100.0%")


@pytest.mark.parametrize(("tolerance", "promoted"), [(0.0, False), (1.9, False), (2.0, True), (5.0, True)])
def test_a_version_may_be_so_much_worse(tolerance: float, promoted: bool) -> None:
    """The tolerance is in points of accuracy; a fall of exactly as much is allowed."""
    verdict = judge(right((49, 50), (49, 50)), right((50, 50), (50, 50)), Gate(tolerance=tolerance))
    assert verdict.promoted is promoted
    assert verdict.reason.startswith("it is only a little worse" if promoted else "it is worse")


def test_a_worse_version_is_served_when_a_person_insists() -> None:
    """--force overrules the gate, and the reason says so; where the gate agrees, it is not mentioned."""
    verdict = judge(evaluation([0, 1], [0, 0]), evaluation([0, 1], [0, 1]), RULES, force=True)
    assert verdict.promoted
    assert verdict.reason.startswith("promotion was forced, though it is worse than the served version: ")
    assert "forced" not in judge(right((2, 2), (2, 2)), right((1, 2), (2, 2)), RULES, force=True).reason


def test_a_version_that_forgets_one_class_is_kept_back() -> None:
    """However much better the other classes are; the reason and the verdict name the class and its photos."""
    verdict = judge(right((50, 50), (15, 20)), right((20, 50), (18, 20)), RULES)
    assert not verdict.promoted
    assert verdict.difference
    assert verdict.difference > 0
    assert verdict.reason.startswith("it recognises dog (15 of 20 right, was 18) much worse than the served version: ")
    assert [(fall.name, fall.photos, fall.before, fall.after) for fall in verdict.fallen] == [("dog", 20, 18, 15)]


@pytest.mark.parametrize(
    ("rules", "promoted"),
    [(Gate(), False), (Gate(class_drop=15), True), (Gate(class_drop=14.9), False), (Gate(class_photos=21), True)],
)
def test_a_class_falls_by_more_than_is_allowed(rules: Gate, promoted: bool) -> None:
    """Only a class with enough test photos is judged by itself, and a fall of exactly as much is allowed."""
    assert judge(right((50, 50), (15, 20)), right((20, 50), (18, 20)), rules).promoted is promoted


def test_a_new_class_is_named_and_the_others_are_compared() -> None:
    """Photos of the new class do not count, and an answer with it counts as the best of the classes that both know."""
    before = evaluation([0, 0, 1, 1], [0, 1, 1, 1], ("cat", "dog"))
    after = evaluation([0, 0, 1, 1, 2, 2], [0, 2, 1, 1, 0, 0])
    verdict = judge(after, before, RULES)
    assert verdict.promoted
    assert (verdict.photos, verdict.difference) == (4, 25)
    assert verdict.classes_added == ("owl",)
    assert verdict.reason.endswith("; new: owl")


def test_a_new_class_does_not_excuse_a_worse_version() -> None:
    """A version that knows more classes and tells the old ones apart less well is kept back."""
    verdict = judge(evaluation([0, 1, 2], [0, 0, 2]), evaluation([0, 1], [0, 1], ("cat", "dog")), RULES)
    assert not verdict.promoted
    assert verdict.reason.startswith("it is worse")
    assert verdict.reason.endswith("; new: owl")


def test_a_class_that_was_taken_away_is_named() -> None:
    """What both know is compared; the order of the classes does not matter."""
    before = evaluation([2, 0], [2, 0], ("owl", "dog", "cat"))
    verdict = judge(evaluation([0, 1], [0, 1], ("cat", "owl")), before, RULES)
    assert verdict.promoted
    assert verdict.classes_removed == ("dog",)
    assert verdict.reason.startswith("it is as good as")
    assert verdict.reason.endswith("; gone: dog")


def test_photos_that_only_one_was_asked_about_do_not_count() -> None:
    """Photos are told by their hash, so a file that is gone for one of them skews nothing."""
    verdict = judge(evaluation([0, 0, 1], [0, 0, 1]), evaluation([0, 1, 1], [1, 1, 0], first=1), RULES)
    assert (verdict.photos, verdict.difference) == (2, 50)


def test_the_reason_names_a_few_of_many_new_classes() -> None:
    """Two hundred classes at once make a reason that still fits into a chat message."""
    many = tuple(f"class_{number}" for number in range(200))
    reason = judge(evaluation([0], [0], many), evaluation([0], [0], ("cat",)), RULES).reason
    assert reason.startswith("there are no test photos that both")
    assert reason.endswith("class 9 and 190 more; gone: cat")


def test_without_test_photos_there_is_nothing_to_hold_against_a_candidate() -> None:
    """A handful of photos has no test split yet."""
    verdict = judge(evaluation([], []), evaluation([], []), RULES)
    assert verdict.promoted
    assert verdict.difference is None


answers = st.lists(st.tuples(*[st.integers(0, 2)] * 3), min_size=1, max_size=60)


@given(answers, st.booleans())
def test_verdicts_hold_together(rows: list[tuple[int, int, int]], force: bool) -> None:
    """The difference is that of the accuracies and lies in its interval; JSON can hold the verdict."""
    truth, before, after = (list(column) for column in zip(*rows, strict=True))
    candidate, served = evaluation(truth, after), evaluation(truth, before)
    verdict = judge(candidate, served, RULES, force=force)
    difference = 100 * (candidate.accuracy - served.accuracy)
    assert verdict.difference == pytest.approx(difference)
    assert verdict.interval
    low, high = verdict.interval
    assert -100 <= low <= difference + 1e-6
    assert difference - 1e-6 <= high <= 100
    assert verdict.promoted or candidate.accuracy < served.accuracy or verdict.fallen
    assert verdict.promoted or not force
    assert judge(candidate, served, RULES, force=force) == verdict
    assert json.loads(json.dumps(verdict.document()))["interval"] == list(verdict.interval)


def test_the_interval_covers_what_it_should() -> None:
    """Of 100 pairs of models whose true difference is 5 points, the interval holds it about 95 times."""
    random, photos, covered = np.random.default_rng(1), 400, 0
    for _ in range(100):
        change = random.choice([-1, 0, 1], photos, p=[0.05, 0.85, 0.1])
        before = np.where(change == 1, 1, 0)  # Wrong where the candidate is right.
        after = np.where(change == -1, 1, 0)
        truth = [0] * photos
        verdict = judge(evaluation(truth, after.tolist()), evaluation(truth, before.tolist()), RULES)
        assert verdict.interval
        covered += verdict.interval[0] <= 5 <= verdict.interval[1]
    assert 88 <= covered <= 100


def test_top_5_counts_photos_whose_class_is_among_the_best() -> None:
    """With three classes every photo's class is among the best five."""
    wrong = evaluation([0, 1, 2], [1, 2, 0])
    assert wrong.accuracy == 0
    assert wrong.top(5) == 1


def test_the_confusion_has_a_row_for_each_true_class() -> None:
    """Two owls taken for cats stand in the owls' row, in the cats' column."""
    assert evaluation([2, 2, 0], [0, 0, 0]).confusion().tolist() == [[1, 0, 0], [0, 0, 0], [2, 0, 0]]
