"""What the three bots share, and what has nothing to do with their libraries."""

import asyncio
import io

from PIL import Image

COMMANDS = {"start": "Two buttons", "caption": "A picture that changes", "delete": "A message that goes away"}
BUTTONS = {"Yes": "answer:yes", "No": "answer:no"}
PAUSE = 0.3  # seconds; nothing says that an album is complete

_albums: dict[str, list[str]] = {}


async def whole_album(group: str, file_id: str) -> list[str] | None:
    """All photos of an album, told once, when no more come; None to all but the first that asks."""
    album = _albums.setdefault(group, [])
    album.append(file_id)
    if len(album) > 1:
        return None
    await asyncio.sleep(PAUSE)
    return _albums.pop(group)


def square(colour: str) -> bytes:
    """A picture of one colour."""
    out = io.BytesIO()
    Image.new("RGB", (200, 200), colour).save(out, "JPEG")
    return out.getvalue()


def measured(content: bytes) -> str:
    """A picture's size in bytes and pixels."""
    with Image.open(io.BytesIO(content)) as image:
        return f"{len(content)} bytes, {image.width} x {image.height} pixels"
