"""TensorBoard's event files, read back record by record."""

from collections import defaultdict
from pathlib import Path

import tensorflow as tf

from trainer.board import Board
from trainer.curve import Point

Scalars = dict[tuple[str, str], list[tuple[int, float]]]


def events(folder: Path) -> list[tuple[str, tf.compat.v1.Event]]:
    """Every event below a folder, with the name of the folder it is in."""
    return [
        (file.parent.name, tf.compat.v1.Event.FromString(record.numpy()))
        for file in sorted(folder.rglob("events.out.tfevents.*"))
        for record in tf.data.TFRecordDataset(str(file))
    ]


def scalars(folder: Path) -> Scalars:
    """Steps and values by folder and tag."""
    found: Scalars = defaultdict(list)
    for name, event in events(folder):
        for value in event.summary.value:
            if value.metadata.plugin_data.plugin_name == "scalars":
                found[name, value.tag].append((event.step, round(float(tf.make_ndarray(value.tensor)), 6)))
    return dict(found)


def test_points_can_be_read_while_the_fit_goes_on(tmp_path: Path) -> None:
    """What was measured at each epoch is on the disk before the next; what was not measured is left out."""
    with Board(tmp_path) as board:
        board.point(Point(1, 0.9, 0.5, 1.1, 0.4, 0.01))
        board.point(Point(2, 0.7))
        assert scalars(tmp_path) == {
            ("train", "loss"): [(1, 0.9), (2, 0.7)],
            ("train", "accuracy"): [(1, 0.5)],
            ("train", "learning rate"): [(1, 0.01)],
            ("validation", "loss"): [(1, 1.1)],
            ("validation", "accuracy"): [(1, 0.4)],
        }


def test_resumed_run_has_no_step_twice(tmp_path: Path) -> None:
    """Epochs that were lost with the process that did them are gone, and those that were kept are there."""
    with Board(tmp_path) as board:
        for epoch in (1, 2, 3):
            board.point(Point(epoch, 1 / epoch))
    with Board(tmp_path, before=[Point(1, 1.0), Point(2, 0.5)]) as board:
        board.point(Point(3, 0.3))
    assert scalars(tmp_path) == {("train", "loss"): [(1, 1.0), (2, 0.5), (3, 0.3)]}


def test_strengths_of_regularisation_are_counted(tmp_path: Path) -> None:
    """A step is a whole number, which a strength is not; the strength is a value of its own."""
    with Board(tmp_path, "regularisation") as board:
        board.point(Point(1.0, validation_loss=0.4))
        board.point(Point(0.1, validation_loss=0.2))
    assert scalars(tmp_path) == {
        ("train", "regularisation"): [(1, 1.0), (2, 0.1)],
        ("validation", "loss"): [(1, 0.4), (2, 0.2)],
    }


def test_options_are_a_table(tmp_path: Path) -> None:
    """What the run was asked to do stands beside its curves."""
    with Board(tmp_path) as board:
        board.text("options", {"mode": "full", "seed": 3})
    texts = [value for _, event in events(tmp_path) for value in event.summary.value]
    assert [value.metadata.plugin_data.plugin_name for value in texts] == ["text"]
    assert b"| seed | 3 |" in tf.make_ndarray(texts[0].tensor).item()
