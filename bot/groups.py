"""/listen: which photos of a group are meant for the bot."""

import asyncio

from telegram import Message
from telegram.constants import ChatType

from bot import replies
from bot.delivery import Delivery
from bot.markup import arguments
from storage.chats import Chats


class Groups:
    def __init__(self, chats: Chats, delivery: Delivery) -> None:
        self._chats = chats
        self._delivery = delivery

    async def listen(self, message: Message) -> None:
        """/listen all: to every photo of the group; /listen mentions: to those that are meant for the bot."""
        wanted = arguments(message.text).lower()
        if message.chat.type == ChatType.PRIVATE:
            await self._delivery.reply(message, replies.GROUP_ONLY)
        elif wanted in {"all", "mentions"}:
            await asyncio.to_thread(self._chats.take_all_photos, message.chat_id, takes=wanted == "all")
            await self._delivery.reply(message, replies.LISTENS if wanted == "all" else replies.LISTENS_TO_MENTIONS)
        else:
            await self._delivery.reply(message, replies.HOW_TO_LISTEN)
