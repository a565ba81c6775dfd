"""The weights of a trained network in a file beside its version, from which a later run may start."""

import io
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from storage.errors import ModelError
from storage.files import write_durably
from trainer.backbones.zoo import Backbone, digest_of

FILE = "weights.npz"
_HEAD = ("head.weights", "head.bias")


def write_weights(path: Path, backbone: Backbone, weights: NDArray[np.float32], bias: NDArray[np.float32]) -> None:
    """Keep the network's weights in their order, and its last layer's: weights (features, classes), bias (classes,)."""
    arrays = dict(zip(_names(backbone), backbone.network.get_weights(), strict=True))
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **arrays, **dict(zip(_HEAD, (weights, bias), strict=True)))
    write_durably(path, buffer.getvalue())


def read_weights(path: Path, backbone: Backbone) -> tuple[Backbone, NDArray[np.float32], NDArray[np.float32]]:
    """The backbone with the weights in the file, which its network takes over, and the last layer's weights and bias.

    Raises ModelError where the file is missing, damaged, or of another network.
    """
    arrays = _read(path)
    network = backbone.network
    expected = dict(zip(_names(backbone), (tuple(weights.shape) for weights in network.weights), strict=True))
    found = {name: array.shape for name, array in arrays.items() if name not in _HEAD}
    if found != expected or not _is_head([arrays[name] for name in _HEAD if name in arrays], backbone.features):
        raise ModelError(
            "{path} holds the weights of another network than {name}; start from its backbone.",
            path=path,
            name=backbone.name,
        )
    network.set_weights([arrays[name] for name in expected])
    weights, bias = (arrays[name].astype(np.float32) for name in _HEAD)
    return replace(backbone, digest=digest_of(network)[:16]), weights, bias


def _is_head(arrays: list[NDArray[Any]], features: int) -> bool:
    return [array.ndim for array in arrays] == [2, 1] and arrays[0].shape == (features, arrays[1].size)


def _names(backbone: Backbone) -> list[str]:
    """A name for each weight that does not depend on what else was built in the same process, as Keras' do."""
    return [f"{place:04d}.{weights.name}" for place, weights in enumerate(backbone.network.weights)]


def _read(path: Path) -> dict[str, NDArray[Any]]:
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            return dict(arrays)
    except FileNotFoundError as error:
        raise ModelError(
            "There is no {path}: only a version that was trained in mode full or scratch can be started from.",
            path=path,
        ) from error
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise ModelError(
            "{path} cannot be read ({error}); start from another version.", path=path, error=error
        ) from error
