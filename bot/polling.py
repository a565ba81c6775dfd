"""Asks Telegram for updates, for as long as it knows the token."""

import asyncio
from contextlib import suppress
from datetime import timedelta
from typing import Any, NoReturn

import structlog
from telegram.constants import UpdateType
from telegram.error import Conflict, InvalidToken, RetryAfter, TelegramError
from telegram.ext import Application

from storage.errors import SettingsError

POLL_TIMEOUT = timedelta(seconds=25)
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 30.0  # Seconds after an error; doubled while there are more.
CONFIRM_SECONDS = 5.0
WANTED = (UpdateType.MESSAGE, UpdateType.CALLBACK_QUERY)

log = structlog.get_logger()


class Poller:
    """Puts updates into the application's queue. The library's own way is to stop quietly when a token is revoked."""

    def __init__(self, application: Application[Any, Any, Any, Any, Any, Any]) -> None:
        self._bot = application.bot
        self._queue = application.update_queue
        self._offset: int | None = None

    async def run(self) -> NoReturn:
        """Until cancelled. Raises SettingsError where Telegram does not know the token any more."""
        pause = FIRST_PAUSE
        try:
            while True:
                try:
                    await self._take()
                except InvalidToken as error:
                    raise SettingsError(
                        "Telegram no longer knows the bot token; it was revoked. Copy the new one from @BotFather."
                    ) from error
                except TelegramError as error:
                    await asyncio.sleep(_told(error, pause))
                    pause = min(2 * pause, LONGEST_PAUSE)
                else:
                    pause = FIRST_PAUSE
        finally:
            await self._confirm()

    async def _take(self) -> None:
        if self._offset is None:
            await self._bot.delete_webhook()  # One would keep the updates from us.
            self._offset = 0
        for update in await self._bot.get_updates(self._offset, timeout=POLL_TIMEOUT, allowed_updates=WANTED):
            await self._queue.put(update)
            self._offset = update.update_id + 1

    async def _confirm(self) -> None:
        """Say which updates were taken; else they come once more at the next start."""
        if self._offset:
            with suppress(TelegramError, TimeoutError):
                async with asyncio.timeout(CONFIRM_SECONDS):
                    await self._bot.get_updates(self._offset, timeout=0)


def _told(error: TelegramError, pause: float) -> float:
    """Log the error; the seconds to wait."""
    if isinstance(error, RetryAfter):
        after = error.retry_after
        pause = after.total_seconds() if isinstance(after, timedelta) else after
    advice = "stop the other bot that uses this token" if isinstance(error, Conflict) else "it is tried again"
    log.warning("no updates", reason=str(error), advice=advice, again_in=pause)
    return pause
