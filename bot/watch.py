"""Follows runs in the chats that asked: one message each, edited as the run goes on, until its end is told."""

import asyncio
import math
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

import structlog
from telegram import Bot, InlineKeyboardMarkup, InputMediaPhoto
from telegram.error import BadRequest, Forbidden, NetworkError, TelegramError

from bot import reports
from bot.buttons import Buttons
from bot.delivery import READING
from bot.language import speaking
from bot.pace import Paces
from bot.stores import Stores
from storage.follows import Follow
from storage.runs import Run

POLL_SECONDS = 1.0
EDIT_SECONDS = 3.0  # A message is edited no oftener; Telegram slows down a bot that does.
GONE = ("message to edit not found", "message can't be edited")  # As Telegram says it.
NOBODY = ("chat not found", "user is deactivated", "bot was kicked")
PICTURES = ("confusion.png", "curves.png")  # Of a run's report, where they were drawn.

log = structlog.get_logger()


class Watch:
    """Use as `async with`. What is followed is in the database, so a restarted bot goes on with it.

    `runs_dir` is where runs leave their pictures.
    """

    def __init__(
        self,
        bot: Bot,
        stores: Stores,
        buttons: Buttons,
        runs_dir: Path,
        *,
        poll: float = POLL_SECONDS,
        edit_every: float = EDIT_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._bot = bot
        self._stores = stores
        self._buttons = buttons
        self._runs_dir = runs_dir
        self._poll = poll
        self._edit_every = edit_every
        self._clock = clock
        self._paces = Paces(clock)
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
        for run in {run.id: run for _, run in followed}.values():
            self._paces.see(run)
        await asyncio.gather(*(self._update(follow, run) for follow, run in followed))

    async def _watch(self) -> None:
        while True:
            try:
                await self.look()
            except Exception:  # The next look may be luckier; the ends of runs must be told.
                log.exception("watch")
            await asyncio.sleep(self._poll)

    def _read(self) -> list[tuple[Follow, Run]]:
        self._stores.chats.follow_scheduled()
        return [(follow, self._stores.runs.get(follow.run)) for follow in self._stores.follows.open()]

    async def _update(self, follow: Follow, run: Run) -> None:
        with speaking(follow.language):
            text = reports.run(run, self._paces.of(run))
            shown, at = self._shown.get(follow.id, ("", -math.inf))
            if not (run.final or text != shown) or self._clock() - at < self._edit_every:
                return
            self._shown[follow.id] = (text, self._clock())
            try:
                await self._tell(follow, run, text)
            except TelegramError as error:
                await self._failed(follow, error)

    async def _tell(self, follow: Follow, run: Run, text: str) -> None:
        if not follow.edited:
            await self._show(follow, run, text)
        if run.final:
            try:
                await self._picture(follow, run)
            except NetworkError as error:  # BadRequest is one, too.
                if not isinstance(error, BadRequest) and not isinstance(error.__cause__, READING):
                    raise
                # Telegram wants none of it, or may have it: nobody likes to be told twice.
                log.warning("pictures perhaps not shown", chat=follow.chat, run=run.id, reason=str(error))
            await self._close(follow)

    async def _show(self, follow: Follow, run: Run, text: str) -> None:
        """Edit the message; send it where there is none yet, or where it is gone and the end is to be told."""
        offer, keyboard = await self._keyboard(follow, run)
        try:
            if follow.message is not None:
                await self._bot.edit_message_text(text, follow.chat, follow.message, reply_markup=keyboard)
        except BadRequest as error:
            if any(words in str(error).lower() for words in GONE):
                if not run.final:
                    return
                await self._send(follow, text, keyboard, offer)
            elif "not modified" not in str(error):
                raise
        if follow.message is None:
            await self._send(follow, text, keyboard, offer)
        if run.final:
            await asyncio.to_thread(self._stores.follows.ended, follow.id)

    async def _send(self, follow: Follow, text: str, keyboard: InlineKeyboardMarkup | None, offer: int | None) -> None:
        sent = await self._bot.send_message(follow.chat, text, message_thread_id=follow.thread, reply_markup=keyboard)
        await asyncio.to_thread(self._stores.follows.sent, follow.id, sent.message_id, offer)

    async def _keyboard(self, follow: Follow, run: Run) -> tuple[int | None, InlineKeyboardMarkup | None]:
        """What can be done at the moment: end the run, or serve what it made; and the offer behind it."""
        result = run.result or {}
        if not run.final:
            offer = follow.offer or await self._buttons.make(follow.chat, "cancel", {"run": run.id})
            return offer, await self._buttons.keyboard(offer, follow.chat, [[reports.CANCEL]])
        if "version" in result and not result.get("promoted"):
            content = {"version": result["version"]}
            return None, await self._buttons.offer(follow.chat, "promote", content, [[reports.PROMOTE]])
        return None, None

    async def _picture(self, follow: Follow, run: Run) -> None:
        """How the fit went, and what is taken for what, below the message."""
        if not run.result:
            return
        pictures = await asyncio.to_thread(self._pictures, run)
        caption, thread, replied = reports.pictures(run), follow.thread, follow.message
        if len(pictures) > 1:
            media = [InputMediaPhoto(picture) for picture in pictures]
            await self._bot.send_media_group(
                follow.chat, media, caption=caption, message_thread_id=thread, reply_to_message_id=replied
            )
        elif pictures:
            await self._bot.send_photo(
                follow.chat, pictures[0], caption, message_thread_id=thread, reply_to_message_id=replied
            )

    def _pictures(self, run: Run) -> Sequence[bytes]:
        paths = [self._runs_dir / str(run.id) / name for name in PICTURES]
        return [path.read_bytes() for path in paths if path.is_file()]

    async def _failed(self, follow: Follow, error: TelegramError) -> None:
        if isinstance(error, Forbidden) or any(words in str(error).lower() for words in NOBODY):
            log.warning("a chat cannot be told", chat=follow.chat, run=follow.run, reason=str(error))
            await asyncio.to_thread(self._stores.chats.block, follow.chat)
            await self._close(follow)
        else:
            log.warning("not told yet", chat=follow.chat, run=follow.run, reason=str(error))
            self._shown[follow.id] = ("", self._clock())

    async def _close(self, follow: Follow) -> None:
        await asyncio.to_thread(self._stores.follows.close, follow.id)
        self._shown.pop(follow.id, None)
