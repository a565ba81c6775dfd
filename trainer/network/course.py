"""How a fit has gone so far: what it tells, the best weights it found, and where it goes on after a kill."""

from collections.abc import Mapping
from dataclasses import astuple, dataclass, field, fields
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from trainer.curve import Curve, Point
from trainer.network.batches import Labels

Array = NDArray[Any]


@dataclass(eq=False)
class Sums:
    """Of the photos learnt from since the last point: log losses, right answers, and how many."""

    log_loss: float = 0.0
    right: int = 0
    photos: int = 0

    def add(self, log_loss: float, right: int, photos: int) -> None:
        self.log_loss += log_loss
        self.right += right
        self.photos += photos

    def means(self) -> tuple[float | None, float | None]:
        """The mean log loss and the accuracy, or None for both where no photo was learnt from."""
        if not self.photos:
            return None, None
        return self.log_loss / self.photos, self.right / self.photos


@dataclass(eq=False)
class Course:
    """`best` is the place in `points` of the one with the least validation loss; the weights and answers are its."""

    batch_size: int
    step: int = 0
    best: int = 0
    points: list[Point] = field(default_factory=list)
    sums: Sums = field(default_factory=Sums)
    weights: list[Array] = field(default_factory=list)
    logits: NDArray[np.float32] = field(default_factory=lambda: np.zeros((0, 0), np.float32))
    labels: Labels = field(default_factory=lambda: np.zeros(0, np.int64))

    def worse(self, since: int) -> int:
        """How many of the points after `since` came after the best one."""
        return max(0, len(self.points) - 1 - max(self.best, since))

    def add(self, point: Point) -> bool:
        """Take in a point, and say whether it is the best. Where nothing is validated, the newest is."""
        self.points.append(point)
        self.sums = Sums()
        least = self.points[self.best].validation_loss
        better = len(self.points) == 1 or least is None or (point.validation_loss or 0.0) < least
        if better:
            self.best = len(self.points) - 1
        return better

    def curve(self) -> Curve:
        return Curve("epoch", tuple(self.points), self.best)

    def arrays(self) -> dict[str, Array]:
        """All of it, for a checkpoint."""
        columns = len(fields(Point))
        points = np.array([astuple(point) for point in self.points], dtype=np.float64)  # None turns into nan.
        return {
            "numbers": np.array([self.batch_size, self.step, self.best], np.int64),
            "points": points.reshape(-1, columns),
            "sums": np.array(astuple(self.sums)),
            "logits": self.logits,
            "labels": self.labels,
            **named("best", self.weights),
        }

    @classmethod
    def of(cls, arrays: Mapping[str, Array]) -> Self:
        batch_size, step, best = (int(number) for number in arrays["numbers"])
        log_loss, right, photos = arrays["sums"].tolist()
        return cls(
            batch_size=batch_size,
            step=step,
            best=best,
            points=[_point(*row) for row in arrays["points"].tolist()],
            sums=Sums(log_loss, int(right), int(photos)),
            weights=listed("best", arrays),
            logits=arrays["logits"],
            labels=arrays["labels"],
        )


def _point(at: float, *figures: float) -> Point:
    return Point(at, *(None if np.isnan(figure) else figure for figure in figures))


def named(name: str, arrays: list[Array]) -> dict[str, Array]:
    return {f"{name}.{place:05d}": array for place, array in enumerate(arrays)}


def listed(name: str, arrays: Mapping[str, Array]) -> list[Array]:
    """What `named` gave a name each."""
    return [array for key, array in sorted(arrays.items()) if key.startswith(f"{name}.")]
