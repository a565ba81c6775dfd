"""What we say in the chat: replies, which say so where they come late, and edits of what we said."""

from collections.abc import Callable
from datetime import datetime, timedelta

import httpx
from telegram import InlineKeyboardMarkup, Message
from telegram.error import BadRequest, NetworkError

from bot import replies
from bot.language import say
from bot.worker import Unheard
from storage.database import now

# Before these the whole request has been sent.
READING = httpx.ReadError | httpx.ReadTimeout | httpx.RemoteProtocolError


class Delivery:
    """A reply to a message that has waited longer than `late_after` begins with an excuse."""

    def __init__(self, late_after: timedelta, clock: Callable[[], datetime] = now) -> None:
        self._late_after = late_after
        self._clock = clock

    async def reply(self, message: Message, text: str, keyboard: InlineKeyboardMarkup | None = None) -> Message:
        """Send `text`, in HTML, as a reply to the message.

        Raises Unheard where it may have been sent or not; a reply that surely was not sent raises Telegram's error.
        """
        text, waited = say(text), self._clock() - message.date
        if waited > self._late_after:
            text = f"{replies.late(waited.total_seconds())}\n{text}"
        try:
            return await message.reply_text(text, reply_markup=keyboard)
        except NetworkError as error:
            if isinstance(error.__cause__, READING):
                raise Unheard(str(error)) from error
            raise

    async def picture(
        self, message: Message, picture: bytes, caption: str, keyboard: InlineKeyboardMarkup | None = None
    ) -> Message:
        """Send a picture as a reply. Raises as `reply` does."""
        try:
            return await message.reply_photo(picture, say(caption), reply_markup=keyboard)
        except NetworkError as error:
            if isinstance(error.__cause__, READING):
                raise Unheard(str(error)) from error
            raise

    async def edit(self, message: Message, text: str, keyboard: InlineKeyboardMarkup | None = None) -> bool:
        """Put `text` in place of what a message of ours said. False where that message is gone."""
        return await self.edit_number(message, message.message_id, text, keyboard)

    async def edit_number(
        self, near: Message, number: int, text: str, keyboard: InlineKeyboardMarkup | None = None
    ) -> bool:
        """The same for the message of this number in the chat of the message `near`."""
        try:
            await near.get_bot().edit_message_text(say(text), near.chat_id, number, reply_markup=keyboard)
        except BadRequest as error:
            return "not modified" in str(error)
        return True
