"""A sheet of the test photos that were answered wrongly."""

import io
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from PIL import Image, ImageOps

from trainer.evaluate import Evaluation
from trainer.report.facts import Mistake
from trainer.report.lettering import lettering
from trainer.report.plots import BLUE, VERMILION, WIDTH

MOST = 15  # More would be too small on a phone.
COLUMNS = 3
_GAP = 12  # Pixels, as all below.
_TILE = (WIDTH - (COLUMNS + 1) * _GAP) // COLUMNS, 260
_HEAD, _LINE = 60, 32  # Under each photo stand two lines.
_ROW = _TILE[1] + 2 * _LINE + 2 * _GAP
_PAPER = "#f4f4f4"
_DPI = 100
_QUALITY = 88


def mistakes(evaluation: Evaluation, wrong: Sequence[Mistake], read: Callable[[Path], bytes]) -> bytes | None:
    """A JPEG of the first 15 mistakes whose photos are still there; None where there is nothing to show."""
    shown = list(islice(_tiles(evaluation, wrong, read), MOST))
    if not shown:
        return None
    height = _HEAD + -(-len(shown) // COLUMNS) * _ROW
    paper = Image.new("RGB", (WIDTH, height), "white")
    for place, (_, tile) in enumerate(shown):
        paper.paste(tile, _corner(place))
    return _captioned(paper, evaluation.classes, [mistake for mistake, _ in shown])


def _tiles(
    evaluation: Evaluation, wrong: Sequence[Mistake], read: Callable[[Path], bytes]
) -> Iterator[tuple[Mistake, Image.Image]]:
    for mistake in wrong:
        with suppress(OSError):  # It was deleted since, or damaged.
            yield mistake, _tile(read(evaluation.photos[mistake.place].path))


def _tile(jpeg: bytes) -> Image.Image:
    with Image.open(io.BytesIO(jpeg), formats=("JPEG",)) as image:
        image.draft("RGB", _TILE)
        return ImageOps.pad(image.convert("RGB"), _TILE, color=_PAPER)


def _corner(place: int) -> tuple[int, int]:
    row, column = divmod(place, COLUMNS)
    return _GAP + column * (_TILE[0] + _GAP), _HEAD + row * _ROW


def _captioned(paper: Image.Image, classes: Sequence[str], shown: Sequence[Mistake]) -> bytes:
    letters = lettering({number: classes[number] for one in shown for number in (one.truth, one.answer)})
    figure = Figure(figsize=(paper.width / _DPI, paper.height / _DPI), dpi=_DPI)
    figure.figimage(np.asarray(paper))

    def write(x: int, y: int, text: str, colour: str, size: int = 20) -> None:
        position = x / paper.width, 1 - y / paper.height
        style: dict[str, Any] = {"fontsize": size * 72 / _DPI, "family": list(letters.families), "parse_math": False}
        figure.text(*position, text, va="top", color=colour, **style)

    write(_GAP, _GAP, "Wrong answers, the surest first (✓ what it is, ✗ what was said)", "black", 28)
    for place, one in enumerate(shown):
        x, y = _corner(place)
        write(x, y + _TILE[1] + 4, f"✓ {letters.labels[one.truth]}", BLUE)
        write(x, y + _TILE[1] + 4 + _LINE, f"✗ {letters.labels[one.answer]} {one.probability:.0%}", VERMILION)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="jpeg", pil_kwargs={"quality": _QUALITY})
    return buffer.getvalue()
