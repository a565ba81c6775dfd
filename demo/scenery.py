"""What stands behind a sign: country roads, streets, walls, parks, each drawn anew and out of focus."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from demo.paint import (
    Floats,
    Rgb,
    Size,
    channels,
    fade,
    foliage,
    grid,
    ink,
    noise,
    picture,
    pixels,
    smoothstep,
    vary,
)


@dataclass(frozen=True)
class Mood:
    """Weather and hour: the sky from top to horizon, its clouds, and the light on everything else (gains)."""

    zenith: Rgb
    horizon: Rgb
    cloud: Rgb
    light: Rgb
    sunny: bool


MOODS = (
    Mood((62, 116, 186), (178, 206, 228), (246, 247, 248), (1.06, 1.03, 0.97), sunny=True),
    Mood((92, 148, 204), (214, 226, 232), (252, 252, 250), (1.0, 1.0, 0.98), sunny=True),
    Mood((160, 168, 178), (208, 212, 216), (226, 228, 230), (0.84, 0.87, 0.9), sunny=False),
    Mood((118, 140, 176), (246, 204, 150), (250, 214, 178), (1.08, 0.93, 0.74), sunny=True),
    Mood((58, 74, 120), (196, 156, 148), (120, 114, 142), (0.56, 0.58, 0.7), sunny=False),
)

_LEAVES: tuple[Rgb, ...] = ((74, 108, 48), (58, 92, 52), (104, 124, 54), (128, 116, 48), (44, 74, 46))
_WALLS: tuple[Rgb, ...] = ((186, 150, 120), (204, 192, 168), (164, 96, 78), (150, 152, 156), (214, 206, 194))
_PAINT: tuple[Rgb, ...] = ((150, 28, 34), (34, 58, 104), (212, 214, 216), (52, 54, 58), (120, 126, 132))


def scene(rng: np.random.Generator, size: Size, mood: Mood) -> tuple[Image.Image, bool]:
    """A blurred background, RGB, of that size; and whether it is near enough to catch the sign's shadow."""
    paint = _SCENES[rng.integers(len(_SCENES))]
    image = paint(rng, size, mood).reduce(2).filter(ImageFilter.GaussianBlur(rng.uniform(0.5, 2.1)))
    return image.resize(size, Image.Resampling.BICUBIC), paint is _wall


def _country(rng: np.random.Generator, size: Size, mood: Mood) -> Image.Image:
    width, height = size
    image = _sky(rng, size, mood)
    horizon = round(height * rng.uniform(0.52, 0.7))
    for haze in (0.65, 0.35):
        _hills(rng, image, mood, horizon, haze)
    _ground(rng, image, mood, horizon, vary(rng, (104, 118, 62), 0.3))
    _road(rng, image, mood, horizon)
    for _ in range(rng.integers(3, 9)):
        tall = round(height * rng.uniform(0.12, 0.5))
        _tree(rng, image, mood, round(rng.uniform(-0.1, 1.1) * width), horizon + tall // 12, tall)
    return image


def _street(rng: np.random.Generator, size: Size, mood: Mood) -> Image.Image:
    width, height = size
    image = _sky(rng, size, mood)
    horizon = round(height * rng.uniform(0.62, 0.76))
    left = -rng.uniform(0, 60)
    while left < width:
        right = left + width * rng.uniform(0.16, 0.4)
        _house(rng, image, mood, (round(left), round(right)), horizon)
        left = right + rng.choice([0, 0, width * 0.08])
    _ground(rng, image, mood, horizon, vary(rng, (142, 138, 132), 0.15))
    _road(rng, image, mood, horizon + height // 30)
    for _ in range(rng.integers(0, 4)):
        tall = round(height * rng.uniform(0.15, 0.4))
        _tree(rng, image, mood, round(rng.uniform(0, 1) * width), horizon + tall // 12, tall)
    for _ in range(rng.integers(1, 4)):
        _car(rng, image, mood, round(rng.uniform(-0.1, 1.0) * width), horizon + height // 25)
    return image


def _wall(rng: np.random.Generator, size: Size, mood: Mood) -> Image.Image:
    """Bricks or plaster, with a pavement below."""
    width, height = size
    base = vary(rng, _WALLS[rng.integers(len(_WALLS))], 0.2)
    image = picture(fade(size, lit(base, mood), lit(vary(rng, base, 0.2), mood)))
    if rng.random() < 0.6:
        _bricks(rng, image, lit(base, mood))
    stains = 0.72 + 0.5 * noise(rng, size, width / 2, 5)
    image = picture(pixels(image) * stains[:, :, None])
    if rng.random() < 0.7:
        _ground(rng, image, mood, round(height * rng.uniform(0.82, 0.94)), (136, 134, 130))
    return image


def _park(rng: np.random.Generator, size: Size, mood: Mood) -> Image.Image:
    """Nothing but leaves, with the sky sparkling through them."""
    width, height = size
    dark = lit((50, 66, 36), mood)
    image = picture(fade(size, lit((122, 144, 92), mood), dark))
    for _ in range(rng.integers(16, 26)):
        tall = round(height * rng.uniform(0.2, 0.55))
        x, y = rng.uniform(-0.1, 1.1) * width, rng.uniform(0.1, 1.2) * height
        _tree(rng, image, mood, round(x), round(y), tall, trunk=False)
    draw = ImageDraw.Draw(image)
    for _ in range(rng.integers(20, 70)):
        x, y, radius = rng.uniform(0, width), rng.uniform(0, height * 0.7), rng.uniform(1.5, 7)
        sparkle = ink(vary(rng, mood.horizon, 0.2))
        draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=sparkle)
    return image


_SCENES: tuple[Callable[[np.random.Generator, Size, Mood], Image.Image], ...] = (
    _country,
    _country,
    _street,
    _street,
    _wall,
    _park,
)


def lit(colour: Rgb, mood: Mood) -> Rgb:
    """The colour under the mood's light."""
    red, green, blue = (channel * gain for channel, gain in zip(colour, mood.light, strict=True))
    return red, green, blue


def _sky(rng: np.random.Generator, size: Size, mood: Mood) -> Image.Image:
    width, height = size
    sky = fade(size, mood.zenith, mood.horizon)
    low = rng.uniform(0.4, 0.65)
    wisps = noise(rng, (width, height * 2), width / 2, 5)[::2]
    cover = smoothstep(low, low + 0.3, wisps)[:, :, None] * 0.9
    return picture(sky * (1 - cover) + channels(mood.cloud) * cover)


def _hills(rng: np.random.Generator, image: Image.Image, mood: Mood, horizon: int, haze: float) -> None:
    width, height = image.size
    ridge = noise(rng, (width, 2), width / 2.5, 5)[0]
    top = horizon - (ridge - 0.25) * height * 0.22 * (0.6 + haze)
    leaf = np.asarray(lit(_LEAVES[rng.integers(len(_LEAVES))], mood)) * 0.75
    colour = leaf * (1 - haze) + np.asarray(mood.horizon) * haze * 0.85
    outline = [(x, float(y)) for x, y in enumerate(top)]
    fill = (round(colour[0]), round(colour[1]), round(colour[2]))
    ImageDraw.Draw(image).polygon([(0, height), *outline, (width, height)], fill=fill)


def _ground(rng: np.random.Generator, image: Image.Image, mood: Mood, top: int, colour: Rgb) -> None:
    width, height = image.size
    size = (width, height - top)
    near, far = lit(vary(rng, colour, 0.15), mood), lit(colour, mood)
    grain = 0.78 + 0.44 * noise(rng, (width, size[1] * 4), 90, 5)[::4]
    image.paste(picture(fade(size, far, near) * grain[:, :, None]), (0, top))


def _road(rng: np.random.Generator, image: Image.Image, mood: Mood, top: int) -> None:
    width, height = image.size
    vanish, foot = rng.uniform(0, width), rng.uniform(-0.2, 1.2) * width
    spread = width * rng.uniform(0.35, 0.8)
    draw = ImageDraw.Draw(image)

    def strip(colour: Rgb, side: float, half: float, near: float = 1.0, far: float = 0.0) -> None:
        corners = []
        for depth, edge in ((far, -half), (far, half), (near, half), (near, -half)):
            x = vanish + (foot - vanish) * depth + (side + edge) * spread * (depth + 0.02)
            corners.append((x, top + (height - top) * depth))
        draw.polygon(corners, fill=ink(lit(colour, mood)))

    strip(vary(rng, (96, 96, 100), 0.25), 0, 1)
    for side in (-0.9, 0.9):
        strip((214, 212, 204), side, 0.03)
    for near in (1.0, 0.5, 0.25, 0.12):
        strip((222, 220, 212), 0, 0.035, near, near * 0.68)


def _tree(
    rng: np.random.Generator,
    image: Image.Image,
    mood: Mood,
    x: int,
    foot: int,
    tall: int,
    *,
    trunk: bool = True,
) -> None:
    """A tree whose trunk meets the ground at `foot`; `tall` is its height in pixels."""
    if trunk:
        half = tall / 36
        bark = ink(lit((74, 60, 46), mood))
        ImageDraw.Draw(image).rectangle((x - half, foot - tall * 0.5, x + half, foot), fill=bark)
    leaf = lit(vary(rng, _LEAVES[rng.integers(len(_LEAVES))], 0.25), mood)
    crown = foliage(rng, (round(tall * rng.uniform(0.7, 1.1)), round(tall * 0.9)), leaf)
    image.paste(crown, (x - crown.width // 2, foot - tall), crown)


def _house(rng: np.random.Generator, image: Image.Image, mood: Mood, span: tuple[int, int], foot: int) -> None:
    left, right = span
    top = foot - round(image.height * rng.uniform(0.25, 0.68))
    wall = vary(rng, _WALLS[rng.integers(len(_WALLS))], 0.2)
    draw = ImageDraw.Draw(image)
    draw.rectangle((left, top, right, foot), fill=ink(lit(wall, mood)))
    roof = ink(lit(vary(rng, (112, 72, 60), 0.4), mood))
    slope = (right - left) / 7
    peak = top - round(image.height * rng.uniform(0.03, 0.09))
    draw.polygon([(left - 4, top), (left + slope, peak), (right - slope, peak), (right + 4, top)], fill=roof)
    _windows(rng, draw, mood, (left, top, right, foot))


def _windows(rng: np.random.Generator, draw: ImageDraw.ImageDraw, mood: Mood, wall: tuple[int, int, int, int]) -> None:
    left, top, right, foot = wall
    wide, tall = rng.uniform(13, 22), rng.uniform(22, 34)
    frame = ink(lit((226, 224, 218), mood))
    dusk = mood.light[0] < 0.7
    for y in np.arange(top + 12, foot - tall, tall * 1.7):
        for x in np.arange(left + wide * 0.6, right - wide, wide * 1.9):
            glow = dusk and rng.random() < 0.4
            glass = (250, 206, 120) if glow else ink(lit(vary(rng, (70, 84, 98), 0.5), mood))
            draw.rectangle((x - 2, y - 2, x + wide + 2, y + tall + 2), fill=frame)
            draw.rectangle((x, y, x + wide, y + tall), fill=glass)


def _car(rng: np.random.Generator, image: Image.Image, mood: Mood, x: int, foot: int) -> None:
    length = image.width * rng.uniform(0.2, 0.34)
    tall = length * 0.2
    paint, glass, tyre = (
        ink(lit(colour, mood))
        for colour in (vary(rng, _PAINT[rng.integers(len(_PAINT))], 0.2), (58, 68, 78), (30, 30, 32))
    )
    draw = ImageDraw.Draw(image)
    roof = [(0.16, 1.0), (0.3, 1.75), (0.68, 1.75), (0.86, 1.0)]
    draw.polygon([(x + length * u, foot - tall * v) for u, v in roof], fill=paint)
    panes = [(0.22, 1.02), (0.33, 1.62), (0.66, 1.62), (0.79, 1.02)]
    draw.polygon([(x + length * u, foot - tall * v) for u, v in panes], fill=glass)
    draw.rounded_rectangle((x, foot - tall * 1.08, x + length, foot - tall * 0.2), tall / 3, fill=paint)
    for hub in (0.2, 0.8):
        centre, radius = x + length * hub, tall * 0.36
        draw.ellipse((centre - radius, foot - 2 * radius, centre + radius, foot), fill=tyre)


def _bricks(rng: np.random.Generator, image: Image.Image, base: Rgb) -> None:
    """Rows of bricks, each a shade of its own, with the mortar left between them."""
    width, height = image.size
    tall = rng.uniform(15, 26)
    long = tall * rng.uniform(2.3, 3)
    image.paste(ink(vary(rng, (176, 172, 164), 0.15)), (0, 0, width, height))
    draw = ImageDraw.Draw(image)
    for row, y in enumerate(np.arange(0, height, tall)):
        for x in np.arange(-long * (row % 2) / 2, width, long):
            brick = ink(vary(rng, base, 0.16))
            draw.rectangle((x + 1.5, y + 1.5, x + long - 1.5, y + tall - 1.5), fill=brick)


def dapple(rng: np.random.Generator, size: Size) -> Floats:
    """Light through leaves as gains (height, width): 1 in the sun, 0.6 in the shade."""
    x, y = grid(size)
    slant = rng.uniform(-0.15, 0.15, 2).astype(np.float32)
    spots = noise(rng, size, size[0] / rng.uniform(1.5, 4), 4) + slant[0] * x + slant[1] * y
    return 0.6 + 0.4 * smoothstep(0.38, 0.54, spots)
