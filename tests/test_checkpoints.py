"""Checkpoints: whole or not used, the newest first, each for its own purpose."""

from pathlib import Path

import numpy as np
import pytest

from trainer.curve import Point
from trainer.network.checkpoints import KEPT, Checkpoints
from trainer.network.course import Course

PURPOSE = "0123456789abcdef"


def _write(folder: Path, *steps: int, purpose: str = PURPOSE) -> list[Path]:
    """Checkpoints of these steps, and the files they left, from the first to the last."""
    for step in steps:
        Checkpoints(folder, purpose).write(step, {"step": np.array(step), "weights": np.arange(1000) * step})
    return sorted(folder.glob(f"{purpose}-*"))


def _newest(folder: Path) -> int | None:
    arrays = Checkpoints(folder, PURPOSE).newest()
    if arrays is not None:
        np.testing.assert_array_equal(arrays["weights"], np.arange(1000) * arrays["step"])
    return None if arrays is None else int(arrays["step"])


def test_newest_comes_back_and_two_are_kept(tmp_path: Path) -> None:
    """Of many checkpoints the newest is read, also past a power of ten, and no more than two stay."""
    assert _newest(tmp_path / "none") is None
    assert len(_write(tmp_path, 8, 9, 10, 11)) == KEPT
    assert _newest(tmp_path) == 11


def test_torn_checkpoint_is_never_used(tmp_path: Path) -> None:
    """A newest checkpoint that was cut at any of many places, or has one bit flipped, is passed over for the other."""
    _, path = _write(tmp_path, 1, 2)
    whole = path.read_bytes()
    places = np.random.default_rng(0).integers(0, len(whole), 50)
    for place in (0, len(whole) - 1, *places):
        path.write_bytes(whole[:place])
        assert _newest(tmp_path) == 1
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        assert _newest(tmp_path) == 1
    path.write_bytes(whole)
    assert _newest(tmp_path) == 2


def test_all_damaged_is_as_none(tmp_path: Path) -> None:
    """Where no checkpoint is whole, the fit begins at its beginning."""
    for path in _write(tmp_path, 1, 2):
        path.write_bytes(b"")
    assert _newest(tmp_path) is None


def test_unfinished_write_is_removed(tmp_path: Path) -> None:
    """What a kill left of a write is cleared away and not read."""
    _write(tmp_path, 1)
    (tmp_path / ".new-0123").write_bytes(b"half")
    assert _newest(tmp_path) == 1
    assert not (tmp_path / ".new-0123").exists()


def test_purposes_do_not_meet(tmp_path: Path) -> None:
    """Checkpoints of another task in the same folder are neither read nor removed."""
    other = _write(tmp_path, 50, 60, purpose="f" * 16)
    _write(tmp_path, 1, 2, 3)
    assert _newest(tmp_path) == 3
    Checkpoints(tmp_path, PURPOSE).clear()
    assert _newest(tmp_path) is None
    assert sorted(tmp_path.iterdir()) == other


@pytest.mark.parametrize("points", [[], [Point(0.0), Point(1.0, 0.5, 0.75, None, None, 1e-3)]])
def test_course_comes_back_as_it_was(tmp_path: Path, points: list[Point]) -> None:
    """How a fit has gone survives a checkpoint, figures that were not measured included."""
    course = Course(batch_size=8, step=12, best=1, least=0, points=points, weights=[np.arange(3.0), np.ones((2, 2))])
    course.losses = np.array([0.5, 0.25])
    course.sums.add(1.5, 3, 4)
    Checkpoints(tmp_path, PURPOSE).write(12, course.arrays())
    back = Course.of(Checkpoints(tmp_path, PURPOSE).newest() or {})
    assert (back.batch_size, back.step, back.best, back.least, back.points) == (8, 12, 1, 0, points)
    assert back.losses.tolist() == [0.5, 0.25]
    assert back.sums.means() == course.sums.means()
    assert [array.tolist() for array in back.weights] == [[0.0, 1.0, 2.0], [[1.0, 1.0], [1.0, 1.0]]]


def test_later_epoch_is_kept_unless_it_is_clearly_worse() -> None:
    """Of two epochs that the validation photos cannot tell apart the later is kept; patience counts from the best."""
    course, first = Course(batch_size=8), np.linspace(0.4, 0.6, 30)
    assert course.add(Point(0.0), first)
    assert course.add(Point(1.0), first + 0.001 + np.tile([0.05, -0.05], 15))
    assert not course.add(Point(2.0), first + np.linspace(0.1, 0.3, 30))
    assert (course.best, course.least, course.worse(0)) == (1, 0, 2)
    assert course.add(Point(3.0), first - 0.01)
    assert (course.best, course.least, course.worse(0)) == (3, 3, 0)
