import asyncio
import io
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio
from PIL import Image

from sandbox.app import create_app
from sandbox.client import Person

TOKEN = "123456:" + "A" * 35
OTHER = "654321:" + "B" * 35
URL = "http://127.0.0.1"
ADA = 1001


class Clock:
    """Time that passes only when told to."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


class BotApi:
    """One bot's plain HTTP calls."""

    def __init__(self, client: httpx.AsyncClient, token: str = TOKEN) -> None:
        self.client = client
        self.token = token

    async def ask(self, method: str, **parameters: Any) -> dict[str, Any]:
        """The whole envelope."""
        response = await self.client.post(f"/bot{self.token}/{method}", json=parameters)
        body: dict[str, Any] = response.json()
        return body

    async def call(self, method: str, **parameters: Any) -> Any:
        body = await self.ask(method, **parameters)
        assert body["ok"], body
        return body["result"]


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def transport(tmp_path: Path, clock: Clock) -> httpx.ASGITransport:
    return httpx.ASGITransport(create_app(tmp_path, clock))


@pytest_asyncio.fixture
async def client(transport: httpx.ASGITransport) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(transport=transport, base_url=URL) as client:
        yield client


@pytest.fixture
def bot(client: httpx.AsyncClient) -> BotApi:
    return BotApi(client)


@pytest_asyncio.fixture
async def ada(transport: httpx.ASGITransport) -> AsyncIterator[Person]:
    async with Person(URL, ADA, transport=transport) as person:
        yield person


def picture() -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (90, 90), "red").save(out, "JPEG")
    return out.getvalue()


async def test_updates_stay_until_a_higher_offset(bot: BotApi, ada: Person) -> None:
    """An update is repeated until getUpdates is called with a higher offset."""
    for text in ("one", "two", "three"):
        await ada.say(text)
    first = await bot.call("getUpdates", limit=2)
    assert [update["message"]["text"] for update in first] == ["one", "two"]
    assert await bot.call("getUpdates", limit=2) == first
    rest = await bot.call("getUpdates", offset=first[-1]["update_id"] + 1)
    assert [update["message"]["text"] for update in rest] == ["three"]
    assert (await bot.call("getWebhookInfo"))["pending_update_count"] == 1


async def test_a_negative_offset_keeps_only_the_last(bot: BotApi, ada: Person) -> None:
    """Offset -1 of getUpdates returns the last update and forgets those before it."""
    for text in ("one", "two", "three"):
        await ada.say(text)
    assert [u["message"]["text"] for u in await bot.call("getUpdates", offset=-1)] == ["three"]
    assert len(await bot.call("getUpdates")) == 1


async def test_a_long_poll_ends_with_the_first_update(bot: BotApi, ada: Person) -> None:
    """A getUpdates with a timeout waits, and returns as soon as somebody writes."""
    poll = asyncio.create_task(bot.call("getUpdates", timeout=50))
    await asyncio.sleep(0)
    await ada.say("hello")
    assert [update["message"]["text"] for update in await poll] == ["hello"]


async def test_the_older_of_two_pollers_gets_a_conflict(bot: BotApi, ada: Person) -> None:
    """A second getUpdates ends the first one with 409."""
    await bot.call("getMe")
    older = asyncio.create_task(bot.ask("getUpdates", timeout=50))
    await asyncio.sleep(0.05)
    newer = asyncio.create_task(bot.call("getUpdates", timeout=50))
    assert (await older)["error_code"] == 409
    await ada.say("hello")
    assert len(await newer) == 1


async def test_allowed_updates_last_until_named_again(bot: BotApi, ada: Person) -> None:
    """Kinds left out of allowed_updates are not kept, also in later calls that do not name them."""
    await bot.call("getUpdates", allowed_updates=["callback_query"])
    await bot.call("getUpdates")
    await ada.say("unheard")
    assert await bot.call("getUpdates", allowed_updates=[]) == []
    await ada.say("heard")
    assert len(await bot.call("getUpdates")) == 1


async def test_updates_grow_old(bot: BotApi, ada: Person, clock: Clock) -> None:
    """A message waits 24 hours for its bot, a tap 150 seconds."""
    await ada.say("start")
    sent = await bot.call("sendMessage", chat_id=ADA, text="pick")
    query = await ada.tap(sent["message_id"], "x")
    assert [set(u) - {"update_id"} for u in await bot.call("getUpdates")] == [{"message"}, {"callback_query"}]
    clock.now += 151
    assert len(await bot.call("getUpdates")) == 1
    assert "query is too old" in (await bot.ask("answerCallbackQuery", callback_query_id=query))["description"]
    clock.now += 24 * 3600
    assert await bot.call("getUpdates") == []


async def test_dropped_updates_are_gone(bot: BotApi, ada: Person) -> None:
    """DeleteWebhook works where there is none, and can drop what waits."""
    await ada.say("hello")
    assert await bot.call("deleteWebhook") is True
    assert len(await bot.call("getUpdates")) == 1
    assert await bot.call("deleteWebhook", drop_pending_updates=True) is True
    assert await bot.call("getUpdates") == []


async def test_a_message_before_any_bot_waits_for_the_first(client: httpx.AsyncClient, ada: Person) -> None:
    """The first bot to come gets what was said before, can fetch its files, and the person still sees it."""
    await ada.photo(picture(), "cat")
    first, second = BotApi(client), BotApi(client, OTHER)
    message = (await first.call("getUpdates"))[0]["message"]
    assert message["caption"] == "cat"
    assert (await first.call("getFile", file_id=message["photo"][-1]["file_id"]))["file_path"]
    assert await second.call("getUpdates") == []
    await first.call("getMe")
    assert [event["type"] for event in await ada.events()] == ["sent"]


async def test_a_message_goes_to_the_bot_that_came_last_or_was_named(
    client: httpx.AsyncClient, transport: httpx.ASGITransport, ada: Person
) -> None:
    """Without a bot named, the one that came last is meant; each bot has its own chat with a person."""
    first, second = BotApi(client), BotApi(client, OTHER)
    await first.call("getMe")
    await second.call("getMe")
    await ada.say("to the last")
    async with Person(URL, ADA, bot=123456, transport=transport) as named:
        await named.say("to the first")
        assert [e["message"]["text"] for e in await named.events()] == ["to the first"]
    assert [u["message"]["text"] for u in await first.call("getUpdates")] == ["to the first"]
    assert [u["message"]["text"] for u in await second.call("getUpdates")] == ["to the last"]
    await first.call("getMe")
    await ada.say("came back")
    assert (await first.call("getUpdates"))[-1]["message"]["text"] == "came back"


async def test_numbers_do_not_repeat_after_a_restart(tmp_path: Path, clock: Clock) -> None:
    """Message and update ids of a sandbox started later are higher."""
    highest = 0
    for _ in range(2):
        transport = httpx.ASGITransport(create_app(tmp_path, clock))
        async with (
            httpx.AsyncClient(transport=transport, base_url=URL) as client,
            Person(URL, ADA, transport=transport) as ada,
        ):
            said = await ada.say("hi")
            update = (await BotApi(client).call("getUpdates"))[0]
            assert min(said["message_id"], update["update_id"]) > highest
            highest = max(said["message_id"], update["update_id"])
        clock.now += 1
