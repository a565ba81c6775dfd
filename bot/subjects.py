"""Which photos somebody means who replies to a message."""

import asyncio
from collections.abc import Sequence

from telegram import Message

from bot.receiving import Receiver, attachment
from storage.errors import ImageError
from storage.images import DAMAGED
from storage.received import Received


class Subjects:
    def __init__(self, receiver: Receiver, received: Received) -> None:
        self._receiver = receiver
        self._received = received

    async def of(self, message: Message | None) -> list[str]:
        """The photo in this message, or those that this message of ours is about.

        Raises ImageError where the photo was refused, and Later as the receiver does.
        """
        if message is None:
            return []
        if attachment(message):
            arrived = await self._receiver.get(message)
            if arrived.photo is None:
                raise ImageError(arrived.refused or DAMAGED)
            return [arrived.photo]
        return await asyncio.to_thread(self._received.subjects, message.chat_id, message.message_id)

    async def remember(self, ours: Message, photos: Sequence[str]) -> None:
        """A message of ours is about these photos."""
        await asyncio.to_thread(self._received.remember, ours.chat_id, ours.message_id, photos)
