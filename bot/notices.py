"""Tells the chats what the bot did to the served version by itself, once for each time."""

import asyncio
from collections.abc import Collection
from typing import NoReturn

import structlog
from telegram import Bot
from telegram.error import BadRequest, Forbidden, TelegramError

from bot import reports
from storage.follows import Follows
from storage.models import Models
from storage.pointer import StepBack

POLL_SECONDS = 1.0

log = structlog.get_logger()


class Notices:
    """To the owners, and to whoever followed the run that made the version."""

    def __init__(
        self, bot: Bot, models: Models, follows: Follows, owners: Collection[int], poll: float = POLL_SECONDS
    ) -> None:
        self._bot = bot
        self._models = models
        self._follows = follows
        self._owners = owners
        self._poll = poll

    async def keep(self) -> NoReturn:
        while True:
            try:
                for step in await asyncio.to_thread(self._models.steps_back):
                    await self._tell(step)
            except Exception:  # The next look may be luckier.
                log.exception("notices")
            await asyncio.sleep(self._poll)

    async def _tell(self, step: StepBack) -> None:
        """Where Telegram cannot be reached, everybody is told the next time; better twice than never."""
        chats = {*self._owners, *await asyncio.to_thread(self._follows.chats, step.run)}
        try:
            await asyncio.gather(*(self._send(chat, reports.step_back(step)) for chat in sorted(chats)))
        except TelegramError as error:
            log.warning("a step back is not told yet", version=step.before, reason=str(error))
        else:
            await asyncio.to_thread(self._models.told, step)

    async def _send(self, chat: int, text: str) -> None:
        try:
            await self._bot.send_message(chat, text)
        except (
            BadRequest,
            Forbidden,
        ) as error:  # An owner who has never talked to the bot, or a group it had to leave.
            log.info("a chat cannot be told", chat=chat, reason=str(error))
