"""Inception-v3 (Szegedy et al., 2015, https://arxiv.org/abs/1512.00567) as keras.applications has it."""

import contextlib
import sys
from pathlib import Path

import keras

from storage.errors import BackboneError
from trainer.backbones import files

INPUT_SIZE = 299
SMALLEST = 75  # By keras.applications.
_BODY = "body"


def weights_file(weights: str, cache: Path | None = None) -> Path:
    """The file that the setting training.weights means: "imagenet", downloaded once into `cache`/models, or a path.

    `cache` is Keras' own folder, ~/.keras or what KERAS_HOME says, unless given. Raises BackboneError where there is no
    file and no network.
    """
    folder = cache or files.keras_folder()
    path = files.inception(weights, folder)
    if weights != "imagenet":
        return path
    if not path.is_file():
        files.probe()
    return _fetch(folder)


def build(path: Path) -> keras.Model:
    """The network from uint8 pixels (n, 299, 299, 3) to float32 features (n, 2048), with the weights in `path`.

    Raises BackboneError where the file is not what keras.applications reads for this network without its top.
    """
    network = architecture(INPUT_SIZE)
    try:
        network.get_layer(_BODY).load_weights(path)
    except (OSError, ValueError, KeyError, TypeError, IndexError) as error:
        raise BackboneError(
            "training.weights: {path} does not hold Inception-v3's weights in Keras' .h5 format, without the"
            " top. The file to use is {file}, from {address}.",
            path=path,
            file=files.INCEPTION,
            address=files.ADDRESS,
        ) from error
    return network


def architecture(input_size: int) -> keras.Model:
    """The network from uint8 pixels (n, input_size, input_size, 3) to features (n, 2048), not trained."""
    shape = (input_size, input_size, 3)
    body = keras.applications.InceptionV3(include_top=False, weights=None, input_shape=shape, pooling="avg", name=_BODY)
    pixels = keras.Input(shape, dtype="uint8", name="pixels")
    return keras.Model(pixels, body(keras.layers.Rescaling(1 / 127.5, offset=-1.0)(pixels)), name="inception_v3")


def _fetch(folder: Path) -> Path:
    try:
        with contextlib.redirect_stdout(sys.stderr):  # Keras prints its progress; stdout is for results.
            return Path(
                keras.utils.get_file(
                    files.INCEPTION,
                    files.ADDRESS,
                    file_hash=files.INCEPTION_MD5,
                    cache_subdir="models",
                    cache_dir=str(folder),
                )
            )
    except Exception as error:  # Keras raises a bare Exception for every failed download.
        raise files.no_weights(error) from error
