"""Inception-v3 (Szegedy et al., 2015, https://arxiv.org/abs/1512.00567) as keras.applications has it."""

import contextlib
import os
import sys
import urllib.request
from pathlib import Path

import keras

from storage.errors import BackboneError

INPUT_SIZE = 299
SMALLEST = 75  # By keras.applications.
FILE = "inception_v3_weights_tf_dim_ordering_tf_kernels_notop.h5"
ADDRESS = f"https://storage.googleapis.com/tensorflow/keras-applications/inception_v3/{FILE}"
_MD5 = "bcbd6486424b2319ff4ef7d526e38f63"  # Published in keras.applications, which keeps the file in the same place.
_PROBE_SECONDS = 3.0
_BODY = "body"


def weights_file(weights: str, cache: Path | None = None) -> Path:
    """The file that the setting training.weights means: "imagenet", downloaded once into `cache`/models, or a path.

    `cache` is Keras' own folder, ~/.keras or what KERAS_HOME says, unless given. Raises BackboneError where there is no
    file and no network.
    """
    if weights != "imagenet":
        path = Path(weights).expanduser()
        if not path.is_file():
            raise BackboneError(
                'training.weights: there is no file {path}. Give a path that exists, or "imagenet".', path=path
            )
        return path
    folder = cache or Path(os.environ.get("KERAS_HOME") or Path.home() / ".keras")
    kept = folder / "models" / FILE
    if not kept.is_file():
        _probe()
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
            file=FILE,
            address=ADDRESS,
        ) from error
    return network


def architecture(input_size: int) -> keras.Model:
    """The network from uint8 pixels (n, input_size, input_size, 3) to features (n, 2048), not trained."""
    shape = (input_size, input_size, 3)
    body = keras.applications.InceptionV3(include_top=False, weights=None, input_shape=shape, pooling="avg", name=_BODY)
    pixels = keras.Input(shape, dtype="uint8", name="pixels")
    return keras.Model(pixels, body(keras.layers.Rescaling(1 / 127.5, offset=-1.0)(pixels)), name="inception_v3")


def _probe() -> None:
    """Find out within seconds that there is no network: the download itself would wait for minutes."""
    request = urllib.request.Request(ADDRESS, method="HEAD")
    try:
        urllib.request.urlopen(request, timeout=_PROBE_SECONDS).close()  # noqa: S310
    except OSError as error:
        raise _no_weights(error) from error


def _fetch(folder: Path) -> Path:
    try:
        with contextlib.redirect_stdout(sys.stderr):  # Keras prints its progress; stdout is for results.
            return Path(
                keras.utils.get_file(FILE, ADDRESS, file_hash=_MD5, cache_subdir="models", cache_dir=str(folder))
            )
    except Exception as error:  # Keras raises a bare Exception for every failed download.
        raise _no_weights(error) from error


def _no_weights(reason: Exception) -> BackboneError:
    return BackboneError(
        "Inception-v3's weights are not on this computer and cannot be downloaded ({reason}). Either"
        " fetch {address} on a computer with internet, copy the file {file} here and set training.weights"
        ' in config.toml to its path; or set training.backbone = "efficientnet_lite0", which needs no'
        " download.",
        reason=reason,
        address=ADDRESS,
        file=FILE,
    )
