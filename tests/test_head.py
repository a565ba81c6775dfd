"""The head: right on real shapes of data, however few the photos, and the same every time."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from trainer.head.fit import STRENGTH_UNCHOSEN, STRENGTHS, Bounds, Weighting, fit
from trainer.head.lbfgs import descend
from trainer.head.logistic import Problem, Scale
from trainer.head.rows import Joined, Rows, some

FEW = Bounds(few=300)  # So that a few thousand are many.

Matrix = NDArray[np.float32]
Labels = NDArray[np.int64]


def _blobs(counts: list[int], spread: float = 1.0, seed: int = 0, dimension: int = 20) -> tuple[Matrix, Labels]:
    """Clouds of points, one a class, around fixed centres, with columns of very different offset."""
    centres = np.random.default_rng(99).normal(0, 1, (len(counts), dimension))
    random = np.random.default_rng(seed)
    y = np.repeat(np.arange(len(counts)), counts)
    x = centres[y] + random.normal(0, spread, (len(y), dimension))
    return (x + np.linspace(-50, 50, dimension)).astype(np.float32), y


def _nothing(dimension: int) -> tuple[Matrix, Labels]:
    return np.zeros((0, dimension), np.float32), np.zeros(0, np.int64)


def test_separate_classes_are_told_apart() -> None:
    """Clouds that hardly overlap are learnt, wherever their columns' zero lies and whatever their unit."""
    unit = np.float32(1000)
    x, y = _blobs([40, 40, 40], 0.4)
    choose_x, choose_y = _blobs([8, 8, 8], 0.4, seed=1)
    head = fit(unit * x, y, unit * choose_x, choose_y, classes=3)
    x, y = _blobs([50, 50, 50], 0.4, seed=2)
    x *= unit
    probabilities = head.probabilities(x)
    assert (probabilities.argmax(axis=1) == y).mean() > 0.98
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-5)
    assert head.weights.dtype == head.bias.dtype == probabilities.dtype == np.float32
    assert (head.weights.shape, head.bias.shape) == ((20, 3), (3,))
    assert head.regularisation in STRENGTHS


def test_same_data_give_the_same_head() -> None:
    """Two fits of the same data are equal to the last bit."""
    data = (*_blobs([30, 20]), *_blobs([5, 5], seed=1))
    first, second = fit(*data, classes=2), fit(*data, classes=2)
    np.testing.assert_array_equal(first.weights, second.weights)
    np.testing.assert_array_equal(first.bias, second.bias)


def test_rare_class_is_not_drowned() -> None:
    """With 200 photos against 8, photos of the rare class are still found: classes weigh the same."""
    head = fit(*_blobs([200, 8], 2.0), *_blobs([20, 20], 2.0, seed=1), classes=2)
    x, y = _blobs([200, 200], 2.0, seed=2)
    answers = head.probabilities(x).argmax(axis=1)
    assert (answers[y == 1] == 1).mean() > 0.7


def test_noise_is_met_with_strong_regularisation() -> None:
    """Where labels have nothing to do with features, the strength chosen is strong and nothing is claimed."""
    random = np.random.default_rng(0)
    x, y = random.normal(size=(200, 50)).astype(np.float32), random.integers(0, 2, 200)
    head = fit(x[:150], y[:150], x[150:], y[150:], classes=2)
    assert head.regularisation >= 1
    assert head.probabilities(x).max() < 0.8


def test_validation_figures_come_from_a_fit_that_never_saw_them() -> None:
    """Labels of pure noise cannot be known in advance: the validation accuracy stays near chance."""
    random = np.random.default_rng(0)
    x, y = random.normal(size=(400, 300)).astype(np.float32), random.integers(0, 4, 400)
    head = fit(x[:200], y[:200], x[200:], y[200:], classes=4)
    assert head.validation_accuracy < 0.4
    assert head.validation_loss > 1.2
    np.testing.assert_array_equal(head.validation_labels, y[200:])
    np.testing.assert_allclose(
        head.validation_logits, x[200:] @ head.start_weights + head.start_bias, rtol=1e-4, atol=1e-4
    )
    assert not np.array_equal(head.start_weights, head.weights)


@pytest.mark.parametrize("counts", [[1, 1], [1, 1, 1, 1, 1], [1, 30], [3]])
def test_tiny_data_without_validation(counts: list[int]) -> None:
    """One photo a class, or one class, is enough for a head that knows at least its own photos."""
    x, y = _blobs(counts, 0.1)
    head = fit(x, y, *_nothing(20), classes=len(counts))
    assert (head.probabilities(x).argmax(axis=1) == y).all()
    assert head.regularisation == STRENGTH_UNCHOSEN
    assert np.isnan(head.validation_accuracy)
    assert np.isnan(head.validation_loss)
    assert head.validation_logits.shape == (0, len(counts))
    np.testing.assert_array_equal(head.start_weights, head.weights)


def test_class_without_training_photos_is_not_answered() -> None:
    """A class that only validation has seen does not break the fit."""
    x, y = _blobs([10, 10, 0])
    head = fit(x, y, *_blobs([2, 2, 2], seed=1), classes=3)
    assert np.isfinite(head.weights).all()
    assert np.isfinite(head.bias).all()


def test_constant_columns_do_no_harm() -> None:
    """Features that never vary, as dead channels do, are passed over without a division by zero."""
    x, y = _blobs([20, 20], 0.5)
    x[:, :5] = 3.25
    head = fit(x, y, *_nothing(20), classes=2)
    assert np.isfinite(head.weights).all()
    assert (head.probabilities(x).argmax(axis=1) == y).all()


def test_progress_goes_up_to_its_total() -> None:
    """Progress never goes back and ends at the total."""
    told: list[tuple[int, int]] = []
    fit(*_blobs([9, 9]), *_blobs([3, 3], seed=1), classes=2, progress=lambda done, total: told.append((done, total)))
    assert told == sorted(told)
    assert told[-1][0] == told[-1][1]


def test_many_classes_in_bounded_pieces() -> None:
    """More photos than fit in one piece give what one piece would: each is its own class's nearest."""
    x, y = _blobs([50] * 100, 0.3, dimension=30)
    head = fit(x, y, *_nothing(30), classes=100)
    assert (head.probabilities(x).argmax(axis=1) == y).mean() > 0.95


def test_more_photos_than_few_are_all_learnt_from() -> None:
    """With many photos the head is better than one fitted on as few as choose the strength, and judged by as few."""
    counts = [900, 300, 40]
    data = (*_blobs(counts, 2.0), *_blobs([300, 100, 20], 2.0, seed=1))
    head = fit(*data, classes=3, bounds=FEW)
    assert head.validation_logits.shape == (FEW.few, 3)
    assert set(head.validation_labels) == {0, 1, 2}
    x, y = _blobs([500] * 3, 2.0, seed=2)
    right = (head.probabilities(x).argmax(axis=1) == y).mean()
    learnt_from_few = fit(data[0][::5], data[1][::5], data[2], data[3], classes=3)
    assert right > (learnt_from_few.probabilities(x).argmax(axis=1) == y).mean()
    assert len(head.curve.points) >= 3


@pytest.mark.parametrize("weighting", ["balanced", "none"])
def test_weights_of_classes_are_told(weighting: Weighting) -> None:
    """Balanced, each class counts for as much as any other; without, each photo does; a class without photos is 0."""
    head = fit(*_blobs([30, 10, 0]), *_nothing(20), classes=3, class_weights=weighting)
    np.testing.assert_allclose(head.class_weights, [2 / 3, 2, 0] if weighting == "balanced" else [1, 1, 0])


def test_without_weights_frequent_classes_come_first() -> None:
    """Unweighted, a class with few photos is answered more rarely than with every class weighing the same."""
    data = (*_blobs([300, 10], 3.0), *_nothing(20))
    x, _ = _blobs([200, 200], 3.0, seed=2)
    rare = [fit(*data, classes=2, class_weights=how).probabilities(x)[:, 1].mean() for how in ("balanced", "none")]
    assert rare[1] < rare[0] - 0.1


def test_a_sample_stands_for_all() -> None:
    """Unweighted, the sample that chooses the strength has all classes evenly, yet says how frequent each one is."""
    data = (*_blobs([2000, 100], 3.0), *_blobs([100, 5], 3.0, seed=1))
    head = fit(*data, classes=2, class_weights="none", stop=lambda: True, bounds=FEW)
    logs = head.validation_logits - np.logaddexp.reduce(head.validation_logits, axis=1, keepdims=True)
    assert np.exp(logs)[:, 1].mean() == pytest.approx(5 / 105, abs=0.03)


def test_stop_makes_do_with_what_there_is() -> None:
    """Out of time, no further pass over many photos is made; the head is what the few have shown."""
    x, y = _blobs([600, 600], 0.4)
    told: list[int] = []
    head = fit(
        x,
        y,
        *_blobs([20, 20], 0.4, seed=1),
        classes=2,
        progress=lambda done, _: told.append(done),
        stop=lambda: True,
        bounds=FEW,
    )
    assert told == sorted(told)
    assert told[-1] == len(STRENGTHS) + 2 * FEW.passes
    assert (head.probabilities(x).argmax(axis=1) == y).mean() > 0.98


class _Counted:
    """Rows that say how many were asked for at once, as a file with more than fits in memory would."""

    def __init__(self, x: Matrix) -> None:
        self._x = x
        self.shape = x.shape[0], x.shape[1]
        self.longest = 0
        self.read = 0

    def __len__(self) -> int:
        return len(self._x)

    def __getitem__(self, part: slice, /) -> Matrix:
        rows = self._x[part]
        self.longest = max(self.longest, len(rows))
        self.read += len(rows)
        return rows


def test_large_features_are_read_in_pieces() -> None:
    """Features too large for memory give the same head as an array, never read whole, a bounded number of times."""
    x, y = _blobs([6000, 6000], 2.0, dimension=5)
    choose = _blobs([50, 50], 2.0, seed=1, dimension=5)
    expected = fit(x, y, *choose, classes=2, bounds=FEW)
    rows = _Counted(x)
    head = fit(rows, y, *choose, classes=2, bounds=replace(FEW, kept_bytes=100_000))
    np.testing.assert_array_equal(head.weights, expected.weights)
    assert rows.longest < len(x) / 2
    assert rows.read < 4 * FEW.passes * len(x)


def test_slope_is_that_of_the_loss() -> None:
    """The gradient agrees with differences of the loss in every direction, weights of photos and strength included."""
    random = np.random.default_rng(0)
    x, y = _blobs([5, 9, 7], 1.0, dimension=4)
    problem = Problem(x, y, random.uniform(0.5, 2, len(y)), 3, Scale.of(x))
    place = random.normal(0, 0.3, 15)
    _, gradient = problem.loss(place, 0.3)
    step = 1e-2
    for number in range(15):
        aside = np.eye(15)[number] * step
        difference = problem.loss(place + aside, 0.3)[0] - problem.loss(place - aside, 0.3)[0]
        assert difference / (2 * step) == pytest.approx(gradient[number], abs=1e-3)


@given(st.lists(st.integers(0, 4), min_size=1, max_size=4), st.integers(0, 18), st.integers(0, 18), st.data())
def test_joined_rows_are_one_after_another(sizes: list[int], start: int, stop: int, data: st.DataObject) -> None:
    """Any slice of joined rows, and any choice of them, is what it would be of one array."""
    parts = [np.random.default_rng(n).random((size, 3)).astype(np.float32) for n, size in enumerate(sizes)]
    whole, joined = np.concatenate(parts), Joined(tuple(parts))
    assert joined.shape == whole.shape
    assert len(joined) == len(whole)
    np.testing.assert_array_equal(joined[start:stop], whole[start:stop])
    places = np.array(
        sorted(data.draw(st.sets(st.integers(0, max(0, len(whole) - 1))))) if len(whole) else [], np.int64
    )
    rows: Rows
    for rows in (joined, whole):
        np.testing.assert_array_equal(some(rows, places), whole[places])


def test_lbfgs_finds_the_minimum_of_a_narrow_valley() -> None:
    """Rosenbrock's valley, the usual hard case, is followed to its end."""

    def rosenbrock(place: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        x, y = place
        gradient = np.array([-2 * (1 - x) - 400 * x * (y - x**2), 200 * (y - x**2)])
        return float((1 - x) ** 2 + 100 * (y - x**2) ** 2), gradient

    *places, place = descend(rosenbrock, np.array([-1.2, 1.0]), tolerance=1e-8)
    np.testing.assert_allclose(place, [1, 1], atol=1e-5)
    values = [rosenbrock(earlier)[0] for earlier in places]
    assert values == sorted(values, reverse=True)


def test_lbfgs_stops_where_rounding_hides_the_slope() -> None:
    """A gradient that never vanishes and points uphill ends the search instead of going round for ever."""
    (place,) = descend(lambda x: (float(x @ x), -2 * x), np.ones(3))
    np.testing.assert_array_equal(place, np.ones(3))
