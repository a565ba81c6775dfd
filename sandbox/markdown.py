"""Telegram's two kinds of Markdown, as https://core.telegram.org/bots/api#formatting-options describes them."""

import re
from dataclasses import dataclass
from typing import NoReturn

from sandbox.links import kept_link
from sandbox.markup import Entity, broken, ordered, units

_RESERVED = frozenset("_*[]()~`>#+-=|{}.!")
_MARKS = {"*": "bold", "_": "italic", "__": "underline", "~": "strikethrough", "||": "spoiler"}
_NAMES = {  # as errors call them
    "bold": "Bold",
    "italic": "Italic",
    "underline": "Underline",
    "strikethrough": "Strikethrough",
    "spoiler": "Spoiler",
    "code": "Code",
    "pre": "Pre",
    "text_link": "TextUrl",
    "custom_emoji": "CustomEmoji",
    "blockquote": "BlockQuote",
}
_MARK = re.compile(r"__|\|\||!\[|[_*~\[\]]")
_ESCAPED = re.compile(r"\\([\x01-\x7e])")
_FENCE = re.compile(r"```(?:([^\s`]+)(?=\s))?(?:\r\n|\n\r|\n|\r)?", re.ASCII)
_ADDRESS = re.compile(r"\(((?:\\[\x01-\x7e]|\\(?![\x01-\x7e])|[^)\\])*)\)")
_EMOJI = re.compile(r"tg://emoji\?id=(\d{1,19})")

_LEGACY_MARKS = {"```": "pre", "_": "italic", "*": "bold", "`": "code", "[": "text_link"}
_LEGACY_ESCAPED = re.compile(r"\\([_*`\[])")
_LEGACY_PLAIN = re.compile(r"[^_*`\[\\]+|\\")


@dataclass
class _Open:
    """A mark that waits for its end: where its text begins, and where in the source it stands."""

    type: str
    offset: int
    piece: int
    place: int
    language: str = ""


class _Reader:
    """What both kinds have in common: text that grows, and entities over it."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.at = 0
        self.text: list[str] = []
        self.offset = 0
        self.entities: list[Entity] = []

    def write(self, text: str) -> None:
        self.text.append(text)
        self.offset += units(text)

    def opened(self, kind: str, language: str | None = None) -> _Open:
        return _Open(kind, self.offset, len(self.text), self.at, language or "")

    def note(self, opened: _Open, **details: str) -> None:
        """Add the entity of a mark that ends here, unless it is empty."""
        language = {"language": opened.language} if opened.language else {}
        length = self.offset - opened.offset
        if length:
            place: Entity = {"type": opened.type, "offset": opened.offset, "length": length}
            self.entities.append(place | language | details)

    def note_link(self, opened: _Open, address: str) -> None:
        url = kept_link(address)
        if url:
            self.note(opened, url=url)

    def byte(self, place: int) -> int:
        return len(self.source[:place].encode())

    def result(self) -> tuple[str, list[Entity]]:
        return "".join(self.text), ordered(self.entities)


class _Modern(_Reader):
    """MarkdownV2: marks may nest, and what is no mark must be escaped."""

    def __init__(self, source: str) -> None:
        super().__init__(source)
        self.open: list[_Open] = []
        self.at_line_start = True

    @property
    def innermost(self) -> str:
        return self.open[-1].type if self.open else ""

    @property
    def quoting(self) -> bool:
        return any(opened.type == "blockquote" for opened in self.open)

    def read(self) -> tuple[str, list[Entity]]:
        while self.at < len(self.source):
            self._step(self.source[self.at])
        if self.quoting:
            self._end_quote(len(self.source))
        if self.open:
            self._unfinished()
        return self.result()

    def _step(self, character: str) -> None:
        escaped = _ESCAPED.match(self.source, self.at)
        if escaped:
            self._plain(escaped[1], len(escaped[0]))
        elif character == "`":
            self._code()
        elif self.innermost in {"code", "pre"}:
            self._plain(character)
        elif character == "\n":
            self._line_break()
        elif character in _RESERVED:
            self._mark(character)
        else:
            self._plain(character)

    def _plain(self, text: str, length: int = 1) -> None:
        self.write(text)
        self.at += length
        self.at_line_start = text == "\n" or (text == "\r" and self.at_line_start)

    def _code(self) -> None:
        fence = _FENCE.match(self.source, self.at)
        if self.innermost == "code" or (self.innermost == "pre" and fence):
            self.at += 1 if self.innermost == "code" else 3
            self.note(self.open.pop())
        elif fence:
            self.open.append(self.opened("pre", fence[1]))
            self.at = fence.end()
        else:
            self.open.append(self.opened("code"))
            self.at += 1

    def _line_break(self) -> None:
        """A quotation ends with a line that no ``>`` follows; the break belongs to it."""
        if self.quoting and not self.source.startswith(">", self.at + 1):
            self._end_quote(self.at, "\n")
            self.at += 1
            self.at_line_start = True
        else:
            self._plain("\n")

    def _end_quote(self, end: int, line_break: str = "") -> None:
        """End the quotation at `end` of the source; two bars just before make it expandable."""
        expandable = self.innermost == "spoiler" and self.source[self.open[-1].place : end].rstrip("\r") == "||"
        if expandable:
            self.open.pop()
        if self.innermost != "blockquote":
            self._unfinished()
        quote = self.open.pop()
        self.write(line_break)
        quote.type = "expandable_blockquote" if expandable else "blockquote"
        self.note(quote)

    def _mark(self, character: str) -> None:
        match = _MARK.match(self.source, self.at)
        mark = match[0] if match else character
        if mark == ">" and self.at_line_start:
            if not self.quoting:
                self.open.append(self.opened("blockquote"))
        elif mark in {"[", "!["}:
            self.open.append(self.opened("text_link" if mark == "[" else "custom_emoji"))
        elif mark == "]" and self.innermost in {"text_link", "custom_emoji"}:
            self._end_link(self.open.pop())
            return
        elif mark in _MARKS and self.innermost == _MARKS[mark]:
            self.note(self.open.pop())
        elif mark in _MARKS:
            self.open.append(self.opened(_MARKS[mark]))
        else:
            raise broken(f"Character '{character}' is reserved and must be escaped with the preceding '\\'")
        self.at += len(mark)

    def _end_link(self, opened: _Open) -> None:
        self.at += 1
        emoji = opened.type == "custom_emoji"
        if not self.source.startswith("(", self.at):
            if emoji:
                raise broken("Custom emoji entity must contain a tg://emoji URL")
            self.note_link(opened, "".join(self.text[opened.piece :]))
            return
        match = _ADDRESS.match(self.source, self.at)
        if match is None:
            what = "a custom emoji URL" if emoji else "a URL"
            raise broken(f"Can't find end of {what} at byte offset {self.byte(self.at + 1)}")
        self.at = match.end()
        address = _ESCAPED.sub(r"\1", match[1])
        if not emoji:
            self.note_link(opened, address)
            return
        found = _EMOJI.fullmatch(address)
        if found is None:
            raise broken("Invalid custom emoji identifier specified")
        self.note(opened, custom_emoji_id=found[1])

    def _unfinished(self) -> NoReturn:
        last = self.open[-1]
        name = "PreCode" if last.language else _NAMES[last.type]
        raise broken(f"Can't find end of {name} entity at byte offset {self.byte(last.place)}")


class _Legacy(_Reader):
    """Markdown of the first kind: nothing nests, and only four characters mean anything."""

    def read(self) -> tuple[str, list[Entity]]:
        while self.at < len(self.source):
            if match := _LEGACY_ESCAPED.match(self.source, self.at):
                self.write(match[1])
                self.at = match.end()
            elif match := _LEGACY_PLAIN.match(self.source, self.at):
                self.write(match[0])
                self.at = match.end()
            else:
                self._marked()
        return self.result()

    def _marked(self) -> None:
        fence = _FENCE.match(self.source, self.at)
        mark = "```" if fence else self.source[self.at]
        opened = self.opened(_LEGACY_MARKS[mark], fence[1] if fence else None)
        self.at = fence.end() if fence else self.at + 1
        end = self.source.find("]" if mark == "[" else mark, self.at)
        if end < 0:
            raise broken(f"Can't find end of the entity starting at byte offset {self.byte(opened.place)}")
        inner = self.source[self.at : end]
        self.write(inner)
        self.at = end + len(mark)
        if mark == "[":
            self._link(opened, inner)
        else:
            self.note(opened)

    def _link(self, opened: _Open, inner: str) -> None:
        if not self.source.startswith("(", self.at):
            self.note_link(opened, inner)
            return
        address, _, _ = self.source[self.at + 1 :].partition(")")
        self.at += len(address) + 2
        self.note_link(opened, address)


def parse_markdown_v2(source: str) -> tuple[str, list[Entity]]:
    """Text and entities of MarkdownV2. Raises BadRequestError with the place of the first fault."""
    return _Modern(source).read()


def parse_markdown(source: str) -> tuple[str, list[Entity]]:
    """Text and entities of the older Markdown. Raises BadRequestError with the place of the first fault."""
    return _Legacy(source).read()
