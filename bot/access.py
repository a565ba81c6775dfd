"""Who may do what: one table, and the check that every update passes first."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import structlog
from telegram import CallbackQuery, Chat, Message, Update, User
from telegram.constants import ChatType, MessageEntityType

from bot.buttons import Buttons
from storage.chats import Chats
from storage.labels import read_caption
from storage.people import People, Role
from storage.texts import Text

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
        "show": Role.VIEWER,
        "models": Role.VIEWER,
        "mistakes": Role.VIEWER,
        "compare": Role.VIEWER,
        "notify": Role.VIEWER,
        "label": Role.LABELLER,
        "undo": Role.LABELLER,
        "withdraw": Role.LABELLER,  # One's own photos.
        "train": Role.ADMIN,
        "cancel": Role.ADMIN,
        "rename": Role.ADMIN,
        "merge": Role.ADMIN,
        "delete": Role.ADMIN,
        "promote": Role.ADMIN,
        "rollback": Role.ADMIN,
        "listen": Role.ADMIN,
        "people": Role.ADMIN,
        "withdraw others": Role.ADMIN,
    }
)
OTHER_NAMES = MappingProxyType({"start": "help"})
CLOSED = Text("I am not at work in this group. An admin can change that with /people here.")
ROLES = MappingProxyType(
    {
        Role.VIEWER: Text("viewer"),
        Role.LABELLER: Text("labeller"),
        Role.ADMIN: Text("admin"),
        "owner": Text("owner"),
    }
)

log = structlog.get_logger()


@dataclass(frozen=True)
class Refusal:
    """That nothing is done. `words` are plain text for the person; empty where nothing is said."""

    words: str = ""


class Access:
    def __init__(self, people: People, chats: Chats, buttons: Buttons) -> None:
        self._people = people
        self._chats = chats
        self._buttons = buttons

    async def refusal(self, updates: Sequence[Update]) -> Refusal | None:
        """Why an update, or all those of an album, must not be worked; None where it may be. Refused acts are logged.

        In a group nothing is said about them, but for taps, which Telegram's app waits for.
        """
        update = updates[0]
        query, user, chat = update.callback_query, update.effective_user, update.effective_chat
        messages = [item.message for item in updates if item.message]
        act = await self._tapped(query) if query else await self._act(messages)
        if act is None or user is None or chat is None:
            return Refusal()  # Not meant for us.
        words = await asyncio.to_thread(self._why_not, user, chat, act)
        if words is None:
            return None
        log.info("refused", user=user.id, chat=chat.id, act=act)
        return Refusal(words if query or chat.type == ChatType.PRIVATE else "")

    async def _act(self, messages: Sequence[Message]) -> str | None:
        if not messages:
            return None
        chat = messages[0].chat
        every = chat.type == ChatType.PRIVATE or (await asyncio.to_thread(self._chats.get, chat.id)).all_photos
        return _act(messages) if every or any(map(_is_meant, messages)) else None

    async def allows(self, update: Update) -> bool:
        """Whether a message is meant for us, and its sender may at least ask here; nothing is logged."""
        user, chat, message = update.effective_user, update.effective_chat, update.message
        if user is None or chat is None or message is None or await self._act([message]) is None:
            return False
        return await asyncio.to_thread(self._why_not, user, chat, "ask") is None

    async def role(self, user: User | None) -> Role | None:
        return await asyncio.to_thread(self._people.role, user.id) if user else None

    def _why_not(self, user: User, chat: Chat, act: str) -> Text | None:
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


def refused(user: int, role: Role | None, act: str) -> Text:
    """The refusal, with what an admin has to do about it; within the 200 characters that the window of a tap shows."""
    needed = NEEDED.get(act, Role.ADMIN) or Role.VIEWER
    known = (
        Text("This needs the role {needed}, and yours is {role}.", needed=ROLES[needed], role=ROLES[role])
        if role
        else Text("I do not know you yet.")
    )
    return Text(
        "{known} Your id is {user}. Ask an admin to send me: /people add {user} {role}",
        known=known,
        user=user,
        role=needed,
    )


def by(user: User | None) -> str:
    """How the history names a person."""
    return f"telegram:{user.id}" if user else "telegram"


def _act(messages: Sequence[Message]) -> str | None:
    """What these messages, one or an album, ask for; None where they are not meant for us."""
    message = messages[0]
    if any(item.photo or (item.document and not item.animation) for item in messages):
        return "label" if any(map(names_class, messages)) else "ask"
    private = message.chat.type == ChatType.PRIVATE
    command = _command_of(message)
    if command:
        return _command(message, *command, private=private)
    answered = message.reply_to_message
    if message.text and answered and (private or _is_ours(answered) or _mentions_us(message)):
        return "ask" if asks(message) else "label"
    return "talk" if private else None


def _is_meant(message: Message) -> bool:
    """Whether a message in a group is meant for us: a command, a reply to us, our name, or a hashtag in a caption."""
    answered = message.reply_to_message
    if _command_of(message) or (answered and _is_ours(answered)) or _mentions_us(message):
        return True
    return any(entity.type == MessageEntityType.HASHTAG for entity in message.caption_entities)


def _mentions_us(message: Message) -> bool:
    name = f"@{message.get_bot().username}".lower()
    mentions = message.parse_entities([MessageEntityType.MENTION]) | message.parse_caption_entities(
        [MessageEntityType.MENTION]
    )
    return name in {text.lower() for text in mentions.values()}


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


def asks(message: Message) -> bool:
    """Whether words in reply to a photo ask what it shows."""
    return read_caption(message.text or "").asks


def _is_ours(message: Message) -> bool:
    return message.from_user is not None and message.from_user.id == message.get_bot().id
