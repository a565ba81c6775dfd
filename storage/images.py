"""From what a camera or a chat sends to the stored photo, and from that to the pixels a network sees.

Training, evaluation and the chat all go through `normalise` and `model_input`, so a photo scores the same everywhere.
"""

import hashlib
import io
import warnings
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from storage.errors import ImageError
from storage.jpeg import is_plain

FORMATS = ("JPEG", "PNG", "WEBP")
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
    """A photo as it is stored: JPEG, RGB, upright, without metadata."""

    content: bytes
    sha256: str
    width: int
    height: int


def normalise(content: bytes, max_side: int = 1024, max_pixels: int = 64_000_000, quality: int = 92) -> NormalPhoto:
    """Decode JPEG, PNG or WebP bytes and re-encode them as the stored photo.

    Already normal bytes come back unchanged, so a stored photo sent again is the same photo. Transparency is laid
    on white; of an animation the first frame counts.

    Raises ImageError where the bytes are no complete image of these formats, or have more than `max_pixels` pixels.
    """
    image = _open(content, max_pixels)
    try:
        if image.format == "JPEG" and image.mode == "RGB" and max(image.size) <= max_side and is_plain(content):
            image.load()
            return _photo(content, image.size)
        image.draft("RGB", (max_side, max_side))
        flat = _rgb(_upright(image))
    except Exception as error:  # Pillow's decoders raise of every kind on damaged bytes.
        raise ImageError("The photo is damaged or incomplete; send it again.") from error
    flat.thumbnail((max_side, max_side), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    flat.info.clear()
    flat.save(buffer, "JPEG", quality=quality)
    return _photo(buffer.getvalue(), flat.size)


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


def _open(content: bytes, max_pixels: int) -> Image.Image:
    try:
        image = Image.open(io.BytesIO(content), formats=FORMATS)
    except UnidentifiedImageError as error:
        raise ImageError("This is not a JPEG, PNG or WebP photo; send one of those.") from error
    except Exception as error:  # Pillow has a limit of its own, higher than any that the settings allow.
        raise ImageError("The photo is damaged or too large; send it again, smaller.") from error
    width, height = image.size
    if width * height > max_pixels:
        raise ImageError(
            f"The photo has {width} × {height} pixels; at most {max_pixels // 1_000_000} megapixels are taken."
            " Send it smaller."
        )
    return image


def _upright(image: Image.Image) -> Image.Image:
    try:
        orientation = image.getexif().get(ORIENTATION)
    except Exception:  # noqa: BLE001  The picture is good though its metadata are not, whatever the parser raises.
        return image
    return image.transpose(UPRIGHT[orientation]) if orientation in UPRIGHT else image


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode in {"I", "I;16", "I;16B", "I;16L"}:  # Pillow clips these to 8 bits; scale instead.
        image = Image.fromarray((np.asarray(image).astype(np.uint32) >> 8).astype(np.uint8))
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        white = Image.new("RGBA", layer.size, "white")
        return Image.alpha_composite(white, layer).convert("RGB")
    return image.convert("RGB")


def _photo(content: bytes, size: tuple[int, int]) -> NormalPhoto:
    return NormalPhoto(content, hashlib.sha256(content).hexdigest(), *size)
