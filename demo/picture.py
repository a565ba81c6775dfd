"""Draws the README's picture, one photo of each class: `python -m demo.picture docs/signs.jpg`."""

import sys
from pathlib import Path

from PIL import Image, ImageOps

from demo import samples

COLUMNS, SIDE, GAP = 5, 200, 8


def picture(seed: int) -> Image.Image:
    """A sheet of square cut-outs, RGB on white."""
    rows = -(-len(samples.CLASSES) // COLUMNS)
    step = SIDE + GAP
    sheet = Image.new("RGB", (COLUMNS * step - GAP, rows * step - GAP), "white")
    for place, name in enumerate(samples.CLASSES):
        cut = ImageOps.fit(samples.draw(name, seed + place), (SIDE, SIDE), Image.Resampling.LANCZOS)
        sheet.paste(cut, (place % COLUMNS * step, place // COLUMNS * step))
    return sheet


if __name__ == "__main__":
    picture(seed=300).save(Path(sys.argv[1]), quality=88)
