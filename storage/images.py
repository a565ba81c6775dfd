"""From what a camera or a chat sends to the stored photo, and from that to the pixels a network sees.

Training, evaluation and the chat all go through `normalise` and `model_input`, so a photo scores the same everywhere.
What becomes of each kind of picture stands in docs/images.md.
"""

import functools
import hashlib
import importlib
import io
import warnings
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

# Named, as Pillow would otherwise load its decoders of every other format before it opens a WebP.
from PIL import Image, ImageCms, UnidentifiedImageError
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.WebPImagePlugin import WebPImageFile

from storage.errors import ImageError, SettingsError
from storage.jpeg import is_plain
from storage.texts import Text

FORMATS = (JpegImageFile.format, PngImageFile.format, WebPImageFile.format)
HEIF = "HEIF"
# How a file of these begins. The brands are those of ISO/IEC 23008-12.
JPEG, PNG, RIFF, WEBP = b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"RIFF", b"WEBP"
HEIC_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")
DAMAGED = Text("The photo is damaged or incomplete; send it again.")
INPUT_VERSION = 1  # Raised whenever `model_input` gives other pixels, so that cached features are made anew.

Pixels = NDArray[np.uint8]

# Pillow warns of damaged metadata, which are dropped anyway, and of sizes for which `_open` has a limit.
warnings.filterwarnings("ignore", module=r"PIL\.")

# How the camera was held, by the EXIF tag Orientation (CIPA DC-008, 4.6.4), and what turns the picture upright.
ORIENTATION = 0x0112
UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


@dataclass(frozen=True)
class NormalPhoto:
    """A photo as it is stored: JPEG, RGB, upright, without metadata.

    `fingerprint` is its 256-bit difference hash in 64 hexadecimal digits: photos that look the same differ in few bits.
    """

    content: bytes
    sha256: str
    width: int
    height: int
    fingerprint: str


def normalise(
    content: bytes, max_side: int = 1024, max_pixels: int = 64_000_000, quality: int = 92, *, heic: bool = False
) -> NormalPhoto:
    """Decode JPEG, PNG, WebP or, where wanted, HEIC bytes, and re-encode them as the stored photo.

    Already normal bytes come back unchanged, so a stored photo sent again is the same photo.
    Raises ImageError where the bytes are no complete image of these formats, or have more than `max_pixels` pixels, and
    SettingsError where HEIC is wanted but what reads it is not installed.
    """
    if heic:
        check_heic()
    try:
        image = _open(content, max_pixels, heic=heic)
        if image.format == "JPEG" and image.mode == "RGB" and max(image.size) <= max_side and is_plain(content):
            image.load()
            return _photo(content, image.size)
        flat = _flat(image, max_side)
        return _photo(_jpeg(flat, quality), flat.size)
    except ImageError:
        raise
    except MemoryError as error:
        raise ImageError("The photo takes too much memory to decode; send it smaller.") from error
    except Exception as error:  # Pillow's decoders raise of every kind on damaged bytes.
        raise ImageError(DAMAGED) from error


@functools.cache
def check_heic() -> None:
    """Make HEIC readable. Raises SettingsError where what reads it is not installed."""
    try:
        plugin = importlib.import_module("pillow_heif")
    except ImportError as error:
        raise SettingsError(
            "images.heic is on, but what reads HEIC is not installed. Run `make .venv/.heic`, or set it to false."
        ) from error
    plugin.register_heif_opener(thumbnails=False, depth_images=False, aux_images=False, decode_threads=1)


def model_input(jpeg: bytes, size: int) -> Pixels:
    """Pixels of a stored photo as every network gets them: uint8, shape (size, size, 3), RGB, 0 to 255.

    The whole photo is used: it is stretched to the square, with antialiasing.
    Raises ImageError where the bytes cannot be decoded.
    """
    try:
        with Image.open(io.BytesIO(jpeg), formats=("JPEG",)) as image:
            image.draft("RGB", (2 * size, 2 * size))
            square = image.convert("RGB").resize((size, size), Image.Resampling.BILINEAR)
    except Exception as error:
        raise ImageError("A stored photo is damaged; delete it and run `retrainbot reindex`.") from error
    return np.asarray(square, dtype=np.uint8)


def _open(content: bytes, max_pixels: int, *, heic: bool) -> Image.Image:
    try:
        image = Image.open(io.BytesIO(content), formats=(*FORMATS, HEIF) if heic else FORMATS)
    except UnidentifiedImageError as error:
        raise _unknown(content, heic=heic) from error
    except Image.DecompressionBombError as error:  # Pillow's own limit, higher than any that the settings allow.
        raise _too_large(Text("far too many"), max_pixels) from error
    width, height = image.size
    if width * height > max_pixels:
        raise _too_large(f"{width} × {height}", max_pixels)
    return image


def _too_large(pixels: str, max_pixels: int) -> ImageError:
    return ImageError(
        "The photo has {pixels} pixels; at most {most} megapixels are taken. Send it smaller.",
        pixels=pixels,
        most=max_pixels // 1_000_000,
    )


def _unknown(content: bytes, *, heic: bool) -> ImageError:
    is_webp = content.startswith(RIFF) and content[8:12] == WEBP
    is_heic = content[4:8] == b"ftyp" and content[8:12] in HEIC_BRANDS
    if content.startswith((JPEG, PNG)) or is_webp or (is_heic and heic):
        return ImageError(DAMAGED)
    if is_heic:
        return ImageError(
            "This is a HEIC file, and only JPEG, PNG and WebP are taken; send it as a photo, not as a file."
        )
    if heic:
        return ImageError("This is not a JPEG, PNG, WebP or HEIC photo; send one of those.")
    return ImageError("This is not a JPEG, PNG or WebP photo; send one of those.")


def _flat(image: Image.Image, max_side: int) -> Image.Image:
    """The upright RGB picture, in which no side is longer than `max_side`. What costs time is done when it is small."""
    image.draft("RGB", (max_side, max_side))
    small = _full_colour(image)
    small.thumbnail((max_side, max_side), Image.Resampling.LANCZOS)
    return _srgb(_on_white(_upright(small, _orientation(image))), image.info.get("icc_profile"))


def _full_colour(image: Image.Image) -> Image.Image:
    """The same picture in a mode that can be resized well: L, RGB, RGBA or CMYK, 8 bits a channel."""
    if image.mode.startswith("I;16"):  # Pillow would cut off all above 255.
        return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    if image.has_transparency_data:
        return image.convert("RGBA")
    if image.mode in {"1", "L"}:
        return image.convert("L")
    return image.convert("CMYK" if image.mode == "CMYK" else "RGB")


def _orientation(image: Image.Image) -> int | None:
    try:
        return image.getexif().get(ORIENTATION)
    except Exception:  # noqa: BLE001  The picture is good though its metadata are not, whatever the parser raises.
        return None


def _upright(image: Image.Image, orientation: int | None) -> Image.Image:
    return image.transpose(UPRIGHT[orientation]) if orientation in UPRIGHT else image


def _on_white(image: Image.Image) -> Image.Image:
    if image.mode != "RGBA":
        return image
    white = Image.new("RGB", image.size, "white")
    white.paste(image, mask=image.getchannel("A"))
    return white


def _srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    """RGB as a screen shows it. Without a profile, or with a damaged one, the numbers are taken for sRGB."""
    if profile:
        try:
            target = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))
            source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            converted = ImageCms.profileToProfile(image, source, target, outputMode="RGB")
        except Exception:  # noqa: BLE001  As with the other metadata: the picture is good.
            converted = None
        if converted:
            return converted
    return image.convert("RGB")


def _jpeg(image: Image.Image, quality: int) -> bytes:
    buffer = io.BytesIO()
    image.info.clear()
    image.save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()


def _photo(content: bytes, size: tuple[int, int]) -> NormalPhoto:
    return NormalPhoto(content, hashlib.sha256(content).hexdigest(), *size, _fingerprint(content))


def _fingerprint(jpeg: bytes) -> str:
    """Whether each of 16 × 16 fields is lighter than the one to its left (N. Krawetz's dHash).

    It is taken from the stored bytes, so that a photo and its stored form have the same.
    """
    with Image.open(io.BytesIO(jpeg), formats=("JPEG",)) as image:
        image.draft("L", (68, 64))
        fields = np.asarray(image.convert("L").resize((17, 16), Image.Resampling.BOX))
    return np.packbits(fields[:, 1:] > fields[:, :-1]).tobytes().hex()
