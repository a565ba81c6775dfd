"""What TensorBoard shows of a fit while it goes on."""

import shutil
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
# What tf.summary.scalar says of a value, too; but that wants TensorBoard to be installed.
_SCALAR = tf.compat.v1.SummaryMetadata(data_class="DATA_CLASS_SCALAR", plugin_data={"plugin_name": "scalars"})


class Board:
    """Writes event files below `folder`, one point at a time; each can be seen at once.

    It begins anew with each fit: one that is taken up again tells its points once more. `unit` is that of a curve. A
    step is the number of points before it, which is the epoch where the first one is the start.
    """

    def __init__(self, folder: Path, unit: str = "epoch") -> None:
        self._folder = folder
        self._unit = unit
        self._step = 0
        self._last = -1.0
        self._writers: dict[str, tf.summary.SummaryWriter] = {}

    def __enter__(self) -> Self:
        self._begin()
        return self

    def __exit__(self, *_: object) -> None:
        self._close()

    def point(self, point: Point) -> None:
        """Write what was measured at a point; an epoch that is not after the last one begins the fit anew."""
        if self._unit == "epoch" and point.at <= self._last:
            self._begin()
        for field, (writer, tag) in _PLACES.items():
            self._scalar(writer, tag, getattr(point, field))
        self._scalar("train", self._unit, point.at)
        for writer in self._writers.values():
            writer.flush()
        self._step, self._last = self._step + 1, point.at

    def _begin(self) -> None:
        self._close()
        shutil.rmtree(self._folder, ignore_errors=True)
        self._writers = {
            name: tf.summary.create_file_writer(str(self._folder / name)) for name in ("train", "validation")
        }
        self._step = 0

    def _close(self) -> None:
        for writer in self._writers.values():
            writer.close()

    def _scalar(self, writer: str, tag: str, value: float | None) -> None:
        if value is not None:
            with self._writers[writer].as_default(step=self._step):
                tf.summary.write(tag, tf.constant(value, tf.float32), metadata=_SCALAR)
