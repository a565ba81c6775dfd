"""Changing one's mind: undo, renaming, merging and deleting, and taking one's photos back."""

import asyncio
import re
from collections.abc import Callable, Mapping
from typing import Any

from telegram import CallbackQuery, InlineKeyboardMarkup, Message

from bot import replies
from bot.access import by
from bot.buttons import Buttons
from bot.delivery import Delivery
from bot.keys import message_key, tap_key
from bot.markup import arguments
from bot.subjects import Subjects
from storage import labels
from storage.errors import PhotoError
from storage.history import Changed, History
from storage.photos import Photos

MOST_UNDONE = 20  # Acts that one command takes back.
PAIR = re.compile(r"\s*(?:=|→|->|>|\n|\s+to\s+|\s+into\s+)\s*")


class Corrections:
    def __init__(
        self,
        photos: Photos,
        history: History,
        subjects: Subjects,
        buttons: Buttons,
        delivery: Delivery,
    ) -> None:
        self._photos = photos
        self._history = history
        self._subjects = subjects
        self._buttons = buttons
        self._delivery = delivery

    async def undo(self, message: Message) -> None:
        """/undo: the newest thing that this person did and that still holds; with a number, so many of them."""
        words = arguments(message.text)
        times = min(int(words[:9]), MOST_UNDONE) if words.isdecimal() else 1
        key, person = message_key(message), by(message.from_user)
        told = []
        for number in range(max(1, times)):
            try:
                done = await asyncio.to_thread(self._history.undo_last, person, f"{key}:{number}")
            except PhotoError as error:  # There is nothing more.
                told.append(replies.wrong(error.text))
                break
            told.append(replies.undone(done))
        await self._delivery.reply(message, "\n".join(told))

    async def undo_tapped(self, query: CallbackQuery, content: Mapping[str, Any], _choice: int) -> str | None:
        """The button under a receipt."""
        done = await asyncio.to_thread(self._history.undo, content["act"], by(query.from_user), tap_key(query))
        if isinstance(query.message, Message):
            await self._delivery.edit(query.message, replies.undone(done))
        return None

    async def rename(self, message: Message) -> None:
        """/rename OLD = NEW."""
        await self._pair(message, "rename", self._history.rename, replies.HOW_TO_RENAME)

    async def merge(self, message: Message) -> None:
        """/merge ONE = OTHER: all photos of ONE go to OTHER."""
        await self._pair(message, "merge", self._history.merge, replies.HOW_TO_MERGE)

    async def delete(self, message: Message) -> None:
        """/delete CLASS, or /delete in reply to a photo: out of the class, with undo."""
        name = arguments(message.text)
        if name:
            await self._ask_to_delete(message, name)
            return
        photos = await self._subjects.of(message.reply_to_message)
        if photos:
            changed = await asyncio.to_thread(self._history.remove, photos, by(message.from_user), message_key(message))
            keyboard = await self._undo_button(message.chat_id, changed, "label")
            await self._delivery.reply(message, replies.removed(changed), keyboard)
        else:
            await self._delivery.reply(message, replies.HOW_TO_DELETE)

    async def _ask_to_delete(self, message: Message, name: str) -> None:
        count = await self._count(name)
        if count:
            await self._ask(message, replies.delete_class(name, count), {"delete": name})
        else:
            await self._delivery.reply(message, replies.no_such_class(name))

    async def withdraw(self, message: Message) -> None:
        """/withdraw: all photos that this person gave, taken out of their classes."""
        person = by(message.from_user)
        given = await asyncio.to_thread(self._history.given_by, person)
        if given:
            await self._ask(message, replies.withdraw(given), {"withdraw": person})
        else:
            await self._delivery.reply(message, replies.NOTHING_GIVEN)

    async def confirmed(self, query: CallbackQuery, content: Mapping[str, Any], choice: int) -> str | None:
        """The answer to what was asked back."""
        message = query.message
        if not isinstance(message, Message):
            return replies.STALE_BUTTON
        if choice != 0:
            await self._delivery.edit(message, replies.LEFT_ALONE)
            return None
        person, key = by(query.from_user), tap_key(query)
        needs = "delete" if "delete" in content else "withdraw"
        change = self._history.delete_class if needs == "delete" else self._history.withdraw
        changed = await asyncio.to_thread(change, content[needs], person, key)
        keyboard = await self._undo_button(message.chat_id, changed, needs)
        await self._delivery.edit(message, replies.removed(changed), keyboard)
        return None

    async def _pair(self, message: Message, needs: str, change: Callable[..., Changed], how: str) -> None:
        parts = PAIR.split(arguments(message.text), maxsplit=1)
        if len(parts) == 1:
            parts = parts[0].split()
        if len(parts) != 2 or not all(parts):
            await self._delivery.reply(message, how)
            return
        changed = await asyncio.to_thread(change, *parts, by(message.from_user), message_key(message))
        await self._delivery.reply(
            message, replies.changed(changed), await self._undo_button(message.chat_id, changed, needs)
        )

    async def _undo_button(self, chat: int, changed: Changed, needs: str) -> InlineKeyboardMarkup | None:
        """For those who may do what `needs` names."""
        if changed.act is None:
            return None
        return await self._buttons.offer(chat, "undo", {"act": changed.act, "needs": needs}, [[replies.UNDO]])

    async def _ask(self, message: Message, text: str, content: dict[str, Any]) -> None:
        what = "delete" if "delete" in content else "withdraw"
        keyboard = await self._buttons.offer(message.chat_id, what, content, [[replies.YES, replies.NO]])
        await self._delivery.reply(message, text, keyboard)

    async def _count(self, name: str) -> int:
        counts = await asyncio.to_thread(self._photos.classes)
        return next((count.photos for count in counts if labels.key(count.name) == labels.key(name)), 0)
