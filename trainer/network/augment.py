"""Varying a photo, so that the network learns what stays the same.

It is done in Pillow on the decoding threads rather than in the network's graph: a photo is varied the same on a CPU and
on any GPU, and by a number of its own, which is what lets a run go on exactly where it was cut off.
"""

import math

import numpy as np
from PIL import Image, ImageEnhance

from storage.images import Pixels, model_input
from storage.settings import Augmentation

ERASED = (0.02, 0.2)  # The share of a photo that is blotted out (Zhong et al., 2017, arXiv:1708.04896).
_ASPECT = 3.0


def varied_input(jpeg: bytes, size: int, how: Augmentation, random: np.random.Generator) -> Pixels:
    """Model input, uint8 (size, size, 3), of a stored photo that was varied; with nothing to vary, the plain one.

    Raises ImageError where the bytes cannot be decoded.
    """
    enlarged = (1 + how.crop / 100) * (1 + how.scale / 100)
    image = Image.fromarray(model_input(jpeg, math.ceil(size * enlarged)))
    image = _coloured(_framed(image, size, how, random), how, random)
    if how.erase and random.random() < how.erase:
        _blot(image, random)
    return np.asarray(image, dtype=np.uint8)


def _framed(image: Image.Image, size: int, how: Augmentation, random: np.random.Generator) -> Image.Image:
    """A part of the photo, as retrain.py cuts it: a margin less, and enlarged, anywhere; turned and mirrored before."""
    if how.rotation:
        image = _turned(image, random.uniform(-how.rotation, how.rotation))
    if how.crop or how.scale:
        side = image.width / ((1 + how.crop / 100) * (1 + random.uniform(0, how.scale / 100)))
        left, top = random.uniform(0, image.width - side, 2)
        image = image.resize((size, size), Image.Resampling.BILINEAR, (left, top, left + side, top + side))
    if how.flip and random.random() < 0.5:
        image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    return image


def _turned(image: Image.Image, degrees: float) -> Image.Image:
    """Turned, on its own mean colour: black corners would be something to learn."""
    mean = tuple(int(value) for value in np.asarray(image).mean(axis=(0, 1)))
    return image.rotate(degrees, Image.Resampling.BILINEAR, fillcolor=mean)


def _coloured(image: Image.Image, how: Augmentation, random: np.random.Generator) -> Image.Image:
    for enhancer, percent in (
        (ImageEnhance.Brightness, how.brightness),
        (ImageEnhance.Contrast, how.contrast),
        (ImageEnhance.Color, how.colour),
    ):
        if percent:
            image = enhancer(image).enhance(1 + random.uniform(-percent, percent) / 100)
    return image


def _blot(image: Image.Image, random: np.random.Generator) -> None:
    """Cover a rectangle with one colour."""
    area, aspect = random.uniform(*ERASED), math.exp(random.uniform(-1, 1) * math.log(_ASPECT))
    width, height = (round(image.width * math.sqrt(area * part)) for part in (aspect, 1 / aspect))
    left, top = random.integers(0, image.width - width + 1), random.integers(0, image.height - height + 1)
    colour = tuple(int(value) for value in random.integers(0, 256, 3))
    image.paste(colour, (int(left), int(top), int(left) + width, int(top) + height))
