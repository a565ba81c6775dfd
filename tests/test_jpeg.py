"""Whether a JPEG file holds a picture and nothing else."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pictures import encoded, noise
from PIL import Image

from benchmarks.hostile import many_scans
from storage.jpeg import is_plain

PLAIN = encoded(noise(1))


def exif() -> Image.Exif:
    data = Image.Exif()
    data[0x010E] = "where"
    return data


@pytest.mark.parametrize(
    "content",
    [
        PLAIN,
        encoded(noise(1), progressive=True),
        encoded(noise(1), optimize=True),
        encoded(noise(1, mode="L")),
        encoded(noise(1), subsampling=0, quality=100),
        encoded(noise(1), restart_marker_blocks=2),
        encoded(noise(1, (1, 1))),
    ],
)
def test_bare_pictures_are_plain(content: bytes) -> None:
    """A picture alone is plain, however it was coded."""
    assert is_plain(content)


@pytest.mark.parametrize(
    "content",
    [
        encoded(noise(1), exif=exif()),
        encoded(noise(1), comment=b"hello"),
        encoded(noise(1), icc_profile=b"profile"),
        encoded(noise(1), xmp=b"<x/>"),
        encoded(noise(1, mode="CMYK")),
        encoded(noise(1), "MPO", save_all=True, append_images=[noise(2)]),
        PLAIN + b"\0",
        PLAIN + b"PK\x03\x04 a hidden archive",
        PLAIN + PLAIN,
        encoded(noise(1), "PNG"),
        b"",
    ],
)
def test_anything_more_is_not_plain(content: bytes) -> None:
    """Metadata, comments, profiles, second pictures and trailing bytes are found."""
    assert not is_plain(content)


@pytest.mark.parametrize(("scans", "plain"), [(10, True), (200, False)])
def test_pictures_that_are_made_to_take_long_are_not_plain(scans: int, plain: bool) -> None:
    """A few scans are what progressive pictures have; hundreds are there to waste time, at every reading."""
    assert is_plain(many_scans(encoded(noise(1), progressive=True), scans)) is plain


@pytest.mark.parametrize("frame", [0xC3, 0xC9, 0xCA, 0xCB])
def test_pictures_that_few_can_read_are_not_plain(frame: int) -> None:
    """Lossless and arithmetic coding are JPEG, but a stored photo is for every reader."""
    at = PLAIN.index(b"\xff\xc0") + 1
    assert not is_plain(PLAIN[:at] + bytes([frame]) + PLAIN[at + 1 :])


@given(st.integers(0, len(PLAIN) - 1))
def test_cut_pictures_are_not_plain(length: int) -> None:
    """A file that ends early lacks its end marker."""
    assert not is_plain(PLAIN[:length])


@given(st.binary(max_size=300))
def test_any_bytes_get_an_answer(content: bytes) -> None:
    """Foreign bytes behind a JPEG's first marker neither raise nor loop."""
    assert is_plain(b"\xff\xd8" + content) in {True, False}


@given(st.binary(min_size=1, max_size=40), st.integers(0, 15))
def test_hidden_segments_are_found(payload: bytes, number: int) -> None:
    """An application segment with anything in it is not plain, wherever it claims to belong."""
    segment = bytes((0xFF, 0xE0 + number)) + (len(payload) + 2).to_bytes(2, "big") + payload
    assert not is_plain(PLAIN[:2] + segment + PLAIN[2:])
