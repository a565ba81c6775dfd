"""A whole network under its last layer, and what changes its weights: on every GPU of the host, or on the CPU."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, pairwise
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from storage.images import Pixels
from trainer.backbones.zoo import Backbone, layers_of
from trainer.network.batches import Targets
from trainer.network.plan import Plan

MOMENTUM = 0.9  # Of batch normalisation's statistics; Keras' own 0.99 is for runs of many thousands of steps.
HALF = (8, 0)  # The compute capability from which on NVIDIA's GPUs are faster in bfloat16.

Array = NDArray[Any]
Arrays = list[Array]


@dataclass(frozen=True, eq=False)
class Start:
    """What a fit starts from: logits are the backbone's features @ weights + bias.

    `weights` float32 (features, classes) and `bias` (classes,) must not have been fitted on the validation photos:
    otherwise nothing that is learnt later can look better on them.
    """

    backbone: Backbone
    weights: NDArray[np.float32]
    bias: NDArray[np.float32]


class Learner:
    """`steps` is how many there will be in all: the rate of learning rises, and falls to nothing at the last one.

    `devices` are TensorFlow's names of those to share each batch; none means all GPUs.
    """

    def __init__(self, start: Start, plan: Plan, batch_size: int, steps: int, devices: Sequence[str] = ()) -> None:
        self._strategy = _strategy(devices)
        self._plan = plan
        self._batch_size = batch_size
        with self._strategy.scope():
            self._network, self._head = _copy(start, plan)
            self._optimisers = [_optimiser(plan, rate, steps) for rate in rates(plan)]
            self._groups = [*groups(self._network, plan.layer_groups), self._head.trainable_variables]
            for optimiser, group in zip(self._optimisers, self._groups, strict=True):
                optimiser.exclude_from_weight_decay([variable for variable in group if len(variable.shape) < 2])
                optimiser.build(group)
        self._step = tf.function(self._learn, autograph=False)
        self._answer = tf.function(lambda pixels: self._logits(pixels, adapt=False), autograph=False)

    def step(self, pixels: Pixels, targets: Targets) -> tuple[float, float, int, int]:
        """Learn from a batch.

        Its loss as it was minimised, and before the step: the sum of the log losses, how many answers were right, and
        of how many.
        """
        parts = [self._shared(array) for array in (pixels, targets)]
        loss, log_loss, right, photos = (float(value) for value in self._step(*parts))
        return loss, log_loss, int(right), int(photos)

    def logits(self, pixels: Pixels) -> NDArray[np.float32]:
        """float32 (n, classes) for pixels (n, size, size, 3), as an exported network would have them."""
        size = -(-len(pixels) // self._batch_size) * self._batch_size
        padded = np.zeros((size, *pixels.shape[1:]), np.uint8)  # One shape, so that one graph is built.
        padded[: len(pixels)] = pixels
        parts = np.split(padded, size // self._batch_size)
        return np.concatenate([self._answer(tf.constant(part)).numpy() for part in parts])[: len(pixels)]

    @property
    def learning_rate(self) -> float:
        """The last layer's, at the next step."""
        return float(self._optimisers[-1].learning_rate)

    @property
    def weights(self) -> Arrays:
        """Of the backbone's network in its order, then the last layer's weights and bias."""
        return [variable.value.numpy() for variable in self._weights]

    @property
    def state(self) -> Arrays:
        """The weights and all else that the next step depends on."""
        return [variable.value.numpy() for variable in self._state]

    def restore(self, state: Arrays) -> None:
        """Put back what `state` gave. Raises ValueError where it is of another network."""
        for variable, array in zip(self._state, state, strict=True):
            variable.assign(array)

    @property
    def _weights(self) -> list[Any]:
        return [*self._network.weights, *self._head.weights]

    @property
    def _state(self) -> list[Any]:
        return [*self._weights, *(variable for optimiser in self._optimisers for variable in optimiser.variables)]

    def _shared(self, array: Array) -> Any:
        """The batch as one part for each device."""
        parts = np.array_split(array, self._strategy.num_replicas_in_sync)
        return self._strategy.experimental_distribute_values_from_function(
            lambda context: tf.constant(parts[context.replica_id_in_sync_group])
        )

    def _learn(self, pixels: Any, targets: Any) -> Any:
        figures = self._strategy.run(self._learn_part, args=(pixels, targets))
        return [self._strategy.reduce(tf.distribute.ReduceOp.SUM, figure, axis=None) for figure in figures]

    def _learn_part(self, pixels: Any, targets: Any) -> Any:
        with tf.GradientTape() as tape:
            logs = tf.nn.log_softmax(self._logits(pixels, adapt=self._plan.adapt))
            loss = -tf.reduce_sum(targets * logs) / self._batch_size
        gradients = iter(tape.gradient(loss, [variable.value for group in self._groups for variable in group]))
        for optimiser, group in zip(self._optimisers, self._groups, strict=True):
            optimiser.apply([next(gradients) for _ in group], group)
        return (loss, *_figures(logs, targets))

    def _logits(self, pixels: Any, *, adapt: bool) -> Any:
        return self._head(tf.cast(self._network(pixels, training=adapt), tf.float32))


def rates(plan: Plan) -> list[float]:
    """The highest rate of learning of each group of layers, from the pixels on; the last is the last layer's."""
    return [plan.learning_rate * plan.rate_decay**distance for distance in range(plan.layer_groups, -1, -1)]


def groups(network: keras.Model, count: int) -> list[list[Any]]:
    """What the layers learn, from the pixels on, in `count` groups of as many layers each."""
    learning = [layer.trainable_variables for layer in layers_of(network) if layer.trainable_variables]
    edges = np.linspace(0, len(learning), count + 1).round().astype(int)
    return [list(chain(*learning[start:end])) for start, end in pairwise(edges)]


def _strategy(devices: Sequence[str]) -> Any:
    found = devices or [gpu.name for gpu in tf.config.list_logical_devices("GPU")]
    return tf.distribute.MirroredStrategy(found) if len(found) > 1 else tf.distribute.get_strategy()


def _copy(start: Start, plan: Plan) -> tuple[keras.Model, keras.layers.Layer]:
    """The network and its last layer with variables of their own, on all devices."""
    network = keras.models.clone_model(start.backbone.network)
    network.set_weights(start.backbone.network.get_weights())
    for layer in _all_layers(network):
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = MOMENTUM
            layer.synchronized = tf.distribute.get_strategy().num_replicas_in_sync > 1  # Or each GPU had its own.
        if plan.mixed_precision and _gains_from_half():
            layer.dtype_policy = "mixed_bfloat16"
    head = keras.layers.Dense(start.bias.size)
    head.build((None, start.backbone.features))
    head.set_weights([start.weights, start.bias])
    return network, head


def _all_layers(network: keras.Model) -> Iterator[keras.layers.Layer]:
    for layer in network.layers:
        yield from _all_layers(layer) if isinstance(layer, keras.Model) else (layer,)


def _gains_from_half() -> bool:
    gpus = tf.config.list_physical_devices("GPU")
    details = [tf.config.experimental.get_device_details(gpu) for gpu in gpus]
    return bool(gpus) and all(detail.get("compute_capability", (0, 0)) >= HALF for detail in details)


def _optimiser(plan: Plan, rate: float, steps: int) -> keras.optimizers.Optimizer:
    warm_up = round(plan.warm_up * steps)
    schedule = keras.optimizers.schedules.CosineDecay(
        0.0 if warm_up else rate, max(1, steps - warm_up), warmup_target=rate if warm_up else None, warmup_steps=warm_up
    )
    return keras.optimizers.AdamW(schedule, weight_decay=plan.weight_decay)


def _figures(logs: Any, targets: Any) -> tuple[Any, Any, Any]:
    """The sum of the log losses, right answers, and photos; those that could not be read, worth nothing, left out."""
    counts = tf.cast(tf.reduce_sum(targets, axis=1) > 0, tf.float32)
    labels = tf.argmax(targets, axis=1)
    right = tf.cast(tf.argmax(logs, axis=1) == labels, tf.float32)
    losses = -tf.gather(logs, labels, axis=1, batch_dims=1)
    return tf.reduce_sum(losses * counts), tf.reduce_sum(right * counts), tf.reduce_sum(counts)
