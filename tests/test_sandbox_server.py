import asyncio
import contextlib
import io
import signal
import sys
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
import pytest_asyncio
from PIL import Image
from telegram import Bot, CallbackQuery, InlineKeyboardButton, InlineKeyboardMarkup, InputMediaPhoto, Message, Update
from telegram.constants import ParseMode
from telegram.error import BadRequest, NetworkError, RetryAfter
from telegram.ext import Application, CallbackQueryHandler, CommandHandler, ContextTypes, MessageHandler, filters

from sandbox.client import Person
from sandbox.errors import ListenError
from sandbox.server import Sandbox, running

TOKEN = "123456:" + "A" * 35
ADA = 1001


def picture(size: tuple[int, int]) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", size, "green").save(out, "JPEG")
    return out.getvalue()


async def start(update: Update, _: ContextTypes.DEFAULT_TYPE) -> None:
    assert update.effective_user is not None
    keyboard = InlineKeyboardMarkup([[InlineKeyboardButton("Go", callback_data="go")]])
    name = update.effective_user.mention_html()
    await said(update).reply_text(f"Hello <b>{name}</b>", parse_mode=ParseMode.HTML, reply_markup=keyboard)


async def echo(update: Update, _: ContextTypes.DEFAULT_TYPE) -> None:
    message = said(update)
    await message.reply_text(message.text or "", do_quote=True)


async def measure(update: Update, _: ContextTypes.DEFAULT_TYPE) -> None:
    message = said(update)
    source = message.document or message.photo[-1]
    content = bytes(await (await source.get_file()).download_as_bytearray())
    with Image.open(io.BytesIO(content)) as image:
        reply = await message.reply_text("measuring", do_quote=True)
        await reply.edit_text(f"{message.caption}: {image.width}x{image.height}, {len(content)} bytes")


async def tapped(update: Update, _: ContextTypes.DEFAULT_TYPE) -> None:
    query = update.callback_query
    assert isinstance(query, CallbackQuery)
    await query.answer("Gone")
    await query.edit_message_text("You went")


def said(update: Update) -> Message:
    assert update.effective_message is not None
    return update.effective_message


@pytest_asyncio.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    async with running() as sandbox:
        yield sandbox


@pytest_asyncio.fixture
async def ada(sandbox: Sandbox) -> AsyncIterator[Person]:
    async with Person(sandbox.url, ADA) as person:
        yield person


@contextlib.asynccontextmanager
async def polling(sandbox: Sandbox) -> AsyncIterator[Bot]:
    """A real bot, as its library documents it, with nothing changed but the two base URLs."""
    builder = Application.builder().token(TOKEN)
    application = builder.base_url(f"{sandbox.url}/bot").base_file_url(f"{sandbox.url}/file/bot").build()
    application.add_handler(CommandHandler("start", start))
    application.add_handler(MessageHandler(filters.PHOTO | filters.Document.IMAGE, measure))
    application.add_handler(MessageHandler(filters.TEXT, echo))
    application.add_handler(CallbackQueryHandler(tapped))
    async with application:
        await application.start()
        assert application.updater is not None
        await application.updater.start_polling(timeout=5)
        yield application.bot
        await application.updater.stop()
        await application.stop()


async def test_a_real_bot_holds_a_conversation(sandbox: Sandbox, ada: Person) -> None:
    """A python-telegram-bot application answers text, photos, files, albums and buttons over the sandbox."""
    await ada.say("sent before the bot came")
    async with polling(sandbox):
        await ada.wait_for(lambda m: m["text"] == "sent before the bot came")
        await ada.say("/start")
        hello = await ada.wait_for(lambda m: m["text"] == "Hello Ada")
        await ada.tap(hello["message_id"], "go")
        assert "reply_markup" not in await ada.wait_for(lambda m: m["text"] == "You went")
        photo = await ada.photo(picture((1000, 500)), "road")
        size = len(picture((1000, 500)))
        await ada.reply_to(photo["message_id"], where=lambda m: m["text"] == f"road: 1000x500, {size} bytes")
        file = await ada.document(picture((30, 20)), "a.jpg", "file")
        await ada.reply_to(file["message_id"], where=lambda m: m["text"].startswith("file: 30x20"))
        album = await ada.album([picture((40, 30)), picture((50, 30))], "pair")
        await ada.reply_to(album[0]["message_id"], where=lambda m: m["text"].startswith("pair: 40x30"))
        await ada.reply_to(album[1]["message_id"], where=lambda m: m["text"].startswith("None: 50x30"))
    answered = [event for event in await ada.events() if event["type"] == "callback_answered"]
    assert [event["text"] for event in answered] == ["Gone"]


async def test_a_real_bot_is_understood_in_all_its_calls(sandbox: Sandbox, ada: Person) -> None:
    """The library parses every kind of result and raises its own error for every kind of refusal."""
    await ada.say("hi")
    async with Bot(TOKEN, f"{sandbox.url}/bot", f"{sandbox.url}/file/bot") as bot:
        assert bot.username == "sandbox_123456_bot"
        sent = await bot.send_photo(ADA, picture((400, 300)), caption="one")
        assert [size.width for size in sent.photo] == [100, 320, 400]
        await sent.edit_media(InputMediaPhoto(picture((90, 80)), caption="two"))
        await sent.edit_caption("three")
        album = await bot.send_media_group(ADA, [InputMediaPhoto(picture((n, 60))) for n in (60, 70)], caption="four")
        assert album[0].media_group_id == album[1].media_group_id
        document = (await bot.send_document(ADA, b"text", filename="a.txt")).document
        assert document is not None
        file = await document.get_file()
        assert bytes(await file.download_as_bytearray()) == b"text"
        await bot.set_my_commands([("help", "What I can do")])
        assert [command.command for command in await bot.get_my_commands()] == ["help"]
        assert (await bot.get_chat(ADA)).first_name == "Ada"
        assert (await bot.get_webhook_info()).pending_update_count == 1
        assert await bot.send_chat_action(ADA, "typing")
        assert await sent.delete()
        with pytest.raises(BadRequest, match="Message to be replied not found"):
            await bot.send_message(ADA, "x", reply_to_message_id=1)


async def test_a_real_bot_meets_scripted_faults(sandbox: Sandbox, ada: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    """The library sees a 429 as RetryAfter and a dropped connection as NetworkError."""
    monkeypatch.setenv("PTB_TIMEDELTA", "true")  # Without, the library warns of its next version.
    await ada.say("hi")
    faults = [
        {"method": "sendMessage", "error_code": 429, "retry_after": 3},
        {"method": "sendMessage", "drop": True},
        {"method": "sendMessage", "drop": True, "after": True},
    ]
    async with httpx.AsyncClient(base_url=sandbox.url) as client:
        await client.post("/client/faults", json=faults)
    async with Bot(TOKEN, f"{sandbox.url}/bot") as bot:
        with pytest.raises(RetryAfter):
            await bot.send_message(ADA, "limited")
        with pytest.raises(NetworkError):
            await bot.send_message(ADA, "dropped")
        with pytest.raises(NetworkError):
            await bot.send_message(ADA, "answer dropped")
        await bot.send_message(ADA, "through")
    texts = [event["message"]["text"] for event in await ada.events()]
    assert texts == ["hi", "answer dropped", "through"]


async def test_a_bot_goes_on_after_a_dropped_poll(sandbox: Sandbox, ada: Person) -> None:
    """Dropped long polls lose no update: the library polls again and answers."""
    async with httpx.AsyncClient(base_url=sandbox.url) as client:
        await client.post("/client/faults", json={"method": "getUpdates", "times": 2, "drop": True})
        async with polling(sandbox):
            await ada.say("still there?")
            await ada.wait_for(lambda m: m["text"] == "still there?")
        assert (await client.get("/client/faults")).json() == {"faults": []}


async def test_hung_downloads_block_nobody(sandbox: Sandbox, ada: Person) -> None:
    """While 20 downloads hang for an hour, other calls are answered, and the sandbox still stops at once."""
    file = await ada.document(b"content", "a.txt")
    async with httpx.AsyncClient(base_url=sandbox.url, timeout=None) as client:  # noqa: S113  That is the point.
        await client.post("/client/faults", json={"method": "download", "times": 20, "delay": 3600})
        query = {"file_id": file["document"]["file_id"]}
        path = (await client.get(f"/bot{TOKEN}/getFile", params=query)).json()["result"]["file_path"]
        address = f"/file/bot{TOKEN}/{path}"
        hung = [asyncio.create_task(client.get(address)) for _ in range(20)]
        while (await client.get("/client/faults")).json()["faults"]:
            pass
        assert (await client.get(address)).content == b"content"
        await ada.say("still there?")
        assert not any(task.done() for task in hung)
        for task in hung[10:]:
            task.cancel()  # Whoever gave up does not matter either.
        await asyncio.wait(hung[10:])
        assert len((await client.get(f"/bot{TOKEN}/getUpdates")).json()["result"]) == 2
        for task in hung:
            task.cancel()


async def test_a_download_breaks_off_half_way(sandbox: Sandbox, ada: Person) -> None:
    """A fault after the call leaves a bot with half a file and a broken connection, or the rest late."""
    file = await ada.document(b"0123456789", "a.txt")
    half: dict[str, Any] = {"method": "download", "after": True}
    async with httpx.AsyncClient(base_url=sandbox.url) as client:
        faults = [half | {"drop": True}, half | {"error_code": 500}, half | {"delay": 0.01}]
        await client.post("/client/faults", json=faults)
        query = {"file_id": file["document"]["file_id"]}
        path = (await client.get(f"/bot{TOKEN}/getFile", params=query)).json()["result"]["file_path"]
        for _ in range(2):
            with pytest.raises(httpx.TransportError):
                await client.get(f"/file/bot{TOKEN}/{path}")
        assert (await client.get(f"/file/bot{TOKEN}/{path}")).content == b"0123456789"


async def test_it_stops_at_once_with_polls_open() -> None:
    """The sandbox ends although a long poll, a waiting person, a delayed call and a hung download are still open."""
    async with httpx.AsyncClient() as client, asyncio.timeout(5):
        async with running() as sandbox:
            await client.post(f"{sandbox.url}/client/faults", json={"method": "getMe", "delay": 60})
            file = {"document": ("a.txt", b"content")}
            chat = f"{sandbox.url}/client/chats/{ADA}/messages"
            sent = (await client.post(chat, files=file, data={"bot": 1})).json()["messages"][0]
            other = f"1:{'A' * 35}"
            query = {"file_id": sent["document"]["file_id"]}
            found = (await client.get(f"{sandbox.url}/bot{other}/getFile", params=query)).json()["result"]
            await client.post(f"{sandbox.url}/client/faults", json={"method": "download", "delay": 3600})
            waiting = [
                asyncio.create_task(client.get(f"{sandbox.url}/bot{TOKEN}/getUpdates?timeout=50")),
                asyncio.create_task(client.get(f"{sandbox.url}/client/chats/{ADA}/events?wait=50")),
                asyncio.create_task(client.get(f"{sandbox.url}/bot{TOKEN}/getMe")),
            ]
            hung = asyncio.create_task(client.get(f"{sandbox.url}/file/bot{other}/{found['file_path']}"))
            await asyncio.sleep(0.2)
        answers = [(await task).json() for task in waiting]
        assert (await hung).content == b"content"
    assert answers[0] == {"ok": True, "result": []}
    assert answers[1] == {"events": [], "last": 0}


async def test_a_caller_may_vanish_in_the_middle(
    sandbox: Sandbox, ada: Person, caplog: pytest.LogCaptureFixture
) -> None:
    """A bot that is killed while it sends a request does no harm, and leaves no traceback."""
    _, writer = await asyncio.open_connection("127.0.0.1", sandbox.port)
    head = "host: x\r\ncontent-type: application/x-www-form-urlencoded\r\ncontent-length: 100"
    writer.write(f"POST /bot{TOKEN}/getMe HTTP/1.1\r\n{head}\r\n\r\na=1".encode())
    await writer.drain()
    await ada.say("still there?")
    writer.close()
    await writer.wait_closed()
    await ada.say("yes")
    assert caplog.records == []


async def test_a_taken_port_is_explained(sandbox: Sandbox) -> None:
    """A port in use is an error that names the address and the way out."""
    with pytest.raises(ListenError, match=rf"127.0.0.1:{sandbox.port} \(Address already in use\).*--port"):
        async with running(sandbox.port):
            pass


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_the_command_prints_its_address_and_ends_cleanly(number: signal.Signals) -> None:
    """Served as a program, it prints one line with its URL, keeps quiet, and ends by a signal with exit 0."""
    program = await asyncio.create_subprocess_exec(
        sys.executable, "-c", "from sandbox.server import serve; serve(0)",
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    assert program.stdout is not None
    line = (await program.stdout.readline()).decode()
    url = next(word for word in line.split() if word.startswith("http://127.0.0.1:"))
    async with httpx.AsyncClient() as client:
        assert (await client.get(f"{url}/bot{TOKEN}/getMe")).json()["ok"]
    program.send_signal(number)
    assert await program.stdout.read() == b""
    assert await program.wait() == 0
