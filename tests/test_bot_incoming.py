"""The ways in for updates: polling that outlives every kind of trouble, and the webhook."""

import asyncio
import json
import os
import socket
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import httpx
import pytest
from conftest import ADA, TOKEN, Chat, Painter, chatting, until
from structlog.testing import capture_logs
from test_bot_intake import counts

from bot.webhook import SECRET_HEADER, create_app
from sandbox.client import Person
from sandbox.server import running
from storage.errors import DatabaseError, SettingsError
from storage.settings import Settings
from storage.web import listening

TROUBLES: dict[str, dict[str, Any]] = {
    "revoked": {"error_code": 401},
    "second poller": {"error_code": 409, "description": "Conflict: terminated by other getUpdates request"},
    "flood": {"error_code": 429, "retry_after": 1},
    "server error": {"error_code": 502},
    "dropped": {"drop": True},
    "lost answer": {"drop": True, "after": True},
}


@pytest.mark.parametrize("trouble", TROUBLES)
async def test_polling_outlives_trouble(chat: Chat, paint: Painter, trouble: str) -> None:
    """Whatever keeps updates away for a while, all that was sent meanwhile is worked, once."""
    await chat.fault(method="getUpdates", times=2, **TROUBLES[trouble])
    sent = [await chat.person.photo(paint("red"), "rose") for _ in range(3)]
    for message in sent:
        await chat.person.reply_to(message["message_id"], timeout=30)
    assert counts(chat) == {"rose": 3}
    events = await chat.person.events()
    assert sum(event["type"] == "sent" and event["message"]["from"]["is_bot"] for event in events) == 3


async def test_trouble_is_logged_once(settings: Settings) -> None:
    """A revoked token is logged once, with what to do, however often it is tried, and so is its end."""
    with capture_logs() as logs:
        async with chatting(settings) as chat:
            await chat.fault(method="getUpdates", times=3, error_code=401)
            said = await chat.person.say("/help")
            await chat.person.reply_to(said["message_id"])
            await until(lambda: any("come again" in entry["event"] for entry in logs))
    told = [entry for entry in logs if entry["event"] == "no updates from Telegram"]
    assert len(told) == 1
    assert "BotFather" in told[0]["advice"]


async def test_updates_wait_for_a_bot_that_is_away(settings: Settings, paint: Painter) -> None:
    """What is sent before the bot starts is worked in the order it was sent."""
    async with running() as sandbox, Person(sandbox.url, ADA) as person:
        sent = [await person.photo(paint("red"), f"rose number {number}") for number in range(5)]
        async with chatting(settings, sandbox.url):
            for message in sent:
                await person.reply_to(message["message_id"])
            events = await person.events()
    replies = [event["message"] for event in events if event["type"] == "sent" and event["message"]["from"]["is_bot"]]
    answered = [message["reply_to_message"]["message_id"] for message in replies]
    assert answered == [message["message_id"] for message in sent]


async def test_commands_pass_hanging_downloads(chat: Chat, paint: Painter) -> None:
    """While many downloads hang, a command of the same person is answered, and the photos are stored in the end."""
    await chat.fault(method="download", times=12, delay=2)
    sent = [await chat.person.photo(paint("red"), "rose") for _ in range(12)]
    said = await chat.person.say("/status")
    await chat.person.reply_to(said["message_id"])
    assert counts(chat) == {}
    for message in sent:
        await chat.person.reply_to(message["message_id"], timeout=60)
    assert counts(chat) == {"rose": 12}


def free_port() -> int:
    """A port that nobody listens on, and that the system gives to no connection meanwhile: those have higher ones."""
    for port in range(20_000 + os.getpid() % 1000, 32_000):
        with socket.socket() as free, suppress(OSError):
            free.bind(("127.0.0.1", port))
            return port
    raise OSError("There is no free port.")


async def test_a_webhook_brings_updates(settings: Settings, paint: Painter) -> None:
    """With a webhook Telegram brings the updates itself, and brings again what could not be taken."""
    place = f"127.0.0.1:{free_port()}"
    telegram = settings.telegram.model_copy(update={"webhook_url": f"http://{place}/hook", "webhook_listen": place})
    async with chatting(settings.model_copy(update={"telegram": telegram})) as chat:
        for caption in ("rose", "tulip"):
            sent = await chat.person.photo(paint("red"), caption)
            assert f"Learned as {caption}" in (await chat.person.reply_to(sent["message_id"]))["text"]
        async with httpx.AsyncClient(trust_env=False) as client:
            forged = await client.post(f"http://{place}/hook", json={"update_id": 1}, headers={SECRET_HEADER: "guess"})
            info = (await client.get(f"{chat.url}/bot{TOKEN}/getWebhookInfo")).json()["result"]
    assert forged.status_code == 403
    assert info["url"] == f"http://{place}/hook"
    assert info["pending_update_count"] == 0


async def test_a_webhook_answers_when_the_update_is_safe() -> None:
    """A posted update is answered with 200 only once it is kept; what is no update is refused."""
    taken: list[dict[str, Any]] = []
    broken = True

    async def take(updates: Sequence[dict[str, Any]]) -> None:
        if broken:
            raise DatabaseError("The disk is full.")
        taken.extend(updates)

    transport = httpx.ASGITransport(create_app(take, "secret"))
    async with httpx.AsyncClient(transport=transport, base_url="http://bot") as client:
        headers = {SECRET_HEADER: "secret"}
        assert (await client.post("/", json={"update_id": 5}, headers=headers)).status_code == 503
        broken = False
        assert (await client.post("/", json={"update_id": 5}, headers=headers)).status_code == 200
        assert (await client.post("/", json={"update_id": 6})).status_code == 403
        for body in (b"", b"[]", b"{}", b'{"update_id": "x"}', b"\xff", json.dumps({"update_id": None}).encode()):
            assert (await client.post("/", content=body, headers=headers)).status_code == 400
        large = b'{"update_id": 7, "x": "' + b"x" * 1_000_000 + b'"}'
        assert (await client.post("/", content=large, headers=headers)).status_code == 413
    assert taken == [{"update_id": 5}]


async def test_a_webhook_needs_its_port() -> None:
    """Where something else listens already, the error names the setting."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(SettingsError, match="webhook_listen"):
            async with listening(create_app(lambda _: asyncio.sleep(0), "secret"), address, "telegram.webhook_listen"):
                pass
