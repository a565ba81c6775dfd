"""The brushes that the sample photos share: noise, gradients, soft edges, foliage."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from PIL import Image

Floats = npt.NDArray[np.float32]
Rgb = tuple[float, float, float]
Size = tuple[int, int]
"""Width and height in pixels, as Pillow has them."""


def picture(pixels: Floats) -> Image.Image:
    """An image from pixels (height, width, 1, 3 or 4), clipped to 0..255; one channel gives mode L."""
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8).squeeze())


def pixels(image: Image.Image) -> Floats:
    """The pixels of an image, 0..255, as (height, width, channels)."""
    return np.asarray(image, np.float32)


def channels(values: Sequence[float]) -> Floats:
    """A colour, or one gain for each channel, ready to meet pixels."""
    return np.array(values, np.float32)


def smoothstep(low: float, high: float, values: Floats) -> Floats:
    """0 below `low`, 1 above `high`, and the usual cubic 3t² - 2t³ between them."""
    t: Floats = np.clip((values - low) / (high - low), 0, 1).astype(np.float32)
    return t * t * (3 - 2 * t)


def noise(rng: np.random.Generator, size: Size, cell: float, octaves: int = 3) -> Floats:
    """Value noise, 0..1 and about 0.5 on average, as (height, width); `cell` pixels is its coarsest grain.

    Each octave has twice the detail and half the weight of the one before.
    """
    columns, rows = (int(side / cell) + 2 for side in size)
    total = rng.random((rows, columns), np.float32)
    for octave in range(1, octaves):
        columns, rows = columns * 2, rows * 2
        total = _stretch(total, (columns, rows)) + rng.random((rows, columns), np.float32) * 0.5**octave
    return _stretch(total, size) / np.float32(2 - 0.5 ** (octaves - 1))


def _stretch(values: Floats, size: Size) -> Floats:
    return np.asarray(Image.fromarray(values).resize(size, Image.Resampling.BICUBIC), np.float32)


def fade(size: Size, top: Rgb, bottom: Rgb) -> Floats:
    """A vertical gradient as (height, width, 3)."""
    width, height = size
    ramp = np.linspace(0, 1, height, dtype=np.float32)[:, None, None]
    column: Floats = channels(top) * (1 - ramp) + channels(bottom) * ramp
    return np.repeat(column, width, axis=1)


def grid(size: Size) -> tuple[Floats, Floats]:
    """Left to right as (1, width), top to bottom as (height, 1), both running from -1 to 1."""
    width, height = size
    x = np.linspace(-1, 1, width, dtype=np.float32)[None, :]
    y = np.linspace(-1, 1, height, dtype=np.float32)[:, None]
    return x, y


def vary(rng: np.random.Generator, colour: Rgb, amount: float) -> Rgb:
    """The colour made lighter or darker by up to `amount` (0..1), and each channel by a fifth of that."""
    gains = (1 + rng.uniform(-amount, amount)) * (1 + rng.uniform(-amount, amount, 3) / 5)
    red, green, blue = np.clip(np.asarray(colour) * gains, 0, 255).tolist()
    return red, green, blue


def ink(colour: Rgb) -> tuple[int, int, int]:
    """The colour as the whole numbers that Pillow draws with."""
    return round(colour[0]), round(colour[1]), round(colour[2])


def foliage(rng: np.random.Generator, size: Size, leaf: Rgb) -> Image.Image:
    """A ragged crown of leaves, lit from above, as RGBA of that size."""
    x, y = grid(size)
    span = max(size)
    ragged = noise(rng, size, span / 4, 4)
    leaves = noise(rng, size, max(span / 22, 3), 2)
    inside = smoothstep(0, 0.07, 0.78 - np.hypot(x, y) + (ragged - 0.5) * 1.1)
    shade = (0.2 + 1.15 * leaves) * (1 - 0.4 * y - 0.12 * x)
    colour = channels(leaf) * shade[:, :, None]
    return picture(np.dstack([colour, inside * 255]))
