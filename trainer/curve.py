"""How a fit went on: what the report draws and TensorBoard shows."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Point:
    """Losses are mean log losses, accuracies shares from 0 to 1; None where it was not measured.

    The validation loss of a network is that at its best temperature, as it will be served.

    `at` is an epoch of a network (1 is the first), or a strength of regularisation of the last layer.
    """

    at: float
    train_loss: float | None = None
    train_accuracy: float | None = None
    validation_loss: float | None = None
    validation_accuracy: float | None = None
    learning_rate: float | None = None


@dataclass(frozen=True)
class Curve:
    """The `at` of the points is of `unit`: "epoch" or "regularisation"; `best` is the place of the one kept."""

    unit: str
    points: tuple[Point, ...]
    best: int
