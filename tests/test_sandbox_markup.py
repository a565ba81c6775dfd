import html
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox.errors import BadRequestError
from sandbox.markup import find_entities, parse_html, trimmed, units

TAGS = {
    "b": ("<b>", "</b>", {"type": "bold"}),
    "i": ("<em>", "</em>", {"type": "italic"}),
    "u": ("<u>", "</u>", {"type": "underline"}),
    "s": ("<del>", "</del>", {"type": "strikethrough"}),
    "spoiler": ('<span class="tg-spoiler">', "</span>", {"type": "spoiler"}),
    "code": ("<code>", "</code>", {"type": "code"}),
    "pre": ('<pre><code class="language-python">', "</code></pre>", {"type": "pre", "language": "python"}),
    "quote": ("<blockquote>", "</blockquote>", {"type": "blockquote"}),
    "link": (
        '<a href="https://x.example/?a=1&amp;b=2">',
        "</a>",
        {"type": "text_link", "url": "https://x.example/?a=1&b=2"},
    ),
}
words = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
pieces = st.lists(st.tuples(st.sampled_from(["", *TAGS]), words), max_size=8)


@given(pieces)
def test_what_is_escaped_and_tagged_comes_back(parts: list[tuple[str, str]]) -> None:
    """Any text, escaped and put into tags, is read back as itself with the entities at their UTF-16 places."""
    source, text, expected = "", "", []
    for tag, inner in parts:
        before, after, entity = TAGS.get(tag, ("", "", None))
        if entity and inner:
            expected.append(entity | {"offset": units(text), "length": units(inner)})
        source += before + html.escape(inner) + after
        text += inner
    assert parse_html(source) == (text, expected)


@given(words, st.lists(st.sampled_from(["b", "i", "u", "s"]), unique=True, max_size=4))
def test_nested_tags_cover_the_same_text(inner: str, tags: list[str]) -> None:
    """Tags inside one another give one entity each over the same text."""
    source = html.escape(inner)
    for tag in tags:
        source = TAGS[tag][0] + source + TAGS[tag][1]
    text, entities = parse_html(source)
    assert text == inner
    assert sorted(e["type"] for e in entities) == sorted(TAGS[tag][2]["type"] for tag in tags if inner)
    assert all((e["offset"], e["length"]) == (0, units(inner)) for e in entities)


@given(st.text(st.sampled_from("<>/&;ab \"'=#1"), max_size=30))
def test_broken_html_is_refused_or_read_but_never_crashes(source: str) -> None:
    """Whatever is thrown at it, the parser answers with text or with Telegram's error."""
    try:
        text, entities = parse_html(source)
    except BadRequestError:
        return
    assert all(0 <= e["offset"] < e["offset"] + e["length"] <= units(text) for e in entities)


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("a<b>c", 'Can\'t find end tag corresponding to start tag "b"'),
        ("é<foo>c</foo>", 'Unsupported start tag "foo" at byte offset 2'),
        ("<b>x</i>", 'Unmatched end tag at byte offset 4, expected "</b>", found "</i>"'),
        ("x</b>", "Unexpected end tag at byte offset 1"),
        ("1 < 2", "Unclosed start tag at byte offset 2"),
        ("<span>x</span>", 'Unsupported start tag "span" at byte offset 0'),
    ],
)
def test_errors_name_the_place(source: str, reason: str) -> None:
    """Broken HTML is refused in Telegram's words, with the place counted in bytes."""
    with pytest.raises(BadRequestError) as caught:
        parse_html(source)
    assert caught.value.description == f"Bad Request: can't parse entities: {reason}"


def test_unknown_references_stay_text() -> None:
    """Only the four named references and numeric ones are decoded."""
    assert parse_html("&lt;&#60;&#x3c;&nbsp;& AT&T")[0] == "<<<&nbsp;& AT&T"


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ('<a href="X.example">x</a>', [{"type": "text_link", "offset": 0, "length": 1, "url": "http://x.example/"}]),
        ('<a href="nonsense">x</a><a>y</a>', []),
        (
            '<tg-emoji emoji-id="53683">👍</tg-emoji>',
            [{"type": "custom_emoji", "offset": 0, "length": 2, "custom_emoji_id": "53683"}],
        ),
    ],
)
def test_links_and_custom_emoji(source: str, expected: list[dict[str, Any]]) -> None:
    """A link keeps its address in Telegram's spelling, a wrong one is plain text, a custom emoji keeps its number."""
    assert parse_html(source)[1] == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("/train head", [("bot_command", 0, 6)]),
        ("😀 /status@my_bot", [("bot_command", 3, 14)]),
        ("a/b http://x.example/a#b", [("url", 4, 20)]),
        ("#cat by @ada_l", [("hashtag", 0, 4), ("mention", 8, 6)]),
        ("3/4 #1 a@b", []),
    ],
)
def test_entities_are_found_in_text(text: str, expected: list[tuple[str, int, int]]) -> None:
    """Commands, links, hashtags and mentions are found where Telegram finds them."""
    assert [(e["type"], e["offset"], e["length"]) for e in find_entities(text, [])] == expected


def test_nothing_is_found_in_code() -> None:
    """A command inside code stays code."""
    code: list[dict[str, Any]] = [{"type": "code", "offset": 0, "length": 6}]
    assert find_entities("/train", code) == code


@given(words, words, words)
def test_trimming_moves_entities_along(before: str, inner: str, after: str) -> None:
    """After white space at the ends is gone, an entity still covers the same characters."""
    text, entities = trimmed(
        f" \n{before}x{inner}x{after}\t ", [{"type": "bold", "offset": 2 + units(before), "length": units(inner) + 2}]
    )
    place = entities[0]["offset"] * 2
    covered = text.encode("utf-16-le")[place : place + entities[0]["length"] * 2].decode("utf-16-le")
    assert text == text.strip()
    assert covered == f"x{inner}x"
