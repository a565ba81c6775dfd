"""Photos that people send: each one different, alone or in albums, with a caption or without."""

import asyncio
import hashlib
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.invariants import Sent
from sandbox.client import Person

# No two are near enough to be taken for one another's misspelling.
CLASSES = ("daisy", "tulip", "bamboo", "cactus", "walnut", "juniper", "orchid", "moss")
GRID, SIDE = 16, 64  # A picture is so many random squares a side, of so many pixels in all.
GAPS = (0.2, 0.5, 2.0)  # How many photos of others come between two of an album, on average.
STRAGGLER = 0.1  # The share of albums whose last photo comes long after the others,
STRAGGLES = 12  # so many photos later.

Message = dict[str, Any]


@dataclass(frozen=True)
class Parcel:
    """One photo on its way. `class_name` is what its album's caption says, or its own; `document`: sent as a file."""

    content: bytes
    caption: str | None = None
    class_name: str | None = None
    album: str | None = None
    document: bool = False


def picture(random: np.random.Generator, kind: str = "JPEG") -> bytes:
    """A small picture that looks like no other; a JPEG of it goes through Telegram unchanged."""
    squares = random.integers(0, 256, (GRID, GRID, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(squares).resize((SIDE, SIDE), Image.Resampling.NEAREST).save(buffer, kind, quality=85)
    return buffer.getvalue()


def singles(count: int, random: np.random.Generator) -> list[Parcel]:
    """Photos outside albums: most with a caption, some as files."""
    return [_single(random) for _ in range(count)]


def mixed(count: int, random: np.random.Generator) -> list[Parcel]:
    """Photos alone and in albums that come in between each other, the caption on any photo of an album."""
    placed: list[tuple[float, Parcel]] = []
    while len(placed) < count:
        start, room = len(placed), count - len(placed)
        if room > 1 and random.random() < 0.1:
            placed += _album(start, min(int(random.integers(2, 11)), room), random)
        else:
            placed.append((start, _single(random)))
    return [parcel for _, parcel in sorted(placed, key=lambda item: item[0])]


def _single(random: np.random.Generator) -> Parcel:
    name = _name(random) if random.random() < 0.75 else None
    if random.random() < 0.2:
        return Parcel(picture(random, "PNG"), name, name, document=True)
    return Parcel(picture(random), name, name)


def _album(start: int, size: int, random: np.random.Generator) -> Iterator[tuple[float, Parcel]]:
    """Each photo of an album and its place in the row."""
    name = _name(random) if random.random() < 0.75 else None
    captioned, gap, number = int(random.integers(size)), float(random.choice(GAPS)), str(random.integers(1, 2**40))
    late = STRAGGLES if random.random() < STRAGGLER else 0
    for index in range(size):
        place = start + index * gap + (late if index == size - 1 else 0)
        yield place, Parcel(picture(random), name if index == captioned else None, name, number)


def _name(random: np.random.Generator) -> str:
    return str(random.choice(CLASSES))


async def send(people: Sequence[Person], parcels: Sequence[Parcel], pace: float = 0) -> list[Sent]:
    """Send all, `pace` seconds apart; the people take turns, and an album comes from one of them."""
    owners: dict[str, Person] = {}
    sent = []
    for place, parcel in enumerate(parcels):
        person = people[place % len(people)]
        if parcel.album:
            person = owners.setdefault(parcel.album, person)
        sent.append(await deliver(person, parcel))
        await asyncio.sleep(pace)
    return sent


async def deliver(person: Person, parcel: Parcel) -> Sent:
    """Send one."""
    if parcel.document:
        message = await person.document(parcel.content, "photo.png", parcel.caption)
    else:
        message = await person.photo(parcel.content, parcel.caption, album=parcel.album)
    source = hashlib.sha256(parcel.content).hexdigest()
    return Sent(person.chat_id, message["message_id"], source, parcel.class_name, parcel.album)
