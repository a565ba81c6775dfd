"""From a backbone and a head to the one graph that is served: pixels in, probabilities out."""

from pathlib import Path
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from trainer import warmup
from trainer.backbones.zoo import Backbone


def classifier(backbone: Backbone, weights: NDArray[np.float32], bias: NDArray[np.float32]) -> keras.Model:
    """The backbone under its head: uint8 pixels (n, size, size, 3) to float32 probabilities (n, k).

    `weights` has shape (features, k), `bias` (k,).
    """
    head = keras.layers.Dense(bias.size, activation="softmax", name="head")
    model = keras.Model(backbone.network.input, head(backbone.network.output), name="classifier")
    head.set_weights([weights, bias])
    return model


def export(backbone: Backbone, weights: NDArray[np.float32], bias: NDArray[np.float32], into: Path) -> None:
    """Write the classifier into the folder `into` as a SavedModel (`saved_model.pb` and `variables/`).

    Its signature `serving_default` takes `pixels`, uint8 (n, size, size, 3), and gives `probabilities`, float32 (n, k).
    """
    model = classifier(backbone, weights, bias)

    def answer(pixels: Any) -> dict[str, Any]:
        return {"probabilities": model(pixels, training=False)}

    size = backbone.input_size
    archive = keras.export.ExportArchive()  # Without track(): with it every weight is stored twice.
    pixels = keras.InputSpec(dtype="uint8", shape=(None, size, size, 3), name="pixels")
    archive.add_endpoint("serving_default", answer, input_signature=[pixels])
    archive.write_out(str(into), verbose=False)
    warmup.write(into, size)
