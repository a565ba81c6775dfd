"""Class names in pictures: cut to fit, in fonts that have their characters."""

import unicodedata
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache

from matplotlib.font_manager import FontEntry, findfont, fontManager
from matplotlib.ft2font import FT2Font

from storage.labels import shown

LONGEST = 22  # Latin letters that a picture has room for; a Chinese character takes the room of two.
USUAL = "DejaVu Sans"  # Comes with matplotlib.
LAST_RESORT = "Last Resort"  # Has a box for every character there is, which tells a reader nothing.


@dataclass(frozen=True)
class Lettering:
    """`labels` by the number of the class; `families` are the fonts for them, to be tried in this order.

    A name that this computer has no font for is `#` and the number of its class, as in the report's table.
    """

    labels: Mapping[int, str]
    families: tuple[str, ...]


def lettering(names: Mapping[int, str]) -> Lettering:
    """How classes, given by their numbers, are written."""
    labels = {number: _cut(shown(name)) for number, name in names.items()}
    families, missing = _families("".join(labels.values()))
    drawable = {number: f"#{number}" if missing & set(label) else label for number, label in labels.items()}
    return Lettering(drawable, families)


def numbered(names: Sequence[str]) -> dict[int, str]:
    """The classes that pictures can only name by their number, as this computer has no font for them."""
    labels = lettering(dict(enumerate(names))).labels
    return {number: name for number, name in enumerate(names) if labels[number] != _cut(shown(name))}


def _cut(name: str) -> str:
    """Its beginning and its end: varieties of a plant differ in the last word."""
    wide = sum(unicodedata.east_asian_width(character) in "WF" for character in name)
    longest = LONGEST * len(name) // (len(name) + wide)
    return name if len(name) <= longest else f"{name[: longest // 2]}…{name[1 - longest // 2 :]}"


def _families(text: str) -> tuple[tuple[str, ...], set[str]]:
    """Fonts that have the text's characters between them, and the characters that no font here has."""
    families, missing = [USUAL], set(text) - _characters(findfont(USUAL))
    for font in _fonts():
        if not missing:
            break
        found = missing & _characters(font.fname)
        if found:
            families.append(font.name)
            missing -= found
    return tuple(families), missing


def _fonts() -> list[FontEntry]:
    plain = [
        font for font in fontManager.ttflist if (font.style, font.weight, font.stretch) == ("normal", 400, "normal")
    ]
    return sorted((font for font in plain if LAST_RESORT not in font.name), key=lambda font: (font.name, font.fname))


@cache
def _characters(path: str) -> frozenset[str]:
    with suppress(OSError, RuntimeError):  # It was taken off this computer, or is damaged.
        return frozenset(map(chr, FT2Font(path).get_charmap()))
    return frozenset()
