"""Varied photos: plain where nothing is to vary, the same for the same number, varied in the ways that are named."""

import io
from collections.abc import Mapping

import numpy as np
import pytest
from PIL import Image

from storage.errors import ImageError
from storage.images import Pixels, model_input
from storage.settings import Augmentation
from trainer.network.augment import varied_input

SIZE = 48
NONE = Augmentation(flip=False, crop=0, scale=0, brightness=0, contrast=0, colour=0)


def _photo() -> bytes:
    """Dark on the left and light on the right, reddish, 96 × 64."""
    ramp = np.tile(np.linspace(40, 200, 96), (64, 1))
    buffer = io.BytesIO()
    Image.fromarray(np.stack([ramp, 0.7 * ramp, 0.5 * ramp], axis=2).astype(np.uint8)).save(buffer, "JPEG", quality=95)
    return buffer.getvalue()


def _varied(how: Mapping[str, object], seed: int = 0) -> Pixels:
    return varied_input(_photo(), SIZE, NONE.model_copy(update=how), np.random.default_rng(seed))


def _plain() -> Pixels:
    return model_input(_photo(), SIZE)


def test_nothing_to_vary_gives_the_plain_model_input() -> None:
    """With every kind of variation off, the pixels are those that the chat's model gets, to the last bit."""
    np.testing.assert_array_equal(_varied({}), _plain())


@pytest.mark.parametrize(
    "how",
    [
        {"flip": True}, {"crop": 20.0}, {"scale": 50.0}, {"brightness": 40.0}, {"contrast": 40.0}, {"colour": 40.0},
        {"rotation": 30.0}, {"erase": 1.0},
    ],
)  # fmt: skip
def test_each_kind_varies_and_repeats(how: dict[str, object]) -> None:
    """Each kind of variation changes the photo from one number to another, keeps its form, and repeats for the same."""
    varied = [_varied(how, seed) for seed in range(8)]
    assert all(pixels.shape == (SIZE, SIZE, 3) and pixels.dtype == np.uint8 for pixels in varied)
    assert len({pixels.tobytes() for pixels in varied}) > 1
    np.testing.assert_array_equal(varied[3], _varied(how, seed=3))


def test_flip_mirrors_every_second_photo() -> None:
    """A mirrored photo is the plain one from right to left; about half of all are mirrored."""
    varied = [_varied({"flip": True}, seed) for seed in range(60)]
    mirrored = [pixels for pixels in varied if not np.array_equal(pixels, _plain())]
    assert 15 < len(mirrored) < 45
    np.testing.assert_array_equal(mirrored[0], _plain()[:, ::-1])


def test_crop_and_scale_show_a_part() -> None:
    """A photo that was cut or enlarged shows a smaller range of what was dark to light from side to side."""
    plain = np.ptp(_plain()[:, :, 0].mean(axis=0))
    for how in ({"crop": 50.0}, {"scale": 100.0}):
        ranges = [np.ptp(_varied(how, seed)[:, :, 0].mean(axis=0)) for seed in range(8)]
        assert max(ranges) < 1.01 * plain
        assert min(ranges) < 0.75 * plain


def test_brightness_stays_within_its_per_cent() -> None:
    """The mean of a photo moves by no more than the setting says, in both directions."""
    plain = _plain().mean()
    means = np.array([_varied({"brightness": 20.0}, seed).mean() / plain for seed in range(40)])
    assert means.min() > 0.79
    assert means.max() < 1.21
    assert means.min() < 0.9
    assert means.max() > 1.1


def test_damaged_photo_is_told() -> None:
    """Bytes that are no photo give the error of every other reader."""
    with pytest.raises(ImageError):
        varied_input(b"no photo", SIZE, NONE, np.random.default_rng(0))
