"""Captions, class names, and labels.txt."""

import re
import unicodedata
from itertools import combinations
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.names import NAMES
from storage import labels
from storage.errors import LabelError
from storage.labels import Caption, class_name, key, read_caption, read_lines, write_lines

CASES = st.sampled_from([str.upper, str.lower, str.title, str.casefold, str.swapcase])
READABLE = st.text(
    st.characters(categories=["L", "N", "Zs"], include_characters="_-.+&'‘’,()"), min_size=1, max_size=40
)
# What a caption may hold around a name, or before it.
LOOSE = re.compile(r"label|www\.", re.IGNORECASE)


def name_or_none(text: str) -> str | None:
    try:
        return class_name(text)
    except LabelError:
        return None


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
    [
        ("daisy", "daisy"),
        ("#daisy", "daisy"),
        ("Ascda. Kultana Gold Spot x Wilas", "Ascda._Kultana_Gold_Spot_x_Wilas"),
        ("\n  \n daisy\nfound it in my garden", "daisy"),
        ("Label:  daisy\nsecond line", "daisy"),
        ("label: #rose", "rose"),
        ("/label white rose", "white_rose"),
        ("/label@retrain_bot rose", "rose"),
        ("@retrain_bot rose", "rose"),
        ("@retrain_bot label: rose", "rose"),
        ("look at this #daisy in my garden", "daisy"),
        ("#daisy seen in my garden this morning", "daisy"),
        ("#daisy https://example.org/?q=1", "daisy"),
        ("(“#ox-eye”),", "ox-eye"),
        ("#Daisy, #daisy!", "Daisy"),
        ("label: one two three four five six", "one_two_three_four_five_six"),
        ("＃向日葵", "向日葵"),
        ("label：向日葵", "向日葵"),
        ("labelled", "labelled"),
    ],
)
def test_captions_name_a_class(caption: str, name: str) -> None:
    """The first line or its only hashtag counts; a leading mention, label: or /label does not."""
    assert read_caption(caption) == Caption(name)


@pytest.mark.parametrize(
    ("caption", "choices", "problem"),
    [
        ("", (), "A class name is needed"),
        (" \n ", (), "A class name is needed"),
        ("#", (), "A class name is needed"),
        ("label:", (), "A class name is needed"),
        ("🌼", (), "cannot contain “🌼”"),
        ("\ud800", (), r"cannot contain U\+D800"),
        ("what is this?", (), "a question"),
        ("这是什么？", ("这是什么",), "a question"),
        ("is this a #daisy?", ("daisy",), "a question"),
        ("daisy?", ("daisy",), "a question"),
        ("#daisy #rose", ("daisy", "rose"), "several hashtags"),
        ("#daisy#con", ("daisy",), "several hashtags"),
        ("#white rose", ("white", "white_rose"), "Which words"),
        ("white daisy #1", (), "cannot contain"),
        ("label: rose #white", ("white",), "cannot contain “#”"),
        ("see https://example.org/#rose", (), "link"),
        ("www.example.org", (), "link"),
        ("/undo", (), "command"),
        ("one two three four five six seven 8", ("one_two_three_four_five_six_seven_8",), "rather long"),
        ("🌼 daisy!!", ("daisy",), "cannot contain"),
        ("“daisy”", ("daisy",), "cannot contain"),
        ("daisy.", ("daisy",), "end with a dot"),
        ("ดอกเดซี่!", ("ดอกเดซี่",), "cannot contain"),
        ("../up", (), "cannot contain “/”"),
        ("<b>x</b>", (), "cannot contain “/” “<” “>”"),
        ("#con", (), "Windows reserves"),
    ],
)
def test_unclear_captions_ask(caption: str, choices: tuple[str, ...], problem: str) -> None:
    """What is unclear names no class but says why, and which classes may be meant."""
    read = read_caption(caption)
    assert (read.name, read.choices) == (None, choices)
    assert re.search(problem, read.problem)


@given(st.text(st.characters(exclude_categories=[]), max_size=60))
def test_any_caption_is_read(text: str) -> None:
    """Every text names a class or says what is unclear; whatever class it gives is a safe name."""
    read = read_caption(text)
    assert (read.name is None) == bool(read.problem)
    assert all(class_name(name) == name for name in (*read.choices, *filter(None, [read.name])))
    assert len({key(name) for name in read.choices}) == len(read.choices) <= 8
    read.problem.encode()


@given(READABLE, st.sampled_from(["{}", "label: {}", "/label {}", "@bot {}", " {} \nmore"]))
def test_names_read_from_a_caption_are_those_written(text: str, frame: str) -> None:
    """A class name of up to seven words is read as it is, whatever stands before or below it."""
    name = name_or_none(text)
    if name is None or len(text.split()) > labels.MOST_WORDS or LOOSE.search(unicodedata.normalize("NFKC", text)):
        return
    assert read_caption(frame.format(text)) == Caption(name)


@given(st.lists(READABLE.map(name_or_none).filter(bool).map(str), min_size=2, max_size=6, unique_by=key))
def test_several_hashtags_are_never_guessed(names: list[str]) -> None:
    """However many classes a caption names, none of them is taken, and each can be chosen."""
    tags = [name for name in names if not LOOSE.search(name) and name_or_none(name.rstrip(".,")) == name]
    read = read_caption(" ".join(f"#{name}" for name in tags))
    assert len(tags) < 2 or (read.name is None and set(read.choices) == set(tags))


@given(st.text(max_size=60).filter(lambda text: name_or_none(text) is None))
def test_problems_show_what_was_written(text: str) -> None:
    """What is wrong is told together with the line as it was written, at the very end."""
    read = read_caption(text)
    line = next((line.strip() for line in text.splitlines() if line.strip()), "")
    assert read.name or read.problem.endswith(line)


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
    assert len(set(NAMES)) == 200
    for text in NAMES:
        name = name_or_none(text)
        if name is not None:
            (inside / name).mkdir(exist_ok=True)
            assert name in {path.name for path in inside.iterdir()}
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["b"]


def test_accepted_names_are_folders_on_every_system() -> None:
    """No accepted name is one that Windows refuses or hides, such as a device, or a name with a dot at its end."""
    devices = re.compile(r"(con|prn|aux|nul|(com|lpt)[0-9¹²³]|conin\$|conout\$)\Z", re.IGNORECASE)
    for text in NAMES:
        name = name_or_none(text)
        if name is not None:
            assert not devices.match(name.partition(".")[0].rstrip(" "))
            assert not re.search(r'[<>:"/\\|?*\x00-\x1f]', name)
            assert name.rstrip(". ") == name
            assert not name.startswith(".")
            assert name.casefold() not in {"thumbs.db", "desktop.ini"}


def test_different_names_never_share_a_folder() -> None:
    """Two hostile names are one class if and only if their folders are one on systems that ignore case."""
    names = {name for name in map(name_or_none, NAMES) if name}
    for one, other in combinations(sorted(names), 2):
        assert (key(one) == key(other)) == (folded(one) == folded(other)), (one, other)


@given(READABLE)
def test_a_name_is_one_class_however_it_is_composed(text: str) -> None:
    """A folder name that a file system gives back decomposed is the same class, and gives the same name."""
    name = name_or_none(text)
    if name is not None:
        decomposed = unicodedata.normalize("NFD", name)
        assert class_name(decomposed) == name
        assert key(decomposed) == key(name)
        assert key(key(name)) == key(name)


def folded(name: str) -> str:
    """How a file system compares names that ignores case and composition."""
    return unicodedata.normalize("NFD", unicodedata.normalize("NFD", name).casefold())


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
