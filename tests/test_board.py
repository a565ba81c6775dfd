"""TensorBoard's event files, read back record by record."""

from collections import defaultdict
from pathlib import Path

import tensorflow as tf

from trainer.curve import Point
from trainer.report.board import Board

Scalars = dict[tuple[str, str], list[tuple[int, float]]]


def scalars(folder: Path) -> Scalars:
    """Steps and values by folder and tag."""
    found: Scalars = defaultdict(list)
    for file in sorted(folder.rglob("events.out.tfevents.*")):
        for record in tf.data.TFRecordDataset(str(file)):
            event = tf.compat.v1.Event.FromString(record.numpy())
            for value in event.summary.value:
                assert value.metadata.plugin_data.plugin_name == "scalars"
                number = round(float(tf.make_ndarray(value.tensor)), 6)
                found[file.parent.name, value.tag].append((event.step, number))
    return dict(found)


def test_points_can_be_read_while_the_fit_goes_on(tmp_path: Path) -> None:
    """What was measured at each epoch is on the disk before the next; what was not measured is left out."""
    with Board(tmp_path) as board:
        board.point(Point(0, validation_loss=1.1, validation_accuracy=0.4))
        board.point(Point(1, 0.9, 0.5, 1.0, 0.5, 0.01))
        board.point(Point(1.5, 0.7))
        assert scalars(tmp_path) == {
            ("train", "epoch"): [(0, 0), (1, 1), (2, 1.5)],
            ("train", "loss"): [(1, 0.9), (2, 0.7)],
            ("train", "accuracy"): [(1, 0.5)],
            ("train", "learning rate"): [(1, 0.01)],
            ("validation", "loss"): [(0, 1.1), (1, 1.0)],
            ("validation", "accuracy"): [(0, 0.4), (1, 0.5)],
        }


def test_fit_that_is_taken_up_again_has_no_step_twice(tmp_path: Path) -> None:
    """Epochs that were lost with the process that did them are gone, and those that were kept are there."""
    with Board(tmp_path) as board:
        for epoch in (1, 2, 3):
            board.point(Point(epoch, 1 / epoch))
    with Board(tmp_path) as board:
        for epoch in (1, 2):
            board.point(Point(epoch, 0.1))
    assert scalars(tmp_path)["train", "loss"] == [(0, 0.1), (1, 0.1)]


def test_fit_that_begins_anew_begins_a_new_board(tmp_path: Path) -> None:
    """A fit whose batches did not fit into memory starts from the first epoch with smaller ones."""
    with Board(tmp_path) as board:
        for epoch in (0, 1, 0):
            board.point(Point(epoch, 0.5))
    assert scalars(tmp_path)["train", "loss"] == [(0, 0.5)]


def test_strengths_of_regularisation_are_counted(tmp_path: Path) -> None:
    """A step is a whole number, which a strength is not; the strength is a value of its own."""
    with Board(tmp_path, "regularisation") as board:
        board.point(Point(1.0, validation_loss=0.4))
        board.point(Point(0.1, validation_loss=0.2))
    assert scalars(tmp_path) == {
        ("train", "regularisation"): [(0, 1.0), (1, 0.1)],
        ("validation", "loss"): [(0, 0.4), (1, 0.2)],
    }
