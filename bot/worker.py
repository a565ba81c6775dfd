"""Works the inbox: one task for each lane of a chat, one letter after the other, until each is done."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from types import TracebackType
from typing import Any, Self, TypeAlias

import structlog
from structlog.contextvars import bound_contextvars
from telegram import Bot, Update
from telegram.error import BadRequest, Forbidden, RetryAfter, TelegramError

from bot.arrivals import arrival
from bot.metrics import FAILED, PUT_OFF, UPDATE_SECONDS, UPDATES
from storage.errors import DatabaseError
from storage.inbox import Inbox, Lane, Letter

AHEAD = 8  # Letters of a lane whose photos are fetched at the same time.
HALF = AHEAD // 2
AT_ONCE = 64  # Letters of each kind of lane worked at the same time: what is quick waits for no photo.
FIRST_WAIT, LONGEST_WAIT = 2.0, 20.0  # Seconds until a letter is tried again; doubled each time.
SLOW = 5  # So many tries, which take about a minute, are made before the person is told to be patient.
# A letter so old is told to have failed, and one that is twice as old is dropped unsaid.
GIVE_UP, LET_GO = timedelta(days=1), timedelta(days=2)
GOODBYE_SECONDS = 5.0  # What the letters in hand get at the end; the others wait in the inbox.

Key: TypeAlias = tuple[int, Lane]
log = structlog.get_logger()


class Later(Exception):  # noqa: N818  Not an error: what hinders will pass.
    """What is asked for cannot be done yet; it is tried again. The message says what hinders, for the log."""


class NoRoom(Later):
    """The disk takes nothing at the moment."""


class Unheard(Exception):  # noqa: N818  Nobody knows whether it went wrong.
    """The connection broke after something was said, and before Telegram had said that it heard it."""


class Worker:
    """Use as `async with`. `handle` gets the update of a letter, or all of an album.

    `ahead` is told of an update that will be handled soon, `slow` of one that takes long, and `give_up` of one that
    could not be handled. `clock` is the inbox's.
    """

    def __init__(
        self,
        inbox: Inbox,
        bot: Bot,
        handle: Callable[[Sequence[Update]], Awaitable[None]],
        ahead: Callable[[Update], Awaitable[None]],
        slow: Callable[[Update], Awaitable[None]],
        give_up: Callable[[Update], Awaitable[None]],
        turns: "Turns",
        clock: Callable[[], datetime],
    ) -> None:
        self._inbox = inbox
        self._bot = bot
        self._handle = handle
        self._ahead = ahead
        self._slow = slow
        self._give_up = give_up
        self._turns = turns
        self._clock = clock
        self._rooms = {lane: asyncio.Semaphore(AT_ONCE) for lane in Lane}
        self._begun: set[int] = set()
        self._worked: set[int] = set()  # Letters that were worked, though the inbox could not be told.
        self._closing = False
        self._lanes: dict[Key, asyncio.Event] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        await asyncio.to_thread(self._inbox.resume)
        for key in await asyncio.to_thread(self._inbox.lanes):
            self._wake(key)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closing = True
        for wake in self._lanes.values():
            wake.set()
        if self._tasks:
            _, late = await asyncio.wait(self._tasks, timeout=GOODBYE_SECONDS)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)

    async def take(self, updates: Sequence[dict[str, Any]]) -> None:
        """Keep updates; once this returns, none of them can be lost. Raises DatabaseError."""
        arrivals = [arrival(update) for update in updates]
        await asyncio.to_thread(self._inbox.keep, arrivals)
        UPDATES.inc(len(arrivals))
        for item in arrivals:
            self._wake((item.chat, item.lane))

    def _wake(self, key: Key) -> None:
        if key in self._lanes:
            self._lanes[key].set()
        else:
            self._lanes[key] = asyncio.Event()
            self._start(self._work(key))

    def _start(self, work: Any) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _work(self, key: Key) -> None:
        """Until nothing waits in the lane."""
        wake = self._lanes[key]
        while not self._closing:
            wake.clear()
            try:
                letters = await asyncio.to_thread(self._inbox.next, *key, AHEAD)
                await self._work_off(letters)
                at = self._clock() if letters else await asyncio.to_thread(self._inbox.wakes_at, *key)
            except DatabaseError as error:
                log.warning("the inbox cannot be used", reason=str(error))
                at = self._clock() + timedelta(seconds=FIRST_WAIT)
            except Exception:  # The lane must go on, whatever it was.
                log.exception("unexpected")
                at = self._clock() + timedelta(seconds=FIRST_WAIT)
            if at is None and not wake.is_set():
                del self._lanes[key]
                return
            with suppress(TimeoutError):
                async with asyncio.timeout(max(0.0, (at - self._clock()).total_seconds()) if at else None):
                    await wake.wait()

    async def _work_off(self, letters: Sequence[Letter]) -> None:
        """Begin with all of them, and finish the first half; the other half comes again with those behind it."""
        updates = [self._read(letter) for letter in letters]
        await asyncio.gather(*map(self._begin, filter(None, updates)))
        albums: set[str] = set()
        for letter, update in list(zip(letters, updates, strict=True))[:HALF]:
            if self._closing:
                return
            with bound_contextvars(update=letter.id):
                if letter.album is None:
                    await self._try(letter, {letter.id: update})
                elif letter.album not in albums:
                    albums.add(letter.album)
                    whole = await asyncio.to_thread(self._inbox.album, letter.chat, letter.album)
                    await self._try(letter, {item.id: self._read(item) for item in whole})

    async def _begin(self, update: Update) -> None:
        if update.update_id not in self._begun:
            self._begun.add(update.update_id)
            with bound_contextvars(update=update.update_id):
                await self._ahead(update)

    def _read(self, letter: Letter) -> Update | None:
        try:
            return Update.de_json(letter.content, self._bot)
        except Exception:
            log.exception("update not understood", update=letter.id)
            return None

    async def _try(self, letter: Letter, updates: dict[int, Update | None]) -> None:
        readable = [update for update in updates.values() if update]
        if readable and letter.id not in self._worked:
            wait = await self._hindered(letter, readable)
            if wait is not None:
                PUT_OFF.inc()
                await asyncio.to_thread(self._inbox.put_off, updates, timedelta(seconds=wait))
                return
        self._begun.difference_update(updates)
        self._worked.add(letter.id)
        await asyncio.to_thread(self._inbox.done, updates)
        taken = (self._clock() - letter.received_at).total_seconds()
        UPDATE_SECONDS.labels(letter.lane).observe(max(0.0, taken))
        self._worked.discard(letter.id)

    async def _hindered(self, letter: Letter, updates: Sequence[Update]) -> float | None:
        """Work the updates; the seconds to wait until they are tried again, None where that is not wanted."""
        try:
            await self._paced(letter.lane, updates)
        except (Later, TelegramError, DatabaseError) as error:
            wait = _wait(error, letter.tries)
            log.info("not done", update=letter.id, reason=str(error), again_in=wait)
            return None if wait is None else await self._patience(letter, updates[0], wait)
        except Unheard as error:  # Nobody likes to be told twice.
            log.warning("perhaps not told", update=letter.id, reason=str(error))
        except Exception:  # One update must not keep the others of its chat waiting.
            FAILED.inc()
            log.exception("unexpected", update=letter.id)
        return None

    async def _patience(self, letter: Letter, update: Update, wait: float) -> float | None:
        """The seconds to wait, None where it has been long enough; and whoever waits is told."""
        age = self._clock() - letter.received_at
        try:
            if letter.tries == SLOW:
                await self._slow(update)
            if age > GIVE_UP:
                await self._give_up(update)
                log.warning("given up", update=letter.id, age=str(age))
                return None
        except (TelegramError, Unheard):  # Telegram takes nothing at all; only then does the letter stay.
            log.info("not told", update=letter.id)
        return wait if age < LET_GO else None

    async def _paced(self, lane: Lane, updates: Sequence[Update]) -> None:
        person = updates[0].effective_user
        if person:
            await asyncio.sleep(self._turns.wait(person.id))
        async with self._rooms[lane]:
            await self._handle(updates)


class Turns:
    """How long each person's next message waits, so that nobody sends more than `a_minute` of them for long."""

    def __init__(self, a_minute: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._every = 60.0 / a_minute
        self._burst = 60.0
        self._clock = clock
        self._next: dict[int, float] = {}  # By person: when an even pace would allow the next message.

    def wait(self, person: int) -> float:
        """Count a message of this person; the seconds that it has to wait."""
        at = self._clock()
        if len(self._next) > 10_000:
            self._next = {key: due for key, due in self._next.items() if due > at}
        due = max(self._next.get(person, at), at)
        self._next[person] = due + self._every
        return max(0.0, due - at - self._burst)


def seconds(period: float | timedelta) -> float:
    return period.total_seconds() if isinstance(period, timedelta) else float(period)


def _wait(error: Exception, tries: int) -> float | None:
    """The seconds after which to try again; None where that would not help."""
    pause = min(FIRST_WAIT * 2.0**tries, LONGEST_WAIT)
    if isinstance(error, RetryAfter):
        return seconds(error.retry_after) + 1.0
    return None if isinstance(error, BadRequest | Forbidden) else pause
