"""Images that are made to break decoders, and names that are made to break folders, sent through the chat."""

import asyncio
import contextlib
import unicodedata
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from sqlalchemy import select

from benchmarks.hostile import hostile
from benchmarks.intake_figures import Figures
from benchmarks.intake_stage import Stage, staged
from benchmarks.intake_traffic import picture
from benchmarks.invariants import catalogue, inbox, leftovers, unfit
from benchmarks.names import NAMES
from sandbox.client import Person, RefusedError
from storage import labels
from storage.tables import ClassRow, PhotoRow, ReceivedRow

PEOPLE = 4
MEMORY_MB = 300
MB = 2**20
SAMPLE_SECONDS = 0.1
SUFFIXES = (".jpg", ".png", ".webp", ".txt", ".exe", "")
CLASS = "daisy"


@dataclass
class Memory:
    """The most that was seen, in bytes."""

    bot: int = 0
    children: int = 0


async def images(figures: Figures, count: int, seed: int) -> None:
    """So many hostile images as photos and files, with and without a caption."""
    random = np.random.default_rng(seed)
    figures.title(f"{count} hostile images through the chat")
    async with staged(PEOPLE) as stage:
        await stage.bot.start()
        first = [await person.photo(picture(random), CLASS) for person in stage.people]
        await stage.settled(len(first))
        before = stage.bot.memory()
        async with _watched(stage) as most:
            sent = [await _send(stage.people[n % PEOPLE], n, image) for n, image in enumerate(_images(count, seed))]
            await stage.settled(len(first) + len(sent), supervised=True)
        answered = {(chat, message) for chat, replies in (await stage.replies()).items() for message in replies}
        ended = stage.bot.starts - stage.bot.running
        await stage.bot.stop()
        files = [*stage.settings.photos_dir.rglob("*.jpg"), *stage.settings.unlabelled_dir.rglob("*.jpg")]
        figures.line("sent as photos, the others as files", sum(kind == "photo" for _, _, kind in sent))
        figures.line("stored", len(files) - len(first))
        figures.limit("crashes of the bot", ended, 0)
        figures.none("messages not answered", [f"{m} in {c}" for c, m, _ in sent if (c, m) not in answered])
        figures.none("unfinished files", leftovers(stage.settings.data))
        figures.none("stored files that do not decode or have metadata", unfit(files))
        figures.none("folders and catalogue disagree", catalogue(stage.database, stage.settings))
        figures.limit("growth of the bot's memory", (most.bot - before) / MB, MEMORY_MB, " MB")
        figures.line("largest memory of its child processes together", f"{most.children / MB:.0f} MB")


def _images(count: int, seed: int) -> Iterator[bytes]:
    return (image.content for image in hostile(count, seed))


async def _send(person: Person, number: int, content: bytes) -> tuple[int, int, str]:
    """Every third as a photo where Telegram would take it as one; chat, message, and what it was sent as."""
    caption = CLASS if number % 2 else None
    if number % 3 == 0:
        with contextlib.suppress(RefusedError):
            return person.chat_id, (await person.photo(content, caption))["message_id"], "photo"
    name = f"image{SUFFIXES[number % len(SUFFIXES)]}"
    return person.chat_id, (await person.document(content, name, caption))["message_id"], "document"


@asynccontextmanager
async def _watched(stage: Stage) -> AsyncIterator[Memory]:
    """Watch the bot's memory within the block."""
    most = Memory()

    async def watch() -> None:
        while True:
            most.bot = max(most.bot, stage.bot.memory())
            most.children = max(most.children, stage.bot.memory_below())
            await asyncio.sleep(SAMPLE_SECONDS)

    task = asyncio.create_task(watch())
    try:
        yield most
    finally:
        task.cancel()


async def names(figures: Figures, seed: int) -> None:
    """Every hostile name as a caption, or as a reply where it is too long for one."""
    figures.title(f"{len(NAMES)} hostile names as captions")
    async with staged() as stage:
        person, random = stage.people[0], np.random.default_rng(seed)
        await stage.bot.start()
        outside = _outside(stage)
        known = {path for path in outside if _exists(path)}
        beside = _beside(stage)
        sent = [await _say(person, picture(random), name) for name in NAMES]
        await stage.settled(len(sent), supervised=True)
        texts = await _texts(person)
        crashes = stage.bot.starts - stage.bot.running
        await stage.bot.stop()
        stored = _classes(stage, [photo for photo, _ in sent])
        written = [str(path) for path in outside - known if _exists(path)] + sorted(_beside(stage) - beside)
        figures.line("names that became classes", len({name for name in stored if name}))
        figures.line("photos that wait for a better name", stored.count(None))
        figures.limit("crashes of the bot", crashes, 0)
        figures.none("writes outside of the data folder", written)
        figures.none("different names in one folder", _collisions(stored))
        figures.none("folders and catalogue disagree", catalogue(stage.database, stage.settings))
        figures.none("updates not worked", inbox(stage.database))
        replies = [texts.get(said, "") for _, said in sent]
        shown = [_shows(text, name, at) for text, name, at in zip(replies, NAMES, stored, strict=True)]
        hidden = [repr(name) for name, visible in zip(NAMES, shown, strict=True) if not visible]
        figures.none("names that their reply does not show", hidden)


def _outside(stage: Stage) -> set[Path]:
    """Where the names would lead if they were paths, as far as that is outside of the data folder."""
    found = set()
    for name in NAMES:
        with contextlib.suppress(OSError, ValueError):  # Too long, or with a NUL.
            found.add((stage.settings.photos_dir / name).resolve())
    return {path for path in found if not path.is_relative_to(stage.settings.data.resolve())}


def _exists(path: Path) -> bool:
    with contextlib.suppress(OSError):
        return path.exists()
    return False


def _beside(stage: Stage) -> set[str]:
    """What lies beside the data folder."""
    data = stage.settings.data
    return {str(path) for path in data.parent.rglob("*") if not path.is_relative_to(data) and path != stage.bot.log}


async def _say(person: Person, content: bytes, name: str) -> tuple[int, int]:
    """The number of the photo's message, and of the one that holds the name."""
    try:
        number = (await person.photo(content, name))["message_id"]
    except RefusedError:  # A caption is shorter than a text can be.
        number = (await person.photo(content))["message_id"]
        return number, (await person.say(name, reply_to=number))["message_id"]
    return number, number


async def _texts(person: Person) -> dict[int, str]:
    """All that the bot said to each message."""
    said: dict[int, str] = {}
    for event in await person.events():
        message: dict[str, Any] = event.get("message") or {}
        answered = message.get("reply_to_message", {}).get("message_id")
        if event["type"] in {"sent", "edited"} and message["from"]["is_bot"] and answered:
            said[answered] = said.get(answered, "") + "\n" + message.get("text", "")
    return said


def _classes(stage: Stage, messages: Sequence[int]) -> list[str | None]:
    """The class of the photo of each message."""
    query = (
        select(ReceivedRow.message, ClassRow.name)
        .join(PhotoRow, PhotoRow.sha256 == ReceivedRow.photo)
        .outerjoin(ClassRow, PhotoRow.class_id == ClassRow.id)
    )
    with stage.database.read() as session:
        found: dict[int, str | None] = dict(session.execute(query).all())
    return [found.get(message) for message in messages]


def _collisions(stored: Sequence[str | None]) -> list[str]:
    """Classes that hold names with different keys, or that a file system without case takes for one another."""
    keys: dict[str, set[str]] = {}
    folders: dict[str, set[str]] = {}
    for name, at in zip(NAMES, stored, strict=True):
        if at is not None:
            keys.setdefault(at, set()).add(labels.key(labels.read_caption(name).name or name))
            folders.setdefault(unicodedata.normalize("NFC", at).casefold(), set()).add(at)
    mixed = [f"{at!r} holds {sorted(held)}" for at, held in keys.items() if len(held) > 1]
    return mixed + [f"{sorted(same)} are one folder elsewhere" for same in folders.values() if len(same) > 1]


def _shows(text: str, name: str, at: str | None) -> bool:
    """Whether a reply shows the name as it was sent, or as the class is called now."""
    first = next((line.strip() for line in name.splitlines() if line.strip()), "")
    return bool(text) and (first in text or (at is not None and labels.shown(at) in text))
