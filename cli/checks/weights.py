"""Whether the pretrained network's weights are there, or how to get them."""

import hashlib
from collections.abc import Callable
from pathlib import Path

from cli.checks.finding import Finding, blame, ok, warning
from storage.errors import BackboneError
from storage.settings import Training
from trainer.backbones import files

CHECK = "weights"


def check(training: Training, folder: Path | None = None, probe: Callable[[], None] = files.probe) -> Finding:
    """`folder` is where downloads are kept, Keras' own unless given; `probe` finds out whether one is possible."""
    if training.mode == "scratch":
        return ok(CHECK, "Mode scratch needs none.")
    try:
        if training.backbone == "efficientnet_lite0":
            path, _ = files.lite0()
            return ok(CHECK, f"EfficientNet-Lite0's are in {path}.")
        return _inception(training.weights, folder or files.keras_folder(), probe)
    except BackboneError as error:
        return blame(CHECK, error)


def _inception(weights: str, folder: Path, probe: Callable[[], None]) -> Finding:
    """Raises BackboneError where there are none, and there will be none."""
    path = files.inception(weights, folder)
    if weights != "imagenet":
        return ok(CHECK, f"Inception-v3's are in {path}; whether they fit, the first run says.")
    if not path.is_file():
        probe()
        return warning(CHECK, "Inception-v3's are not here yet.", "The first run downloads them (88 MB), once.")
    if _md5(path) != files.INCEPTION_MD5:
        probe()
        return warning(CHECK, f"{path} is damaged.", "The next run downloads it again (88 MB).")
    return ok(CHECK, f"Inception-v3's are in {path}.")


def _md5(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "md5").hexdigest()
