"""What a report says of a run, to people and to programs."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from finished import CURVE, calibration, evaluation, facts
from hypothesis import given
from hypothesis import strategies as st

from storage.texts import Text
from trainer.gate import Verdict
from trainer.report import report
from trainer.report.facts import Facts, wilson
from trainer.report.page import markdown
from trainer.report.report import document
from trainer.snapshot import Changes

CLASSES = ("rose", "ox-eye_daisy", "向日葵")
# Of four roses two are found, one is taken for a daisy surely, one for a sunflower unsurely; a daisy for a rose.
ANSWERS = [(0, 0, 0.9), (0, 0, 0.8), (0, 1, 0.95), (0, 2, 0.5), (1, 1, 0.9), (1, 0, 0.7), (2, 2, 0.99)]


@pytest.fixture
def run(tmp_path: Path) -> Facts:
    return facts(tmp_path, CLASSES, ANSWERS)


def test_scores_of_a_class(run: Facts) -> None:
    """Recall is of its photos, precision of the answers that named it, and F1 lies between."""
    rose, daisy, sunflower = run.scores
    assert (rose.recall, rose.precision) == (2 / 4, 2 / 3)
    assert rose.f1 == pytest.approx(2 * (1 / 2) * (2 / 3) / (1 / 2 + 2 / 3))
    assert (daisy.recall, daisy.precision, sunflower.precision) == (1 / 2, 1 / 2, 1 / 2)
    assert rose.total == 34


def test_class_without_test_photos_has_no_shares(tmp_path: Path) -> None:
    """What nobody measured is not told as 0 %."""
    rose, daisy = facts(tmp_path, ("rose", "daisy"), [(0, 0, 0.9)]).scores
    assert (rose.recall, rose.precision, rose.f1) == (1, 1, 1)
    assert (daisy.recall, daisy.precision, daisy.f1) == (None, None, None)


def test_mix_ups_are_told_in_words(run: Facts) -> None:
    """Who is wrong how often, as a person would say it; that of the smaller class comes first among equals."""
    told = [line for line in markdown(run, ()).splitlines() if "was taken for" in line]
    assert told == [
        "- **ox-eye daisy** was taken for **rose** 1 of 2 times",
        "- **rose** was taken for **ox-eye daisy** 1 of 4 times",
        "- **rose** was taken for **向日葵** 1 of 4 times",
    ]


def test_surest_mistake_comes_first(run: Facts) -> None:
    """They are what most needs looking at: often the label is wrong and not the answer."""
    assert [round(one.probability, 2) for one in run.mistakes] == [0.95, 0.7, 0.5]


def test_thin_classes_are_told_what_they_lack(tmp_path: Path) -> None:
    """Have I labelled enough? Those with the fewest photos first, with how many more."""
    page = markdown(facts(tmp_path, CLASSES, ANSWERS, learnt=8), ())
    thin = [line for line in page.splitlines() if line.endswith("more")]
    assert thin == [
        "- **向日葵** has 9: 21 more",
        "- **ox-eye daisy** has 10: 20 more",
        "- **rose** has 12: 18 more",
    ]
    assert "Every class has 30 photos or more" in markdown(facts(tmp_path, CLASSES, ANSWERS), ())


def test_hundreds_of_thin_classes_make_a_page_that_can_be_read(tmp_path: Path) -> None:
    """Ten are named, the others counted; the table has all."""
    classes = [f"class {number}" for number in range(300)]
    page = markdown(facts(tmp_path, classes, [(number % 9, 9, 0.5) for number in range(20)], learnt=1), ())
    assert "- and 290 more classes" in page
    assert "| 299 | class 299 | 1 |" in page


def test_few_test_photos_promise_little(run: Facts) -> None:
    """Four of seven right is told as a range that is wide."""
    assert "4 answers were right" in markdown(run, ())
    assert "expect 25% to 84%" in markdown(run, ())


@given(judged=st.integers(1, 10**6), data=st.data())
def test_interval_of_a_share(judged: int, data: st.DataObject) -> None:
    """It lies between 0 and 1 and around the share, and is the mirror image for what is wrong."""
    right = data.draw(st.integers(0, judged))
    low, high = wilson(right, judged)
    assert 0 <= low <= right / judged + 1e-12
    assert right / judged - 1e-12 <= high <= 1
    assert wilson(judged - right, judged) == pytest.approx((1 - high, 1 - low))


def test_without_test_photos_nothing_is_claimed(tmp_path: Path) -> None:
    """A handful of photos makes a version, and a report that says that nobody knows how good it is."""
    untested = facts(tmp_path, CLASSES, [])
    page = markdown(untested, ())
    assert page.startswith("# Version 7: untested\n")
    assert "nobody knows how good it is" in page
    assert "nan" not in page
    assert document(untested)["metrics"] == {
        "test_photos": 0,
        "test_accuracy": None,
        "test_accuracy_interval": None,
        "top5_accuracy": None,
        "served_accuracy": None,
    }


def test_what_changed_is_told(run: Facts) -> None:
    """Photos and classes that came and went since the served version; or why that cannot be said."""
    changed = replace(run, served_version=6, changes=Changes(10, 2, 1, ("tulip",), ()))
    page = markdown(changed, ())
    assert "Since version 6, 10 photos came, 2 went, and 1 got another class." in page
    assert "New classes:\n\n- **tulip**" in page
    assert "nothing was served before" in markdown(run, ())
    assert "not known any more" in markdown(replace(run, served_version=6), ())


def test_refused_version_says_so_at_the_top(run: Facts) -> None:
    """A candidate that is kept back is the first thing to know."""
    page = markdown(replace(run, verdict=Verdict(False, Text("it is worse"))), ())
    assert "Version 7 is kept, but not served, because it is worse." in page


def test_sureness_is_measured_on_test_photos(run: Facts) -> None:
    """Of seven answers five are sure, and of those four are right."""
    sure = replace(run, calibration=calibration())
    assert sure.reliability
    assert (sure.reliability.sure_share, sure.reliability.sure_precision) == (5 / 7, 4 / 5)
    page = markdown(sure, ())
    assert f"{100 * sure.reliability.ece_after:.1f} points after" in page
    assert "“not sure” where its best answer is below 75%" in page
    assert "sure of 71% of the test photos, and 80% of those were right" in page
    never = replace(run, calibration=replace(calibration(), sure_above=1.0))
    assert "It always says “not sure”" in markdown(never, ())
    assert "no photos by which to find out" in markdown(run, ())


def test_weights_against_imbalance_are_shown(run: Facts) -> None:
    """What a photo of each class counted for stands in its row."""
    page = markdown(replace(run, class_weights=np.array([0.5, 1.25, 2.0])), ())
    row = next(line for line in page.splitlines() if line.startswith("| 1 "))
    assert row == "| 1 | ox-eye daisy | 32 | 30 | 2 | 50% | 50% | 50% | 1.25 |"


def test_names_mean_nothing_to_markdown(tmp_path: Path) -> None:
    """Names and people can hold what Markdown and HTML would take for theirs."""
    classes = ("a|b_<b>", "*c*&amp;[d](e)`")
    page = markdown(facts(tmp_path, classes, [(0, 1, 0.9)], details={"note": "two\nlines|"}), ())
    assert r"**a\|b \<b\>** was taken for **\*c\*\&amp;\[d\](e)\`**" in page
    assert "| note | two lines\\| |" in page


def test_report_is_in_the_folder_whole(run: Facts, tmp_path: Path) -> None:
    """The page names the pictures that lie beside it, and nothing unfinished is left."""
    report.write(replace(run, curve=CURVE), tmp_path / "run", Path.read_bytes)
    names = {"report.json", "report.md", "curves.png", "confusion.png", "mistakes.jpg"}
    assert {path.name for path in (tmp_path / "run").iterdir()} == names
    page = (tmp_path / "run" / "report.md").read_text("utf-8")
    assert [name for name in sorted(names) if f"({name})" in page] == ["confusion.png", "curves.png", "mistakes.jpg"]


def test_attempt_that_was_cut_short_leaves_no_old_picture(run: Facts, tmp_path: Path) -> None:
    """A run that is taken up again and answers all rightly has no sheet of mistakes, though it had one before."""
    report.write(run, tmp_path / "run", Path.read_bytes)
    good = [(truth, truth, 0.9) for truth, _, _ in ANSWERS]
    report.write(replace(run, candidate=evaluation(tmp_path, CLASSES, good)), tmp_path / "run", Path.read_bytes)
    assert not (tmp_path / "run" / "mistakes.jpg").exists()
    page = (tmp_path / "run" / "report.md").read_text("utf-8")
    assert "mistakes.jpg" not in page
    assert "No test photo was answered wrongly." in page


def test_document_is_plain_json(run: Facts, tmp_path: Path) -> None:
    """Any reader of JSON takes it, and finds figures that agree with the page; what is not a number is null."""
    odd = replace(CURVE, points=(*CURVE.points, replace(CURVE.points[0], train_loss=float("nan"))))
    report.write(replace(run, calibration=calibration(), curve=odd), tmp_path / "run", Path.read_bytes)
    told = json.loads((tmp_path / "run" / "report.json").read_text("utf-8"), parse_constant=pytest.fail)
    assert told["metrics"]["test_accuracy"] == pytest.approx(4 / 7)
    assert told["photos"] == {"train": 90, "validation": 0, "test": 7}
    assert told["classes"][2]["name"] == "向日葵"
    assert told["mix_ups"][0] == {"truth": 1, "answer": 0, "count": 1, "judged": 2}
    assert told["mistakes"][0]["sha256"] == run.candidate.photos[2].sha256
    assert told["calibration"]["test"]["sure_precision"] == 4 / 5
    assert told["curve"]["points"][-1]["train_loss"] is None
