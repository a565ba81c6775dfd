"""A version's SavedModel as one frozen graph that answers batches."""

from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

from serving import golden
from serving.backend import BATCHES, Probabilities
from storage.errors import ModelError
from storage.images import Pixels


class Graph:
    """uint8 pixels (n, input_size, input_size, 3) to float32 probabilities (n, classes), n at least 1.

    Raises ModelError where the folder holds no usable version.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._function = _load(folder)
        self.input_size = int(self._function.inputs[0].shape[1])
        self.classes = int(self._function.outputs[0].shape[1])

    def predict(self, pixels: Pixels) -> Probabilities:
        """Raises ModelError where the pixels have another shape, or the answer is not made of probabilities."""
        if pixels.dtype != np.uint8 or pixels.ndim != 4 or pixels.shape[1:] != (self.input_size, self.input_size, 3):
            wanted = f"(n, {self.input_size}, {self.input_size}, 3)"
            raise ModelError(
                "The model takes uint8 pixels of shape {wanted}, not {dtype} {shape}.",
                wanted=wanted,
                dtype=pixels.dtype,
                shape=pixels.shape,
            )
        return run(self._function, pixels)

    def warm(self) -> None:
        """Pay for the slow first call of every batch size now."""
        for size in BATCHES:
            self.predict(np.zeros((size, self.input_size, self.input_size, 3), np.uint8))

    def check_golden(self) -> None:
        """Compare with the answers the version gave when it was made; a candidate that has none yet passes.

        Raises ModelError where a probability is off by more than 1e-3, or another class is best.
        """
        known = golden.read(self._folder)
        if known:
            pixels, expected = known
            golden.compare(self.predict(pixels), expected, self._folder)


def run(function: Any, pixels: Pixels, sizes: tuple[int, ...] = BATCHES) -> NDArray[np.float32]:
    """The frozen function's only output for n inputs, in batches of `sizes` (ascending), the last one padded.

    Raises ModelError where a value is not finite.
    """
    parts = [pixels[at : at + sizes[-1]] for at in range(0, len(pixels), sizes[-1])]
    rows = np.concatenate([_run(function, part, next(size for size in sizes if size >= len(part))) for part in parts])
    if not np.isfinite(rows).all():
        raise ModelError("The model gave values that are not numbers; train again or roll back.")
    return rows


def _run(function: Any, part: Pixels, size: int) -> NDArray[np.float32]:
    padding = np.zeros((size - len(part), *part.shape[1:]), np.uint8)
    (output,) = function(tf.constant(np.concatenate([part, padding]) if len(padding) else part))
    rows: NDArray[np.float32] = output.numpy()[: len(part)]
    return rows


def _load(folder: Path) -> Any:
    try:
        model = tf.saved_model.load(str(folder))  # Holds the variables; the signature alone does not.
        # With variables as constants, TensorFlow folds and fuses them.
        frozen = convert_variables_to_constants_v2(model.signatures["serving_default"])
    except Exception as error:  # TensorFlow raises almost anything for a damaged file, protobuf's errors included.
        raise ModelError(
            "The model in {folder} cannot be loaded ({kind}); train again or roll back.",
            folder=folder,
            kind=type(error).__name__,
        ) from error
    shape, out = frozen.inputs[0].shape, frozen.outputs[0].shape
    if (
        len(frozen.inputs) != 1
        or len(frozen.outputs) != 1
        or frozen.inputs[0].dtype != tf.uint8
        or shape.rank != 4
        or shape[1] != shape[2]
        or out.rank != 2
        or None in (shape[1], out[1])
    ):
        raise ModelError(
            "The model in {folder} is not one from pixels to probabilities; train again or roll back.", folder=folder
        )
    return frozen
