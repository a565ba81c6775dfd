"""Text with entities, as https://core.telegram.org/bots/api#formatting-options describes them.

Offsets and lengths count UTF-16 code units.
"""

import html
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from sandbox.errors import BadRequestError
from sandbox.links import kept_link

Entity = dict[str, Any]

_SIMPLE = {
    "b": "bold",
    "strong": "bold",
    "i": "italic",
    "em": "italic",
    "u": "underline",
    "ins": "underline",
    "s": "strikethrough",
    "strike": "strikethrough",
    "del": "strikethrough",
    "tg-spoiler": "spoiler",
    "code": "code",
    "pre": "pre",
    "blockquote": "blockquote",
}
_PIECE = re.compile(
    r"""(?P<tag><(?P<slash>/?)(?P<name>[^\s<>/]*)(?P<rest>(?:"[^"]*"|'[^']*'|[^<>"'])*)>)"""
    r"|(?P<stray><)"
    r"|(?P<reference>&(?:lt|gt|amp|quot|\#\d{1,7}|\#x[0-9a-fA-F]{1,6});)"
    r"|(?P<plain>[^<&]+|&)",
)
_ATTRIBUTE = re.compile(r"""([\w-]+)(?:\s*=\s*(?:"([^"]*)"|'([^']*)'|([^\s"'>]+)))?""")
_DOMAINS = "com|org|net|io|dev|app|me|info|edu|gov|de|eu|uk|cn|ru"  # Telegram knows them all.
_FOUND = (
    (
        "url",
        re.compile(
            rf"(?<![\w@/.])(?:https?://[^\s<>\"]+|(?:[\w-]+\.)+(?:{_DOMAINS})\b(?:/[^\s<>\"]*)?)", re.IGNORECASE
        ),
    ),
    ("bot_command", re.compile(r"(?<![\w/@<>])/[A-Za-z0-9_]{1,64}(?:@\w{3,32})?(?![\w/])")),
    ("mention", re.compile(r"(?<![\w@/])@[A-Za-z0-9_]{4,32}\b")),
    ("hashtag", re.compile(r"(?<![\w#@/])#\w*[^\W\d]\w*")),
)
_OPAQUE = {"code", "pre", "text_link", "text_mention", "url", "bot_command", "mention", "hashtag"}


def units(text: str) -> int:
    """The length of `text` in UTF-16 code units."""
    return len(text.encode("utf-16-le")) // 2


@dataclass
class _Open:
    tag: str
    entity: Entity


class _Reader:
    """Reads HTML once from left to right, keeping the tags that are open."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.text: list[str] = []
        self.offset = 0
        self.open: list[_Open] = []
        self.entities: list[Entity] = []

    def read(self) -> tuple[str, list[Entity]]:
        for piece in _PIECE.finditer(self.source):
            self._take(piece)
        if self.open:
            raise broken(f'Can\'t find end tag corresponding to start tag "{self.open[-1].tag}"')
        return "".join(self.text), ordered(_without_inner_code(self.entities))

    def _take(self, piece: re.Match[str]) -> None:
        if piece["stray"]:
            raise broken(f"Unclosed start tag at byte offset {self._byte(piece)}")
        if piece["tag"]:
            (self._end if piece["slash"] else self._start)(piece, piece["name"].lower())
        else:
            self._write(html.unescape(piece["reference"]) if piece["reference"] else piece["plain"])

    def _write(self, text: str) -> None:
        self.text.append(text)
        self.offset += units(text)

    def _start(self, piece: re.Match[str], tag: str) -> None:
        attributes = {name.lower(): html.unescape("".join(value)) for name, *value in _ATTRIBUTE.findall(piece["rest"])}
        entity = _entity(tag, attributes)
        if entity is None:
            raise broken(f'Unsupported start tag "{tag}" at byte offset {self._byte(piece)}')
        self.open.append(_Open(tag, entity | {"offset": self.offset}))

    def _end(self, piece: re.Match[str], tag: str) -> None:
        if not self.open:
            raise broken(f"Unexpected end tag at byte offset {self._byte(piece)}")
        opened = self.open.pop()
        if tag not in {"", opened.tag}:
            raise broken(
                f'Unmatched end tag at byte offset {self._byte(piece)}, expected "</{opened.tag}>", found "</{tag}>"'
            )
        opened.entity["length"] = self.offset - opened.entity["offset"]
        if opened.entity["length"]:
            self.entities.append(opened.entity)

    def _byte(self, piece: re.Match[str]) -> int:
        return len(self.source[: piece.start()].encode())


def broken(why: str) -> BadRequestError:
    """The error of text whose formatting cannot be read."""
    return BadRequestError(f"can't parse entities: {why}")


def _entity(tag: str, attributes: dict[str, str]) -> Entity | None:
    if tag == "a":
        return {"type": "text_link", "url": kept_link(attributes.get("href", "")) or ""}
    if tag == "tg-emoji" and attributes.get("emoji-id", "").isdecimal():
        return {"type": "custom_emoji", "custom_emoji_id": attributes["emoji-id"]}
    if tag == "span" and attributes.get("class") == "tg-spoiler":
        return {"type": "spoiler"}
    if tag == "blockquote" and "expandable" in attributes:
        return {"type": "expandable_blockquote"}
    if tag == "code" and attributes.get("class", "").startswith("language-"):
        return {"type": "code", "language": attributes["class"].removeprefix("language-")}
    return {"type": _SIMPLE[tag]} if tag in _SIMPLE else None


def _without_inner_code(entities: list[Entity]) -> list[Entity]:
    """``<pre><code class="language-x">`` is one block with a language; a language elsewhere means nothing."""
    blocks = {(e["offset"], e["length"]): e for e in entities if e["type"] == "pre"}
    kept = []
    for entity in entities:
        language = entity.pop("language", None) if entity["type"] == "code" else None
        block = blocks.get((entity["offset"], entity["length"])) if entity["type"] == "code" else None
        if block is None:
            kept.append(entity)
        elif language:
            block["language"] = language
    return [e for e in kept if e.get("url") or e["type"] != "text_link"]


def ordered(entities: list[Entity]) -> list[Entity]:
    """By their places, the longer of two that begin together first."""
    return sorted(entities, key=lambda e: (e["offset"], -e["length"]))


def parse_html(source: str) -> tuple[str, list[Entity]]:
    """Text and entities of Telegram's HTML. Raises BadRequestError with the place of the first fault."""
    return _Reader(source).read()


def find_entities(text: str, known: list[Entity]) -> list[Entity]:
    """`known` and the commands, mentions, hashtags and links that stand in `text` outside of code and links."""
    entities = list(known)
    for kind, pattern in _FOUND:
        for match in pattern.finditer(text):
            found = {"type": kind, "offset": units(text[: match.start()]), "length": units(match[0])}
            if not any(_overlap(found, other) for other in entities if other["type"] in _OPAQUE):
                entities.append(found)
    return ordered(entities)


def _overlap(one: Entity, other: Entity) -> bool:
    return bool(one["offset"] < other["offset"] + other["length"] and other["offset"] < one["offset"] + one["length"])


def trimmed(text: str, entities: list[Entity]) -> tuple[str, list[Entity]]:
    """Without white space at both ends; entities follow, and those left empty go."""
    kept = text.strip()
    skipped = units(text[: len(text) - len(text.lstrip())])
    return kept, list(_clipped(entities, skipped, units(kept)))


def _clipped(entities: list[Entity], skipped: int, length: int) -> Iterator[Entity]:
    for entity in entities:
        start = max(entity["offset"] - skipped, 0)
        end = min(entity["offset"] + entity["length"] - skipped, length)
        if end > start:
            yield entity | {"offset": start, "length": end - start}
