"""Asks Telegram for updates and keeps them before it confirms them."""

import asyncio
import json
import math
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Any, NoReturn
from urllib.parse import urlencode

import structlog
from telegram import Bot
from telegram.constants import UpdateType
from telegram.error import Conflict, InvalidToken, RetryAfter, TelegramError

from bot.worker import seconds
from storage.errors import RetrainbotError

POLL_SECONDS = 25
ANSWER_SECONDS = 10.0  # What Telegram may take beyond that.
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 30.0  # Seconds after an error; doubled while there are more.
OUTAGE_PAUSE = 5.0  # The longest where nobody has to do anything: when an outage ends, people wait.
CONFIRM_SECONDS = 5.0
SILENT_SECONDS = 600.0  # The same problem is not logged again for so long.
WANTED = (UpdateType.MESSAGE, UpdateType.CALLBACK_QUERY)

Take = Callable[[Sequence[dict[str, Any]]], Awaitable[None]]
log = structlog.get_logger()


class Poller:
    """Hands updates to `take`, which keeps them safe, and confirms them only then.

    Nothing ends it but its cancellation: an outage, a second program with the same token and a revoked token are each
    logged once, with what to do, and waited out.
    """

    def __init__(self, bot: Bot, take: Take, clock: Callable[[], float] = time.monotonic) -> None:
        self._problem: str | None = None
        self._clock = clock
        self._logged: dict[str, float] = {}  # When each problem was logged last.
        self._bot = bot
        self._take = take
        self._offset = 0
        self._begun = False
        self._told = False

    @property
    def problem(self) -> str | None:
        """Why no updates come, and what to do about it; None where they do."""
        return self._problem

    @property
    def ready(self) -> bool:
        """Whether updates come."""
        return self._begun and self._problem is None

    async def run(self) -> NoReturn:
        pause = FIRST_PAUSE
        try:
            while True:
                try:
                    await self._poll()
                except Exception as error:  # noqa: BLE001  Whatever it is, updates must be asked for again.
                    self._note(_advice(error), error)
                    await asyncio.sleep(_wait(error, pause))
                    pause = min(2 * pause, LONGEST_PAUSE)
                else:
                    self._note(None)
                    pause = FIRST_PAUSE
        finally:
            await self._confirm()

    async def _poll(self) -> None:
        if not self._begun:
            await self._bot.delete_webhook()  # One would keep the updates from us.
        # The first answer comes at once, so that a restarted bot says soon whether it gets any.
        updates = await self._get_updates(POLL_SECONDS if self._begun else 0)
        self._begun = True
        await self._take(updates)
        if updates:
            self._offset = updates[-1]["update_id"] + 1

    async def _get_updates(self, timeout: int) -> list[dict[str, Any]]:  # noqa: ASYNC109  Telegram's timeout, not ours.
        """As Telegram sent them: an update that the library cannot read must not keep the others away."""
        query = urlencode({"offset": self._offset, "timeout": timeout, "allowed_updates": json.dumps(WANTED)})
        address = f"{self._bot.base_url}/getUpdates?{query}"
        answer = await self._bot.request.post(address, read_timeout=timeout + ANSWER_SECONDS)
        return answer if isinstance(answer, list) else []

    async def _confirm(self) -> None:
        """Say which updates were taken; else they come once more at the next start."""
        if self._offset:
            with suppress(TelegramError, TimeoutError):
                async with asyncio.timeout(CONFIRM_SECONDS):
                    await self._get_updates(0)

    def _note(self, problem: str | None, error: Exception | None = None) -> None:
        """Log a problem when it begins and when it has ended; one that comes and goes is not logged each time."""
        if isinstance(error, Conflict):
            self._begun = False  # It may be a webhook that somebody set.
        if problem != self._problem:
            at = self._clock()
            if problem and at - self._logged.get(problem, -math.inf) > SILENT_SECONDS:
                log.error("no updates from Telegram", reason=str(error), advice=problem)
                self._logged[problem] = at
                self._told = True
            elif self._told and not problem:
                log.info("updates come again")
                self._told = False
            self._problem = problem


def _advice(error: Exception) -> str:
    match error:
        case InvalidToken():
            return (
                "Telegram does not know the bot token any more. If it was revoked, copy the new one from @BotFather"
                " into the configuration and start again; until then it is tried again."
            )
        case Conflict():
            return "Another program uses this bot token; stop it. Only one can get the messages."
        case TelegramError():
            return "Telegram cannot be reached; it is tried again until it can."
        case RetrainbotError():  # The inbox cannot be written, and its error says why.
            return str(error)
        case _:
            return "Something unexpected keeps updates away; it is tried again. Please report it."


def _wait(error: Exception, pause: float) -> float:
    if isinstance(error, RetryAfter):
        return seconds(error.retry_after)
    return pause if isinstance(error, InvalidToken | Conflict) else min(pause, OUTAGE_PAUSE)
