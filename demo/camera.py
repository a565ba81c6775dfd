"""What a phone does to a scene: perspective on the way in; light, blur and noise on the way out."""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFilter

from demo.paint import Floats, Rgb, Size, channels, grid, picture, pixels

Points = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Pose:
    """Where a flat thing stands before the lens: angles in degrees, its centre and half width in pixels."""

    yaw: float
    pitch: float
    roll: float
    centre: tuple[float, float]
    half: float


_DISTANCE = 4.5
"""From the lens to a sign, in half widths of the sign: near enough for its far edge to look smaller."""


def project(pose: Pose, points: Points) -> Points:
    """Points (n, 2) of the flat thing, in half widths from its centre, as pixels (n, 2)."""
    yaw, pitch, roll = (math.radians(angle) for angle in (pose.yaw, pose.pitch, pose.roll))
    turn_roll = np.array([[math.cos(roll), -math.sin(roll), 0], [math.sin(roll), math.cos(roll), 0], [0, 0, 1]])
    turn_yaw = np.array([[math.cos(yaw), 0, math.sin(yaw)], [0, 1, 0], [-math.sin(yaw), 0, math.cos(yaw)]])
    turn_pitch = np.array([[1, 0, 0], [0, math.cos(pitch), -math.sin(pitch)], [0, math.sin(pitch), math.cos(pitch)]])
    space = np.column_stack([points, np.zeros(len(points))]) @ (turn_pitch @ turn_yaw @ turn_roll).T
    depth = space[:, 2:] / _DISTANCE + 1
    seen: Points = np.asarray(pose.centre) + space[:, :2] / depth * pose.half
    return seen


def place(art: Image.Image, size: Size, pose: Pose) -> Image.Image:
    """Flat RGBA art seen in that pose, on a clear picture of that size.

    The art is two half widths wide; `pose.centre` is the middle of its top square; the rest hangs below.
    Nothing smooths the edges here, so the art should be about as many pixels wide as it will appear.
    """
    width, height = art.size
    bottom = 2 * height / width - 1
    flat = np.array([(-1.0, -1.0), (1.0, -1.0), (1.0, bottom), (-1.0, bottom)])
    seen = project(pose, flat)
    corners = np.array([(0, 0), (width, 0), (width, height), (0, height)], np.float64)
    how = _homography(seen, corners)
    return art.transform(size, Image.Transform.PERSPECTIVE, how, Image.Resampling.BILINEAR)


def _homography(source: Points, target: Points) -> list[float]:
    """The eight numbers with which Pillow maps four source points to four target points."""
    rows = []
    for (x, y), (u, v) in zip(source, target, strict=True):
        rows.append([x, y, 1, 0, 0, 0, -u * x, -u * y])
        rows.append([0, 0, 0, x, y, 1, -v * x, -v * y])
    return [float(number) for number in np.linalg.solve(np.array(rows), target.reshape(8))]


def shoot(rng: np.random.Generator, image: Image.Image) -> Image.Image:
    """The picture as a phone would keep it: light, lens and sensor."""
    image = _blur(rng, image)
    exposed = pixels(image) * _light(rng, image.size)[:, :, None] * channels(_cast(rng))
    exposed = (exposed - 118) * rng.uniform(0.82, 1.14) + 118
    return picture(exposed + _grain(rng, image.size))


def _blur(rng: np.random.Generator, image: Image.Image) -> Image.Image:
    """Always a little soft; now and then a shaken hand."""
    image = image.filter(ImageFilter.BoxBlur(rng.uniform(0.3, 0.8)))
    if rng.random() < 0.2:
        shift = rng.uniform(-3, 3, 2)
        for share in (0.5, 0.34):
            moved = image.transform(
                image.size,
                Image.Transform.AFFINE,
                (1, 0, float(shift[0] * share), 0, 1, float(shift[1] * share)),
                Image.Resampling.BILINEAR,
            )
            image = Image.blend(image, moved, 0.5)
    return image


def _light(rng: np.random.Generator, size: Size) -> Floats:
    """Exposure, light that falls off to one side, and dark corners, as gains (height, width)."""
    x, y = grid(size)
    slope = rng.uniform(-0.16, 0.16, 2)
    exposure = rng.uniform(0.8, 1.16)
    vignette = 1 - rng.uniform(0.06, 0.24) * (x**2 + y**2) / 2
    return np.asarray((exposure + slope[0] * x + slope[1] * y) * vignette, np.float32)


def _cast(rng: np.random.Generator) -> Rgb:
    """The white balance that the phone got wrong: warm to cold, green to magenta."""
    warm, green = rng.uniform(-0.09, 0.09), rng.uniform(-0.03, 0.03)
    return 1 + warm, 1 + green, 1 - warm


def _grain(rng: np.random.Generator, size: Size) -> Floats:
    """Sensor noise: one part in brightness, a coarser, weaker one in colour."""
    width, height = size
    strength = np.float32(rng.uniform(1, 5.5))
    fine = rng.standard_normal((height, width, 1), np.float32) * strength
    coarse = rng.standard_normal((height // 4, width // 4, 3), np.float32) * strength * 4
    blotches = picture(coarse + 128).resize(size, Image.Resampling.BILINEAR)
    return np.asarray(fine + (pixels(blotches) - 128) / 6, np.float32)
