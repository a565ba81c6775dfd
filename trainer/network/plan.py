"""How a whole network is to be trained: a run's options, and the settings for what they leave open."""

import json
from dataclasses import asdict, dataclass
from typing import Self

from storage.runs import RunOptions
from storage.settings import Augmentation, Mode, Settings

FULL_RATE = 1e-3
SCRATCH_RATE = 3e-3


@dataclass(frozen=True)
class Plan:
    """`learning_rate` is that of the last layer at its highest; `steps` 0 is as the epochs say.

    Earlier groups of layers learn at `rate_decay` of the rate of the group after them. `adapt` is whether the
    statistics of batch normalisation follow the photos, `balanced` whether every class weighs the same.
    """

    mode: Mode
    seed: int
    batch_size: int
    epochs: int
    steps: int
    learning_rate: float
    layer_groups: int
    rate_decay: float
    adapt: bool
    weight_decay: float
    label_smoothing: float
    warm_up: float
    patience: int
    balanced: bool
    mixed_precision: bool
    augmentation: Augmentation

    @classmethod
    def of(cls, settings: Settings, options: RunOptions) -> Self:
        training, network = settings.training, settings.network
        scratch = options.mode == "scratch"
        rate = options.learning_rate or network.learning_rate or (SCRATCH_RATE if scratch else FULL_RATE)
        return cls(
            mode=options.mode,
            seed=options.seed,
            batch_size=options.batch_size or training.batch_size,
            epochs=options.epochs or network.epochs,
            steps=options.steps or network.steps,
            learning_rate=rate,
            layer_groups=1 if scratch else network.layer_groups,  # Without a start, no layer knows more than another.
            rate_decay=1.0 if scratch else network.rate_decay,
            adapt=scratch or network.batch_norm == "adapt",
            weight_decay=network.weight_decay,
            label_smoothing=network.label_smoothing,
            warm_up=network.warm_up,
            patience=network.patience,
            balanced=training.class_weights == "balanced",
            mixed_precision=network.mixed_precision,
            augmentation=settings.augmentation,
        )

    def document(self) -> str:
        """The plan as JSON, the same for the same plan."""
        return json.dumps({**asdict(self), "augmentation": self.augmentation.model_dump()}, sort_keys=True)
