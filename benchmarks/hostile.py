"""Images that are made to break what decodes them; the same seed gives the same ones.

Bit flips, cuts, splices, bombs, polyglots, and every Pillow mode in every format that it can be saved in.
"""

import functools
import io
import itertools
import struct
import warnings
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from PIL import Image, ImageCms

MODES = (
    *("1", "L", "LA", "La", "P", "PA", "I", "I;16", "I;16B", "F"),
    *("RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr", "LAB", "HSV"),
)
SIZE = (64, 48)


class Hostile(NamedTuple):
    kind: str
    content: bytes


def hostile(count: int, seed: int) -> Iterator[Hostile]:
    """So many images, of every kind in turn. None is over 4 MB, and most are under 20 KB."""
    random = np.random.default_rng(seed)
    modes = _every_mode(random)
    sources = [
        *(_damaged("flips", random), modes, _damaged("cut", random), modes, _damaged("splice", random)),
        *(itertools.cycle(_shuffled(bombs(), random)), itertools.cycle(_shuffled(polyglots(), random))),
    ]
    return (next(sources[number % len(sources)]) for number in range(count))


@functools.cache
def good() -> tuple[Hostile, ...]:
    """Sound files of the formats that are taken, with all the metadata they can carry."""
    picture, other, clear = _picture("RGB"), _picture("RGB", seed=2), _picture("RGBA")
    frames: dict[str, Any] = {"save_all": True, "append_images": [other, picture]}
    place: dict[str, Any] = {"exif": _exif(), "icc_profile": _profile(), "xmp": b"<x:xmpmeta>where</x:xmpmeta>"}
    return (
        Hostile("JPEG", saved(picture, "JPEG")),
        Hostile("JPEG, large", saved(picture.resize((1600, 1200)), "JPEG", quality=60, exif=_exif())),
        Hostile("JPEG, progressive", saved(picture, "JPEG", progressive=True)),
        Hostile("JPEG, metadata", saved(picture, "JPEG", comment=b"who", **place)),
        Hostile("JPEG, grey", saved(_picture("L"), "JPEG")),
        Hostile("JPEG, CMYK", saved(_picture("CMYK"), "JPEG")),
        Hostile("MPO", saved(picture, "MPO", **frames)),
        Hostile("PNG, alpha", saved(clear, "PNG", **place)),
        Hostile("PNG, palette", saved(_picture("P"), "PNG", transparency=3)),
        Hostile("PNG, 16 bits", saved(_picture("I;16"), "PNG")),
        Hostile("PNG, animated", saved(picture, "PNG", **frames)),
        Hostile("WebP", saved(picture, "WEBP", **place)),
        Hostile("WebP, lossless", saved(clear, "WEBP", lossless=True)),
        Hostile("WebP, animated", saved(picture, "WEBP", **frames)),
    )


@functools.cache
def bombs() -> tuple[Hostile, ...]:
    """Small files that say, or are, more than a computer can hold, or that take long."""
    huge = b"\0" * 30_000_000
    sides = ((65_500, 65_500), (20_000, 20_000), (2**31 - 1, 1), (0, 0), (8_001, 8_001))
    return (
        *(Hostile(f"PNG header {size}", png_header(*size)) for size in sides),
        *(Hostile(f"JPEG header {size}", _jpeg_header(size[0] & 0xFFFF, size[1] & 0xFFFF)) for size in sides),
        *(Hostile(f"WebP header {size}", _webp_header(min(size[0], 2**24), min(size[1], 2**24))) for size in sides),
        Hostile("PNG of 100 megapixels", saved(Image.new("1", (10_000, 10_000)), "PNG")),
        Hostile("PNG of 50 megapixels", saved(Image.new("1", (10_000, 5_000)), "PNG")),
        Hostile("PNG, one line", saved(Image.new("L", (1_000_000, 1)), "PNG")),
        Hostile("PNG, one column", saved(Image.new("L", (1, 1_000_000)), "PNG")),
        Hostile("PNG with a large text", _with_chunk(b"zTXt", b"a\0\0" + zlib.compress(huge))),
        Hostile("PNG with many texts", _with_chunk(b"zTXt", b"a\0\0" + zlib.compress(huge[:1_000_000]), 100)),
        Hostile("PNG with a large profile", _with_chunk(b"iCCP", b"a\0\0" + zlib.compress(huge))),
        Hostile("PNG with too many pixels", _with_chunk(b"IDAT", zlib.compress(huge))),
        Hostile("PNG with many empty chunks", _with_chunk(b"tEXt", b"a\0", 20_000)),
        Hostile("JPEG with 3,000 scans", _many_scans(3_000)),
        Hostile("WebP with 300 frames", _many_frames(300)),
    )


@functools.cache
def polyglots() -> tuple[Hostile, ...]:
    """Files that are two things at once, or say that they are another."""
    jpeg, png, gif = (saved(_picture("RGB"), kind) for kind in ("JPEG", "PNG", "GIF"))
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("run.sh", "echo no photo")
    archive_bytes = buffer.getvalue()
    html, svg = b"<html><script>alert(1)</script></html>", b'<svg xmlns="http://www.w3.org/2000/svg"><script/></svg>'
    return (
        Hostile("JPEG and ZIP", jpeg + archive_bytes),
        Hostile("PNG and ZIP", png + archive_bytes),
        Hostile("GIF and JPEG", gif + jpeg),
        Hostile("PNG and JPEG", png + jpeg),
        Hostile("JPEG and PNG", jpeg + png),
        Hostile("JPEG twice", jpeg + jpeg),
        Hostile("JPEG within a JPEG", jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(jpeg) + 2) + jpeg + jpeg[2:]),
        Hostile("JPEG with HTML as comment", saved(_picture("RGB"), "JPEG", comment=html)),
        Hostile("JPEG with GPS", saved(_picture("RGB"), "JPEG", exif=_exif())),
        Hostile("PDF", saved(_picture("RGB"), "PDF")),
        Hostile("PDF that begins as JPEG", jpeg[:20] + b"%PDF-1.4\n" + jpeg[20:]),
        *(Hostile(name, code) for name, code in (("HTML", html), ("SVG", svg), ("ZIP", archive_bytes), ("GIF", gif))),
        Hostile("SVG that begins as PNG", png[:8] + svg),
        Hostile("program", b"MZ\x90\0" + jpeg),
        Hostile("script", b"#!/bin/sh\nexit 1\n"),
        Hostile("empty", b""),
        *(Hostile(f"only the start of {name}", start) for name, start in (("JPEG", jpeg[:3]), ("PNG", png[:8]))),
        Hostile("only the start of WebP", b"RIFF\xff\xff\xff\xffWEBPVP8 "),
        Hostile("HEIC that is none", b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + jpeg),
    )


def saved(image: Image.Image, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def png_header(width: int, height: int) -> bytes:
    """A PNG that says how large it is, and then ends."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header) + _chunk(b"IDAT", b"") + _chunk(b"IEND", b"")


def many_scans(jpeg: bytes, scans: int) -> bytes:
    """A progressive JPEG with its last scan so many times more."""
    last = jpeg.rindex(b"\xff\xda")
    return jpeg[:-2] + jpeg[last:-2] * scans + jpeg[-2:]


def _shuffled(images: Sequence[Hostile], random: np.random.Generator) -> list[Hostile]:
    return [images[number] for number in random.permutation(len(images))]


def _every_mode(random: np.random.Generator) -> Iterator[Hostile]:
    """Every Pillow mode in every format that takes it, in any order, and then again."""
    Image.init()
    pairs = list(itertools.product(sorted(Image.SAVE.keys() - {"HEIF"}), MODES))
    for number in itertools.cycle(random.permutation(len(pairs)).tolist()):
        kind, mode = pairs[number]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                content = saved(_picture(mode), kind)
            except Exception:  # noqa: BLE001, S112  The format has no such mode, and each says so in its own way.
                continue
        yield Hostile(f"{kind} {mode}", content)


def _damaged(how: str, random: np.random.Generator) -> Iterator[Hostile]:
    while True:
        kind, content = good()[random.integers(len(good()))]
        if how == "cut":
            content = content[: random.integers(len(content))]
        elif how == "flips":
            content = _flipped(content, random)
        else:
            _, other = good()[random.integers(len(good()))]
            content = content[: random.integers(len(content))] + other[random.integers(len(other)) :]
        yield Hostile(f"{how} of {kind}", content)


def _flipped(content: bytes, random: np.random.Generator) -> bytes:
    """Half of the time in the header, where it does the most."""
    flipped = bytearray(content)
    reach = len(content) if random.integers(2) else min(len(content), 700)
    for _ in range(random.integers(1, 30)):
        flipped[random.integers(reach)] ^= 1 << random.integers(8)
    return bytes(flipped)


def _picture(mode: str, seed: int = 1) -> Image.Image:
    width, height = SIZE
    random = np.random.default_rng(seed)
    if mode.startswith("I;16"):
        return Image.frombytes(mode, SIZE, random.bytes(width * height * 2))
    picture = Image.fromarray(random.integers(0, 256, (height, width, 3), dtype=np.uint8))
    steps = {"La": ("LA",), "RGBa": ("RGBA",), "LAB": (), "PA": ("P",)}.get(mode, ())
    for step in (*steps, mode):
        picture = _lab(picture) if step == "LAB" else picture.convert(step)
    return picture


def _lab(picture: Image.Image) -> Image.Image:
    srgb, lab = (ImageCms.createProfile(name) for name in ("sRGB", "LAB"))
    converted = ImageCms.profileToProfile(picture, srgb, lab, outputMode="LAB")
    if converted is None:
        raise TypeError("The picture was to be made anew.")
    return converted


def _profile() -> bytes:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def _exif() -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = 6
    exif[0x010E] = "a secret place"
    exif[0x8825] = {1: "N", 2: (52.0, 31.0, 0.0), 3: "E", 4: (13.0, 24.0, 0.0)}
    return exif


def _chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def _with_chunk(name: bytes, content: bytes, times: int = 1) -> bytes:
    """A sound PNG with so many more chunks before its pixels."""
    png = saved(_picture("RGB"), "PNG")
    return png[:33] + _chunk(name, content) * times + png[33:]


def _jpeg_header(width: int, height: int) -> bytes:
    """A JPEG that says how large it is, and has hardly any pixels."""
    jpeg = bytearray(saved(_picture("RGB"), "JPEG"))
    frame = jpeg.index(b"\xff\xc0")
    jpeg[frame + 5 : frame + 9] = struct.pack(">HH", height, width)
    return bytes(jpeg)


def _webp_header(width: int, height: int) -> bytes:
    """An extended WebP with a large canvas around a small picture."""
    picture = saved(_picture("RGB"), "WEBP")[12:]
    canvas = (
        struct.pack("<I", 2) + (max(width, 1) - 1).to_bytes(3, "little") + (max(height, 1) - 1).to_bytes(3, "little")
    )
    frame = b"\0" * 6 + (63).to_bytes(3, "little") + (47).to_bytes(3, "little") + b"\x64\0\0\0"
    body = b"VP8X" + struct.pack("<I", 10) + canvas + b"ANIM" + struct.pack("<IIH", 6, 0, 0)
    body += b"ANMF" + struct.pack("<I", len(frame + picture)) + frame + picture
    return b"RIFF" + struct.pack("<I", 4 + len(body)) + b"WEBP" + body


def _many_scans(scans: int) -> bytes:
    return many_scans(saved(Image.new("L", (800, 600)), "JPEG", progressive=True), scans)


def _many_frames(frames: int) -> bytes:
    pictures = [_picture("RGB", seed=seed) for seed in range(2)]
    others = list(itertools.islice(itertools.cycle(pictures), frames - 1))
    return saved(pictures[0], "WEBP", save_all=True, append_images=others, quality=5)
