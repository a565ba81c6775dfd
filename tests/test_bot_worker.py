"""How the inbox is worked: in order, once, again after a hindrance, and by fair turns."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from conftest import until
from hypothesis import given
from hypothesis import strategies as st
from telegram import Bot, Update
from telegram.error import BadRequest, Forbidden, NetworkError, RetryAfter, TelegramError, TimedOut

from bot.arrivals import arrival
from bot.worker import GIVE_UP, SLOW, Later, Turns, Unheard, Worker
from storage.database import Database, now
from storage.inbox import Inbox, Lane

pytestmark = pytest.mark.both_databases

QUIET = timedelta(milliseconds=100)


def told(number: int, text: str = "", chat: int = 1, **fields: Any) -> dict[str, Any]:
    """An update with a message, as Telegram sends it."""
    message = {
        "message_id": number,
        "date": 1_700_000_000,
        "chat": {"id": chat, "type": "private", "first_name": "Ada"},
        "from": {"id": chat, "is_bot": False, "first_name": "Ada"},
        **({"text": text} if text else {}),
        **fields,
    }
    return {"update_id": number, "message": message}


def command(length: int) -> list[dict[str, Any]]:
    """How Telegram marks a command at the beginning."""
    return [{"type": "bot_command", "offset": 0, "length": length}]


def photo(number: int, **fields: Any) -> dict[str, Any]:
    sizes = [{"file_id": "a", "file_unique_id": "b", "width": 9, "height": 9, "file_size": 9}]
    return told(number, photo=sizes, **fields)


class Handler:
    """Takes what it is given, and raises what it is told to for an update, once each."""

    def __init__(self, errors: dict[int, list[Exception]] | None = None) -> None:
        self.errors = errors or {}
        self.tried: list[list[int]] = []
        self.slow: list[int] = []
        self.given_up: list[int] = []
        self.deaf = False
        self.ahead: list[int] = []
        self.waits: dict[int, asyncio.Event] = {}

    async def handle(self, updates: Sequence[Update]) -> None:
        numbers = [update.update_id for update in updates]
        self.tried.append(numbers)
        if numbers[0] in self.waits:
            await self.waits[numbers[0]].wait()
        if self.errors.get(numbers[0]):
            raise self.errors[numbers[0]].pop(0)

    async def begin(self, update: Update) -> None:
        self.ahead.append(update.update_id)

    async def be_slow(self, update: Update) -> None:
        self.slow.append(update.update_id)

    async def give_up(self, update: Update) -> None:
        if self.deaf:
            raise NetworkError("nothing goes out")
        self.given_up.append(update.update_id)


@pytest.fixture
def inbox(database: Database) -> Inbox:
    return Inbox(database, 4711, QUIET)


@asynccontextmanager
async def working(
    inbox: Inbox, handler: Handler, clock: Callable[[], datetime] = now, pace: int = 100_000
) -> AsyncIterator[Worker]:
    bot = Bot("4711:" + "a" * 35)
    turns = Turns(pace)
    async with Worker(
        inbox, bot, handler.handle, handler.begin, handler.be_slow, handler.give_up, turns, clock
    ) as worker:
        yield worker


def waiting(inbox: Inbox) -> bool:
    return bool(inbox.lanes())


async def test_works_each_update_once(inbox: Inbox) -> None:
    """Updates of a chat are worked in order, and once however often they come; what was left is worked at a start."""
    await asyncio.to_thread(inbox.keep, [arrival(photo(number)) for number in (1, 2)])
    handler = Handler()
    async with working(inbox, handler) as worker:
        for _ in range(3):
            await worker.take([photo(3), photo(2), photo(4)])
        await until(lambda: not waiting(inbox))
    assert handler.tried == [[1], [2], [3], [4]]
    assert handler.ahead == [1, 2, 3, 4]


async def test_questions_pass_photos(inbox: Inbox) -> None:
    """While a photo takes its time, a command of the same chat is worked, and another chat's photo too."""
    handler = Handler()
    handler.waits[1] = asyncio.Event()
    async with working(inbox, handler) as worker:
        await worker.take([photo(1), photo(2), told(3, "/status"), photo(4, chat=2)])
        await until(lambda: [3] in handler.tried and [4] in handler.tried)
        assert [2] not in handler.tried
        handler.waits[1].set()
        await until(lambda: not waiting(inbox))
    assert handler.tried[-1] == [2]


async def test_works_an_album_as_one(inbox: Inbox) -> None:
    """The photos of an album are worked together when no more come, and a late one with the others once more."""
    handler = Handler()
    async with working(inbox, handler) as worker:
        await worker.take([photo(1, media_group_id="9"), photo(2)])
        await worker.take([photo(3, media_group_id="9")])
        await until(lambda: not waiting(inbox))
        await worker.take([photo(4, media_group_id="9")])
        await until(lambda: not waiting(inbox))
    assert handler.tried == [[1, 3], [2], [1, 3, 4]]


@pytest.mark.parametrize(
    "error", [Later("hangs"), NetworkError("Bad Gateway"), RetryAfter(0), TimedOut("Pool timeout: ...")]
)
async def test_tries_again(inbox: Inbox, error: Exception) -> None:
    """What hinders and will pass lets the others by, and is tried again."""
    handler = Handler({1: [error]})
    later = timedelta()

    def clock() -> datetime:
        return datetime.now(UTC) + later

    inbox._clock = clock
    async with working(inbox, handler, clock) as worker:
        await worker.take([photo(1), photo(2)])
        await until(lambda: len(handler.tried) == 2)
        later = timedelta(seconds=10)
        await worker.take([photo(3)])
        await until(lambda: not waiting(inbox))
    assert handler.tried == [[1], [2], [1], [3]]


@pytest.mark.parametrize("error", [BadRequest("no"), Forbidden("blocked"), Unheard("broke"), ValueError("a bug")])
async def test_does_not_try_again(inbox: Inbox, error: Exception) -> None:
    """What trying cannot mend, or may have been carried out, is done once, and the next update is worked."""
    handler = Handler({1: [error]})
    async with working(inbox, handler) as worker:
        await worker.take([photo(1), photo(2)])
        await until(lambda: not waiting(inbox))
    assert handler.tried == [[1], [2]]
    assert handler.given_up == []


async def test_asks_for_patience_and_gives_up_in_the_end(inbox: Inbox) -> None:
    """What does not work for a minute is told once; after a day it is given up, as soon as that can be told."""
    age = timedelta()

    def clock() -> datetime:
        return datetime.now(UTC) + age

    inbox._clock = clock
    await asyncio.to_thread(inbox.keep, [arrival(photo(1))])
    for _ in range(SLOW):
        await asyncio.to_thread(inbox.put_off, [1], timedelta())
    handler = Handler({1: [Later("still hangs")] * 3})
    async with working(inbox, handler, clock) as worker:
        await until(lambda: len(handler.tried) == 1 and handler.slow == [1])
        handler.deaf = True
        age = GIVE_UP
        await worker.take([photo(2)])
        await until(lambda: len(handler.tried) == 3)
        assert waiting(inbox)
        handler.deaf = False
        age += timedelta(minutes=5)
        await worker.take([photo(3)])
        await until(lambda: not waiting(inbox))
    assert handler.slow == [1]
    assert handler.given_up == [1]


async def test_passes_by_what_nobody_understands(inbox: Inbox) -> None:
    """An update that the library cannot read is logged and done, and the next one is worked."""
    handler = Handler()
    broken = {"update_id": 1, "message": {"photo": 7, "chat": {"id": 1}}}
    async with working(inbox, handler) as worker:
        await worker.take([broken, photo(2)])
        await until(lambda: not waiting(inbox))
    assert handler.tried == [[2]]


async def test_ends_with_what_is_in_hand(inbox: Inbox) -> None:
    """At the end the update in hand is finished, and the next one waits for the next start."""
    handler = Handler()
    handler.waits[1] = asyncio.Event()
    async with working(inbox, handler) as worker:
        await worker.take([photo(1), photo(2)])
        await until(lambda: handler.tried == [[1]])
        asyncio.get_running_loop().call_later(0.2, handler.waits[1].set)
    assert [letter.id for letter in inbox.next(1, Lane.PHOTOS, 9)] == [2]


@given(st.integers(1, 1000), st.lists(st.floats(0, 5), min_size=1, max_size=200))
def test_turns_are_fair(a_minute: int, gaps: list[float]) -> None:
    """Whatever a person sends, no minute sees more than twice the allowed messages, and a slow sender never waits."""
    time = 0.0
    pace = Turns(a_minute, lambda: time)
    worked: list[float] = []
    for gap in gaps:
        time += gap
        wait = pace.wait(1)
        if gap > 60 / a_minute and not worked:
            assert wait == 0
        worked.append(time + wait)
    for start in worked:
        assert sum(start <= at < start + 60 for at in worked) <= 2 * a_minute + 1


@pytest.mark.parametrize(
    ("update", "lane", "album"),
    [
        (photo(1), Lane.PHOTOS, None),
        (photo(1, media_group_id="5"), Lane.PHOTOS, "5"),
        (told(1, document={"file_id": "x"}), Lane.PHOTOS, None),
        (told(1, "rose", reply_to_message={"message_id": 4}), Lane.PHOTOS, None),
        (told(1, video={"file_id": "x"}, media_group_id="5"), Lane.PHOTOS, "5"),
        (told(1, "/undo", entities=command(5)), Lane.PHOTOS, None),
        (told(1, "/Rename@our_bot, a = b", entities=command(15)), Lane.PHOTOS, None),
        (told(1, "/status", reply_to_message={"message_id": 4}, entities=command(7)), Lane.QUICK, None),
        (told(1, "/", entities=[]), Lane.QUICK, None),
        (told(1, "hello"), Lane.QUICK, None),
        (
            {"update_id": 1, "callback_query": {"id": "1", "message": {"chat": {"id": 1}}}},
            Lane.QUICK,
            None,
        ),
    ],
)
def test_sorts_what_arrives(update: dict[str, Any], lane: Lane, album: str | None) -> None:
    """What brings or changes photos waits in order; questions and taps have a lane of their own."""
    assert (arrival(update).chat, arrival(update).lane, arrival(update).album) == (1, lane, album)


def test_sorts_anything() -> None:
    """An update of a kind that nobody asked for is taken, too."""
    assert arrival({"update_id": 7, "poll": {}}).chat == 0
    assert arrival({"update_id": 7, "callback_query": {"id": "1"}}).chat == 0


def test_errors_are_the_librarys() -> None:
    """The errors that are tried again are Telegram's own kinds, so that none of ours is taken for one."""
    assert not issubclass(Later, TelegramError)
