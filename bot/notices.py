"""Tells the chats what the bot did to the served version by itself, once for each time."""

import asyncio
from collections.abc import Collection
from typing import NoReturn

import structlog
from telegram import Bot
from telegram.error import BadRequest, Forbidden, TelegramError

from bot import reports
from bot.language import speaking
from bot.stores import Stores
from storage.pointer import StepBack

POLL_SECONDS = 1.0

log = structlog.get_logger()


class Notices:
    """To the owners, to whoever followed the run that made the version, and to chats that hear of scheduled runs."""

    def __init__(self, bot: Bot, stores: Stores, owners: Collection[int], poll: float = POLL_SECONDS) -> None:
        self._bot = bot
        self._stores = stores
        self._owners = owners
        self._poll = poll

    async def keep(self) -> NoReturn:
        while True:
            try:
                for step in await asyncio.to_thread(self._stores.models.steps_back):
                    await self._tell(step)
            except Exception:  # The next look may be luckier.
                log.exception("notices")
            await asyncio.sleep(self._poll)

    async def _tell(self, step: StepBack) -> None:
        """Where Telegram cannot be reached, everybody is told the next time; better twice than never."""
        followed = await asyncio.to_thread(self._stores.follows.chats, step.run)
        hearing = await asyncio.to_thread(self._stores.chats.hearing)
        chats = {*self._owners, *followed, *(chat.id for chat in hearing)}
        try:
            await asyncio.gather(*(self._send(chat, step) for chat in sorted(chats)))
        except TelegramError as error:
            log.warning("a step back is not told yet", version=step.before, reason=str(error))
        else:
            await asyncio.to_thread(self._stores.models.told, step)

    async def _send(self, chat: int, step: StepBack) -> None:
        known = await asyncio.to_thread(self._stores.chats.get, chat)
        if known.blocked:
            return
        try:
            with speaking(known.language):
                await self._bot.send_message(chat, reports.step_back(step))
        except (
            BadRequest,
            Forbidden,
        ) as error:  # An owner who has never talked to the bot, or a group it had to leave.
            log.info("a chat cannot be told", chat=chat, reason=str(error))
