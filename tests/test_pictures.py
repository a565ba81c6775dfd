"""Pictures of a run: curves, who was taken for whom, and the photos that were answered wrongly."""

import io
from pathlib import Path

import numpy as np
import pytest
from finished import CURVE, facts
from matplotlib import font_manager
from PIL import Image

from trainer.curve import Curve, Point
from trainer.report import plots, sheet
from trainer.report.lettering import lettering

HEAD = Curve("regularisation", (Point(1.0, validation_loss=0.9), Point(0.1, validation_loss=0.7)), 1)


def opened(content: bytes | None) -> Image.Image:
    assert content
    image = Image.open(io.BytesIO(content))
    image.load()
    return image


def near(image: Image.Image, colour: tuple[int, int, int]) -> int:
    """How many pixels are almost of a colour."""
    return int((np.abs(np.asarray(image.convert("RGB"), int) - colour).max(axis=2) < 24).sum())


@pytest.mark.parametrize("curve", [CURVE, HEAD, Curve("epoch", (Point(1, 2.0), Point(2, 1.0)), 0)])
def test_curves_are_drawn_from_what_was_measured(curve: Curve) -> None:
    """Epochs and strengths, with both kinds of photos or one."""
    image = opened(plots.curves(curve))
    assert (image.format, image.width) == ("PNG", 1080)


def test_single_point_makes_no_curve() -> None:
    """Nothing is drawn where there is nothing to compare."""
    assert plots.curves(Curve("epoch", (Point(1, 1.0),), 0)) is None
    assert plots.curves(Curve("regularisation", (Point(1.0), Point(0.1)), 0)) is None


@pytest.mark.parametrize("count", [2, 14, 100, 1000])
def test_confusion_of_any_number_of_classes(tmp_path: Path, count: int) -> None:
    """The picture has the same size, shows right answers in blue and a mix-up in vermilion, however many classes."""
    classes = [f"a class with a rather long name, the {number}." for number in range(count)]
    told = facts(tmp_path, classes, [(0, 0, 0.9), (1, 1, 0.9), (count - 1, 0, 0.9)], learnt=1)
    image = opened(plots.confusion(told.confusion, classes, told.mix_ups))
    assert image.size == (1080, 1150)
    assert near(image, (0, 114, 178)) > 500
    assert count == 2 or near(image, (213, 94, 0)) > 500


def test_nothing_judged_makes_no_confusion(tmp_path: Path) -> None:
    """A version without test photos has no such picture."""
    told = facts(tmp_path, ("a", "b"), [])
    assert plots.confusion(told.confusion, told.data.classes, told.mix_ups) is None
    assert sheet.mistakes(told.candidate, told.mistakes, Path.read_bytes) is None


def test_names_in_any_script_are_drawn(tmp_path: Path) -> None:
    """A name that no font has is its number; nothing warns, and nothing in a name is taken for a formula."""
    classes = ("подсолнух", "$x$_{2}", "سلام", "\U0001f9ff\U000e0100", "\U000fffff")
    told = facts(tmp_path, classes, [(number, (number + 1) % 5, 0.9) for number in range(5)])
    opened(plots.confusion(told.confusion, classes, told.mix_ups))
    opened(sheet.mistakes(told.candidate, told.mistakes, Path.read_bytes))
    labels = lettering(dict(enumerate(classes))).labels
    assert (labels[0], labels[1], labels[2], labels[4]) == ("подсолнух", "$x$ {2}", "سلام", "#4")


def test_font_that_has_the_characters_is_found() -> None:
    """Where the usual font lacks a character, another one of this computer that has it comes second."""
    usual = font_manager.get_font(font_manager.findfont("DejaVu Sans")).get_charmap()
    stix = font_manager.get_font(font_manager.findfont("STIXGeneral")).get_charmap()
    character = chr(min(stix.keys() - usual.keys()))
    letters = lettering({3: character})
    assert letters.labels == {3: character}
    assert letters.families[0] == "DejaVu Sans"
    assert len(letters.families) == 2


def test_long_names_keep_both_ends() -> None:
    """Varieties differ in their last word, and wide characters take the room of two."""
    labels = lettering({0: "Phalaenopsis_amabilis_var._grandiflora", 1: "あ" * 30, 2: "short"}).labels
    assert labels[0].startswith("Phalaenopsi")
    assert labels[0].endswith("grandiflora"[-8:])
    assert (len(labels[0]), labels[2]) == (22, "short")
    assert len(labels[1]) <= 11


def test_sheet_shows_fifteen_mistakes(tmp_path: Path) -> None:
    """Twenty mistakes make a sheet of fifteen, which is as much as a phone shows."""
    told = facts(tmp_path, ("a", "b"), [(0, 1, 0.9)] * 20)
    image = opened(sheet.mistakes(told.candidate, told.mistakes, Path.read_bytes))
    few = facts(tmp_path, ("a", "b"), [(0, 1, 0.9)] * 15)
    assert image.format == "JPEG"
    assert image.size == opened(sheet.mistakes(few.candidate, few.mistakes, Path.read_bytes)).size


def test_deleted_and_damaged_photos_make_room_for_others(tmp_path: Path) -> None:
    """A photo that went since it was judged, or was cut short, is passed over; with none left there is no sheet."""
    told = facts(tmp_path, ("a", "b"), [(0, 1, 0.9), (0, 1, 0.8), (0, 1, 0.7)])
    gone, cut, whole = (photo.path for photo in told.candidate.photos)
    gone.unlink()
    cut.write_bytes(cut.read_bytes()[:200])
    opened(sheet.mistakes(told.candidate, told.mistakes, Path.read_bytes))
    whole.unlink()
    assert sheet.mistakes(told.candidate, told.mistakes, Path.read_bytes) is None
