"""The networks that turn pixels into features: pretrained, or with random weights to train from nothing."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np

from storage.errors import BackboneError
from storage.files import sha256_of
from trainer.backbones import files, inception, lite0

NAMES = ("inception_v3", "efficientnet_lite0")


@dataclass(frozen=True)
class Backbone:
    """A network from uint8 pixels (n, input_size, input_size, 3) to float32 features (n, features).

    Scaling to the network's range is inside. `digest` is the first 16 hexadecimal digits of its weights' SHA-256.
    """

    name: str
    input_size: int
    features: int
    digest: str
    network: keras.Model


def load(name: str, weights: str = "imagenet", cache: Path | None = None) -> Backbone:
    """The backbone `name` with its pretrained weights.

    `weights` and `cache` are of inception_v3 alone: "imagenet" or the path of a Keras .h5 file, and where a download
    is kept. Raises BackboneError, saying what to do, where the weights cannot be had.
    """
    if name == "inception_v3":
        path = inception.weights_file(weights, cache)
        return _backbone(name, inception.build(path), sha256_of(path))
    if name == "efficientnet_lite0":
        path, sha256 = files.lite0()
        return _backbone(name, lite0.build(path), sha256)
    raise _unknown(name)


def untrained(name: str, input_size: int = 0, seed: int = 0) -> Backbone:
    """The backbone `name` with random weights, the same for the same seed, for photos of `input_size` pixels a side.

    0 is the backbone's own size. Raises BackboneError where the photos would be too small for it.
    """
    modules = {"inception_v3": inception, "efficientnet_lite0": lite0}
    if name not in modules:
        raise _unknown(name)
    module = modules[name]
    if 0 < input_size < module.SMALLEST:
        raise BackboneError(
            "network.input_size: {name} needs photos of at least {smallest} pixels a side.",
            name=name,
            smallest=module.SMALLEST,
        )
    network = module.architecture(input_size or module.INPUT_SIZE)
    _scatter(network, np.random.default_rng(seed))
    return _backbone(name, network, digest_of(network))


def layers_of(network: keras.Model) -> Iterator[keras.layers.Layer]:
    """The layers that have weights, from the pixels to the features."""
    for layer in network.layers:
        if isinstance(layer, keras.Model):
            yield from layers_of(layer)
        elif layer.weights:
            yield layer


def digest_of(network: keras.Model) -> str:
    """Hexadecimal SHA-256 of all weights, in their order."""
    digest = hashlib.sha256()
    for weights in network.get_weights():
        digest.update(np.ascontiguousarray(weights).data)
    return digest.hexdigest()


def _scatter(network: keras.Model, random: np.random.Generator) -> None:
    """Give every filter random weights whose size keeps the signal's (He et al., 2015, arXiv:1502.01852)."""
    for layer in layers_of(network):
        if isinstance(layer, keras.layers.BatchNormalization):
            continue  # As it was made: it neither shifts nor scales.
        shape = layer.kernel.shape
        inputs = np.prod(shape[:2] if isinstance(layer, keras.layers.DepthwiseConv2D) else shape[:-1])
        layer.kernel.assign(random.normal(0, np.sqrt(2 / inputs), shape))


def _unknown(name: str) -> BackboneError:
    return BackboneError(
        "There is no backbone “{name}”; training.backbone may be one of: {names}.", name=name, names=", ".join(NAMES)
    )


def _backbone(name: str, network: Any, sha256: str) -> Backbone:
    return Backbone(name, network.input_shape[1], network.output_shape[1], sha256[:16], network)
