"""When a new class name is close enough to an old one to ask."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.similar import similar


@pytest.mark.parametrize(
    ("name", "other"),
    [
        ("DAISY", "daisy"),
        ("ｄａｉｓｙ", "daisy"),
        ("Straße", "strasse"),
        ("red_rose", "red-rose"),
        ("redrose", "red_rose"),
        ("red rose", "redrose"),
        ("part1", "part_1"),
        ("part_01", "part_1"),
        ("roses", "rose"),
        ("boxes", "box"),
        ("daisies", "daisy"),
        ("leaves", "leaf"),
        ("cacti", "cactus"),
        ("red_roses", "red_rose"),
        ("dasiy", "daisy"),
        ("dasy", "daisy"),
        ("sunflwoer", "sunflower"),
        ("crysantemum", "chrysanthemum"),
        ("wite_rose", "white_rose"),
        ("Rosen", "Rose"),
        ("пионы", "пион"),
    ],
)
def test_slips_and_spellings_are_close(name: str, other: str) -> None:
    """Case, width, separators, plurals and a slip of the finger lead to a question, whichever of the two came first."""
    assert similar(name, ["tulip", other]) == [other]
    assert similar(other, [name]) == [name]


@pytest.mark.parametrize(
    ("name", "other"),
    [
        ("cat", "bat"),
        ("rose", "nose"),
        ("part_1", "part_2"),
        ("part_1", "part_11"),
        ("part1", "part_2"),
        ("M6", "M8"),
        ("1990", "1991"),
        ("type_a", "type_b"),
        ("Louis_XIV", "Louis_XV"),
        ("male", "female"),
        ("red_cat", "red_bat"),
        ("with_mask", "without_mask"),
        ("positive", "negative"),
        ("rose", "white_rose"),
        ("向日葵", "向日花"),
        ("アジサイの花", "アジサイの葉"),
        ("개나리꽃", "개나리잎"),
        ("daisy", "tulip"),
    ],
)
def test_other_things_are_not_close(name: str, other: str) -> None:
    """Other numbers, short words that differ, and signs that are words of their own mean another class."""
    assert similar(name, [other]) == []
    assert similar(other, [name]) == []


def test_the_closest_come_first() -> None:
    """At most three names are asked about, the closest first."""
    existing = ["sunfloweer", "sunflower", "sun_flower", "sunflowers", "tulip", "sunflwer"]
    assert similar("Sun-Flower", existing) == ["sun_flower", "sunflower", "sunfloweer"]


@given(st.text(max_size=64), st.lists(st.text(max_size=64), max_size=10))
def test_every_name_can_be_compared(name: str, existing: list[str]) -> None:
    """Whatever the names are, those found are among those there are, and at most three."""
    found = similar(name, existing)
    assert len(found) <= 3
    assert set(found) <= set(existing)


def test_thousands_of_classes_are_compared() -> None:
    """One slip is found among 2,000 classes."""
    chance = random.Random(1)  # noqa: S311  Repeatable, not secret.
    names = ["".join(chance.choices("abcdefghijklmnopqrstuvwxyz", k=chance.randint(6, 40))) for _ in range(2000)]
    assert names[77] in similar(names[77][:-2] + "x" + names[77][-1:], names)
