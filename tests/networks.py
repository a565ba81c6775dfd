"""A network small enough to export and serve in a test, made as the real ones are."""

import keras
import numpy as np
from numpy.typing import NDArray

from trainer.backbones.zoo import Backbone

SIZE = 24
FEATURES = 48


def tiny_backbone() -> Backbone:
    """A convolutional network with fixed random weights, uint8 (n, 24, 24, 3) to float32 (n, 48)."""
    initial = keras.initializers.RandomNormal(stddev=0.3, seed=1)
    pixels = keras.Input((SIZE, SIZE, 3), dtype="uint8")
    x = keras.layers.Rescaling(1 / 127.5, offset=-1.0)(pixels)
    x = keras.layers.Conv2D(32, 3, strides=2, kernel_initializer=initial)(x)
    x = keras.layers.BatchNormalization()(x)
    x = keras.layers.Conv2D(FEATURES, 3, activation="relu", kernel_initializer=initial)(x)
    features = keras.layers.GlobalAveragePooling2D()(x)
    return Backbone("tiny", SIZE, FEATURES, "0" * 16, keras.Model(pixels, features))


def tiny_head(classes: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Weights (48, classes) and bias (classes,), fixed."""
    random = np.random.default_rng(2)
    return random.normal(0, 1, (FEATURES, classes)).astype(np.float32), np.zeros(classes, np.float32)


def photos(count: int, seed: int = 0, size: int = SIZE) -> NDArray[np.uint8]:
    """Blocks of random colour, uint8 (count, size, size, 3), unlike enough to be answered differently."""
    blocks = np.random.default_rng(seed).integers(0, 256, (count, size // 8, size // 8, 3), dtype=np.uint8)
    return blocks.repeat(8, axis=1).repeat(8, axis=2)
