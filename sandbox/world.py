"""Everything the sandbox knows: bots, chats, messages, files. One object, used from one event loop."""

import asyncio
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any
from uuid import uuid4

from sandbox.bell import Bell
from sandbox.chat import Chat, Counter, Message, Numbers
from sandbox.errors import ApiError
from sandbox.faults import Faults
from sandbox.files import FileStore
from sandbox.limits import CALLBACK_LIFE
from sandbox.updates import CALLBACK_QUERY, MESSAGE, Updates

NOBODY = 0  # stands for the first bot until it comes
_TOKEN = re.compile(r"(\d{1,18}):[A-Za-z0-9_-]{30,}")
_YEAR_2025 = 1_735_689_600  # seconds since 1970


@dataclass(frozen=True)
class Tap:
    """A person's tap on a button that the bot may still answer."""

    chat: Chat
    message_id: int
    from_id: int
    expires: float


@dataclass
class Webhook:
    """Where a bot wants its updates brought. `bringing` is who does so; `error` the last failure: when, and what."""

    url: str
    secret: str
    connections: int
    bringing: asyncio.Task[None] | None = None
    error: tuple[int, str] | None = None

    def end(self) -> None:
        if self.bringing:
            self.bringing.cancel()


@dataclass
class Bot:
    """One bot, known by its id.

    What it tells about itself: `commands` by scope and language, `texts` (name and descriptions) by kind and
    language, and by chat the `menus` button beside the text field, 0 being all other chats.
    """

    id: int
    updates: Updates
    came: bool = False
    webhook: Webhook | None = None
    commands: dict[tuple[str, str], list[dict[str, str]]] = field(default_factory=dict)
    texts: dict[tuple[str, str], str] = field(default_factory=dict)
    menus: dict[int, dict[str, Any]] = field(default_factory=dict)
    taps: dict[str, Tap] = field(default_factory=dict)

    def user(self) -> dict[str, Any]:
        """The Bot API's User."""
        name = self.texts.get(("name", "")) or "Sandbox bot"
        return {"id": self.id, "is_bot": True, "first_name": name, "username": f"sandbox_{self.id}_bot"}


class World:
    """All state. `clock` gives seconds since 1970. `id` tells this world from one that begins anew."""

    def __init__(self, files: FileStore, clock: Callable[[], float]) -> None:
        self.files = files
        self.clock = clock
        self.bell = Bell()
        self.faults = Faults()
        self.id = uuid4().hex
        self.first_id = _first_id(clock())
        self.ids = Counter(self.first_id)
        self.numbers = Numbers(Counter(self.first_id), Counter(1), clock, self.bell.ring)
        self.bots: dict[int, Bot] = {}
        self.chats: dict[tuple[int, int], Chat] = {}
        self.latest = NOBODY

    def close(self) -> None:
        """End every wait and every webhook, now and from now on."""
        self.bell.close()
        for bot in self.bots.values():
            if bot.webhook:
                bot.webhook.end()

    def caller(self, token: str, method: str) -> Bot:
        """The bot that calls. It comes with its first call, and again with each getMe, as after a restart."""
        match = _TOKEN.fullmatch(token)
        if match is None or int(match[1]) == NOBODY:
            raise ApiError(HTTPStatus.UNAUTHORIZED, "Unauthorized")
        bot = self.bot(int(match[1]))
        if self.latest == NOBODY:
            self._adopt(bot)
        if not bot.came or method.lower() == "getme":
            bot.came = True
            self.latest = bot.id
            self.bell.ring()
        return bot

    def bot(self, bot_id: int | None = None) -> Bot:
        """The bot of that id, or the one that came last, or the one still to come."""
        wanted = self.latest if bot_id is None else bot_id
        if wanted not in self.bots:
            self.bots[wanted] = Bot(wanted, Updates(self.first_id, self.clock))
        return self.bots[wanted]

    def chat(self, bot: Bot, chat_id: int) -> Chat | None:
        return self.chats.get((bot.id, chat_id))

    def open_chat(self, bot: Bot, info: dict[str, Any]) -> Chat:
        """The chat that `info` (a Bot API Chat) describes, new or as it was."""
        key = bot.id, info["id"]
        if key not in self.chats:
            self.chats[key] = Chat(info, self.numbers)
        return self.chats[key]

    def callers(self) -> list[Bot]:
        """The bots that have called, in the order in which they first did."""
        return [bot for bot in self.bots.values() if bot.came]

    def people(self) -> list[dict[str, Any]]:
        """Everybody who has spoken, as they called themselves last."""
        spoken = (message["from"] for chat in self.chats.values() for message in chat.bodies())
        return list({user["id"]: user for user in spoken if not user["is_bot"]}.values())

    def events(self, after: int) -> list[dict[str, Any]]:
        """The events of every bot's chats with a higher number, oldest first, each with its `bot` and `chat_id`."""
        found = [
            event | {"bot": bot_id, "chat_id": chat_id}
            for (bot_id, chat_id), chat in self.chats.items()
            for event in (chat.events(after) if bot_id != NOBODY else [])
        ]
        return sorted(found, key=lambda event: int(event["seq"]))

    def last_event(self) -> int:
        """The highest number of an event so far; 0 where there was none."""
        return max((chat.history[-1]["seq"] for chat in self.chats.values() if chat.history), default=0)

    def deliver(self, bot: Bot, message: Message) -> None:
        """Let a person's message wait for the bot."""
        bot.updates.put(MESSAGE, message)
        self.bell.ring()

    def tap(self, bot: Bot, chat: Chat, message_id: int, person: dict[str, Any], data: str) -> str:
        """Let a tap wait for the bot; returns the id of the callback query."""
        query_id = self.new_id()
        bot.taps = {key: old for key, old in bot.taps.items() if old.expires > self.clock()}
        bot.taps[query_id] = Tap(chat, message_id, person["id"], self.clock() + CALLBACK_LIFE)
        query = {"id": query_id, "from": person, "chat_instance": str(chat.info["id"]), "data": data}
        bot.updates.put(CALLBACK_QUERY, query | {"message": chat.show(message_id)})
        self.bell.ring()
        return query_id

    def new_id(self) -> str:
        """A decimal string that is used for nothing else."""
        return str(next(self.ids))

    def _adopt(self, bot: Bot) -> None:
        """Give the first bot what was said before it came."""
        for chat_id in [chat_id for owner, chat_id in self.chats if owner == NOBODY]:
            waiting = self.chats.pop((NOBODY, chat_id))
            if own := self.chat(bot, chat_id):
                waiting.absorb(own)
            self.chats[bot.id, chat_id] = waiting
        if NOBODY in self.bots:
            nobody = self.bots.pop(NOBODY)
            bot.updates.take_over(nobody.updates)
            bot.taps |= nobody.taps


def _first_id(now: float) -> int:
    """A number that a sandbox started later exceeds, as long as ids are used at under 10 a second on average."""
    return int(now - _YEAR_2025) * 10 % 2**30 + 1
