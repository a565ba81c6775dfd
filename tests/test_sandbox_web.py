"""What the web chat asks the server for, and who else may ask."""

import asyncio
import json
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from sandbox.client import Person
from sandbox.guide import Guide, Step
from sandbox.pages import FOLDER
from sandbox.server import running

ADA = 1001
TOKEN = "4242:" + "A" * 35


@pytest.fixture
def samples(tmp_path: Path) -> Path:
    """A folder with two groups of samples, something else in it, and a secret beside it."""
    for path in (
        "samples/stop/2.jpg",
        "samples/stop/1.jpg",
        "samples/give way/1.png",
        "samples/stop/notes.txt",
        "secret.jpg",
    ):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_bytes(path.encode())
    return tmp_path / "samples"


@pytest.fixture
async def client(samples: Path) -> AsyncIterator[httpx.AsyncClient]:
    steps = (Step("Ask", "Send it.", samples=("stop/1.jpg",), until="stop"),)
    async with (
        running(guide=Guide(samples, ((ADA, "You"),), steps)) as sandbox,
        httpx.AsyncClient(base_url=sandbox.url, trust_env=False) as client,
    ):
        await client.get(f"/bot{TOKEN}/getMe")
        yield client


async def say(client: httpx.AsyncClient, text: str, chat: int = ADA) -> dict[str, Any]:
    sent = await client.post(f"/client/chats/{chat}/messages", json={"from_id": ADA, "from_name": "Ada", "text": text})
    message: dict[str, Any] = sent.json()["messages"][0]
    return message


async def test_the_page_lets_nothing_else_in(client: httpx.AsyncClient) -> None:
    """The page's policy allows its own scripts alone, and no text to become markup."""
    page = await client.get("/")
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'; script-src 'self'; style-src 'self'" in policy
    assert "require-trusted-types-for 'script'; trusted-types 'none'" in policy
    assert "unsafe" not in policy


async def test_every_part_of_the_page_is_there(client: httpx.AsyncClient) -> None:
    """What the page and its modules name is served, as what it is."""
    kinds = {".js": "javascript", ".css": "css", ".svg": "svg", ".html": "html"}
    for path in FOLDER.iterdir():
        found = await client.get(f"/web/{path.name}")
        assert kinds[path.suffix] in found.headers["content-type"]
        assert found.headers["x-content-type-options"] == "nosniff"
        text = path.read_text("utf-8")
        named = re.findall(r'(?:"/web/|from "\./)([\w.]+)"', text)
        assert [name for name in named if not (FOLDER / name).exists()] == []


@pytest.mark.parametrize(
    "path",
    [
        "/web/../pages.py",
        "/web/%2e%2e/pages.py",
        "/client/samples/../secret.jpg",
        "/client/samples/%2e%2e/secret.jpg",
        "/client/samples/stop/notes.txt",
        "/web/",
        "/client/samples/stop",
    ],
)
async def test_nothing_beside_the_page_is_served(client: httpx.AsyncClient, path: str) -> None:
    """No path leads out of the page's folder or the samples', nor to what is no photo."""
    request = client.build_request("GET", "/")
    request.url = request.url.copy_with(raw_path=path.encode())
    assert (await client.send(request)).status_code == 404


async def test_samples_are_listed_and_served(client: httpx.AsyncClient) -> None:
    """The page learns of the people, the samples by group, and the steps of the tour."""
    guide = (await client.get("/client/world")).json()["guide"]
    assert guide["people"] == [{"id": ADA, "first_name": "You"}]
    assert guide["samples"] == [
        {"name": "give way", "files": ["give way/1.png"]},
        {"name": "stop", "files": ["stop/1.jpg", "stop/2.jpg"]},
    ]
    assert guide["steps"][0]["until"] == "stop"
    assert (await client.get("/client/samples/give%20way/1.png")).content == b"samples/give way/1.png"


async def test_the_world_is_told(client: httpx.AsyncClient) -> None:
    """Bots, people and chats with their last message, and from which event on to listen."""
    await say(client, "one")
    last = await say(client, "two")
    world = (await client.get("/client/world")).json()
    assert [bot["id"] for bot in world["bots"]] == [4242]
    assert [person["first_name"] for person in world["people"]] == ["Ada"]
    assert [(chat["bot"], chat["chat"]["id"], chat["last_message"]) for chat in world["chats"]] == [(4242, ADA, last)]
    assert world["last"] > 0


async def test_history_comes_in_pages(client: httpx.AsyncClient) -> None:
    """The latest messages, and those before one of them."""
    sent = [(await say(client, str(number)))["message_id"] for number in range(5)]
    chat = f"/client/chats/{ADA}/messages"
    latest = (await client.get(chat, params={"latest": 2})).json()["messages"]
    assert [message["message_id"] for message in latest] == sent[3:]
    earlier = (await client.get(chat, params={"latest": 2, "before": sent[3]})).json()["messages"]
    assert [message["message_id"] for message in earlier] == sent[1:3]
    assert (await client.get("/client/chats/5/messages", params={"latest": 2})).json()["messages"] == []


class Stream:
    """Server-sent events as a browser takes them in."""

    def __init__(self, response: httpx.Response) -> None:
        self._lines = response.aiter_lines()

    async def next(self) -> dict[str, str]:
        """The fields of the next event; those of a comment are none."""
        fields: dict[str, str] = {}
        async for line in self._lines:
            if not line:
                return fields
            name, _, value = line.partition(": ")
            fields[name] = value
        return fields


async def test_events_of_every_chat_are_streamed(client: httpx.AsyncClient) -> None:
    """The stream says whose memory it is, then what happens, each with its number; a number takes it up again."""
    await say(client, "before")
    world = (await client.get("/client/world")).json()
    async with client.stream("GET", "/client/stream", params={"after": world["last"]}) as response:
        stream = Stream(response)
        assert json.loads((await stream.next())["data"]) == {"world": world["world"], "bots": 1}
        await say(client, "in private")
        await say(client, "to all", chat=-5)
        private, group = await stream.next(), await stream.next()
    assert [json.loads(event["data"])["message"]["text"] for event in (private, group)] == ["in private", "to all"]
    assert [json.loads(event["data"])["chat_id"] for event in (private, group)] == [ADA, -5]
    async with client.stream("GET", "/client/stream", headers={"last-event-id": private["id"]}) as response:
        stream = Stream(response)
        await stream.next()
        assert (await stream.next())["id"] == group["id"]


async def test_a_new_bot_is_told(client: httpx.AsyncClient) -> None:
    """A page that is open hears of the next bot."""
    async with client.stream("GET", "/client/stream") as response:
        stream = Stream(response)
        await stream.next()
        await client.get(f"/bot777:{'B' * 35}/getMe")
        assert (await stream.next())["event"] == "bots"


async def test_open_streams_do_not_hold_up_the_end(samples: Path) -> None:
    """A sandbox with pages open ends as soon as one without."""
    async with httpx.AsyncClient(trust_env=False) as client:
        async with running() as sandbox:
            response = await client.send(client.build_request("GET", f"{sandbox.url}/client/stream"), stream=True)
            stream = Stream(response)
            assert (await stream.next())["event"] == "world"
        async with asyncio.timeout(1):
            assert await stream.next() == {}
        await response.aclose()


async def test_the_narrowest_menu_is_offered(client: httpx.AsyncClient) -> None:
    """A person sees the commands of their chat and language before those for everybody."""
    scopes: list[dict[str, Any]] = [
        {},
        {"language_code": "de"},
        {"scope": {"type": "all_group_chats"}},
        {"scope": {"type": "chat", "chat_id": ADA}, "language_code": "zh"},
        {"scope": {"type": "chat_member", "chat_id": -5, "user_id": ADA}},
    ]
    for number, scope in enumerate(scopes):
        body = {"commands": [{"command": f"c{number}", "description": "x"}], **scope}
        assert (await client.post(f"/bot{TOKEN}/setMyCommands", json=body)).json()["ok"]

    async def offered(chat: int, person: int, language: str) -> list[str]:
        query: dict[str, str | int] = {"bot": 4242, "from_id": person, "from_language": language}
        found = await client.get(f"/client/chats/{chat}/commands", params=query)
        return [command["command"] for command in found.json()["commands"]]

    assert await offered(7, 7, "en") == ["c0"]
    assert await offered(7, 7, "de-AT") == ["c1"]
    assert await offered(-9, 7, "en") == ["c2"]
    assert await offered(ADA, ADA, "zh") == ["c3"]
    assert await offered(-5, ADA, "en") == ["c4"]


@pytest.mark.parametrize(
    "headers",
    [
        {"host": "evil.example"},
        {"host": "evil.example:8081"},
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"origin": "http://localhost:1"},
    ],
)
async def test_pages_from_elsewhere_are_refused(client: httpx.AsyncClient, headers: dict[str, str]) -> None:
    """No other site's page, open in the same browser, reads or writes here; nor by a name that leads here."""
    for path in ("/", "/client/world", f"/bot{TOKEN}/getMe"):
        assert (await client.get(path, headers=headers)).status_code == 403
    posted = await client.post(f"/client/chats/{ADA}/messages", data={"text": "x"}, headers=headers)
    assert posted.status_code == 403
    assert (await client.get(f"/client/chats/{ADA}/messages")).json()["messages"] == []


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
async def test_addresses_in_pages_from_elsewhere_do_nothing(client: httpx.AsyncClient, site: str) -> None:
    """A picture of another site calls no method by its address, though it brings no origin; a link opens the chat."""
    headers = {"sec-fetch-site": site, "sec-fetch-mode": "no-cors"}
    hook = {"url": "https://evil.example/"}
    assert (await client.get(f"/bot{TOKEN}/setWebhook", params=hook, headers=headers)).status_code == 403
    assert (await client.get("/client/stream", headers=headers)).status_code == 403
    assert (await client.get("/", headers={"sec-fetch-site": site, "sec-fetch-mode": "navigate"})).status_code == 200


@pytest.mark.parametrize("host", ["localhost:99", "127.0.0.1", "[::1]:8081"])
async def test_this_computer_is_answered_by_any_of_its_names(client: httpx.AsyncClient, host: str) -> None:
    """A page of the sandbox itself, and programs, are welcome."""
    headers = {"host": host, "origin": f"http://{host}"}
    assert (await client.get("/client/world", headers=headers)).status_code == 200


async def test_bad_requests_of_the_page_are_explained(client: httpx.AsyncClient) -> None:
    """Nonsense is refused with the reason."""
    for number in ("x", "9" * 5000):
        answer = await client.get("/client/stream", params={"after": number})
        assert answer.json() == {"error": "after is the number of an event."}
    async with Person(str(client.base_url), ADA) as ada:
        await ada.say("hello")
    for chat in ("x", "--5", "9" * 5000):
        assert (await client.get(f"/client/chats/{chat}/commands")).status_code == 400
