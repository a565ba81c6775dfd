"""Three libraries, each in an ordinary bot of tests/bots that knows nothing of the sandbox but its address."""

import asyncio
import contextlib
import io
import re
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import aiogram
import httpx
import pytest
import pytest_asyncio
import telegram
from aiogram.client.session.aiohttp import AiohttpSession
from aiogram.client.telegram import TelegramAPIServer
from PIL import Image
from telebot import asyncio_helper
from telebot.async_telebot import AsyncTeleBot

from sandbox.client import Person

BOTS = Path(__file__).parent / "bots"
LIBRARIES = ["python_telegram_bot", "aiogram_bot", "telebot_bot"]
PATIENCE = 20  # seconds that a program may take to do what it must
HOSTILE = "</b> <script>alert('&amp;')</script> \"<b>\" *_`[ \\ \u202egnp.exe 猫😀"

numbers = count(1)


@dataclass(frozen=True)
class Bot:
    """A bot that runs, and the file of what it complained about."""

    url: str
    id: int
    errors: Path

    @property
    def token(self) -> str:
        return f"{self.id}:{'A' * 35}"

    def person(self) -> Person:
        """Somebody new in a chat of their own."""
        return Person(self.url, 1000 + next(numbers), bot=self.id)

    async def ask(self, method: str) -> Any:
        """What the server answers this bot."""
        async with httpx.AsyncClient(trust_env=False) as client:
            return (await client.get(f"{self.url}/bot{self.token}/{method}")).json()["result"]

    async def fault(self, **fault: Any) -> None:
        async with httpx.AsyncClient(trust_env=False) as client:
            body = fault | {"bot": self.id}
            (await client.post(f"{self.url}/client/faults", json=body)).raise_for_status()

    async def met_its_fault(self) -> None:
        """Wait until no fault is to come."""
        async with httpx.AsyncClient(trust_env=False) as client, asyncio.timeout(PATIENCE):
            while (await client.get(f"{self.url}/client/faults")).json()["faults"]:
                pass


@contextlib.contextmanager
def program(*arguments: str | Path, errors: Path) -> Iterator[subprocess.Popen[str]]:
    """A Python program that runs within the block, and then must end by itself when asked to."""
    with errors.open("w") as file:
        process = subprocess.Popen([sys.executable, *arguments], stdout=subprocess.PIPE, stderr=file, text=True)
    with process:
        try:
            yield process
            process.terminate()
            assert process.wait(PATIENCE) == 0
        finally:
            process.kill()


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a sandbox."""
    errors = tmp_path_factory.mktemp("sandbox") / "errors.txt"
    with program("-c", "from sandbox.server import serve; serve(0)", errors=errors) as process:
        assert process.stdout
        found = re.search(r"http://\S+", process.stdout.readline())
        assert found
        yield found[0]
    assert errors.read_text() == ""


@contextlib.contextmanager
def playing(library: str, url: str, errors: Path, *more: str) -> Iterator[Bot]:
    bot = Bot(url, 5000 + next(numbers), errors)
    with program(BOTS / f"{library}.py", url, bot.token, *more, errors=errors):
        yield bot


@pytest.fixture(scope="module", params=LIBRARIES)
def bot(request: pytest.FixtureRequest, sandbox: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bot]:
    """A bot with each library, which must not have complained about anything at its end."""
    errors = tmp_path_factory.mktemp("bot") / "errors.txt"
    with playing(request.param, sandbox, errors) as bot:
        yield bot
    assert not re.search("error|exception|traceback|warning", errors.read_text(), re.IGNORECASE), errors.read_text()


@pytest_asyncio.fixture
async def ada(bot: Bot) -> AsyncIterator[Person]:
    async with bot.person() as person:
        yield person


def picture(size: tuple[int, int], shade: str = "green") -> bytes:
    out = io.BytesIO()
    Image.new("RGB", size, shade).save(out, "JPEG")
    return out.getvalue()


async def colour(person: Person, message: dict[str, Any]) -> str:
    """The strongest of the three colours in a message's photo."""
    with Image.open(io.BytesIO(await person.file(message["photo"][-1]["file_id"]))) as image:
        pixel = image.convert("RGB").getpixel((5, 5))
    assert isinstance(pixel, tuple)
    return ("red", "green", "blue")[pixel.index(max(pixel))]


def texts(message: dict[str, Any]) -> list[str]:
    """The words on the buttons."""
    return [button["text"] for row in message["reply_markup"]["inline_keyboard"] for button in row]


async def test_commands_are_announced(bot: Bot, ada: Person) -> None:
    """The bot starts with getMe and setMyCommands."""
    await ada.say("hello")
    await ada.wait_for(lambda m: m["text"] == "Echo: hello")
    assert (await bot.ask("getMe"))["id"] == bot.id
    assert [command["command"] for command in await bot.ask("getMyCommands")] == ["start", "caption", "delete"]


async def test_buttons_are_shown_and_tapped(ada: Person) -> None:
    """A tap is answered with a text, and the message gets another text and other buttons."""
    await ada.say("/start")
    asked = await ada.wait_for(lambda m: m["text"] == "Yes or no?")
    assert texts(asked) == ["Yes", "No"]
    await ada.tap(asked["message_id"], "answer:no")
    edited = await ada.wait_for(lambda m: m["text"] == "It was answer:no")
    assert (edited["message_id"], texts(edited)) == (asked["message_id"], ["Again"])
    answers = [event for event in await ada.events() if event["type"] == "callback_answered"]
    assert [(answer["text"], answer["show_alert"]) for answer in answers] == [("You tapped answer:no", False)]


async def test_text_is_echoed_verbatim(ada: Person) -> None:
    """A hostile text in escaped HTML is shown as it was written, with the markup around it alone."""
    said = await ada.say(HOSTILE)
    reply = await ada.reply_to(said["message_id"])
    assert reply["text"] == f"Echo: {HOSTILE}"
    assert reply["entities"] == [{"type": "bold", "offset": 0, "length": 5}]


async def test_a_photo_goes_there_and_back(ada: Person) -> None:
    """A photo is fetched whole and sent back, after the sign that something is coming."""
    content = picture((500, 300))
    sent = await ada.photo(content)
    reply = await ada.reply_to(sent["message_id"])
    assert reply["caption"] == f"{len(content)} bytes, 500 x 300 pixels"
    assert await ada.file(reply["photo"][-1]["file_id"]) == content
    assert [event["type"] for event in await ada.events()] == ["sent", "chat_action", "sent"]


async def test_an_album_is_answered_once_with_an_album(ada: Person) -> None:
    """The photos of an album come back in one album, in their order."""
    await ada.album([picture((300, 200), shade) for shade in ("red", "green", "blue")])
    first = await ada.wait_for(lambda m: m.get("caption") == "3 photos")
    await ada.say("done")
    await ada.wait_for(lambda m: m.get("text") == "Echo: done")
    sent = [event["message"] for event in await ada.events() if event["type"] == "sent"]
    album = [message for message in sent if message["from"]["is_bot"] and "photo" in message]
    assert {message["media_group_id"] for message in album} == {first["media_group_id"]}
    assert [await colour(ada, message) for message in album] == ["red", "green", "blue"]


async def test_a_document_keeps_bytes_and_name(ada: Person) -> None:
    """A file comes back byte for byte under its name, in whatever script."""
    sent = await ada.document(bytes(range(256)), "Größe & 猫 😀.txt")
    document = (await ada.reply_to(sent["message_id"]))["document"]
    assert (document["file_name"], document["mime_type"]) == ("Größe & 猫 😀.txt", "text/plain")
    assert await ada.file(document["file_id"]) == bytes(range(256))


async def test_captions_and_photos_are_edited(ada: Person) -> None:
    """A photo gets another caption, and then is another photo in the same message."""
    await ada.say("/caption")
    red = await ada.wait_for(lambda m: m.get("caption") == "red")
    soon = await ada.wait_for(lambda m: m.get("caption") == "soon blue")
    blue = await ada.wait_for(lambda m: m.get("caption") == "blue")
    assert len({message["message_id"] for message in (red, soon, blue)}) == 1
    assert [await colour(ada, message) for message in (red, soon, blue)] == ["red", "red", "blue"]


async def test_messages_are_deleted(ada: Person) -> None:
    """A message that the bot deletes is gone."""
    await ada.say("/delete")
    sent = await ada.wait_for(lambda m: m["text"] == "This goes away")
    await ada.say("still there?")
    await ada.wait_for(lambda m: m["text"] == "Echo: still there?")
    deleted = [event["message_id"] for event in await ada.events() if event["type"] == "deleted"]
    assert deleted == [sent["message_id"]]


@pytest.mark.parametrize("library", LIBRARIES)
async def test_faults_are_survived(library: str, sandbox: str, tmp_path: Path) -> None:
    """A limit that says how long to wait costs time only, and a lost connection the call that it met."""
    with playing(library, sandbox, tmp_path / "errors.txt") as bot:
        async with bot.person() as ada:
            await bot.fault(method="sendMessage", error_code=429, retry_after=1)
            await ada.say("limited")
            await ada.wait_for(lambda m: m["text"] == "Echo: limited")
            await bot.fault(method="getUpdates", drop=True)
            await ada.say("the next poll is lost")
            await bot.met_its_fault()
            await bot.fault(method="sendPhoto", drop=True)
            await ada.photo(picture((90, 90)))
            await bot.met_its_fault()
            await ada.say("still there?")
            await ada.wait_for(lambda m: m["text"] == "Echo: still there?")
            photos = [event for event in await ada.events() if "photo" in event.get("message", {})]
            assert len(photos) == 1


def telegram_bot(url: str, token: str) -> telegram.Bot:
    return telegram.Bot(token, f"{url}/bot", f"{url}/file/bot")


def aiogram_bot(url: str, token: str) -> aiogram.Bot:
    return aiogram.Bot(token, AiohttpSession(api=TelegramAPIServer.from_base(url)))


@contextlib.asynccontextmanager
async def tele_bot(url: str, token: str) -> AsyncIterator[AsyncTeleBot]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(asyncio_helper, "API_URL", f"{url}/bot{{0}}/{{1}}")
        bot = AsyncTeleBot(token)
        yield bot
        await bot.close_session()  # type: ignore[no-untyped-call]


@pytest.mark.parametrize("library", [telegram_bot, aiogram_bot, tele_bot])
async def test_every_kind_of_answer_is_understood(
    library: Callable[[str, str], AbstractAsyncContextManager[Any]], sandbox: str
) -> None:
    """Each library makes its own objects of what the less common methods answer, however strict it is."""
    bot_id = 5000 + next(numbers)
    async with (
        library(sandbox, f"{bot_id}:{'A' * 35}") as bot,
        Person(sandbox, 1000 + next(numbers), bot=bot_id) as ada,
    ):
        photo = await ada.photo(picture((90, 90)), "look")
        group = -ada.chat_id
        async with Person(sandbox, group, person_id=ada.chat_id, bot=bot_id) as there:
            await there.say("hello")
        here = {"chat_id": ada.chat_id}
        one = here | {"message_id": photo["message_id"]}
        moved = one | {"from_chat_id": ada.chat_id}
        assert (await bot.forward_message(**moved)).forward_origin.sender_user.id == ada.chat_id
        assert (await bot.copy_message(**moved, caption="*new*", parse_mode="MarkdownV2")).message_id
        many = here | {"from_chat_id": ada.chat_id, "message_ids": [photo["message_id"]]}
        copies = [*await bot.forward_messages(**many), *await bot.copy_messages(**many)]
        assert await bot.delete_messages(**here, message_ids=[copy.message_id for copy in copies])
        assert await bot.pin_chat_message(**one)
        assert (await bot.get_chat(ada.chat_id)).pinned_message.caption == "look"
        assert await bot.unpin_chat_message(**one)
        assert await bot.unpin_all_chat_messages(**here)
        assert await bot.set_message_reaction(**one)
        assert (await bot.get_chat_member(group, ada.chat_id)).status == "creator"
        assert (await bot.get_chat_member(group, bot_id)).status == "member"
        assert len(await bot.get_chat_administrators(group)) == 1
        assert await bot.get_chat_member_count(group) == 2
        assert (await bot.get_user_profile_photos(ada.chat_id)).total_count == 0
        assert await bot.set_my_name("Echo")
        assert (await bot.get_my_name()).name == "Echo"
        assert await bot.set_my_description("I echo")
        assert (await bot.get_my_description()).description == "I echo"
        assert await bot.set_my_short_description("Echo")
        assert (await bot.get_my_short_description()).short_description == "Echo"
        assert await bot.set_chat_menu_button()
        assert (await bot.get_chat_menu_button()).type == "default"
        assert (await bot.get_webhook_info()).url == ""


async def test_a_library_serves_a_webhook(sandbox: str, tmp_path: Path) -> None:
    """With aiogram's own web server, updates come by webhook, and what it answers them with is carried out."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with playing("aiogram_bot", sandbox, tmp_path / "errors.txt", str(port)) as bot:
        async with bot.person() as ada:
            said = await ada.say("by webhook")
            assert (await ada.reply_to(said["message_id"]))["text"] == "Echo: by webhook"
            sent = await ada.photo(picture((90, 90)))
            assert "90 x 90" in (await ada.reply_to(sent["message_id"]))["caption"]
            assert (await bot.ask("getWebhookInfo"))["url"] == f"http://127.0.0.1:{port}/hook"
    assert (tmp_path / "errors.txt").read_text() == ""
