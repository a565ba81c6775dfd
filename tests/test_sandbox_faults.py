from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio

from sandbox.app import create_app

TOKEN = "123456:" + "A" * 35
ADA = 1001


@pytest_asyncio.fixture
async def client(tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(create_app(tmp_path))
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
        await client.post(f"/client/chats/{ADA}/messages", json={"text": "hi"})
        yield client


async def say(client: httpx.AsyncClient, token: str = TOKEN) -> dict[str, Any]:
    """The envelope that a bot's sendMessage is answered with."""
    response = await client.post(f"/bot{token}/sendMessage", json={"chat_id": ADA, "text": "hello"})
    body: dict[str, Any] = response.json()
    assert response.status_code == (200 if body["ok"] else body["error_code"])
    return body


async def script(client: httpx.AsyncClient, faults: Any) -> Any:
    return (await client.post("/client/faults", json=faults)).json()


async def test_a_fault_meets_as_many_calls_as_asked(client: httpx.AsyncClient) -> None:
    """A scripted 429 answers the next two calls of its method with retry_after; the third one works."""
    await script(client, {"method": "sendmessage", "times": 2, "error_code": 429, "retry_after": 2})
    assert (await client.get(f"/bot{TOKEN}/getMe")).json()["ok"]
    for _ in range(2):
        assert await say(client) == {
            "ok": False,
            "error_code": 429,
            "description": "Too Many Requests: retry after 2",
            "parameters": {"retry_after": 2},
        }
    assert (await say(client))["ok"]


async def test_faults_come_in_order_and_any_method_counts(client: httpx.AsyncClient) -> None:
    """Several faults are used up one after the other; a star stands for any method."""
    await script(client, [{"method": "sendMessage", "error_code": 502}, {"method": "*", "error_code": 403}])
    assert (await say(client))["description"] == "Bad Gateway"
    assert (await say(client))["description"] == "Forbidden: bot was blocked by the user"
    assert (await say(client))["ok"]


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (401, "Unauthorized"),
        (409, "Conflict: terminated by other getUpdates request; make sure that only one bot instance is running"),
        (429, "Too Many Requests: retry after 1"),
        (500, "Internal Server Error"),
        (599, "Error"),
    ],
)
async def test_a_fault_speaks_as_telegram_does(client: httpx.AsyncClient, code: int, words: str) -> None:
    """An error code without a description has Telegram's words, and a 429 always a time to wait."""
    await script(client, {"method": "getUpdates", "error_code": code})
    answer = (await client.get(f"/bot{TOKEN}/getUpdates")).json()
    assert answer["description"] == words
    assert answer.get("parameters") == ({"retry_after": 1} if code == 429 else None)


async def fetched(client: httpx.AsyncClient, **parameters: Any) -> list[int]:
    """The message ids that getUpdates brings."""
    updates = (await client.get(f"/bot{TOKEN}/getUpdates", params=parameters)).json()["result"]
    return [update["message"]["message_id"] for update in updates]


async def test_updates_can_come_several_times_at_once(client: httpx.AsyncClient) -> None:
    """With copies, an answer of getUpdates holds all its updates so many times, in order."""
    await client.post(f"/client/chats/{ADA}/messages", json={"text": "ho"})
    await script(client, {"method": "getUpdates", "copies": 3})
    thrice = await fetched(client)
    once = await fetched(client)
    assert (len(once), thrice) == (2, once * 3)


async def test_confirmed_updates_can_come_again(client: httpx.AsyncClient) -> None:
    """With again, an offset confirms nothing, so that what was taken comes once more; the next one does."""
    update = (await client.get(f"/bot{TOKEN}/getUpdates")).json()["result"][0]
    await script(client, {"method": "getUpdates", "again": True})
    confirming = {"offset": update["update_id"] + 1}
    assert await fetched(client, **confirming) == [update["message"]["message_id"]]
    assert await fetched(client, **confirming) == []


async def test_a_delay_only_delays(client: httpx.AsyncClient) -> None:
    """A fault with nothing but a delay lets the call succeed in the end."""
    await script(client, {"method": "sendMessage", "delay": 0.01})
    assert (await say(client))["ok"]


async def test_a_fault_after_the_call_leaves_its_effect(client: httpx.AsyncClient) -> None:
    """With after, the message is sent although the bot is told of an error."""
    await script(client, {"method": "sendMessage", "error_code": 500, "after": True})
    assert not (await say(client))["ok"]
    messages = (await client.get(f"/client/chats/{ADA}/messages")).json()["messages"]
    assert [message["text"] for message in messages] == ["hi", "hello"]


async def test_a_fault_can_be_for_one_bot_only(client: httpx.AsyncClient) -> None:
    """A fault with a bot's id leaves other bots alone."""
    assert (await say(client))["ok"]
    await script(client, {"method": "getMe", "bot": 5, "error_code": 500})
    assert (await client.get(f"/bot{TOKEN}/getMe")).json()["ok"]
    assert not (await client.get(f"/bot5:{'B' * 35}/getMe")).json()["ok"]


async def test_downloads_fail_as_well(client: httpx.AsyncClient) -> None:
    """The method download stands for fetching a file."""
    files = {"document": ("a.txt", b"x")}
    sent = (await client.post(f"/client/chats/{ADA}/messages", files=files)).json()["messages"][0]
    query = {"file_id": sent["document"]["file_id"]}
    path = (await client.get(f"/bot{TOKEN}/getFile", params=query)).json()["result"]["file_path"]
    await script(client, {"method": "download", "error_code": 500, "description": "no"})
    assert (await client.get(f"/file/bot{TOKEN}/{path}")).json()["description"] == "no"
    assert (await client.get(f"/file/bot{TOKEN}/{path}")).content == b"x"


@pytest.mark.parametrize("method", ["POST", "DELETE"])
async def test_faults_can_be_seen_and_taken_back(client: httpx.AsyncClient, method: str) -> None:
    """GET lists what is still to come; an empty list or DELETE takes it back."""
    await script(client, {"method": "sendMessage", "times": 3, "error_code": 500})
    await say(client)
    left = {"faults": [{"method": "sendMessage", "times": 2, "error_code": 500}]}
    assert (await client.get("/client/faults")).json() == left
    assert (await client.request(method, "/client/faults", json=[])).json() == {"faults": []}
    assert (await say(client))["ok"]


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ({"method": "sendMessage"}, "a fault needs error_code, delay, drop"),
        ({"method": "sendMesage", "drop": True}, "there is no method 'sendMesage' here"),
        ({"method": "getMe", "drop": True, "error_code": 500}, "exclude each other"),
        ({"method": "getMe", "error_code": 200}, "error_code: "),
        ({"method": "getMe", "copies": 3}, "copies is for getUpdates and webhook"),
        ({"method": "getUpdates", "copies": 11}, "copies: "),
        ({"method": "webhook", "again": True}, "again is for getUpdates"),
        ({"method": "getMe", "drop": True, "often": 3}, "often: "),
        ("sendMessage", "fault: "),
    ],
)
async def test_wrong_faults_are_explained(client: httpx.AsyncClient, fault: Any, reason: str) -> None:
    """A fault that could never strike as meant is refused in words, and nothing is scripted."""
    assert reason in (await script(client, [{"method": "getMe", "drop": True}, fault]))["error"]
    assert (await client.get("/client/faults")).json() == {"faults": []}


async def test_faults_must_be_json(client: httpx.AsyncClient) -> None:
    """A body that is no JSON is refused in words."""
    assert (await client.post("/client/faults", content=b"{")).json() == {"error": "The body is not JSON."}
