"""Sample photos of road signs, drawn by the project itself: as many as wanted, the same for the same seed."""

import io
import zlib
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from demo.camera import Pose, place, shoot
from demo.paint import Floats, Size, channels, foliage, grid, ink, noise, picture, pixels, smoothstep, vary
from demo.scenery import MOODS, Mood, dapple, lit, scene
from demo.signs import NAMES, face

CLASSES = NAMES
"""The class names, as a person would write them in a caption."""

LONG_SIDE, SHORT_SIDE = 640, 480
"""The sides of every photo in pixels; some are upright, some lie on their side."""

_QUALITY = 88


def draw(name: str, seed: int) -> Image.Image:
    """A photo of that sign, RGB, 480 x 640 or 640 x 480, for any seed from 0 up.

    KeyError for a name that is not in CLASSES.
    """
    sign = face(name)
    rng = np.random.default_rng([zlib.crc32(name.encode()), seed])
    size = (SHORT_SIDE, LONG_SIDE) if rng.random() < 0.5 else (LONG_SIDE, SHORT_SIDE)
    mood = MOODS[rng.integers(len(MOODS))]
    image, near = scene(rng, size, mood)
    pose = _pose(rng, size)
    side = round(2.2 * pose.half)
    flat = _weathered(rng, sign.resize((side, side), Image.Resampling.LANCZOS), mood)
    post = place(_on_post(rng, flat, mood), size, pose)
    if near:
        _cast_shadow(rng, image, post)
    image.paste(post, (0, 0), post)
    if rng.random() < 0.35:
        _leaves_in_front(rng, image, mood)
    return shoot(rng, image)


def photo(name: str, seed: int) -> bytes:
    """The same as a JPEG file without metadata."""
    file = io.BytesIO()
    draw(name, seed).save(file, "JPEG", quality=_QUALITY)
    return file.getvalue()


def folder(into: Path, per_class: int, seed: int) -> None:
    """Class folders: `into`/<class>/<n>.jpg, n from 1 to `per_class`; photo n has the seed `seed` + n - 1."""
    for name in CLASSES:
        here = into / name
        here.mkdir(parents=True, exist_ok=True)
        for number in range(per_class):
            (here / f"{number + 1}.jpg").write_bytes(photo(name, seed + number))


def _pose(rng: np.random.Generator, size: Size) -> Pose:
    half = min(size) * rng.uniform(0.25, 0.38)
    x = rng.uniform(0.36, 0.64) * size[0]
    y = rng.uniform(0.36, 0.52) * size[1]
    yaw, pitch, roll = rng.uniform(-38, 38), rng.uniform(-14, 14), rng.normal(0, 3.5)
    return Pose(yaw, pitch, roll, (x, y), half)


def _weathered(rng: np.random.Generator, sign: Image.Image, mood: Mood) -> Image.Image:
    """The face under the day's light: sheen, faded paint, dirt, the shadows of leaves."""
    size = sign.size
    x, y = grid(size)
    art = pixels(sign)
    light = 1 + rng.uniform(-0.18, 0.18) * x - rng.uniform(0, 0.15) * y
    if mood.sunny and rng.random() < 0.4:
        light *= dapple(rng, size)
    band = x * rng.uniform(0.4, 1) + y * rng.uniform(-1, 1) - rng.uniform(-1, 1)
    sheen = rng.uniform(0, 46) * np.exp(-((band / 0.35) ** 2))
    worn = art[:, :, :3] * (1 - (fading := rng.uniform(0, 0.18))) + 150 * fading
    gains = channels([gain**0.7 for gain in mood.light]) * _dirt(rng, size)
    lit_face = (worn * gains + sheen[:, :, None]) * light[:, :, None]
    return picture(np.dstack([lit_face, art[:, :, 3]]))


def _dirt(rng: np.random.Generator, size: Size) -> Floats:
    """Brownish smears, streaked downwards, as gains (height, width, 3)."""
    width, height = size
    streaks = noise(rng, (width, height // 4 + 1), width / 8, 4).repeat(4, axis=0)[:height]
    cover = smoothstep(0.5, 0.9, streaks) * rng.uniform(0, 0.6)
    gains: Floats = 1 - cover[:, :, None] * channels([0.4, 0.52, 0.66])
    return gains


def _on_post(rng: np.random.Generator, sign: Image.Image, mood: Mood) -> Image.Image:
    """The sign on its post, which runs far below it; now and then with a plate under it."""
    side = sign.width
    art = Image.new("RGBA", (side, side * 4))
    wide = round(side * rng.uniform(0.07, 0.12))
    art.paste(_pipe(rng, (wide, side * 4 - side // 3), mood), ((side - wide) // 2, side // 3))
    if rng.random() < 0.25:
        _plate(rng, art, mood)
    art.alpha_composite(sign)
    return art


def _pipe(rng: np.random.Generator, size: Size, mood: Mood) -> Image.Image:
    x, y = grid(size)
    glint = rng.uniform(-0.6, 0.6)
    round_shade = 0.45 + 0.65 * np.exp(-(((x - glint) / 0.6) ** 2))
    under_the_sign = 1 - 0.4 * smoothstep(0.45, 0.25, (y + 1) * 2)
    steel = lit(vary(rng, (158, 160, 162), 0.2), mood)
    return picture((round_shade * under_the_sign)[:, :, None] * channels(steel))


def _plate(rng: np.random.Generator, art: Image.Image, mood: Mood) -> None:
    """A small white plate with lines too small to read."""
    pen = ImageDraw.Draw(art)
    side = art.width
    left, top, right = side * 0.2, side * 1.03, side * 0.8
    white, black = (ink(lit(colour, mood)) for colour in ((226, 226, 220), (40, 40, 42)))
    pen.rounded_rectangle(
        (left, top, right, top + side * 0.3), side * 0.03, fill=white, outline=black, width=side // 60
    )
    for row in (0.07, 0.17):
        end = right - side * rng.uniform(0.06, 0.25)
        pen.rectangle((left + side * 0.06, top + side * row, end, top + side * (row + 0.055)), fill=black)


def _cast_shadow(rng: np.random.Generator, image: Image.Image, post: Image.Image) -> None:
    """Darkens the wall beside the sign."""
    right, down = round(rng.uniform(10, 34) * rng.choice([-1, 1])), round(rng.uniform(4, 26))
    shape = post.getchannel("A").filter(ImageFilter.BoxBlur(rng.uniform(2, 7)))
    depth = rng.uniform(0.2, 0.55)
    image.paste((18, 20, 26), (right, down), shape.point(lambda level: level * depth))


def _leaves_in_front(rng: np.random.Generator, image: Image.Image, mood: Mood) -> None:
    """A branch near the lens, out of focus, that reaches in from a side or a corner."""
    across = round(min(image.size) * rng.uniform(0.4, 0.7))
    branch = foliage(rng, (across, across), lit(vary(rng, (70, 98, 44), 0.3), mood))
    branch = branch.filter(ImageFilter.GaussianBlur(rng.uniform(2, 5)))
    centres = rng.uniform(-0.05, 0.12), rng.uniform(-0.05, 0.3)
    x, y = ((near if rng.random() < 0.5 else 1 - near) * side for near, side in zip(centres, image.size, strict=True))
    image.paste(branch, (round(x) - across // 2, round(y) - across // 2), branch)
