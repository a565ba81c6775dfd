import io
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from demo import samples


@pytest.mark.parametrize("name", samples.CLASSES)
def test_photo_is_a_jpeg_of_the_stated_size(name: str) -> None:
    """Every class can be drawn, as an RGB JPEG that lies or stands and carries no metadata."""
    with Image.open(io.BytesIO(samples.photo(name, 7))) as image:
        image.load()
        assert (image.format, image.mode) == ("JPEG", "RGB")
        assert sorted(image.size) == [samples.SHORT_SIDE, samples.LONG_SIDE]
        assert not image.getexif()
        assert not {"exif", "icc_profile", "comment", "xmp"} & image.info.keys()


@settings(max_examples=3, deadline=None)
@given(st.sampled_from(samples.CLASSES), st.integers(0, 2**63))
def test_photo_repeats_for_its_seed(name: str, seed: int) -> None:
    """The same class and seed give the same bytes, whatever was drawn in between, and the next seed gives others."""
    first = samples.photo(name, seed)
    assert samples.photo(name, seed + 1) != first
    assert samples.photo(name, seed) == first


def test_photos_of_a_seed_differ_between_classes() -> None:
    """Photos of one seed do not share their scenery, so that nothing but the sign gives the class away."""
    corners = {samples.draw(name, 1).crop((0, 0, 40, 40)).tobytes() for name in samples.CLASSES[:4]}
    assert len(corners) == 4


def test_photos_vary_in_shape_and_light() -> None:
    """A handful of photos of one class holds both formats and clearly different brightness."""
    images = [samples.draw("stop", seed) for seed in range(8)]
    assert len({image.size for image in images}) == 2
    assert np.ptp([np.asarray(image).mean() for image in images]) > 30


def test_class_names_can_be_captions_and_folders() -> None:
    """There are at least seven class names; all differ, and all are plain words that any file system takes."""
    assert len({name.casefold() for name in samples.CLASSES}) == len(samples.CLASSES) >= 7
    for name in samples.CLASSES:
        assert name == " ".join(name.split())
        assert name.isascii()
        assert name.replace(" ", "").isalnum()


def test_unknown_class_is_refused() -> None:
    """A class that does not exist is a KeyError that names it."""
    with pytest.raises(KeyError, match="unicorn"):
        samples.draw("unicorn", 1)


def test_folder_holds_every_class(tmp_path: Path) -> None:
    """A demo folder has one folder a class, with as many readable photos as asked for."""
    samples.folder(tmp_path / "photos", 2, seed=30)
    found = sorted(str(path.relative_to(tmp_path / "photos")) for path in tmp_path.rglob("*.jpg"))
    assert found == sorted(f"{name}/{number}.jpg" for name in samples.CLASSES for number in (1, 2))
    assert (tmp_path / "photos" / "stop" / "2.jpg").read_bytes() == samples.photo("stop", 31)
