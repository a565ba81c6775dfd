"""The pretrained networks that turn pixels into features."""

from dataclasses import dataclass
from pathlib import Path

import keras

from storage.errors import BackboneError
from storage.files import sha256_of
from trainer import inception, lite0

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
        path, sha256 = lite0.checkpoint()
        return _backbone(name, lite0.build(path), sha256)
    raise BackboneError(f"There is no backbone {name!r}; training.backbone may be one of: {', '.join(NAMES)}.")


def _backbone(name: str, network: keras.Model, sha256: str) -> Backbone:
    return Backbone(name, network.input_shape[1], network.output_shape[1], sha256[:16], network)
