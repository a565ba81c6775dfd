"""The head: right on real shapes of data, however few the photos, and the same every time."""

import numpy as np
import pytest
from numpy.typing import NDArray

from trainer.head import STRENGTH_UNCHOSEN, STRENGTHS, fit
from trainer.lbfgs import minimise

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
    """Two fits of the same data are equal to the last bit, whatever the seed."""
    data = (*_blobs([30, 20]), *_blobs([5, 5], seed=1))
    first, second = fit(*data, classes=2, seed=1), fit(*data, classes=2, seed=2)
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
    assert head.validation_probabilities.shape == (200, 4)
    rows = head.validation_probabilities[np.arange(200), y[200:]]
    assert head.validation_loss == pytest.approx(-np.log(rows).mean(), rel=1e-4)


@pytest.mark.parametrize("counts", [[1, 1], [1, 1, 1, 1, 1], [1, 30], [3]])
def test_tiny_data_without_validation(counts: list[int]) -> None:
    """One photo a class, or one class, is enough for a head that knows at least its own photos."""
    x, y = _blobs(counts, 0.1)
    head = fit(x, y, *_nothing(20), classes=len(counts))
    assert (head.probabilities(x).argmax(axis=1) == y).all()
    assert head.regularisation == STRENGTH_UNCHOSEN
    assert np.isnan(head.validation_accuracy)
    assert head.validation_probabilities.shape == (0, len(counts))


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


def test_lbfgs_finds_the_minimum_of_a_narrow_valley() -> None:
    """Rosenbrock's valley, the usual hard case, is followed to its end."""

    def rosenbrock(place: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        x, y = place
        gradient = np.array([-2 * (1 - x) - 400 * x * (y - x**2), 200 * (y - x**2)])
        return float((1 - x) ** 2 + 100 * (y - x**2) ** 2), gradient

    np.testing.assert_allclose(minimise(rosenbrock, np.array([-1.2, 1.0]), tolerance=1e-8), [1, 1], atol=1e-5)


def test_lbfgs_stops_where_rounding_hides_the_slope() -> None:
    """A gradient that never vanishes and points uphill ends the search instead of going round for ever."""
    place = minimise(lambda x: (float(x @ x), -2 * x), np.ones(3))
    np.testing.assert_array_equal(place, np.ones(3))
