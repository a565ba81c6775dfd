import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox.errors import BadRequestError
from sandbox.links import kept_link, linked_person
from sandbox.markdown import parse_markdown, parse_markdown_v2
from sandbox.markup import units

MARKS = {
    "bold": "*{}*",
    "italic": "_{}_",
    "underline": "__{}__",
    "strikethrough": "~{}~",
    "spoiler": "||{}||",
    "code": "`{}`",
    "pre": "```\n{}```",
    "text_link": "[{}](https://x.example/a)",
}
words = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r"), min_size=1, max_size=20)


def escaped(text: str) -> str:
    """As Telegram asks for it: a backslash before each character that could mean something."""
    return re.sub(r"([_*\[\]()~`>#+\-=|{}.!\\])", r"\\\1", text)


def places(entities: list[dict[str, Any]]) -> list[tuple[str, int, int]]:
    return [(e["type"], e["offset"], e["length"]) for e in entities]


@given(st.lists(st.tuples(st.sampled_from(["", *MARKS]), words), max_size=8))
def test_what_is_escaped_and_marked_comes_back(parts: list[tuple[str, str]]) -> None:
    """Any text, escaped and put into marks, is read back as itself with the entities at their UTF-16 places."""
    source, text, expected = "", "", []
    for mark, inner in parts:
        expected += [(mark, units(text), units(inner))] if mark else []
        source += MARKS.get(mark, "{}").format(escaped(inner)) + "/"  # So that marks do not run together.
        text += inner + "/"
    found, entities = parse_markdown_v2(source)
    assert (found, places(entities)) == (text, expected)


@given(st.text(st.sampled_from("_*[]()~`>#|!\\ab \n\r😀1"), max_size=30))
def test_broken_markdown_is_refused_or_read_but_never_crashes(source: str) -> None:
    """Whatever is thrown at them, both parsers answer with text or with Telegram's error."""
    for parse in (parse_markdown_v2, parse_markdown):
        try:
            text, entities = parse(source)
        except BadRequestError:
            continue
        assert all(0 <= e["offset"] < e["offset"] + e["length"] <= units(text) for e in entities)


@pytest.mark.parametrize(
    ("source", "text", "expected"),
    [
        ("*bold \\*text*", "bold *text", [("bold", 0, 10)]),
        ("_italic_ __under__ ~gone~ ||hidden||", "italic under gone hidden", [
            ("italic", 0, 6), ("underline", 7, 5), ("strikethrough", 13, 4), ("spoiler", 18, 6),
        ]),
        ("*a _b ~c ||d||~ __e___ f*", "a b c d e f", [
            ("bold", 0, 11), ("italic", 2, 7), ("strikethrough", 4, 3), ("spoiler", 6, 1), ("underline", 8, 1),
        ]),
        ("😀 `a*b_c.d`", "😀 a*b_c.d", [("code", 3, 7)]),
        ("`back\\`tick\\\\`", "back`tick\\", [("code", 0, 10)]),
        ("```\na.b\n```", "a.b\n", [("pre", 0, 4)]),
        ("```python\nx = [1]\n```", "x = [1]\n", [("pre", 0, 8)]),
        (">one\n>two\nafter", "one\ntwo\nafter", [("blockquote", 0, 8)]),
        ("a\n>one *b*", "a\none b", [("blockquote", 2, 5), ("bold", 6, 1)]),
        (">one\n**>two\n>three||", "one\ntwo\nthree", [("blockquote", 0, 4), ("expandable_blockquote", 4, 9)]),
        (">one||\nafter", "one\nafter", [("expandable_blockquote", 0, 4)]),
        ("a**b", "ab", []),
        ("[x](nonsense) [y]", "x y", []),
    ],
)  # fmt: skip
def test_modern_markdown(source: str, text: str, expected: list[tuple[str, int, int]]) -> None:
    """Marks of MarkdownV2 become entities where Telegram's documentation says so."""
    found, entities = parse_markdown_v2(source)
    assert (found, places(entities)) == (text, expected)


@pytest.mark.parametrize(
    ("source", "text", "expected"),
    [
        ("*bold* _italic_ `a.b`", "bold italic a.b", [("bold", 0, 4), ("italic", 5, 6), ("code", 12, 3)]),
        ("```js\nx\n``` 1.5 (a) > b!", "x\n 1.5 (a) > b!", [("pre", 0, 2)]),
        ("snake\\_case \\* \\x", "snake_case * \\x", []),
        ("_a*b_ 😀 *c*", "a*b 😀 c", [("italic", 0, 3), ("bold", 7, 1)]),
    ],
)
def test_legacy_markdown(source: str, text: str, expected: list[tuple[str, int, int]]) -> None:
    """The older Markdown has fewer marks, none inside another, and leaves the rest alone."""
    found, entities = parse_markdown(source)
    assert (found, places(entities)) == (text, expected)


def test_details_of_entities() -> None:
    """Blocks keep their language, links their address, custom emoji their number."""
    link = "[a\\]](HTTPS://X.example?q=\\)) ![👍](tg://emoji?id=5368324170671202286) ```c++\nint```"
    assert parse_markdown_v2(link)[1] == [
        {"type": "text_link", "offset": 0, "length": 2, "url": "https://x.example/?q=)"},
        {"type": "custom_emoji", "offset": 3, "length": 2, "custom_emoji_id": "5368324170671202286"},
        {"type": "pre", "offset": 6, "length": 3, "language": "c++"},
    ]
    assert parse_markdown("[a](x.example) [b.example]")[1] == [
        {"type": "text_link", "offset": 0, "length": 1, "url": "http://x.example/"},
        {"type": "text_link", "offset": 2, "length": 9, "url": "http://b.example/"},
    ]


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("1.5", "Character '.' is reserved and must be escaped with the preceding '\\'"),
        ("a|b", "Character '|' is reserved and must be escaped with the preceding '\\'"),
        ("a > b", "Character '>' is reserved and must be escaped with the preceding '\\'"),
        ("é *a", "Can't find end of Bold entity at byte offset 3"),
        ("_a __b_", "Can't find end of Italic entity at byte offset 6"),
        ("`a", "Can't find end of Code entity at byte offset 0"),
        ("```c\na", "Can't find end of PreCode entity at byte offset 0"),
        (">*a\nb*", "Can't find end of Bold entity at byte offset 1"),
        ("[a](x.example", "Can't find end of a URL at byte offset 4"),
        ("![a]", "Custom emoji entity must contain a tg://emoji URL"),
        ("![a](x.example)", "Invalid custom emoji identifier specified"),
    ],
)
def test_errors_name_the_place(source: str, reason: str) -> None:
    """Broken MarkdownV2 is refused in Telegram's words, with the place counted in bytes."""
    with pytest.raises(BadRequestError) as caught:
        parse_markdown_v2(source)
    assert caught.value.description == f"Bad Request: can't parse entities: {reason}"


def test_a_legacy_error_names_the_place() -> None:
    """A mark without its end is refused in Telegram's words."""
    with pytest.raises(BadRequestError, match="Can't find end of the entity starting at byte offset 5"):
        parse_markdown("snake_case")


@pytest.mark.parametrize(
    ("address", "kept"),
    [
        ("example.com", "http://example.com/"),
        ("HTTP://Example.COM/A?b#c", "http://example.com/A?b#c"),
        ("https://example.com:8080?x", "https://example.com:8080/?x"),
        ("tg://resolve?domain=x", "tg://resolve?domain=x"),
        ("http://localhost:8080/", None),
        ("ftp://example.com/", None),
        ("http://exa mple.com", None),
        ("", None),
    ],
)
def test_links_are_kept_as_telegram_keeps_them(address: str, kept: str | None) -> None:
    """A link is HTTP at a host with a dot, or into Telegram's app; anything else is no link."""
    assert kept_link(address) == kept


def test_links_to_people() -> None:
    """A link to a profile names a person by their id."""
    assert [linked_person(link) for link in ("tg://user?id=12", "tg://user?id=x", "http://x.example/")] == [
        12,
        None,
        None,
    ]
