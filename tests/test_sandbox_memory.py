"""The sandbox with a folder for its memory: what outlives it, and what a folder may not be."""

import asyncio
import io
import json
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from conftest import until
from PIL import Image

from sandbox.client import Person
from sandbox.memory import MemoryFolderError
from sandbox.server import running

TOKEN = "123456:" + "A" * 35
ADA = 1001
SERVE = "import sys; from pathlib import Path; from sandbox.server import serve; serve(0, folder=Path(sys.argv[1]))"


def picture() -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (400, 90), "red").save(out, "JPEG")
    return out.getvalue()


class Visit:
    """A bot and Ada in one running sandbox."""

    def __init__(self, url: str, ada: Person, client: httpx.AsyncClient) -> None:
        self.url = url
        self.ada = ada
        self.client = client

    async def call(self, method: str, **parameters: Any) -> Any:
        """The bot's call of a method that must succeed."""
        body = (await self.client.post(f"/bot{TOKEN}/{method}", json=parameters)).json()
        assert body["ok"], body
        return body["result"]

    async def events(self) -> list[dict[str, Any]]:
        return await self.ada.events()


@asynccontextmanager
async def visiting(url: str) -> AsyncIterator[Visit]:
    async with Person(url, ADA) as ada, httpx.AsyncClient(base_url=url, trust_env=False) as client:
        yield Visit(url, ada, client)


@asynccontextmanager
async def kept(folder: Path) -> AsyncIterator[Visit]:
    """A sandbox that remembers in `folder`, and a visit to it."""
    async with running(folder=folder) as sandbox, visiting(sandbox.url) as visit:
        yield visit


def written(folder: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((folder / "world.json").read_text())
    return content


async def test_what_was_said_is_there_again(tmp_path: Path) -> None:
    """Messages as they are now, events, files, commands and what waits for the bot outlive the sandbox."""
    async with kept(tmp_path / "memory") as before:
        hello = await before.ada.say("hello")
        photo = await before.ada.photo(picture(), "a sign")
        await before.ada.document(b"text", "a.txt")
        await before.call("getUpdates", offset=-1, allowed_updates=["message", "callback_query"])
        keyboard = {"inline_keyboard": [[{"text": "Go", "callback_data": "go"}]]}
        reply = await before.call(
            "sendMessage", chat_id=ADA, text="one", reply_markup=keyboard, reply_to_message_id=hello["message_id"]
        )
        await before.call("editMessageText", chat_id=ADA, message_id=reply["message_id"], text="two")
        await before.call("setMyCommands", commands=[{"command": "help", "description": "Help"}], language_code="en")
        query = await before.ada.tap(reply["message_id"], "go")
        said, events = (await before.client.get(f"/client/chats/{ADA}/messages")).json(), await before.events()
        waiting = await before.call("getUpdates")
        world = written(tmp_path / "memory")["id"]

    async with kept(tmp_path / "memory") as after:
        assert (await after.client.get(f"/client/chats/{ADA}/messages")).json() == said
        assert await after.events() == events
        assert await after.call("getUpdates") == waiting
        assert [set(update) - {"update_id"} for update in waiting] == [{"message"}, {"callback_query"}]
        assert (await after.call("getMyCommands", language_code="en"))[0]["command"] == "help"
        assert (await after.call("getWebhookInfo"))["allowed_updates"] == ["callback_query", "message"]
        assert await after.call("answerCallbackQuery", callback_query_id=query, text="gone")
        for size in photo["photo"]:
            with Image.open(io.BytesIO(await after.ada.file(size["file_id"]))) as image:
                assert image.size == (size["width"], size["height"])
        again = await after.call("sendPhoto", chat_id=ADA, photo=photo["photo"][0]["file_id"])
        assert [size["width"] for size in again["photo"]] == [100, 320, 400]
        assert written(tmp_path / "memory")["id"] == world


async def test_without_a_folder_nothing_is_kept(tmp_path: Path) -> None:
    """Two sandboxes without a memory know nothing of each other, and each is a world of its own."""
    worlds = set()
    for folder in (tmp_path / "one", tmp_path / "two"):
        async with kept(folder) as visit:
            assert await visit.events() == []
        worlds.add(written(folder)["id"])
    assert len(worlds) == 2
    async with running() as sandbox, visiting(sandbox.url) as visit:
        assert await visit.events() == []


async def test_numbers_go_on(tmp_path: Path) -> None:
    """Messages, events, updates and taps of the next start have higher numbers than all before."""
    numbers = []
    for _ in range(2):
        async with kept(tmp_path) as visit:
            await visit.ada.say("hello")
            button = await visit.call("sendMessage", chat_id=ADA, text="tap me")
            query = await visit.ada.tap(button["message_id"], "go")
            events = await visit.events()
            updates = await visit.call("getUpdates")
            numbers.append((button["message_id"], int(query), events[-1]["seq"], updates[-1]["update_id"]))
            assert [event["seq"] for event in events] == sorted({event["seq"] for event in events})
    first, second = numbers
    assert all(after > before for before, after in zip(first, second, strict=True))


@asynccontextmanager
async def program(folder: Path) -> AsyncIterator[tuple[Process, Visit]]:
    """The same in a process of its own, killed with -9 at the end."""
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", SERVE, str(folder), stdout=PIPE)
    assert process.stdout
    line = (await process.stdout.readline()).decode()
    try:
        async with visiting(next(word for word in line.split() if word.startswith("http"))) as visit:
            yield process, visit
    finally:
        process.kill()
        await process.wait()


async def test_a_kill_loses_the_last_moments_and_no_number(tmp_path: Path) -> None:
    """What was said a while before a kill -9 is there; no number is given out twice, lost ones included."""
    async with program(tmp_path) as (_, visit):
        await visit.ada.say("kept")
        await visit.call("getMe")
        await until(lambda: "kept" in str(written(tmp_path)["chats"]))
        lost = [await visit.ada.say(f"perhaps lost {number}") for number in range(20)]
        events, updates = await visit.events(), await visit.call("getUpdates")
    async with kept(tmp_path) as after:
        said = await after.ada.say("after")
        assert (await after.events())[0]["message"]["text"] == "kept"
        assert said["message_id"] > lost[-1]["message_id"]
        assert (await after.events())[-1]["seq"] > events[-1]["seq"]
        assert (await after.call("getUpdates"))[-1]["update_id"] > updates[-1]["update_id"]


async def test_commands_are_kept_though_nobody_says_a_word(tmp_path: Path) -> None:
    """A change that is no message is written down as soon as one that is."""
    async with program(tmp_path) as (_, visit):
        await visit.call("setMyCommands", commands=[{"command": "help", "description": "Help"}])
        await until(lambda: bool(written(tmp_path)["bots"][0]["commands"]) if written(tmp_path)["bots"] else False)
        await visit.call("setMyName", name="Nora")
        await until(lambda: bool(written(tmp_path)["bots"][0]["texts"]))
    async with kept(tmp_path) as after:
        assert len(await after.call("getMyCommands")) == 1
        assert await after.call("getMyName") == {"name": "Nora"}


async def test_a_webhook_is_brought_its_updates_again(tmp_path: Path) -> None:
    """A bot's server that outlives the sandbox gets what is said in the next one, in the next one's order."""
    brought: list[dict[str, Any]] = []

    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        length = int(head.partition("content-length: ")[2].split("\r\n")[0])
        brought.append(json.loads(await reader.readexactly(length)))
        assert "x-telegram-bot-api-secret-token: hush" in head
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(take, "127.0.0.1", 0) as server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/hook"
        async with kept(tmp_path) as before:
            await before.call("setWebhook", url=url, secret_token="hush", max_connections=7)
        async with kept(tmp_path) as after:
            assert (await after.call("getWebhookInfo"))["max_connections"] == 7
            await after.ada.say("hello")
            await until(lambda: bool(brought))
    assert brought[0]["message"]["text"] == "hello"


async def test_what_was_said_to_nobody_waits_for_the_first_bot(tmp_path: Path) -> None:
    """A bot that comes only after a restart is given what was said before any came."""
    async with kept(tmp_path) as before:
        await before.ada.say("anybody there?")
    async with kept(tmp_path) as after:
        updates = await after.call("getUpdates")
        assert [update["message"]["text"] for update in updates] == ["anybody there?"]


async def test_a_file_that_is_gone_is_refused_in_telegrams_words(tmp_path: Path) -> None:
    """Where somebody removed a file's bytes, its download fails as Telegram's does, and nothing else."""
    async with kept(tmp_path) as before:
        file = (await before.ada.document(b"text", "a.txt"))["document"]
    for path in (tmp_path / "files").iterdir():
        path.unlink()
    async with kept(tmp_path) as after:
        body = (await after.client.get(f"/client/files/{file['file_id']}")).json()
        assert "temporarily unavailable" in body["error"]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ('{"format": 1, "id"', "is damaged"),
        ('{"format": 1, "id": "x", "chats": 7}', "move it away"),
        ("[]", "is damaged"),
        ("\xff\x00", "is damaged"),
        ("", "is damaged"),
        ('{"format": 2, "new": true}', "newer sandbox"),
    ],
)
async def test_what_cannot_be_read_is_refused_in_words(tmp_path: Path, content: str, words: str) -> None:
    """A damaged memory and one of a newer sandbox are left as they are, and the message says what to do."""
    file = tmp_path / "world.json"
    file.write_text(content, "latin-1")
    with pytest.raises(MemoryFolderError, match=words) as refusal:
        async with running(folder=tmp_path):
            pass
    assert str(file) in str(refusal.value)
    assert "\n" not in str(refusal.value)
    assert file.read_text("latin-1") == content


async def test_one_sandbox_at_a_time_uses_a_folder(tmp_path: Path) -> None:
    """A second one is refused while the first runs, and welcome afterwards."""
    async with kept(tmp_path):
        with pytest.raises(MemoryFolderError, match="another sandbox that is running"):
            async with running(folder=tmp_path):
                pass
    async with kept(tmp_path):
        pass


async def test_a_disk_that_fails_for_a_while_loses_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """While the memory cannot be written, the chat goes on and it is said once; later it is written."""
    async with kept(tmp_path) as visit:
        in_the_way = tmp_path / "world.json.part"
        in_the_way.mkdir()
        await visit.ada.say("said meanwhile")
        await until(lambda: bool(caplog.records))
        await visit.ada.say("and after")
        in_the_way.rmdir()
        await until(lambda: "said meanwhile" in str(written(tmp_path)["chats"]))
    assert ["cannot be kept" in record.message for record in caplog.records] == [True]


async def test_half_a_write_is_not_read(tmp_path: Path) -> None:
    """What a kill left beside the memory is passed over, and half a file is removed."""
    async with kept(tmp_path) as before:
        await before.ada.say("whole")
    (tmp_path / "world.json.part").write_text('{"format": 1, "id": "ha')
    (tmp_path / "files" / "abc.123.part").write_bytes(b"half")
    async with kept(tmp_path) as after:
        assert [event["message"]["text"] for event in await after.events()] == ["whole"]
    assert list((tmp_path / "files").iterdir()) == []
