"""Photos that come with a class: by caption, by reply, by /label or by button."""

import asyncio
from collections.abc import Mapping
from functools import partial
from typing import Any

from telegram import CallbackQuery, Message
from telegram.constants import ChatType

from bot import markup, replies
from bot.access import by
from bot.delivery import Delivery
from bot.keys import album_key, message_key, once, tap_key
from bot.labelling import Labelling, Saying, Subject
from bot.receiving import Receiver
from bot.subjects import Subjects
from storage.received import Album, Received


class Intake:
    def __init__(
        self, receiver: Receiver, received: Received, subjects: Subjects, labelling: Labelling, delivery: Delivery
    ) -> None:
        self._receiver = receiver
        self._received = received
        self._subjects = subjects
        self._labelling = labelling
        self._delivery = delivery

    async def captioned(self, message: Message) -> None:
        """A photo with a caption."""
        arrived = await self._receiver.get(message)
        if arrived.photo:
            await self._label(message, [arrived.photo], message.caption or "")
        else:
            await self._delivery.reply(message, replies.wrong(arrived.refused or ""))

    async def named(self, message: Message) -> None:
        """Words in reply to a photo, or to our message about photos: their class."""
        await self._name(message, message.text or "")

    async def label(self, message: Message) -> None:
        """/label with a class, in reply to a photo."""
        words = markup.arguments(message.text)
        if words and message.reply_to_message:
            await self._name(message, words)
        else:
            await self._delivery.reply(message, replies.HOW_TO_LABEL)

    async def tapped(self, query: CallbackQuery, content: Mapping[str, Any], choice: int) -> str | None:
        """A class button: the photos' class; the message under which it stood becomes the receipt."""
        message, album = query.message, content["album"]
        if not isinstance(message, Message):
            return replies.STALE_BUTTON
        # What comes late joins the act that labelled the album first; what is decided later is an act of its own.
        first = album and not content["settle"] and not await self._is_labelled(message.chat_id, album)
        key = partial(album_key, message, album) if first else once(tap_key(query))
        subject = Subject(content["photos"], by(query.from_user), key, album)
        saying = await self._labelling.chosen(subject, content, choice)
        if album and saying.class_name:
            done = Album(saying.class_name, message.message_id)
            await asyncio.to_thread(self._received.set_album, message.chat_id, album, done)
        await self._delivery.edit(message, saying.text, await self._labelling.keyboard(message.chat_id, saying))
        return None

    async def _is_labelled(self, chat: int, album: str) -> bool:
        done = await asyncio.to_thread(self._received.album, chat, album)
        return done.class_name is not None

    async def _name(self, message: Message, words: str) -> None:
        photos = await self._subjects.of(message.reply_to_message)
        if photos:
            await self._label(message, photos, words)
        elif message.chat.type == ChatType.PRIVATE:  # In a group people reply to each other.
            await self._delivery.reply(message, replies.UNKNOWN_PHOTO)

    async def _label(self, message: Message, photos: list[str], words: str) -> None:
        subject = Subject(photos, by(message.from_user), once(message_key(message)))
        await self.say(message, await self._labelling.from_words(subject, words), photos)

    async def say(self, message: Message, saying: Saying, photos: list[str]) -> Message:
        """Reply, and remember which photos the reply is about."""
        keyboard = await self._labelling.keyboard(message.chat_id, saying)
        sent = await self._delivery.reply(message, saying.text, keyboard)
        await self._subjects.remember(sent, photos)
        return sent
