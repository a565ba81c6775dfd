from pathlib import Path

import numpy as np

from storage.photos import Photo
from storage.splits import Split
from trainer.evaluate import Evaluation
from trainer.gate import judge


def evaluation(truth: list[int], answers: list[int], classes: tuple[str, ...] = ("cat", "dog", "owl")) -> Evaluation:
    photos = tuple(Photo(f"{n:064x}", classes[t], Split.TEST, Path(f"{n}.jpg")) for n, t in enumerate(truth))
    probabilities = np.full((len(truth), len(classes)), 0.1, np.float32)
    probabilities[np.arange(len(truth)), answers] = 0.8
    return Evaluation(classes, photos, np.array(truth, np.int64), probabilities)


def test_the_first_version_is_served() -> None:
    """Where there is nothing to compare with, anything that can answer is better, for the reason given."""
    verdict = judge(evaluation([0, 1], [1, 0]), "the served version 3 is damaged")
    assert (verdict.promoted, verdict.reason) == (True, "the served version 3 is damaged")


def test_an_equal_version_is_served() -> None:
    """Newer photos speak for a version that is not worse."""
    assert judge(evaluation([0, 1], [0, 0]), evaluation([0, 1], [1, 1])).promoted


def test_a_worse_version_is_kept_back() -> None:
    """One more wrong test photo is enough, and the reason gives both figures."""
    verdict = judge(evaluation([0, 1], [0, 0]), evaluation([0, 1], [0, 1]))
    assert not verdict.promoted
    assert "50.0%" in verdict.reason
    assert "100.0%" in verdict.reason


def test_a_worse_version_is_served_when_a_person_insists() -> None:
    """--force overrules the gate, and the reason says so."""
    verdict = judge(evaluation([0, 1], [0, 0]), evaluation([0, 1], [0, 1]), force=True)
    assert verdict.promoted
    assert "forced" in verdict.reason


def test_a_new_class_opens_the_gate() -> None:
    """A model that knows a new class cannot be compared with one that does not, and is wanted."""
    verdict = judge(evaluation([0, 1, 2], [0, 0, 0]), evaluation([0, 1], [0, 1], ("cat", "dog")))
    assert verdict.promoted
    assert "+owl" in verdict.reason


def test_the_reason_names_a_few_of_many_new_classes() -> None:
    """Two hundred classes at once make a reason that still fits into a chat message."""
    many = tuple(f"class {number}" for number in range(200))
    reason = judge(evaluation([0], [0], many), evaluation([0], [0], ("cat",))).reason
    assert reason.endswith("+class 9 and 191 more")


def test_without_test_photos_there_is_nothing_to_hold_against_a_candidate() -> None:
    """A handful of photos has no test split yet."""
    assert judge(evaluation([], []), evaluation([], [])).promoted


def test_top_5_counts_photos_whose_class_is_among_the_best() -> None:
    """With three classes every photo's class is among the best five."""
    wrong = evaluation([0, 1, 2], [1, 2, 0])
    assert wrong.accuracy == 0
    assert wrong.top(5) == 1


def test_the_confusion_has_a_row_for_each_true_class() -> None:
    """Two owls taken for cats stand in the owls' row, in the cats' column."""
    assert evaluation([2, 2, 0], [0, 0, 0]).confusion().tolist() == [[1, 0, 0], [0, 0, 0], [2, 0, 0]]
