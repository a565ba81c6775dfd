"""Files as Telegram keeps them: photos in several sizes without metadata, documents byte for byte."""

import base64
import binascii
import hashlib
import io
import mimetypes
import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

from PIL import Image, ImageOps, JpegImagePlugin

from sandbox.errors import BadRequestError
from sandbox.limits import PHOTO_RATIO, PHOTO_SIDES, PHOTO_SIZES, PHOTO_UPLOAD

QUALITY = 87  # near what Telegram uses for photos

# Pillow warns of sizes that are refused here anyway.
warnings.filterwarnings("ignore", module=r"PIL\.", category=Image.DecompressionBombWarning)


@dataclass(frozen=True)
class Upload:
    """A file on its way in."""

    name: str
    content: bytes
    mime_type: str | None


@dataclass(frozen=True)
class StoredFile:
    """A file that the server holds; `path` is what a bot downloads it by.

    A smaller size of a photo is drawn from its `origin` when first read; only photos have a width and a height.
    """

    unique_id: str
    path: str
    mime_type: str
    name: str | None = None
    origin: str | None = None
    width: int = 0
    height: int = 0


class FileStore:
    """Stored files by their unique id and by their path; the bytes lie in `folder`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._files: dict[str, StoredFile] = {}
        self._paths: dict[str, str] = {}
        self._families: dict[str, list[StoredFile]] = {}

    def add_photo(self, content: bytes) -> list[StoredFile]:
        """The sizes of a photo, smallest first. Blocks while decoding. Raises BadRequestError for what is no photo."""
        content, width, height = as_photo(content)
        unique_id = _unique_id("photo", content)
        self._write(unique_id, content)
        sides = [side for side in PHOTO_SIZES if side < max(width, height)]
        smaller = [_smaller(unique_id, side, _scaled(width, height, side)) for side in sides]
        largest = StoredFile(unique_id, f"photos/{unique_id}.jpg", "image/jpeg", width=width, height=height)
        family = [self._keep(size) for size in (*smaller, largest)]
        self._families.update({size.unique_id: family for size in family})
        return family

    def add_document(self, upload: Upload) -> StoredFile:
        """A file kept byte for byte, under the last part of its name, which tells its type where it can."""
        name = PurePath(upload.name.replace("\\", "/")).name or "file"
        mime_type = mimetypes.guess_type(name)[0] or upload.mime_type or "application/octet-stream"
        unique_id = _unique_id("document", upload.content, name, mime_type)
        self._write(unique_id, upload.content)
        suffix = PurePath(name).suffix
        path = f"documents/{unique_id}{suffix if suffix.isascii() and suffix[1:].isalnum() else ''}"
        return self._keep(StoredFile(unique_id, path, mime_type, name))

    def everything(self) -> list[StoredFile]:
        """Every file, in an order in which `restore` takes them."""
        return list(self._files.values())

    def restore(self, files: Iterable[StoredFile]) -> None:
        """Know again what `everything` told of the same folder."""
        for file in files:
            self._keep(file)
            if file.name is None:
                self._families[file.unique_id] = self._families.setdefault(file.origin or file.unique_id, [])
                self._families[file.unique_id].append(file)

    def photo(self, unique_id: str) -> list[StoredFile] | None:
        """All sizes of the photo that this is one size of; None for what is no photo."""
        return self._families.get(unique_id)

    def get(self, unique_id: str) -> StoredFile | None:
        return self._files.get(unique_id)

    def at(self, path: str) -> StoredFile | None:
        return self._files.get(self._paths.get(path, ""))

    def read(self, file: StoredFile) -> bytes:
        """Its bytes. Blocks for the scaling where a size is asked for first. Raises BadRequestError if it is gone."""
        place = self._folder / file.unique_id
        try:
            if file.origin is not None and not place.exists():
                self._write(file.unique_id, _drawn((self._folder / file.origin).read_bytes(), file.width, file.height))
            return place.read_bytes()
        except FileNotFoundError as error:
            raise BadRequestError("wrong file_id or the file is temporarily unavailable") from error

    def size(self, file: StoredFile) -> int | None:
        """Bytes, or None while a smaller size of a photo has not been drawn."""
        place = self._folder / file.unique_id
        return place.stat().st_size if place.exists() else None

    def _keep(self, file: StoredFile) -> StoredFile:
        self._files[file.unique_id] = file
        self._paths[file.path] = file.unique_id
        return file

    def _write(self, unique_id: str, content: bytes) -> None:
        place = self._folder / unique_id
        beside = place.with_name(f"{unique_id}.{id(content)}.part")
        beside.write_bytes(content)
        beside.replace(place)


def file_id(bot: int, unique_id: str) -> str:
    """The name under which `bot` (0: every bot) may fetch a file."""
    return base64.urlsafe_b64encode(f"{bot}:{unique_id}".encode()).decode().rstrip("=")


def read_file_id(value: str) -> tuple[int, str] | None:
    """The bot and the unique id that `file_id` wrote; None for anything else."""
    try:
        bot, _, unique_id = base64.urlsafe_b64decode(value + "=" * (-len(value) % 4)).decode().partition(":")
        return int(bot), unique_id
    except (ValueError, binascii.Error):
        return None


def as_photo(content: bytes) -> tuple[bytes, int, int]:
    """A photo as Telegram would send it on: JPEG, upright, no metadata, at most 1280 px; with its width and height.

    A JPEG that already is all of this stays byte for byte. Raises BadRequestError with Telegram's words otherwise.
    """
    if len(content) > PHOTO_UPLOAD:
        raise BadRequestError("file is too big for a photo: at most 10 MB")
    try:
        with Image.open(io.BytesIO(content), formats=("JPEG", "PNG", "WEBP")) as image:
            _check_shape(image)
            if _is_clean(image, content):
                size = image.size
                image.draft("RGB", (1, 1))
                image.load()
                return content, *size
            return _normalised(image)
    except BadRequestError:
        raise
    except Exception as error:  # A decoder may raise anything on a damaged file.
        raise BadRequestError("IMAGE_PROCESS_FAILED") from error


def _check_shape(image: Image.Image) -> None:
    if sum(image.size) > PHOTO_SIDES or max(image.size) > PHOTO_RATIO * min(image.size):
        raise BadRequestError("PHOTO_INVALID_DIMENSIONS")


def _is_clean(image: Image.Image, content: bytes) -> bool:
    """A JPEG of at most 1280 px with nothing in it but the picture (APP0 and APP14 say how to decode it)."""
    return (
        isinstance(image, JpegImagePlugin.JpegImageFile)
        and max(image.size) <= PHOTO_SIZES[-1]
        and image.mode in {"RGB", "L"}
        and content.endswith(b"\xff\xd9")
        and all(name in {"APP0", "APP14"} for name, _ in image.applist)
    )


def _normalised(image: Image.Image) -> tuple[bytes, int, int]:
    upright = ImageOps.exif_transpose(image)
    if upright.has_transparency_data:
        upright = upright.convert("RGBA")
        upright = Image.alpha_composite(Image.new("RGBA", upright.size, "white"), upright)
    upright = upright.convert("RGB")
    upright.thumbnail((PHOTO_SIZES[-1], PHOTO_SIZES[-1]), Image.Resampling.LANCZOS)
    return _jpeg(upright), *upright.size


def _drawn(content: bytes, width: int, height: int) -> bytes:
    with Image.open(io.BytesIO(content)) as image:
        image.draft("RGB", (width, height))
        return _jpeg(image.convert("RGB").resize((width, height), Image.Resampling.LANCZOS))


def _jpeg(image: Image.Image) -> bytes:
    image.info.clear()
    out = io.BytesIO()
    image.save(out, "JPEG", quality=QUALITY)
    return out.getvalue()


def _smaller(origin: str, side: int, size: tuple[int, int]) -> StoredFile:
    path = f"photos/{origin}-{side}.jpg"
    return StoredFile(f"{origin}-{side}", path, "image/jpeg", origin=origin, width=size[0], height=size[1])


def _scaled(width: int, height: int, side: int) -> tuple[int, int]:
    ratio = side / max(width, height)
    return max(1, round(width * ratio)), max(1, round(height * ratio))


def _unique_id(kind: str, content: bytes, *names: str) -> str:
    digest = hashlib.sha256("\0".join([kind, *names]).encode() + b"\0" + content).digest()
    return base64.urlsafe_b64encode(digest[:15]).decode()


def photo_sizes(store: FileStore, bot: int, family: list[StoredFile]) -> list[dict[str, Any]]:
    """The Bot API's list of PhotoSize, smallest first."""
    return [_described(store, bot, size) | {"width": size.width, "height": size.height} for size in family]


def document(store: FileStore, bot: int, file: StoredFile) -> dict[str, Any]:
    """The Bot API's Document."""
    return _described(store, bot, file) | {"file_name": file.name, "mime_type": file.mime_type}


def _described(store: FileStore, bot: int, file: StoredFile) -> dict[str, Any]:
    size = store.size(file)
    known = {} if size is None else {"file_size": size}
    return {"file_id": file_id(bot, file.unique_id), "file_unique_id": file.unique_id} | known
