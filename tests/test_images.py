"""What cameras and chats send, as it is stored and as a network sees it."""

import io
import struct
import zlib

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pictures import encoded, noise
from PIL import Image

from storage.errors import ImageError
from storage.images import UPRIGHT, model_input, normalise
from storage.jpeg import is_plain

# Pillow warns of what our damaged files make it find; what counts is what comes out.
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::PIL.Image.DecompressionBombWarning")

MODES = [
    *(("PNG", mode) for mode in ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "I;16")),
    *(("JPEG", mode) for mode in ("L", "RGB", "CMYK", "YCbCr")),
    *(("WEBP", mode) for mode in ("L", "RGB", "RGBA")),
]


def exif(orientation: int) -> Image.Exif:
    data = Image.Exif()
    data[0x0112] = orientation
    data[0x010E] = "secret place"
    data[0x8825] = {1: "N", 2: (52.0, 31.0, 0.0)}
    return data


def with_mode(mode: str) -> Image.Image:
    if mode == "I;16":
        return Image.fromarray(np.linspace(0, 65535, 48 * 32, dtype=np.uint16).reshape(32, 48))
    if mode == "PA":
        palette = noise(1, mode="P")
        palette.info["transparency"] = 3
        return palette
    return noise(1, mode=mode)


def decoded(content: bytes) -> Image.Image:
    with Image.open(io.BytesIO(content)) as image:
        image.load()
        return image


def samples() -> list[bytes]:
    """One file of each kind, for damaging."""
    frames = [noise(seed) for seed in range(2)]
    return [
        *(encoded(with_mode(mode), kind) for kind, mode in MODES),
        encoded(noise(1), progressive=True),
        encoded(noise(1), exif=exif(6)),
        encoded(noise(1), "PNG", exif=exif(6)),
        encoded(noise(1), "WEBP", exif=exif(6)),
        encoded(frames[0], "PNG", save_all=True, append_images=frames[1:]),
        encoded(frames[0], "WEBP", save_all=True, append_images=frames[1:]),
    ]


SAMPLES = samples()


@pytest.mark.parametrize(("kind", "mode"), MODES)
def test_every_mode_becomes_rgb(kind: str, mode: str) -> None:
    """Whatever the colours were kept as, the stored photo is an RGB JPEG of the same size, and normal."""
    photo = normalise(encoded(with_mode(mode), kind))
    image = decoded(photo.content)
    assert (image.format, image.mode, image.size) == ("JPEG", "RGB", (48, 32))
    assert (photo.width, photo.height) == (48, 32)
    assert normalise(photo.content) == photo


def test_sixteen_bits_are_scaled() -> None:
    """A 16-bit picture keeps its shades instead of being cut off at white."""
    pixels = np.asarray(decoded(normalise(encoded(with_mode("I;16"), "PNG")).content)).astype(int)
    assert abs(pixels[0].mean() - 0) < 8
    assert abs(pixels[16].mean() - 128) < 8


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_transparency_is_laid_on_white(kind: str) -> None:
    """What cannot be seen does not turn black."""
    clear = Image.new("RGBA", (32, 32), (200, 0, 0, 0))
    assert decoded(normalise(encoded(clear, kind)).content).getpixel((16, 16)) == (255, 255, 255)


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_first_frame_of_an_animation_counts(kind: str) -> None:
    """An animation is stored as its first picture."""
    frames = [Image.new("RGB", (32, 32), colour) for colour in ("red", "blue")]
    pixel = decoded(normalise(encoded(frames[0], kind, save_all=True, append_images=frames[1:])).content).getpixel(
        (9, 9)
    )
    assert isinstance(pixel, tuple)
    assert pixel[0] > 200
    assert pixel[2] < 50


@pytest.mark.parametrize("orientation", range(9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_photos_are_turned_upright(kind: str, orientation: int) -> None:
    """The camera's orientation is applied to the pixels, in all eight cases."""
    corner = Image.new("RGB", (64, 32), "white")
    corner.paste("black", (0, 0, 16, 16))
    back = {6: Image.Transpose.ROTATE_90, 8: Image.Transpose.ROTATE_270}
    held = corner.transpose(back.get(orientation, UPRIGHT[orientation])) if orientation in UPRIGHT else corner
    stored = decoded(normalise(encoded(held, kind, exif=exif(orientation))).content)
    assert stored.size == (64, 32)
    difference = np.abs(np.asarray(stored).astype(int) - np.asarray(corner).astype(int))
    assert difference.mean() < 4


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_metadata_are_gone(kind: str) -> None:
    """Of where and with what a photo was taken nothing is stored."""
    content = encoded(noise(2), kind, exif=exif(1), icc_profile=b"profile of a camera", xmp=b"<x>where</x>")
    photo = normalise(content)
    assert is_plain(photo.content)
    assert not decoded(photo.content).getexif()
    assert not {"exif", "icc_profile", "xmp", "comment"} & decoded(photo.content).info.keys()
    assert b"secret" not in photo.content


def test_good_photo_with_damaged_metadata_is_taken() -> None:
    """Metadata are dropped anyway, so their damage is no reason to refuse the photo."""
    content = bytearray(encoded(noise(3), exif=exif(6)))
    start = content.index(b"Exif\x00\x00") + 6
    content[start + 8 : start + 24] = b"\xff" * 16
    assert normalise(bytes(content)).width in {32, 48}


def test_large_photos_are_made_smaller() -> None:
    """The longest side is at most what the settings say, and the shape stays."""
    photo = normalise(encoded(noise(4, (400, 200))), max_side=100)
    assert (photo.width, photo.height) == (100, 50)
    assert normalise(photo.content, max_side=100) == photo


def test_stored_photo_comes_back_unchanged() -> None:
    """A stored photo that is sent again is the same photo, byte for byte."""
    photo = normalise(encoded(noise(5), "PNG"))
    assert normalise(photo.content).content == photo.content


@given(st.integers(0, 1000), st.sampled_from(["JPEG", "PNG", "WEBP"]), st.integers(1, 90), st.integers(1, 90))
@settings(max_examples=40)
def test_normal_form_is_final(seed: int, kind: str, width: int, height: int) -> None:
    """Normalising twice is normalising once, for photos of any size."""
    photo = normalise(encoded(noise(seed, (width, height)), kind), max_side=64)
    assert normalise(photo.content, max_side=64) == photo
    assert max(photo.width, photo.height) <= 64


@given(st.sampled_from(SAMPLES), st.data())
@settings(max_examples=150, suppress_health_check=[HealthCheck.too_slow])
def test_cut_photos_are_refused_in_words(content: bytes, data: st.DataObject) -> None:
    """A file that ends early, at whatever byte, is taken whole or refused with an ImageError."""
    cut = content[: data.draw(st.integers(0, len(content) - 1))]
    try:
        photo = normalise(cut)
    except ImageError:
        return
    assert normalise(photo.content) == photo


@given(st.sampled_from(SAMPLES), st.data())
@settings(max_examples=400, suppress_health_check=[HealthCheck.too_slow])
def test_damaged_photos_are_refused_in_words(content: bytes, data: st.DataObject) -> None:
    """Whatever bytes change, the photo is taken whole or refused with an ImageError, and never anything else."""
    damaged = bytearray(content)
    for _ in range(data.draw(st.integers(1, 4))):
        damaged[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    try:
        photo = normalise(bytes(damaged))
    except ImageError:
        return
    assert normalise(photo.content) == photo
    assert model_input(photo.content, 16).shape == (16, 16, 3)


@pytest.mark.parametrize("kind", ["GIF", "BMP", "TIFF"])
def test_other_formats_are_refused(kind: str) -> None:
    """Only formats that cameras and chats send are decoded, whatever the file is called."""
    with pytest.raises(ImageError, match="JPEG, PNG or WebP"):
        normalise(encoded(noise(6), kind))


@pytest.mark.parametrize("content", [b"", b"GIF89a", b"\xff\xd8", b"%PDF-1.4", b"<svg/>", b"\x89PNG\r\n\x1a\n"])
def test_other_bytes_are_refused(content: bytes) -> None:
    """Empty and foreign files get a plain answer."""
    with pytest.raises(ImageError):
        normalise(content)


def test_bombs_are_refused_by_their_header() -> None:
    """A small file that says it is huge is refused before a single pixel is decoded: there are none in it."""
    size = struct.pack(">II", 12_000, 10_000)
    header = b"IHDR" + size + b"\x08\x02\x00\x00\x00"
    chunks = struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header))
    content = b"\x89PNG\r\n\x1a\n" + chunks + struct.pack(">I", 0) + b"IDAT" + struct.pack(">I", zlib.crc32(b"IDAT"))
    with pytest.raises(ImageError, match=r"12000 × 10000 pixels; at most 64 megapixels"):
        normalise(content)


def test_model_input_is_the_whole_photo() -> None:
    """A network gets a square of bytes with every corner of the photo in it."""
    picture = Image.new("RGB", (60, 30), "white")
    picture.paste("red", (40, 0, 60, 30))
    pixels = model_input(encoded(picture), 30)
    assert pixels.shape == (30, 30, 3)
    assert pixels.dtype == np.uint8
    assert pixels[15, 2].min() > 240
    assert pixels[15, 27].tolist()[1:] < [20, 20]


@pytest.mark.parametrize("content", [b"", b"no photo", encoded(noise(7))[:200]])
def test_damaged_stored_photo_is_told(content: bytes) -> None:
    """A stored file that was damaged gives an ImageError, not wrong pixels."""
    with pytest.raises(ImageError, match="delete it and run `retrainbot reindex`"):
        model_input(content, 16)
