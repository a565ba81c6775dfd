"""A world kept in a folder: what is said in it outlives the sandbox.

The folder holds ``world.json`` and ``files/``. What has changed is written down within about `PAUSE` seconds, and at
the end. So a kill -9 loses the last moments, but no number that was given out in them is given out again. Scripted
faults are not kept; a bot's webhook is, and is brought its updates again.
"""

import asyncio
import contextlib
import fcntl
import json
import logging
import os
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from sandbox.call import Call
from sandbox.chat import Chat, Stored
from sandbox.files import StoredFile
from sandbox.methods import set_webhook
from sandbox.parameters import Parameters
from sandbox.updates import Updates, Waiting
from sandbox.world import Bot, Tap, Webhook, World

FORMAT = 1
PAUSE = 1.0  # seconds between a change and its being written down
LEISURE = 9  # times as long as the writing takes, that pause is at least
SPARE = 100_000  # numbers that are passed over after a kill, as they may have been given out unwritten

_log = logging.getLogger(__name__)


class MemoryFolderError(Exception):
    """The folder cannot be used as a memory; the message says why, and what to do."""


@dataclass(frozen=True)
class KeptWebhook:
    url: str
    secret: str
    connections: int


@dataclass(frozen=True)
class KeptTap:
    query: str
    chat: int
    message: int
    person: int
    expires: float


@dataclass(frozen=True)
class KeptBot:
    """`commands` and `texts` as in `Bot`, each with its key before it; `coming` is the id of its next update."""

    id: int
    came: bool
    webhook: KeptWebhook | None
    commands: list[tuple[str, str, list[dict[str, str]]]]
    texts: list[tuple[str, str, str]]
    menus: dict[int, dict[str, Any]]
    taps: list[KeptTap]
    allowed: list[str] | None
    waiting: list[Waiting]
    coming: int


@dataclass(frozen=True)
class KeptMessage:
    id: int
    body: dict[str, Any]
    reply_to: int | None


@dataclass(frozen=True)
class KeptChat:
    bot: int
    id: int
    info: dict[str, Any]
    messages: list[KeptMessage]
    events: list[dict[str, Any]]


@dataclass(frozen=True)
class KeptWorld:
    """`ids`, `messages` and `events` are the next numbers; `latest` is the bot that came last."""

    format: int
    id: str
    ids: int
    messages: int
    events: int
    latest: int
    bots: list[KeptBot]
    chats: list[KeptChat]
    files: list[StoredFile]


_KEPT = TypeAdapter(KeptWorld)


@contextlib.contextmanager
def opened(folder: Path) -> Iterator[Path]:
    """Make the folder if need be and hold it alone; gives the folder for files. Raises MemoryFolderError, OSError."""
    files = folder / "files"
    files.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise MemoryFolderError(
                f"{folder} is the memory of another sandbox that is running. Stop that one, or choose another folder."
            ) from None
        for left_by_a_kill in files.glob("*.part"):
            left_by_a_kill.unlink()
        yield files
    finally:
        os.close(descriptor)


@contextlib.asynccontextmanager
async def remembering(world: World, folder: Path) -> AsyncIterator[None]:
    """Fill the world, which must be new, from the folder, and write it down there as it changes and at the end.

    Raises MemoryFolderError where what is kept cannot be read, OSError where nothing can be written.
    """
    await asyncio.to_thread(recall, world, folder)
    _write(folder, kept(world, SPARE))
    for bot in list(world.bots.values()):
        await _bring_again(world, bot)
    keeper = asyncio.create_task(_keep(world, folder))
    try:
        yield
    finally:
        world.close()
        await keeper


def recall(world: World, folder: Path) -> None:
    """Put what the folder keeps, if anything, into a new world. Raises MemoryFolderError."""
    file = folder / "world.json"
    if not file.exists():
        return
    kept = _read(file)
    world.id = kept.id
    world.ids.coming = max(world.ids.coming, kept.ids)
    world.numbers.messages.coming = max(world.numbers.messages.coming, kept.messages)
    world.numbers.events.coming = max(world.numbers.events.coming, kept.events)
    world.latest = kept.latest
    world.files.restore(kept.files)
    for chat in kept.chats:
        world.chats[chat.bot, chat.id] = _chat(world, chat)
    for bot in kept.bots:
        world.bots[bot.id] = _bot(world, bot)


def kept(world: World, spare: int = 0) -> KeptWorld:
    """All of the world that outlives it; later changes to the world do not reach what is returned.

    `spare` numbers are passed over when it is read.
    """
    return KeptWorld(
        format=FORMAT,
        id=world.id,
        ids=world.ids.coming + spare,
        messages=world.numbers.messages.coming + spare,
        events=world.numbers.events.coming + spare,
        latest=world.latest,
        bots=[_kept_bot(bot, spare) for bot in world.bots.values()],
        chats=[_kept_chat(bot, chat) for (bot, _), chat in world.chats.items()],
        files=world.files.everything(),
    )


def _kept_bot(bot: Bot, spare: int) -> KeptBot:
    hook = bot.webhook
    allowed = bot.updates.allowed
    return KeptBot(
        id=bot.id,
        came=bot.came,
        webhook=KeptWebhook(hook.url, hook.secret, hook.connections) if hook else None,
        commands=[(*key, commands) for key, commands in bot.commands.items()],
        texts=[(*key, text) for key, text in bot.texts.items()],
        menus=dict(bot.menus),
        taps=[
            KeptTap(query, tap.chat.info["id"], tap.message_id, tap.from_id, tap.expires)
            for query, tap in bot.taps.items()
        ],
        allowed=None if allowed is None else sorted(allowed),
        waiting=list(bot.updates.waiting),
        coming=bot.updates.coming + spare,
    )


def _kept_chat(bot: int, chat: Chat) -> KeptChat:
    messages = [KeptMessage(number, stored.body, stored.reply_to) for number, stored in chat.stored.items()]
    return KeptChat(bot, chat.info["id"], chat.info, messages, list(chat.history))


def _chat(world: World, kept: KeptChat) -> Chat:
    chat = Chat(kept.info, world.numbers)
    chat.stored = {message.id: Stored(message.body, message.reply_to) for message in kept.messages}
    chat.history.extend(kept.events)
    return chat


def _bot(world: World, kept: KeptBot) -> Bot:
    updates = Updates(max(world.first_id, kept.coming), world.clock)
    updates.allowed = None if kept.allowed is None else frozenset(kept.allowed)
    updates.waiting.extend(kept.waiting)
    return Bot(
        kept.id,
        updates,
        came=kept.came,
        webhook=Webhook(kept.webhook.url, kept.webhook.secret, kept.webhook.connections) if kept.webhook else None,
        commands={(scope, language): commands for scope, language, commands in kept.commands},
        texts={(kind, language): text for kind, language, text in kept.texts},
        menus=kept.menus,
        taps={
            tap.query: Tap(world.chats[kept.id, tap.chat], tap.message, tap.person, tap.expires)
            for tap in kept.taps
            if (kept.id, tap.chat) in world.chats
        },
    )


async def _bring_again(world: World, bot: Bot) -> None:
    """Bring the bot's updates to its webhook again, if it has one, as if it had just asked for that."""
    if bot.webhook:
        wanted = {"url": bot.webhook.url, "secret_token": bot.webhook.secret}
        await set_webhook(Call(world, bot, Parameters(wanted | {"max_connections": bot.webhook.connections}, [])))


async def _keep(world: World, folder: Path) -> None:
    """Write down what changes until the world is closed, then all of it."""
    written, works, pause = _mark(world), True, PAUSE
    while not world.bell.closed:
        await world.bell.sleep(pause)
        mark, began = _mark(world), time.monotonic()
        if mark == written or world.bell.closed:
            continue
        try:
            await asyncio.to_thread(_write, folder, kept(world, SPARE))
            written, works = mark, True
            pause = max(PAUSE, LEISURE * (time.monotonic() - began))
        except OSError as error:
            if works:
                _log.warning("What is said cannot be kept at the moment (%s). It is tried again.", error)
            works = False
    await asyncio.to_thread(_write, folder, kept(world))


def _mark(world: World) -> object:
    """Something cheap that is another as soon as anything has changed that is kept."""
    numbers = world.ids.coming, world.numbers.messages.coming, world.numbers.events.coming
    return numbers, world.latest, [_mark_bot(bot) for bot in world.bots.values()]


def _mark_bot(bot: Bot) -> object:
    updates = bot.updates
    waiting = len(updates.waiting), updates.waiting[0].id if updates.waiting else None
    told = repr((bot.commands, bot.texts, bot.menus))
    return bot.id, bot.came, bot.webhook, told, updates.coming, waiting, updates.allowed


def _write(folder: Path, kept: KeptWorld) -> None:
    """Put it beside what is there, then in its place; what is there stays until the new file is safe."""
    beside = folder / "world.json.part"
    with beside.open("w", encoding="ascii") as file:
        file.write(json.dumps(kept, default=vars))
        file.flush()
        os.fsync(file.fileno())
    beside.replace(folder / "world.json")
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _read(file: Path) -> KeptWorld:
    try:
        content = json.loads(file.read_bytes())
        if isinstance(content, dict) and isinstance(content.get("format"), int) and content["format"] > FORMAT:
            raise MemoryFolderError(
                f"{file} was written by a newer sandbox (format {content['format']}; this one reads {FORMAT})."
                " Use that one, or choose another folder."
            )
        return _KEPT.validate_python(content)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        problem = f"{'.'.join(map(str, first['loc'])) or 'the whole'}: {first['msg']}"
    except (ValueError, RecursionError) as error:  # No JSON, or not in UTF-8.
        problem = str(error)
    raise MemoryFolderError(
        f"{file} is damaged ({problem}). Put back a copy that you have, or move it away: then what was said is"
        " forgotten, and the sandbox begins anew."
    )
