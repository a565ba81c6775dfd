"""Several photos as one picture, for a phone."""

import io
from collections.abc import Sequence

from PIL import Image, ImageOps

COLUMNS, ROWS = 3, 3  # Telegram makes a picture smaller whose longer side has over 1,280 pixels.
_GAP, _TILE = 12, (344, 344)  # Pixels: three tiles and four gaps are 1,080 wide.
_PAPER, _FRAME = "#808080", "#707070"  # Grey stands out neither in a light chat nor in a dark one.
_QUALITY = 85


def sheet(jpegs: Sequence[bytes]) -> bytes:
    """A JPEG of up to 9 photos, row by row; one that cannot be decoded is left blank."""
    rows = -(-len(jpegs) // COLUMNS)
    paper = Image.new("RGB", (_GAP + COLUMNS * (_TILE[0] + _GAP), _GAP + rows * (_TILE[1] + _GAP)), _PAPER)
    for place, jpeg in enumerate(jpegs):
        row, column = divmod(place, COLUMNS)
        paper.paste(_tile(jpeg), (_GAP + column * (_TILE[0] + _GAP), _GAP + row * (_TILE[1] + _GAP)))
    buffer = io.BytesIO()
    paper.save(buffer, "JPEG", quality=_QUALITY)
    return buffer.getvalue()


def _tile(jpeg: bytes) -> Image.Image:
    try:
        with Image.open(io.BytesIO(jpeg), formats=("JPEG",)) as image:
            image.draft("RGB", _TILE)
            return ImageOps.pad(image.convert("RGB"), _TILE, color=_FRAME)
    except (OSError, ValueError):
        return Image.new("RGB", _TILE, _FRAME)
