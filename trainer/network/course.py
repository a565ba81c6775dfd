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
    """`best` is the place in `points` of the one whose weights and answers are kept.

    `least` is that of the one with the least validation loss; `losses` (photos,) are its for each validation photo.
    """

    batch_size: int
    step: int = 0
    best: int = 0
    least: int = 0
    points: list[Point] = field(default_factory=list)
    sums: Sums = field(default_factory=Sums)
    weights: list[Array] = field(default_factory=list)
    logits: NDArray[np.float32] = field(default_factory=lambda: np.zeros((0, 0), np.float32))
    labels: Labels = field(default_factory=lambda: np.zeros(0, np.int64))
    losses: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))

    def worse(self, since: int) -> int:
        """How many of the points after `since` came after the one with the least loss."""
        return max(0, len(self.points) - 1 - max(self.least, since))

    def add(self, point: Point, losses: NDArray[np.float64]) -> bool:
        """Take in a point, with the loss of each validation photo, and say whether its weights are to be kept.

        They are, unless the loss is clearly above the least: by more than one standard error of the difference, photo
        by photo (the rule of Breiman et al., "Classification and Regression Trees", 1984, section 3.4.3). A few photos
        cannot tell epochs apart that differ by less, and then the later one has learnt more.
        """
        self.points.append(point)
        self.sums = Sums()
        newest = len(self.points) - 1
        above = losses - self.losses if newest else np.zeros(0)
        excess = float(above.mean()) if len(above) else 0.0
        if newest == 0 or excess < 0 or not len(losses):
            self.least, self.losses = newest, losses
        kept = len(above) < 2 or excess <= float(above.std(ddof=1)) / np.sqrt(len(above))
        if kept:
            self.best = newest
        return kept

    def curve(self) -> Curve:
        return Curve("epoch", tuple(self.points), self.best)

    def arrays(self) -> dict[str, Array]:
        """All of it, for a checkpoint."""
        columns = len(fields(Point))
        points = np.array([astuple(point) for point in self.points], dtype=np.float64)  # None turns into nan.
        return {
            "numbers": np.array([self.batch_size, self.step, self.best, self.least], np.int64),
            "points": points.reshape(-1, columns),
            "sums": np.array(astuple(self.sums)),
            "logits": self.logits,
            "labels": self.labels,
            "losses": self.losses,
            **named("best", self.weights),
        }

    @classmethod
    def of(cls, arrays: Mapping[str, Array]) -> Self:
        batch_size, step, best, least = (int(number) for number in arrays["numbers"])
        log_loss, right, photos = arrays["sums"].tolist()
        return cls(
            batch_size=batch_size,
            step=step,
            best=best,
            least=least,
            points=[_point(*row) for row in arrays["points"].tolist()],
            sums=Sums(log_loss, int(right), int(photos)),
            weights=listed("best", arrays),
            logits=arrays["logits"],
            labels=arrays["labels"],
            losses=arrays["losses"],
        )


def _point(at: float, *figures: float) -> Point:
    return Point(at, *(None if np.isnan(figure) else figure for figure in figures))


def named(name: str, arrays: list[Array]) -> dict[str, Array]:
    return {f"{name}.{place:05d}": array for place, array in enumerate(arrays)}


def listed(name: str, arrays: Mapping[str, Array]) -> list[Array]:
    """What `named` gave a name each."""
    return [array for key, array in sorted(arrays.items()) if key.startswith(f"{name}.")]
