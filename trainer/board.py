"""What TensorBoard shows of a fit while it goes on."""

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self

import tensorflow as tf

from trainer.curve import Point

# TensorBoard overlays what has the same tag in different folders.
_PLACES = {
    "train_loss": ("train", "loss"),
    "train_accuracy": ("train", "accuracy"),
    "validation_loss": ("validation", "loss"),
    "validation_accuracy": ("validation", "accuracy"),
    "learning_rate": ("train", "learning rate"),
}


class Board:
    """Writes event files below `folder`, one point at a time; each can be seen at once.

    It begins anew with the points `before`, which a run that is taken up again has already, so none is there twice.
    `unit` is that of a curve: an epoch is its own step; strengths of regularisation are counted from 1.
    """

    def __init__(self, folder: Path, unit: str = "epoch", before: Sequence[Point] = ()) -> None:
        self._folder = folder
        self._unit = unit
        self._before = before
        self._count = 0
        self._writers: dict[str, tf.summary.SummaryWriter] = {}

    def __enter__(self) -> Self:
        shutil.rmtree(self._folder, ignore_errors=True)
        self._writers = {
            name: tf.summary.create_file_writer(str(self._folder / name)) for name in ("train", "validation")
        }
        for point in self._before:
            self.point(point)
        return self

    def __exit__(self, *_: object) -> None:
        for writer in self._writers.values():
            writer.close()

    def point(self, point: Point) -> None:
        """Write what was measured at a point."""
        self._count += 1
        step = round(point.at) if self._unit == "epoch" else self._count
        for field, (writer, tag) in _PLACES.items():
            self._scalar(writer, tag, getattr(point, field), step)
        if self._unit != "epoch":
            self._scalar("train", self._unit, point.at, step)
        for writer in self._writers.values():
            writer.flush()

    def text(self, title: str, facts: Mapping[str, object]) -> None:
        """Write a table of facts, such as what a run was asked to do."""
        rows = "".join(f"| {name} | {value} |\n" for name, value in facts.items())
        with self._writers["train"].as_default(step=0):
            tf.summary.write(title, f"| | |\n|---|---|\n{rows}", metadata=_kind("text", "DATA_CLASS_TENSOR"))

    def _scalar(self, writer: str, tag: str, value: float | None, step: int) -> None:
        if value is not None:
            with self._writers[writer].as_default(step=step):
                tf.summary.write(tag, tf.constant(value, tf.float32), metadata=_kind("scalars", "DATA_CLASS_SCALAR"))


def _kind(plugin: str, data_class: str) -> tf.compat.v1.SummaryMetadata:
    """Which part of TensorBoard shows a value; tf.summary.scalar says it too, but wants TensorBoard to be installed."""
    metadata = tf.compat.v1.SummaryMetadata(data_class=data_class)
    metadata.plugin_data.plugin_name = plugin
    return metadata
