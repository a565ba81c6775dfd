"""What we say in the chat: replies, which say so where they come late, and edits of what we said."""

from collections.abc import Callable
from datetime import datetime, timedelta

from telegram import InlineKeyboardMarkup, Message
from telegram.error import BadRequest

from bot import replies
from storage.database import now


class Delivery:
    """A reply to a message that has waited longer than `late_after` begins with an excuse."""

    def __init__(self, late_after: timedelta, clock: Callable[[], datetime] = now) -> None:
        self._late_after = late_after
        self._clock = clock

    async def reply(self, message: Message, text: str, keyboard: InlineKeyboardMarkup | None = None) -> Message:
        """Send `text`, in HTML, as a reply to the message."""
        waited = self._clock() - message.date
        if waited > self._late_after:
            text = f"{replies.late(waited.total_seconds())}\n{text}"
        return await message.reply_text(text, reply_markup=keyboard)

    async def edit(self, message: Message, text: str, keyboard: InlineKeyboardMarkup | None = None) -> bool:
        """Put `text` in place of what a message of ours said. False where that message is gone."""
        return await self.edit_number(message, message.message_id, text, keyboard)

    async def edit_number(
        self, near: Message, number: int, text: str, keyboard: InlineKeyboardMarkup | None = None
    ) -> bool:
        """The same for the message of this number in the chat of the message `near`."""
        try:
            await near.get_bot().edit_message_text(text, near.chat_id, number, reply_markup=keyboard)
        except BadRequest as error:
            return "not modified" in str(error)
        return True
