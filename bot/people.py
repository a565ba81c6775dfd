"""/people: who may do what, seen and changed by admins."""

import asyncio
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from telegram import CallbackQuery, InlineKeyboardMarkup, Message
from telegram.constants import ChatType

from bot import replies
from bot.access import ROLES, by
from bot.buttons import STALE, Buttons
from bot.delivery import Delivery
from bot.keys import tap_key
from bot.language import say
from bot.markup import Html, fill, fit, pages, photos
from bot.menus import publish_for
from storage.history import History
from storage.labels import shown
from storage.people import People, PeopleError, PersonInfo, Role
from storage.texts import Text

MOST_DIGITS = 15  # Telegram's ids have at most 52 bits.
# What a button does, and its words; a role makes the person that.
PUT_OUT, ASK, TAKE, LEAVE = "put out", "ask", "take", "leave"
WORDS = MappingProxyType(
    {
        Role.VIEWER: Text("Viewer"),
        Role.LABELLER: Text("Labeller"),
        Role.ADMIN: Text("Admin"),
        PUT_OUT: Text("Put out"),
        ASK: Text("Take out their photos"),
        TAKE: replies.YES,
        LEAVE: replies.NO,
    }
)
HOW = Text(
    "To let somebody in, or change what they may do: <code>/people add ID ROLE NAME</code>, or"
    " <code>/people ROLE</code> in reply to a message of theirs. /help tells a person their ID."
    " ROLE is <b>viewer</b> (asks), <b>labeller</b> (teaches, too) or <b>admin</b> (everything).\n"
    "One person and their photos: <code>/people ID</code>\n"
    "To put somebody out: <code>/people remove ID</code>\n"
    "In a group: <code>/people here</code> lets me work there, <code>/people not here</code> ends it."
)
HERE = Text("I work in this group now, for the people who are let in. Others get no answer.")
NOT_HERE = Text("I do not work in this group any more.")
A_BOT = Text("That was written by a bot, and only people can be let in.")


class PeopleCommands:
    def __init__(self, people: People, history: History, buttons: Buttons, delivery: Delivery) -> None:
        self._people = people
        self._history = history
        self._buttons = buttons
        self._delivery = delivery

    async def people(self, message: Message) -> None:
        """/people and what may stand behind it. Raises PeopleError."""
        match (message.text or "").split()[1:]:
            case []:
                await self._list(message)
            case ["here"]:
                await self._work_here(message, works=True)
            case ["not", "here"]:
                await self._work_here(message, works=False)
            case ["add", number, role, *name]:
                await self._let_in(message, _id(number), " ".join(name), role)
            case ["remove", number]:
                await self._put_out(message, _id(number))
            case [role] if message.reply_to_message and not role.isdecimal():
                await self._let_in_sender(message, message.reply_to_message, role)
            case [number]:
                await self._delivery.reply(message, *await self._card(message.chat_id, _id(number)))
            case _:
                await self._delivery.reply(message, HOW)

    async def tapped(self, query: CallbackQuery, content: Mapping[str, Any], choice: int) -> str | None:
        """A button under one person; what comes of it takes the place of the message. Raises PeopleError."""
        message = query.message
        if not isinstance(message, Message):
            return STALE
        person, does = content["person"], content["does"][choice]
        answer: tuple[str, InlineKeyboardMarkup | None]
        if does == ASK:
            answer = await self._question(message.chat_id, person)
        elif does == TAKE:
            answer = await self._take(message.chat_id, person, query)
        else:
            await asyncio.to_thread(self._change, person, does, by(query.from_user))
            await publish_for(query.get_bot(), person, await asyncio.to_thread(self._people.role, person))
            answer = await self._card(message.chat_id, person)
        await self._delivery.edit(message, *answer)
        return None

    async def _list(self, message: Message) -> None:
        for page in pages([*await asyncio.to_thread(self._lines), "", say(HOW)]):
            await self._delivery.reply(message, page)

    def _lines(self) -> list[str]:
        people = [_gave(_line(person), self._total(person.id)) for person in self._people.all()]
        groups = [fill("{title} (<code>{id}</code>)", title=item.title, id=item.id) for item in self._people.groups()]
        return [*people, *(["", say("<b>Groups</b>"), *groups] if groups else [])]

    def _total(self, person: int) -> int:
        return sum(self._history.given_by(f"telegram:{person}").values())

    async def _work_here(self, message: Message, *, works: bool) -> None:
        chat, person = message.chat, by(message.from_user)
        if chat.type == ChatType.PRIVATE:
            raise PeopleError(replies.GROUP_ONLY)
        if works:
            await asyncio.to_thread(self._people.allow_group, chat.id, chat.title or "", person)
        else:
            await asyncio.to_thread(self._people.forbid_group, chat.id, person)
        await self._delivery.reply(message, HERE if works else NOT_HERE)

    async def _let_in_sender(self, message: Message, answered: Message, role: str) -> None:
        user = answered.from_user
        if user is None or user.is_bot:
            raise PeopleError(A_BOT)
        await self._let_in(message, user.id, user.full_name, role)

    async def _let_in(self, message: Message, person: int, name: str, role: str) -> None:
        info = await asyncio.to_thread(self._people.let_in, person, name, _role(role), by(message.from_user))
        await publish_for(message.get_bot(), info.id, info.role)
        await self._delivery.reply(message, fill("{person} from now on.", person=Html(_line(info))))

    async def _put_out(self, message: Message, person: int) -> None:
        await asyncio.to_thread(self._people.put_out, person, by(message.from_user))
        await publish_for(message.get_bot(), person, None)
        await self._delivery.reply(message, *await self._card(message.chat_id, person))

    def _change(self, person: int, does: str, admin: str) -> None:
        if does == PUT_OUT:
            self._people.put_out(person, admin)
        elif does != LEAVE:
            self._people.let_in(person, "", Role(does), admin)

    async def _card(self, chat: int, person: int) -> tuple[str, InlineKeyboardMarkup | None]:
        """One person, what they gave, and buttons for what can be changed."""
        info = await asyncio.to_thread(self._people.get, person)
        given = await asyncio.to_thread(self._history.given_by, f"telegram:{person}")
        lines = [fill("{name}: {count}", name=shown(name), count=photos(count)) for name, count in given.items()]
        head = _line(info) if info else fill("<code>{id}</code> is not let in", id=person)
        rows: list[list[str]] = []
        if not (info and info.owner):
            rows = [[role for role in Role if not (info and info.role is role)], [PUT_OUT] if info else []]
        rows = [row for row in (*rows, [ASK] if given else []) if row]
        text = fit("\n".join([_gave(head, sum(given.values())), *lines]))
        return text, await self._keyboard(chat, person, rows) if rows else None

    async def _question(self, chat: int, person: int) -> tuple[str, InlineKeyboardMarkup]:
        count = photos(await asyncio.to_thread(self._total, person))
        text = fill("Take all that <code>{id}</code> gave out of the classes: {count}?", id=person, count=count)
        return text, await self._keyboard(chat, person, [[TAKE, LEAVE]])

    async def _take(self, chat: int, person: int, query: CallbackQuery) -> tuple[str, InlineKeyboardMarkup | None]:
        changed = await asyncio.to_thread(
            self._history.withdraw, f"telegram:{person}", by(query.from_user), tap_key(query)
        )
        undo = [[replies.UNDO]]
        keyboard = (
            await self._buttons.offer(chat, "undo", {"act": changed.act, "needs": "people"}, undo)
            if changed.act
            else None
        )
        return replies.removed(changed), keyboard

    async def _keyboard(self, chat: int, person: int, rows: list[list[str]]) -> InlineKeyboardMarkup:
        content = {"person": person, "does": [does for row in rows for does in row]}
        return await self._buttons.offer(chat, "people", content, [[say(WORDS[does]) for does in row] for row in rows])


def _gave(person: str, count: int) -> str:
    return fill("{person}, gave {count}", person=Html(person), count=photos(count))


def _line(person: PersonInfo) -> str:
    role = ROLES["owner" if person.owner else person.role]
    if not person.name:
        return fill("<code>{id}</code>: {role}", id=person.id, role=role)
    return fill("<b>{name}</b> (<code>{id}</code>): {role}", name=person.name, id=person.id, role=role)


def _id(text: str) -> int:
    if not (text.isdecimal() and len(text) <= MOST_DIGITS and int(text)):
        raise PeopleError("“{text}” is not a person's id. That is a number; /help tells a person theirs.", text=text)
    return int(text)


def _role(text: str) -> Role:
    if text.lower() not in list(Role):
        raise PeopleError("“{text}” is not a role. There are viewer, labeller and admin.", text=text)
    return Role(text.lower())
