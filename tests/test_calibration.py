"""Percentages that come true, and an honest "not sure"."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from trainer.calibration import Calibration, calibrate, calibration_error

Labels = NDArray[np.int64]


def _answers(
    count: int, seed: int = 0, *, too_sure: float = 1.0, classes: int = 5
) -> tuple[NDArray[np.float32], Labels]:
    """Logits whose probabilities come true, times `too_sure`, and the truth."""
    random = np.random.default_rng(seed)
    logits = random.normal(0, 2.5, (count, classes))
    odds = np.exp(logits)
    truth = (random.random((count, 1)) > np.cumsum(odds / odds.sum(axis=1, keepdims=True), axis=1)).sum(axis=1)
    return (logits * too_sure).astype(np.float32), np.minimum(truth, classes - 1)


def _probabilities(logits: NDArray[np.float32], temperature: float) -> NDArray[np.float32]:
    odds = np.exp((logits - logits.max(axis=1, keepdims=True)) / temperature)
    probabilities: NDArray[np.float32] = (odds / odds.sum(axis=1, keepdims=True)).astype(np.float32)
    return probabilities


@pytest.mark.parametrize("too_sure", [0.4, 1.0, 3.0])
def test_temperature_undoes_what_is_too_sure_or_not_sure_enough(too_sure: float) -> None:
    """Logits that were multiplied by a factor are found to need that temperature, and their percentages come true."""
    found = calibrate(*_answers(20_000, too_sure=too_sure), precision=0.95)
    assert found.temperature == pytest.approx(too_sure, rel=0.05)
    assert found.ece_after < 0.02
    assert found.ece_after < found.ece_before or too_sure == 1.0


def test_sure_answers_are_right_as_often_as_was_asked() -> None:
    """On photos that had no part in the choice, the sure answers have the precision asked for, and as often sure."""
    for precision in (0.8, 0.9, 0.95):
        found = calibrate(*_answers(2000, too_sure=2.0), precision)
        logits, truth = _answers(5000, seed=1, too_sure=2.0)
        there = found.on(_probabilities(logits, found.temperature), truth)
        assert there.sure_precision == pytest.approx(precision, abs=0.03)
        assert there.sure_share == pytest.approx(found.sure_share, abs=0.05)
        assert there.ece_after < there.ece_before


@pytest.mark.parametrize("count", [10, 20, 40])
def test_few_photos_promise_no_more_than_is_kept(count: int) -> None:
    """Thresholds chosen on a handful of photos keep their promise on average over many such handfuls."""
    sure = right = 0.0
    logits, truth = _answers(2000, seed=999)
    for seed in range(60):
        found = calibrate(*_answers(count, seed), precision=0.9)
        there = found.on(_probabilities(logits, found.temperature), truth)
        sure += there.sure_share
        right += there.sure_share * (there.sure_precision or 0.0)
    assert right / sure > 0.88
    assert sure / 60 > 0.15


def test_perfect_record_on_a_few_photos_is_not_trusted_blindly() -> None:
    """Three right answers make percentages a little bolder, not certainties, and leave room for less certain ones."""
    logits = np.array([[3, 0, 0], [0, 3, 0], [0, 0, 3]], np.float32)
    found = calibrate(logits, np.arange(3), precision=0.9)
    assert 0.7 < found.temperature < 1
    assert found.sure_above == pytest.approx(0.9)
    assert found.sure_share == found.sure_precision == 1


def test_precision_out_of_reach_makes_nothing_sure() -> None:
    """A network that guesses is never sure, and that is said plainly."""
    random = np.random.default_rng(0)
    logits, truth = random.normal(0, 3, (300, 4)).astype(np.float32), random.integers(0, 4, 300)
    found = calibrate(logits, truth, precision=0.95)
    assert (found.sure_above, found.sure_share, found.sure_precision) == (1, 0, None)
    assert found.temperature > 2


def test_without_photos_nothing_is_claimed() -> None:
    """With nothing to measure on, logits stay as they are and no threshold is made up."""
    found = calibrate(np.zeros((0, 3), np.float32), np.zeros(0, np.int64), precision=0.95)
    assert found.temperature == 1
    assert found.sure_above is found.sure_precision is None
    assert math.isnan(found.ece_before)
    there = found.on(np.full((4, 3), 1 / 3, np.float32), np.zeros(4, np.int64))
    assert (there.sure_share, there.sure_precision) == (0, None)


def test_error_is_what_the_definition_gives() -> None:
    """By hand: one bin of confidence 0.9 with half of it right, one of 0.6 all right, weighed by their photos."""
    probabilities = np.array([[0.9, 0.1], [0.9, 0.1], [0.6, 0.4]], np.float32)
    assert calibration_error(probabilities, np.array([0, 1, 0])) == pytest.approx((0.8 + 0.4) / 3)
    assert calibration_error(np.array([[1.0, 0.0]], np.float32), np.array([0])) == 0


@given(
    st.lists(st.lists(st.floats(-1e4, 1e4, width=32), min_size=3, max_size=3), max_size=12),
    st.floats(0.01, 0.99),
    st.data(),
)
def test_any_answers_give_usable_figures(rows: list[list[float]], precision: float, data: st.DataObject) -> None:
    """However odd the logits, the temperature is positive, shares are shares, and the threshold keeps its promise."""
    logits = np.array(rows, np.float32).reshape(-1, 3)
    truth = np.array([data.draw(st.integers(0, 2)) for _ in rows], np.int64)
    found: Calibration = calibrate(logits, truth, precision)
    assert 0.04 < found.temperature < 21
    if found.sure_above is not None:
        assert 0 < found.sure_above <= 1
        assert 0 <= found.ece_after <= 1
        assert found.sure_precision is None or found.sure_above == 1 or found.sure_precision >= precision - 1e-6
