"""Follows runs in the chats that asked: one message each, edited as the run goes on, until its end is told."""

import asyncio
import math
import time
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Self

import structlog
from telegram import Bot
from telegram.error import Forbidden, TelegramError

from bot import reports
from storage.follows import Follow, Follows
from storage.runs import Run, Runs

POLL_SECONDS = 1.0
EDIT_SECONDS = 3.0  # A message is edited no oftener; Telegram slows down a bot that does.
GONE = ("message to edit not found", "message can't be edited", "chat not found")  # As Telegram says it.

log = structlog.get_logger()


class Watch:
    """Use as `async with`. What is followed is in the database, so a restarted bot goes on with it."""

    def __init__(
        self,
        bot: Bot,
        follows: Follows,
        runs: Runs,
        *,
        poll: float = POLL_SECONDS,
        edit_every: float = EDIT_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._bot = bot
        self._follows = follows
        self._runs = runs
        self._poll = poll
        self._edit_every = edit_every
        self._clock = clock
        self._shown: dict[int, tuple[str, float]] = {}  # By follow: the text, and when it was put there.

    async def __aenter__(self) -> Self:
        self._loop = asyncio.create_task(self._watch(), name="watch")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._loop.cancel()
        with suppress(asyncio.CancelledError):
            await self._loop

    async def look(self) -> None:
        """Bring every followed message up to date, as far as it is due."""
        followed = await asyncio.to_thread(self._read)
        await asyncio.gather(*(self._update(follow, run) for follow, run in followed))

    async def _watch(self) -> None:
        while True:
            try:
                await self.look()
            except Exception:  # The next look may be luckier; the ends of runs must be told.
                log.exception("watch")
            await asyncio.sleep(self._poll)

    def _read(self) -> list[tuple[Follow, Run]]:
        return [(follow, self._runs.get(follow.run)) for follow in self._follows.open()]

    async def _update(self, follow: Follow, run: Run) -> None:
        text = reports.run(run)
        shown, at = self._shown.get(follow.id, ("", -math.inf))
        if (run.final or text != shown) and self._clock() - at >= self._edit_every:
            self._shown[follow.id] = (text, self._clock())
            if await self._edit(follow, text, final=run.final):
                await asyncio.to_thread(self._follows.close, follow.id)
                del self._shown[follow.id]

    async def _edit(self, follow: Follow, text: str, *, final: bool) -> bool:
        """Show the text. True where there is nothing more to show: it was the end, or the message is gone."""
        try:
            await self._bot.edit_message_text(text, follow.chat, follow.message)
        except TelegramError as error:
            if "not modified" in str(error):
                return final
            if isinstance(error, Forbidden) or any(words in str(error).lower() for words in GONE):
                log.warning("message can no longer be edited", chat=follow.chat, run=follow.run, reason=str(error))
                return True
            log.warning("message not edited yet", chat=follow.chat, run=follow.run, reason=str(error))
            self._shown[follow.id] = ("", self._clock())
            return False
        return final
