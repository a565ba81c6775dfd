"""Who may do what: one table, and the check that every update passes first."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import structlog
from telegram import CallbackQuery, Chat, Message, Update, User
from telegram.constants import ChatType, MessageEntityType

from bot.buttons import Buttons
from storage.labels import read_caption
from storage.people import People, Role

# What each act needs. A command is the act of its name, and so is what stands behind a button.
NEEDED: Mapping[str, Role | None] = MappingProxyType(
    {
        "help": None,  # Anybody may ask how to be let in, though not in a group.
        "talk": Role.VIEWER,  # What means nothing, and gets a hint.
        "ask": Role.VIEWER,  # A photo without a class.
        "classes": Role.VIEWER,
        "status": Role.VIEWER,
        "schedule": Role.VIEWER,
        "gpu": Role.VIEWER,
        "label": Role.LABELLER,
        "undo": Role.LABELLER,
        "withdraw": Role.LABELLER,  # One's own photos.
        "train": Role.ADMIN,
        "cancel": Role.ADMIN,
        "rename": Role.ADMIN,
        "merge": Role.ADMIN,
        "delete": Role.ADMIN,
        "people": Role.ADMIN,
        "withdraw others": Role.ADMIN,
    }
)
OTHER_NAMES = MappingProxyType({"start": "help"})
CLOSED = "I am not at work in this group. An admin can change that with /people here."

log = structlog.get_logger()


@dataclass(frozen=True)
class Refusal:
    """That nothing is done. `words` are plain text for the person; empty where nothing is said."""

    words: str = ""


class Access:
    def __init__(self, people: People, buttons: Buttons) -> None:
        self._people = people
        self._buttons = buttons

    async def refusal(self, updates: Sequence[Update]) -> Refusal | None:
        """Why an update, or all those of an album, must not be worked; None where it may be. Refused acts are logged.

        In a group nothing is said about them, but for taps, which Telegram's app waits for.
        """
        update = updates[0]
        query, user, chat = update.callback_query, update.effective_user, update.effective_chat
        act = await self._tapped(query) if query else _act([update.message for update in updates if update.message])
        if act is None or user is None or chat is None:
            return Refusal()  # Not meant for us.
        words = await asyncio.to_thread(self._why_not, user, chat, act)
        if words is None:
            return None
        log.info("refused", user=user.id, chat=chat.id, act=act)
        return Refusal(words if query or chat.type == ChatType.PRIVATE else "")

    async def allows(self, update: Update) -> bool:
        """Whether the person may at least ask here; nothing is logged."""
        user, chat = update.effective_user, update.effective_chat
        if user is None or chat is None:
            return False
        return await asyncio.to_thread(self._why_not, user, chat, "ask") is None

    async def role(self, user: User | None) -> Role | None:
        return await asyncio.to_thread(self._people.role, user.id) if user else None

    def _why_not(self, user: User, chat: Chat, act: str) -> str | None:
        role, private = self._people.role(user.id), chat.type == ChatType.PRIVATE
        if not may(role, act, private=private):
            return refused(user.id, role, act)
        # An admin must be able to begin in a group where nobody may do anything yet.
        begins = act == "people" and role is Role.ADMIN
        return None if private or begins or self._people.in_group(chat.id) else CLOSED

    async def _tapped(self, query: CallbackQuery) -> str:
        tap = await self._buttons.find(query)
        if tap is None:
            return "talk"  # Whoever is let in learns that this button does not work.
        whose = tap.offer.content.get("withdraw")
        if whose not in (None, by(query.from_user)):
            return "withdraw others"
        return str(tap.offer.content.get("needs", tap.offer.what))


def may(role: Role | None, act: str, *, private: bool = True) -> bool:
    """Whether the role, None for a stranger, is enough. What the table does not name needs an admin."""
    needed = NEEDED.get(act, Role.ADMIN)
    if role is None:
        return needed is None and private
    return needed is None or role.allows(needed)


def refused(user: int, role: Role | None, act: str) -> str:
    """The refusal, with what an admin has to do about it; within the 200 characters that the window of a tap shows."""
    needed = NEEDED.get(act, Role.ADMIN) or Role.VIEWER
    known = f"You are a {role} here, and this needs {_one(needed)}." if role else "I do not know you yet."
    return f"{known} Your id is {user}. Ask an admin to send me: /people add {user} {needed}"


def by(user: User | None) -> str:
    """How the history names a person."""
    return f"telegram:{user.id}" if user else "telegram"


def _one(role: Role) -> str:
    return f"an {role}" if role is Role.ADMIN else f"a {role}"


def _act(messages: Sequence[Message]) -> str | None:
    """What these messages, one or an album, ask for; None where they are not meant for us."""
    if not messages:
        return None
    message = messages[0]
    if any(item.photo or (item.document and not item.animation) for item in messages):
        return "label" if any(map(names_class, messages)) else "ask"
    private = message.chat.type == ChatType.PRIVATE
    command = _command_of(message)
    if command:
        return _command(message, *command, private=private)
    answered = message.reply_to_message
    if message.text and answered and (private or _is_ours(answered)):
        return "label"
    return "talk" if private else None


def _command_of(message: Message) -> tuple[str, str] | None:
    """The command and the bot that it is for, by what Telegram marked: the same that the handlers go by."""
    mark = message.entities[0] if message.entities else None
    if mark is None or mark.type != MessageEntityType.BOT_COMMAND or mark.offset:
        return None
    name, _, addressed = (message.text or "")[1 : mark.length].partition("@")
    return name, addressed


def _command(message: Message, name: str, addressed: str, *, private: bool) -> str | None:
    if addressed and addressed.lower() != (message.get_bot().username or "").lower():
        return None
    name = name.lower()
    act = OTHER_NAMES.get(name, name)
    if act in NEEDED and act not in {"talk", "ask"}:
        return act
    return "talk" if private else None


def names_class(message: Message) -> bool:
    """Whether the caption teaches; “what is this?” names no class, so whoever may ask may write it."""
    read = read_caption(message.caption or "")
    return bool(read.name or read.choices)


def _is_ours(message: Message) -> bool:
    return message.from_user is not None and message.from_user.id == message.get_bot().id
