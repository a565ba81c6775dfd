"""What cameras and chats send, as it is stored and as a network sees it."""

import io
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pictures import encoded, noise
from PIL import Image, ImageCms, ImageEnhance

from benchmarks.hostile import many_scans, png_header
from storage.errors import ImageError
from storage.images import UPRIGHT, NormalPhoto, check_heic, model_input, normalise
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


def profile() -> bytes:
    """Of sRGB."""
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def exchanged() -> bytes:
    """A profile that calls red what others call green, by its table of tags (ICC.1, 7.3)."""
    return profile().replace(b"rXYZ", b"????").replace(b"gXYZ", b"rXYZ").replace(b"????", b"gXYZ")


def colour(content: bytes) -> tuple[int, ...]:
    """The colour in the middle of the stored photo."""
    photo = normalise(content)
    pixel = decoded(photo.content).getpixel((photo.width // 2, photo.height // 2))
    assert isinstance(pixel, tuple)
    return pixel


def distance(one: NormalPhoto, other: NormalPhoto) -> int:
    """Bits in which two fingerprints differ."""
    return (int(one.fingerprint, 16) ^ int(other.fingerprint, 16)).bit_count()


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


def test_half_transparent_is_half_white() -> None:
    """What shines through is white, with grey and with colour."""
    assert colour(encoded(Image.new("LA", (32, 32), (0, 128)), "PNG")) == pytest.approx((127,) * 3, abs=2)
    assert colour(encoded(Image.new("RGBA", (32, 32), (255, 0, 0, 128)), "PNG")) == pytest.approx(
        (255, 127, 127), abs=3
    )


def test_one_transparent_colour_is_white() -> None:
    """A PNG may call one colour, or one entry of its palette, transparent."""
    assert colour(encoded(Image.new("RGB", (32, 32), (0, 200, 0)), "PNG", transparency=(0, 200, 0))) == (255,) * 3
    palette = Image.new("P", (32, 32), 1)
    palette.putpalette([0, 0, 0, 200, 0, 0])
    assert colour(encoded(palette, "PNG")) == pytest.approx((200, 0, 0), abs=3)
    assert colour(encoded(palette, "PNG", transparency=1)) == (255,) * 3


@pytest.mark.parametrize(("ink", "shown"), [((0, 255, 255, 0), (255, 0, 0)), ((0, 0, 0, 255), (0, 0, 0))])
def test_printers_colours_are_turned_into_light(ink: tuple[int, ...], shown: tuple[int, ...]) -> None:
    """A CMYK JPEG keeps its inks inverted, as Adobe does; the photo is not a negative."""
    assert colour(encoded(Image.new("CMYK", (32, 32), ink), "JPEG")) == pytest.approx(shown, abs=3)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_colour_profile_is_applied(kind: str) -> None:
    """A photo looks as its profile says, though the profile itself is dropped."""
    red = Image.new("RGB", (32, 32), (250, 0, 0))
    lossless = {"lossless": True} if kind == "WEBP" else {}
    assert colour(encoded(red, kind, icc_profile=profile(), **lossless)) == pytest.approx((250, 0, 0), abs=4)
    assert colour(encoded(red, kind, icc_profile=exchanged(), **lossless)) == pytest.approx((0, 250, 0), abs=8)


@pytest.mark.parametrize("broken", [b"profile", profile()[:200], profile()[:128] + b"\xff" * 400, b"\0" * 3000])
def test_damaged_profile_is_left_out(broken: bytes) -> None:
    """The photo is taken with its colours as they are."""
    assert colour(encoded(Image.new("RGB", (32, 32), (250, 0, 0)), "PNG", icc_profile=broken)) == pytest.approx(
        (250, 0, 0), abs=4
    )


def test_profile_of_other_colours_is_left_out() -> None:
    """A profile for RGB says nothing about a grey picture or about inks."""
    assert colour(encoded(Image.new("L", (32, 32), 77), "PNG", icc_profile=exchanged())) == pytest.approx(
        (77,) * 3, abs=2
    )
    ink = Image.new("CMYK", (32, 32), (0, 255, 255, 0))
    assert colour(encoded(ink, "JPEG", icc_profile=exchanged())) == pytest.approx((255, 0, 0), abs=3)


def test_pictures_within_one_jpeg_are_its_first() -> None:
    """Phones put a second picture behind the first (MPO); it is a JPEG all the same."""
    pair = [Image.new("RGB", (32, 32), colour) for colour in ("red", "blue")]
    content = encoded(pair[0], "MPO", save_all=True, append_images=pair[1:])
    assert colour(content) == pytest.approx((255, 0, 0), abs=3)
    assert is_plain(normalise(content).content)


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
    content = encoded(noise(2), kind, exif=exif(1), icc_profile=profile(), xmp=b"<x>where</x>")
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


@pytest.mark.parametrize("size", [(60_000, 1), (1, 60_000), (1, 1)])
def test_narrow_photos_stay_pictures(size: tuple[int, int]) -> None:
    """However narrow, a photo keeps at least a pixel."""
    photo = normalise(encoded(Image.new("L", size), "PNG"))
    assert max(photo.width, photo.height) == min(1024, max(size))
    assert min(photo.width, photo.height) == 1


def test_slow_jpeg_is_made_anew() -> None:
    """A picture of hundreds of scans would take long at every reading."""
    photo = normalise(many_scans(encoded(noise(1), progressive=True), 300))
    assert is_plain(photo.content)
    assert len(photo.content) < 20_000


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


@given(st.integers(0, 1000), st.sampled_from(["JPEG", "PNG", "WEBP"]))
@settings(max_examples=30)
def test_photo_has_the_fingerprint_of_its_stored_form(seed: int, kind: str) -> None:
    """64 hexadecimal digits, the same for what was sent and for what is stored."""
    photo = normalise(encoded(noise(seed, (80, 60)), kind), max_side=64)
    assert re.fullmatch("[0-9a-f]{64}", photo.fingerprint)
    assert normalise(photo.content, max_side=64).fingerprint == photo.fingerprint


def test_fingerprint_tells_photos_apart() -> None:
    """Copies that were re-encoded, made smaller or brighter are near; another photo, or its mirror image, is far."""
    with Image.open(Path(__file__).parent.parent / "docs" / "signs.jpg") as sheet:
        scene = sheet.convert("RGB")
    left, right = (scene.crop((x, 0, x + scene.width // 2, scene.height)) for x in (0, scene.width // 2))
    photo = normalise(encoded(left, quality=95))
    copies = [
        encoded(left, quality=40),
        encoded(left.resize((left.width // 2, left.height // 2)), "WEBP"),
        encoded(ImageEnhance.Brightness(left).enhance(1.2), "PNG"),
    ]
    assert max(distance(photo, normalise(copy)) for copy in copies) <= 20
    others = [right, left.transpose(Image.Transpose.FLIP_LEFT_RIGHT), noise(1)]
    assert min(distance(photo, normalise(encoded(other))) for other in others) >= 60


def test_plain_picture_has_an_empty_fingerprint() -> None:
    """Nothing in it is lighter than anything else."""
    assert normalise(encoded(Image.new("RGB", (90, 70), "green"))).fingerprint == "0" * 64


def heic(**options: Any) -> bytes:
    check_heic()
    return encoded(Image.new("RGB", (64, 32), (0, 200, 0)), "HEIF", **options)


def test_heic_is_taken_where_it_is_wanted() -> None:
    """Upright, without metadata, as any other photo."""
    photo = normalise(heic(exif=exif(6).tobytes()), heic=True)
    pixel = decoded(photo.content).getpixel((5, 5))
    assert (photo.width, photo.height) == (32, 64)
    assert pixel == pytest.approx((0, 200, 0), abs=12)
    assert is_plain(photo.content)


def test_heic_is_refused_elsewhere() -> None:
    """The sender reads how to send it instead."""
    with pytest.raises(ImageError, match="send it as a photo, not as a file"):
        normalise(heic())


@pytest.mark.parametrize("keep", [20, 200, 400])
def test_damaged_heic_is_refused(keep: int) -> None:
    """A file that ends early is told from one that is something else."""
    with pytest.raises(ImageError, match="damaged"):
        normalise(heic()[:keep], heic=True)


def test_heic_has_the_same_limit() -> None:
    """The pixels are counted before they are decoded."""
    with pytest.raises(ImageError, match="64 × 32 pixels"):
        normalise(heic(), max_pixels=1000, heic=True)


def test_heic_without_its_reader_is_told_at_start() -> None:
    """Where it is switched on but not installed, the message says what to run."""
    code = "import sys; sys.modules['pillow_heif'] = None; from storage.images import check_heic; check_heic()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "SettingsError: images.heic is on" in done.stderr
    assert "make .venv/.heic" in done.stderr


def test_reasons_are_documented() -> None:
    """docs/images.md names every reason for which a photo is refused."""
    page = " ".join((Path(__file__).parent.parent / "docs" / "images.md").read_text("utf-8").split())
    jpeg, large = encoded(noise(1)), encoded(Image.new("L", (1100, 1000)), "PNG")
    for content in (b"GIF", heic(), jpeg[:-50], large):
        with pytest.raises(ImageError) as refused:
            normalise(content, max_pixels=1_000_000)
        assert re.sub(r"\d+", "…", str(refused.value)) in page


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
    with pytest.raises(ImageError, match=r"12000 × 10000 pixels; at most 64 megapixels"):
        normalise(png_header(12_000, 10_000))


def test_more_than_pillow_opens_is_refused_in_the_same_words() -> None:
    """Pillow has a limit of its own; the sender reads ours."""
    with pytest.raises(ImageError, match="far too many pixels; at most 64 megapixels"):
        normalise(png_header(40_000, 40_000))


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
