"""The little HTML that chat texts are made of. Escaping happens here and nowhere else."""

import html
import re
from collections.abc import Iterable
from typing import LiteralString

BAR = 10  # Characters; with a percentage and a class name it still fits a phone's line.
MESSAGE = 4096  # Telegram's limit for a text, counted without markup.
_PIECE = re.compile(r"</?\w+>|&\w+;|.", re.DOTALL)  # A tag, or what shows as one character.


def fill(template: LiteralString, **values: object) -> str:
    """The template, which is ours and may hold HTML, with values that may be anybody's and are escaped."""
    return template.format_map({name: html.escape(str(value), quote=False) for name, value in values.items()})


def fit(text: str) -> str:
    """The text where one message holds it, else its beginning and `…`, with no tag left open."""
    pieces: list[str] = _PIECE.findall(text)
    if sum(map(_width, pieces)) <= MESSAGE:
        return text
    kept, tag, room = [], "", MESSAGE - len("…")
    for piece in pieces:
        room -= _width(piece)
        if room < 0:
            break
        kept.append(piece)
        if not _width(piece):  # Our tags never stand in one another.
            tag = "" if piece.startswith("</") else piece
    return "".join([*kept, "…", tag.replace("<", "</")])


def _width(piece: str) -> int:
    """What a piece counts, in UTF-16 units."""
    if len(piece) > 1:
        return 0 if piece.startswith("<") else 1
    return 2 if piece > "\uffff" else 1


def arguments(text: str | None) -> str:
    """What stands behind the command that a text begins with."""
    return "".join((text or "").split(maxsplit=1)[1:]).strip()


def bar(share: float) -> str:
    """Ten block characters, as many of them full as `share` (0 to 1) says."""
    full = round(share * BAR)
    return "█" * full + "░" * (BAR - full)


def photos(count: int) -> str:
    return "1 photo" if count == 1 else f"{count} photos"


def ago(seconds: float) -> str:
    """A duration in its largest fitting unit."""
    for unit, size in (("days", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{int(seconds // size)} {unit}"
    return f"{max(0, int(seconds))} s"


def pages(lines: Iterable[str]) -> list[str]:
    """The lines joined to as few messages as Telegram's limit allows."""
    joined: list[str] = []
    for line in lines:
        if joined and len(joined[-1]) + 1 + len(line) <= MESSAGE:
            joined[-1] += "\n" + line
        else:
            joined.append(line)
    return joined
