import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
import pytest_asyncio

from sandbox.client import Person
from sandbox.server import Sandbox, running

TOKEN = "123456:" + "A" * 35
ADA = 1001
OK, BROKEN = 200, 500


@dataclass
class Receiver:
    """A bot's own server: takes what is brought, with the answers that it was told to give first.

    `bodies` are what it says in the first answers: the type and the content.
    """

    port: int = 0
    answers: list[int] = field(default_factory=list)
    bodies: list[tuple[str, str]] = field(default_factory=list)
    secrets: list[str | None] = field(default_factory=list)
    updates: list[dict[str, Any]] = field(default_factory=list)
    came: asyncio.Condition = field(default_factory=asyncio.Condition)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook"

    @property
    def texts(self) -> list[str]:
        return [update["message"]["text"] for update in self.updates]

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError):
            while True:
                lines = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")[1:]
                headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
                await self._take(headers, await reader.readexactly(int(headers["content-length"])))
                code = self.answers.pop(0) if self.answers else OK
                kind, body = self.bodies.pop(0) if self.bodies else ("text/plain", "")
                head = f"HTTP/1.1 {code} Said\r\nContent-Type: {kind}\r\nContent-Length: {len(body.encode())}"
                writer.write(f"{head}\r\n\r\n{body}".encode())
        writer.close()

    async def _take(self, headers: dict[str, str], body: bytes) -> None:
        self.secrets.append(headers.get("x-telegram-bot-api-secret-token"))
        self.updates.append(json.loads(body))
        async with self.came:
            self.came.notify_all()

    async def have(self, number: int) -> None:
        """Wait until so many updates were brought."""
        async with asyncio.timeout(10), self.came:
            await self.came.wait_for(lambda: len(self.updates) >= number)


@pytest_asyncio.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    async with running() as sandbox:
        yield sandbox


@pytest_asyncio.fixture
async def ada(sandbox: Sandbox) -> AsyncIterator[Person]:
    async with Person(sandbox.url, ADA) as person:
        yield person


@pytest_asyncio.fixture
async def receiver() -> AsyncIterator[Receiver]:
    receiver = Receiver()
    server = await asyncio.start_server(receiver.serve, "127.0.0.1", 0)
    receiver.port = server.sockets[0].getsockname()[1]
    yield receiver
    server.close()


@dataclass(frozen=True)
class Bot:
    client: httpx.AsyncClient

    async def ask(self, method: str, **parameters: Any) -> dict[str, Any]:
        body: dict[str, Any] = (await self.client.post(f"/bot{TOKEN}/{method}", json=parameters)).json()
        return body

    async def info(self) -> dict[str, Any]:
        return dict((await self.ask("getWebhookInfo"))["result"])

    async def idle(self) -> dict[str, Any]:
        """What getWebhookInfo says once nothing waits any more."""
        async with asyncio.timeout(10):
            while (info := await self.info())["pending_update_count"]:
                pass
        return info

    async def fault(self, **fault: Any) -> None:
        (await self.client.post("/client/faults", json=fault)).raise_for_status()


@pytest_asyncio.fixture
async def bot(sandbox: Sandbox) -> AsyncIterator[Bot]:
    async with httpx.AsyncClient(base_url=sandbox.url) as client:
        yield Bot(client)


async def test_updates_are_brought_in_order_with_the_secret(bot: Bot, ada: Person, receiver: Receiver) -> None:
    """What waited and what comes is posted to the webhook, one update each, and then waits no longer."""
    await ada.say("one")
    assert (await bot.ask("setWebhook", url=receiver.url, secret_token="s3cret_-"))["result"] is True
    await ada.say("two")
    await ada.say("three")
    await receiver.have(3)
    assert receiver.texts == ["one", "two", "three"]
    assert set(receiver.secrets) == {"s3cret_-"}
    info = await bot.idle()
    assert (info["url"], info["max_connections"]) == (receiver.url, 40)
    assert "last_error_date" not in info


async def test_an_update_is_brought_again_until_it_is_taken(bot: Bot, ada: Person, receiver: Receiver) -> None:
    """After an answer that is no 2xx the same update comes again, before the next one, and the error can be read."""
    receiver.answers = [BROKEN, 404, 204]
    await bot.ask("setWebhook", url=receiver.url)
    await ada.say("one")
    await ada.say("two")
    await receiver.have(4)
    assert receiver.texts == ["one", "one", "one", "two"]
    info = await bot.idle()
    assert info["last_error_message"] == "Wrong response from the webhook: 404 Said"
    assert info["last_error_date"] >= (await ada.events())[0]["date"]


async def test_a_server_that_is_down_loses_nothing(bot: Bot, ada: Person, receiver: Receiver) -> None:
    """Updates wait while nobody listens; after a new setWebhook they are brought there."""
    taken = await asyncio.start_server(receiver.serve, "127.0.0.1", 0)
    port = taken.sockets[0].getsockname()[1]
    taken.close()
    await taken.wait_closed()
    await bot.ask("setWebhook", url=f"http://127.0.0.1:{port}/")
    await ada.say("one")
    while "last_error_message" not in (info := await bot.info()):
        pass
    assert (info["last_error_message"], info["pending_update_count"]) == ("Connection refused", 1)
    await bot.ask("setWebhook", url=receiver.url)
    await receiver.have(1)
    assert "last_error_message" not in await bot.idle()


async def test_polling_and_a_webhook_exclude_each_other(bot: Bot, ada: Person, receiver: Receiver) -> None:
    """SetWebhook ends an open poll with 409, later polls get 409 too, and deleteWebhook lets them go on."""
    poll = asyncio.create_task(bot.ask("getUpdates", timeout=50))
    while not (await bot.info())["url"]:
        await bot.ask("setWebhook", url=receiver.url)
    assert (await poll)["description"] == "Conflict: terminated by setWebhook request"
    refused = await bot.ask("getUpdates")
    assert (refused["error_code"], refused["description"]) == (
        409,
        "Conflict: can't use getUpdates method while webhook is active; use deleteWebhook to delete the webhook first",
    )
    assert (await bot.ask("deleteWebhook"))["result"] is True
    assert (await bot.info())["url"] == ""
    await ada.say("for the poll")
    assert len((await bot.ask("getUpdates"))["result"]) == 1
    assert receiver.updates == []


async def test_only_wanted_updates_come_and_old_ones_can_be_dropped(bot: Bot, ada: Person, receiver: Receiver) -> None:
    """drop_pending_updates forgets what waited, and allowed_updates says which kinds are brought."""
    await ada.say("old")
    wanted = {"allowed_updates": ["message"], "drop_pending_updates": True, "max_connections": 7}
    await bot.ask("setWebhook", url=receiver.url, **wanted)
    sent = (await bot.ask("sendMessage", chat_id=ADA, text="pick"))["result"]
    await ada.tap(sent["message_id"], "x")
    await ada.say("new")
    await receiver.have(1)
    info = await bot.idle()
    assert receiver.texts == ["new"]
    assert (info["allowed_updates"], info["max_connections"]) == (["message"], 7)
    await bot.ask("setWebhook", url="")
    assert (await bot.info())["url"] == ""


@pytest.mark.parametrize(
    ("parameters", "reason"),
    [
        ({"url": "http://bot.example/"}, "An HTTPS URL must be provided"),
        ({"url": "ftp://127.0.0.1/"}, "An HTTPS URL must be provided"),
        ({"url": "https://"}, "An HTTPS URL must be provided"),
        ({"url": "http://127.0.0.1:99999/"}, "An HTTPS URL must be provided"),
        ({"url": "http://[::1/"}, "An HTTPS URL must be provided"),
        ({"url": "https://bot.example/", "secret_token": "a b"}, "secret token contains unallowed characters"),
    ],
)
async def test_wrong_webhooks_are_refused(bot: Bot, parameters: dict[str, str], reason: str) -> None:
    """An address that is not HTTPS (on this computer HTTP) and an impossible secret are refused in words."""
    assert reason in (await bot.ask("setWebhook", **parameters))["description"]
    assert (await bot.info())["url"] == ""


async def test_deliveries_can_be_faulty(bot: Bot, ada: Person, receiver: Receiver) -> None:
    """A scripted fault of the webhook loses an update on its way, or only its answer, or brings it several times."""
    await bot.fault(method="webhook", drop=True)
    await bot.ask("setWebhook", url=receiver.url)
    await ada.say("lost once")
    await receiver.have(1)
    await bot.fault(method="webhook", error_code=502, after=True)
    await ada.say("heard twice")
    await receiver.have(3)
    await bot.fault(method="webhook", copies=3)
    await ada.say("thrice")
    await receiver.have(6)
    assert receiver.texts == ["lost once", *["heard twice"] * 2, *["thrice"] * 3]
    assert (await bot.idle())["last_error_message"] == "Wrong response from the webhook: 502 Bad Gateway"


FORM = "application/x-www-form-urlencoded"
MULTIPART = '--x\r\nContent-Disposition: form-data; name="{}"\r\n\r\n{}\r\n'


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("application/json", json.dumps({"method": "sendMessage", "chat_id": ADA, "text": "pong"})),
        (f"{FORM}; charset=utf-8", f"method=SENDMESSAGE&chat_id={ADA}&text=pong"),
        (
            "multipart/form-data; boundary=x",
            "".join(MULTIPART.format(*part) for part in (("method", "sendMessage"), ("chat_id", ADA), ("text", "pong")))
            + "--x--\r\n",
        ),
    ],
)
async def test_a_method_in_the_answer_is_carried_out(
    bot: Bot, ada: Person, receiver: Receiver, kind: str, body: str
) -> None:
    """A bot may call a method in its answer, in the forms in which it calls any."""
    receiver.bodies = [(kind, body)]
    await bot.ask("setWebhook", url=receiver.url)
    await ada.say("ping")
    await ada.wait_for(lambda m: m["text"] == "pong")
    assert "last_error_message" not in await bot.idle()


async def test_nonsense_in_the_answer_harms_nobody(bot: Bot, ada: Person, receiver: Receiver) -> None:
    """An answer that is no call, or a wrong one, confirms the update all the same."""
    receiver.bodies = [
        ("application/json", "{"),
        ("application/json", '{"ok": true}'),
        ("application/json", '{"method": "sendPigeon"}'),
        ("application/json", '{"method": "sendMessage", "chat_id": 5, "text": "x"}'),
        ("application/json", '{"method": "getUpdates"}'),
        ("multipart/form-data", "x"),
        ("text/html", "<p>method</p>"),
    ]
    wanted = len(receiver.bodies) + 1
    await bot.ask("setWebhook", url=receiver.url)
    for number in range(wanted):
        await ada.say(str(number))
    await receiver.have(wanted)
    assert "last_error_message" not in await bot.idle()
    assert receiver.texts == [str(number) for number in range(wanted)]


async def test_an_answer_may_end_the_webhook(bot: Bot, ada: Person, receiver: Receiver) -> None:
    """A bot that answers with deleteWebhook gets no more updates there; those that wait can be polled."""
    receiver.bodies = [("application/json", '{"method": "deleteWebhook"}')]
    await bot.ask("setWebhook", url=receiver.url)
    await ada.say("last")
    await receiver.have(1)
    async with asyncio.timeout(10):
        while (await bot.info())["url"]:
            pass
    await ada.say("for the poll")
    updates = (await bot.ask("getUpdates"))["result"]
    assert [update["message"]["text"] for update in updates] == ["for the poll"]


async def test_it_stops_at_once_with_a_hung_webhook(receiver: Receiver) -> None:
    """The sandbox ends although a delivery hangs."""
    async with asyncio.timeout(5), running() as sandbox, Person(sandbox.url, ADA) as ada:
        async with httpx.AsyncClient(base_url=sandbox.url) as client:
            await client.post("/client/faults", json={"method": "webhook", "delay": 3600, "after": True})
            await client.post(f"/bot{TOKEN}/setWebhook", json={"url": receiver.url})
        await ada.say("hello")
        await receiver.have(1)
