"""Captions, class names, and labels.txt."""

import random
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage import labels
from storage.errors import LabelError
from storage.labels import class_name, from_caption, key, read_lines, write_lines

HOSTILE = [
    "..", ".", "../up", "..\\up", "/etc/passwd", "C:\\Windows", "a/b", "a\\b", "~root/", "\x00", "a\x00b",
    "a\nb\x0bc/..",
    "con", "CON.jpg", "nul", "Aux", "COM1", "com¹", "lpt9.txt", "prn.", ".hidden", "dot.", "...", "-", "_", "()", " ",
    "", "\u202egnp.exe", "a\u200bb", "\ufeffdaisy", "a\u2028b", "x" * 65, "x" * 1024, "\U0001f33c", "\U00020000" * 64,
    "<b>bold</b>", "a|b", "a:b", "a*b?", 'a"b', "$(reboot)", "`id`", "a;b", "%2e%2e%2f", "\ud800", "\u115f", "\ufe0f",
    "daisy\ufe0f", "\u3164", "a\u034fb", "½", "ﬁ/ﬂ", "․․/", "．．／", "＜ａ＞", "\U000e0041", "a\x7fb", "a\x85b",
]  # fmt: skip
CASES = st.sampled_from([str.upper, str.lower, str.title, str.casefold, str.swapcase])
READABLE = st.text(
    st.characters(categories=["L", "N", "Zs"], include_characters="_-.+&'‘’,()"), min_size=1, max_size=40
)


def name_or_none(text: str) -> str | None:
    try:
        return class_name(text)
    except LabelError:
        return None


def hostile(count: int) -> list[str]:
    """The list above, and its parts joined at random."""
    chance = random.Random(1)  # noqa: S311  Repeatable, not secret.
    return HOSTILE + ["".join(chance.choices(HOSTILE, k=2)) for _ in range(count - len(HOSTILE))]


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("daisy", "daisy"),
        ("  Ox-eye   daisy ", "Ox-eye_daisy"),
        ("V.Hilo Rose x V.Bitz's Heartthrob", "V.Hilo_Rose_x_V.Bitz's_Heartthrob"),
        ("Cattleya ‘Snow Queen'", "Cattleya_‘Snow_Queen'"),
        ("ｄａｉｓｙ", "daisy"),
        ("cafe\u0301", "café"),
        ("向日葵", "向日葵"),
        ("ดอกเดซี่", "ดอกเดซี่"),
        ("गुलाब", "गुलाब"),
        ("50 (large)", "50_(large)"),
    ],
)
def test_names_are_made_safe(text: str, name: str) -> None:
    """Spaces become underscores, widths and accents one form, and every script is welcome."""
    assert class_name(text) == name


@pytest.mark.parametrize(
    ("caption", "name"),
    [("daisy", "daisy"), ("#daisy", "daisy"), ("Label:  daisy\nsecond line", "daisy"), ("label: #rose", "rose")],
)
def test_captions_name_a_class(caption: str, name: str) -> None:
    """The first line counts, a leading # or label: does not."""
    assert from_caption(caption) == name


@pytest.mark.parametrize("caption", ["#daisy #rose", "", " \n ", "#", "label:", "what is this?"])
def test_unclear_captions_are_refused(caption: str) -> None:
    """Several hashtags, nothing at all or a question name no class."""
    with pytest.raises(LabelError):
        from_caption(caption)


@given(st.text())
def test_name_of_a_name_is_itself(text: str) -> None:
    """Making a safe name safe again changes nothing."""
    name = name_or_none(text)
    assert name is None or class_name(name) == name


@given(st.text())
def test_nothing_unsafe_passes(text: str) -> None:
    """No control, format or separating character, no leading or trailing dot, and never too long."""
    name = name_or_none(text)
    if name is not None:
        assert {unicodedata.category(character)[0] for character in name} <= set("LNMPS")
        assert not {"/", "\\", ":", "<", ">", "%", "\0"} & set(name)
        assert 0 < len(name) <= 64
        assert len(name.encode()) <= 200
        assert "." not in (name[0], name[-1])


@given(READABLE, CASES)
def test_case_width_and_spacing_do_not_matter(text: str, change: object) -> None:
    """Spellings that differ only so have one key."""
    name = name_or_none(text)
    if name is None or not callable(change):
        return
    spaced = name_or_none("  " + text.replace(" ", "  \t") + " ")
    assert spaced is not None
    assert key(spaced) == key(name)
    recased = name_or_none(change(text))
    if recased is not None and change(text).casefold() == text.casefold():
        assert key(recased) == key(name)


@given(READABLE)
def test_full_width_letters_have_the_same_key(text: str) -> None:
    """Letters as East Asian keyboards type them are the same letters."""
    wide = "".join(
        chr(ord(character) + 0xFEE0) if character.isascii() and character.isalnum() else character for character in text
    )
    name, other = name_or_none(text), name_or_none(wide)
    assert (name is None) == (other is None)
    assert name is None or other is None or key(name) == key(other)


@given(st.lists(READABLE.map(name_or_none).filter(bool), max_size=20))
def test_labels_file_round_trip(names: list[str]) -> None:
    """What is written is read back."""
    assert read_lines(write_lines(names)) == names


@pytest.mark.parametrize("text", ["daisy\n", "1:daisy\n", "0:daisy\n2:rose\n", "0:\n", "0:daisy\n\n1:rose\n"])
def test_wrong_labels_files_are_refused(text: str) -> None:
    """A line out of order would give every photo the wrong name."""
    with pytest.raises(LabelError, match=r"line [12] should start with"):
        read_lines(text)


def test_hostile_names_stay_in_their_folder(tmp_path: Path) -> None:
    """Of 200 hostile names each is refused, or is a folder that can be made and is listed under that very name."""
    inside = tmp_path / "a" / "b"
    inside.mkdir(parents=True)
    for text in hostile(200):
        name = name_or_none(text)
        if name is not None:
            (inside / name).mkdir(exist_ok=True)
            assert name in {path.name for path in inside.iterdir()}
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["b"]


@pytest.mark.parametrize(
    "text", ["../up", "a\x00b", "con", "COM1", "\u202egnp", "a\u200bb", "daisy\ufe0f", "\u115f", "x" * 65]
)
def test_refusals_say_what_is_wrong(text: str) -> None:
    """The message can be printed and shows no invisible character as itself."""
    with pytest.raises(LabelError) as caught:
        class_name(text)
    assert str(caught.value).isprintable()


def test_names_that_look_alike_are_not_two_classes() -> None:
    """Characters that show nothing are refused, so no two classes look the same."""
    assert [name_or_none(f"daisy{character}") for character in sorted(labels.INVISIBLE)] == [None] * len(
        labels.INVISIBLE
    )
