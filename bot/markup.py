"""The little HTML that chat texts are made of. Escaping happens here and nowhere else."""

import html
import re
from collections.abc import Iterable
from typing import LiteralString

from bot.language import plural, say, translated
from storage.texts import Text

BAR = 10  # Characters; with a percentage and a class name it still fits a phone's line.
MESSAGE = 4096  # Telegram's limit for a text, counted without markup.
_PIECE = re.compile(r"</?\w+>|&\w+;|.", re.DOTALL)  # A tag, or what shows as one character.


class Html(str):
    """What is HTML of ours already, so that `fill` leaves it as it is."""

    __slots__ = ()


def fill(template: LiteralString, **values: object) -> str:
    """The template, which is ours and may hold HTML, with values that may be anybody's and are escaped.

    All of it is in the present language; see bot/language.py.
    """
    filled = {name: _escaped(value) for name, value in values.items()}
    return translated(template).format_map(filled) if filled else translated(template)


def _escaped(value: object) -> object:
    if isinstance(value, int | float | Html):
        return value
    return html.escape(say(value) if isinstance(value, Text) else str(value), quote=False)


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
    return plural("{count} photo", "{count} photos", count)


def ago(seconds: float) -> str:
    """A duration in its largest fitting unit."""
    if seconds >= 2 * 86_400:
        return plural("{count} day", "{count} days", int(seconds // 86_400))
    if seconds >= 2 * 3_600:
        return say("{count} h", count=int(seconds // 3_600))
    if seconds >= 2 * 60:
        return say("{count} min", count=int(seconds // 60))
    return say("{count} s", count=max(0, int(seconds)))


def pages(lines: Iterable[str]) -> list[str]:
    """The lines joined to as few messages as Telegram's limit allows."""
    joined: list[str] = []
    for line in lines:
        if joined and len(joined[-1]) + 1 + len(line) <= MESSAGE:
            joined[-1] += "\n" + line
        else:
            joined.append(line)
    return joined
