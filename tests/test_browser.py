"""The web chat in a real browser, with the real bot or plain calls of the Bot API at the other end."""

import asyncio
import base64
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from browsing import browsing, needs_browser
from conftest import ADA, Chat, Painter, PublishTiny
from playwright.async_api import BrowserContext, FilePayload, Page, Route, expect

from sandbox.client import Person
from sandbox.guide import Guide, Step
from sandbox.server import running

TOKEN = "4242:" + "A" * 35
BOT = 4242
HOSTILE = "<img src=x onerror=\"document.title='run'\">'\"><script>document.title='run'</script>&amp;\u202egpj.exe"
FILE_NAME = "<img src=x onerror=alert(1)>\u202egpj.html"

OpenPage = Callable[..., Awaitable[Page]]

pytestmark = needs_browser


@pytest.fixture
async def context() -> AsyncIterator[BrowserContext]:
    async with browsing(viewport={"width": 1100, "height": 800}) as context:
        yield context


@pytest.fixture
async def open_page(context: BrowserContext) -> AsyncIterator[OpenPage]:
    """Opens a page on a sandbox, as that person in their private chat; no page may have an error at the end."""
    errors: list[str] = []

    async def opened(url: str, person: int = ADA, bot: int = 4711, *, chat: int | None = None) -> Page:
        page = await context.new_page()
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("console", lambda said: errors.append(said.text) if said.type == "error" else None)
        await page.goto(f"{url}/#bot={bot}&person={person}&chat={chat or person}")
        await expect(page.locator("#chat")).to_be_visible()
        return page

    yield opened
    assert [error for error in errors if "Failed to load resource" not in error] == []


class BotCalls:
    """A bot's plain calls."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self._client = client

    async def __call__(self, method: str, files: Any = None, **parameters: Any) -> Any:
        body = {"data": parameters, "files": files} if files else {"json": parameters}
        return (await self._client.post(method, **body)).raise_for_status().json()["result"]


@asynccontextmanager
async def calling(url: str) -> AsyncIterator[BotCalls]:
    async with httpx.AsyncClient(base_url=f"{url}/bot{TOKEN}/", trust_env=False) as client:
        bot = BotCalls(client)
        await bot("getMe")
        yield bot


@pytest.fixture
async def url() -> AsyncIterator[str]:
    async with running() as sandbox:
        yield sandbox.url


@pytest.fixture
async def bot(url: str) -> AsyncIterator[BotCalls]:
    async with calling(url) as bot:
        yield bot


def jpeg(content: bytes, name: str = "photo.jpg") -> FilePayload:
    return FilePayload(name=name, mimeType="image/jpeg", buffer=content)


async def write(page: Page, words: str) -> None:
    await page.locator("#text").fill(words)
    await page.locator("#text").press("Enter")


async def introduced(chat: Chat) -> None:
    """The page knows whom it can be once somebody has spoken."""
    await chat.person.say("/start")
    await chat.person.wait_for(lambda _: True)


async def test_a_photo_is_taught_and_taken_back(chat: Chat, open_page: OpenPage, paint: Painter) -> None:
    """A chosen photo with a caption gets its receipt; its button takes the photo back, and the receipt changes live."""
    await introduced(chat)
    page = await open_page(chat.url)
    await page.locator("#files").set_input_files([jpeg(paint("red"))])
    await expect(page.locator("#attachments img")).to_have_count(1)
    await page.locator("#text").fill("red")
    await page.locator("#send").click()
    await expect(page.locator(".mine .photo")).to_have_count(1)
    await expect(page.locator(".mine .words", has_text="red")).to_be_visible()
    receipt = page.locator(".theirs", has=page.locator(".keyboard button", has_text="Undo"))
    await expect(receipt).to_contain_text("red")
    await receipt.locator(".keyboard button", has_text="Undo").click()
    receipt = page.locator(".theirs").last
    await expect(receipt.locator(".foot")).to_contain_text("edited")
    await expect(page.locator("#attachments img")).to_have_count(0)


async def test_an_album_gets_one_receipt(chat: Chat, open_page: OpenPage, paint: Painter) -> None:
    """Three photos chosen at once are one album: one bubble, one receipt."""
    await introduced(chat)
    page = await open_page(chat.url)
    before = await page.locator(".theirs").count()
    await page.locator("#files").set_input_files([jpeg(paint("blue"), f"{place}.jpg") for place in range(3)])
    await page.locator("#text").fill("blue")
    await page.locator("#text").press("Enter")
    album = page.locator(".mine").last
    await expect(album.locator(".photo")).to_have_count(3)
    await expect(page.locator(".theirs").last).to_contain_text("3 photos")
    await expect(page.locator(".theirs")).to_have_count(before + 1)


async def test_a_photo_is_asked_about(
    chat: Chat, open_page: OpenPage, paint: Painter, publish_tiny: PublishTiny
) -> None:
    """A photo that is dropped into the chat and sent without a word is answered, with buttons."""
    publish_tiny()
    await introduced(chat)
    page = await open_page(chat.url)
    await drop(page, paint("green"))
    await page.locator("#send").click()
    answer = page.locator(".theirs").last
    await expect(answer).to_contain_text("Version 1")
    await expect(answer.get_by_role("button", name="none of these")).to_be_visible()


TRANSFER = """([type, content]) => {
  const bytes = Uint8Array.from(atob(content), (one) => one.charCodeAt(0));
  const transfer = new DataTransfer();
  transfer.items.add(new File([bytes], "photo.jpg", { type: "image/jpeg" }));
  const options = { bubbles: true, cancelable: true };
  if (type === "paste") {
    document.dispatchEvent(new ClipboardEvent("paste", { ...options, clipboardData: transfer }));
    return;
  }
  for (const name of ["dragenter", "dragover", "drop"]) {
    document.getElementById("messages").dispatchEvent(new DragEvent(name, { ...options, dataTransfer: transfer }));
  }
}"""


async def drop(page: Page, content: bytes, how: str = "drop") -> None:
    """Drop a file from elsewhere, or paste it; the browser's own events without the desktop around them."""
    await page.evaluate(TRANSFER, [how, base64.b64encode(content).decode()])


async def test_photos_come_in_every_way(url: str, bot: BotCalls, open_page: OpenPage, paint: Painter) -> None:
    """Pasted, dropped, and taken with the camera: each waits with a preview, and can be left out again."""
    await talk(url, "hello")
    page = await open_page(url, bot=BOT)
    await drop(page, paint("red"))
    await drop(page, paint("blue"), "paste")
    await page.get_by_role("button", name="Take a photo").click()
    while not await page.locator("#shot video").evaluate("(video) => video.videoWidth"):
        await page.wait_for_timeout(20)
    await page.get_by_role("button", name="Take the photo").click()
    await expect(page.locator("#attachments img")).to_have_count(3)
    await page.get_by_role("button", name="Leave out photo.jpg").first.click()
    await page.locator("#text").press("Enter")
    await expect(page.locator(".mine").last.locator(".photo")).to_have_count(2)
    updates = await bot("getUpdates")
    assert [len(update["message"].get("photo", [])) > 0 for update in updates] == [False, True, True]


async def talk(url: str, *words: str, person: int = ADA, name: str = "Ada", chat: int | None = None) -> list[Any]:
    async with Person(url, chat or person, name, person_id=person) as somebody:
        return [await somebody.say(word) for word in words]


async def test_files_are_sent_as_they_are(
    url: str, bot: BotCalls, open_page: OpenPage, paint: Painter, tmp_path: Path
) -> None:
    """What is no photo, or is ticked, goes as a file under its name, and can be loaded down again."""
    await talk(url, "hello")
    page = await open_page(url, bot=BOT)
    photo = paint("red")
    await page.locator("#files").set_input_files([jpeg(photo, "as it is.jpg")])
    await page.get_by_label("Send as files").check()
    await page.locator("#text").press("Enter")
    link = page.locator(".mine a.file")
    await expect(link).to_contain_text("as it is.jpg")
    async with page.expect_download() as loading:
        await link.click()
    loaded = await loading.value
    assert loaded.suggested_filename == "as it is.jpg"
    await loaded.save_as(tmp_path / "loaded")
    assert (tmp_path / "loaded").read_bytes() == photo


async def test_two_windows_show_one_chat(url: str, bot: BotCalls, open_page: OpenPage) -> None:
    """What is said in one window shows in the other; a tap's answer shows only where the button was tapped."""
    await talk(url, "hello")
    one, other = await open_page(url, bot=BOT), await open_page(url, bot=BOT)
    await write(one, "from the first window")
    await expect(other.locator(".mine").last).to_contain_text("from the first window")
    keyboard = {"inline_keyboard": [[{"text": "Yes", "callback_data": "yes"}]]}
    sent = await bot("sendMessage", chat_id=ADA, text="Shall I?", reply_markup=keyboard)
    await expect(one.get_by_role("button", name="Yes")).to_be_visible()
    await other.get_by_role("button", name="Yes").click()
    *_, update = await bot("getUpdates", timeout=10, allowed_updates=["callback_query"], offset=-1)
    await bot("answerCallbackQuery", callback_query_id=update["callback_query"]["id"], text="I shall")
    await expect(other.locator("#toast")).to_have_text("I shall")
    await expect(one.locator("#toast")).to_have_text("")
    await bot("editMessageText", chat_id=ADA, message_id=sent["message_id"], text="Done")
    for page in (one, other):
        await expect(page.locator(".theirs").last).to_contain_text("Done")
        await expect(page.get_by_role("button", name="Yes")).to_have_count(0)
    await bot("deleteMessage", chat_id=ADA, message_id=sent["message_id"])
    for page in (one, other):
        await expect(page.get_by_text("Done")).to_have_count(0)


HIDE = """(hidden) => {
  Object.defineProperty(document, "hidden", { value: hidden, configurable: true });
  document.dispatchEvent(new Event("visibilitychange"));
}"""


async def test_windows_out_of_sight_hold_up_nobody(url: str, bot: BotCalls, open_page: OpenPage) -> None:
    """More windows can be open than a browser has connections; one that is looked at again has caught up."""
    await talk(url, "hello")
    first = await open_page(url, bot=BOT)
    await first.evaluate(HIDE, True)
    for _ in range(7):
        page = await open_page(url, bot=BOT)
        await page.evaluate(HIDE, True)
    await bot("sendMessage", chat_id=ADA, text="Good day")
    await first.evaluate(HIDE, False)
    await expect(first.locator(".theirs")).to_contain_text("Good day")


async def test_a_tap_may_be_answered_in_a_window_of_its_own(url: str, bot: BotCalls, open_page: OpenPage) -> None:
    """An answer with show_alert has to be put away by the reader."""
    await talk(url, "hello")
    page = await open_page(url, bot=BOT)
    keyboard = {"inline_keyboard": [[{"text": "Why?", "callback_data": "why"}]]}
    await bot("sendMessage", chat_id=ADA, text="It is so.", reply_markup=keyboard)
    await page.get_by_role("button", name="Why?").click()
    *_, update = await bot("getUpdates", timeout=10, allowed_updates=["callback_query"], offset=-1)
    query = update["callback_query"]["id"]
    await bot("answerCallbackQuery", callback_query_id=query, text="Because.", show_alert=True)
    await expect(page.get_by_role("dialog")).to_contain_text("Because.")
    await page.get_by_role("button", name="OK").click()
    await expect(page.get_by_role("dialog")).to_have_count(0)


async def test_another_sandbox_on_the_port_is_noticed(open_page: OpenPage) -> None:
    """After a restart that forgot everything, an open page shows what is there now, without being loaded again."""
    async with running() as first, calling(first.url):
        await talk(first.url, "before")
        page = await open_page(first.url, bot=BOT)
        await expect(page.get_by_text("before").last).to_be_visible()
    await expect(page.locator("#lost")).to_be_visible()
    async with running(first.port) as second, calling(second.url):
        await talk(second.url, "after")
        await expect(page.locator("#lost")).to_be_hidden()
        await expect(page.locator(".mine")).to_have_count(1)
        await expect(page.locator(".mine")).to_contain_text("after")


async def test_a_restart_that_remembers_goes_on(tmp_path: Path, open_page: OpenPage) -> None:
    """After a restart with its memory, an open page keeps what it shows, and what comes next is added."""
    async with running(folder=tmp_path) as first, calling(first.url):
        await talk(first.url, "before")
        page = await open_page(first.url, bot=BOT)
        await page.locator("#text").fill("half written")
    await expect(page.locator("#lost")).to_be_visible()
    async with running(first.port, folder=tmp_path) as second, calling(second.url) as bot:
        await expect(page.locator("#lost")).to_be_hidden()
        await bot("sendMessage", chat_id=ADA, text="after")
        await expect(page.locator("article .words")).to_have_text(["before", "after"])
        await expect(page.locator("#text")).to_have_value("half written")


async def test_a_thousand_messages_can_be_read(url: str, bot: BotCalls, open_page: OpenPage) -> None:
    """The page opens at the end, every earlier message is reached by scrolling, and news do not move the reader."""
    await talk(url, *(f"Message {number}" for number in range(1000)))
    page = await open_page(url, bot=BOT)
    await expect(page.get_by_text("Message 999").last).to_be_in_viewport()
    assert await page.locator("article").count() < 200
    scroller = page.locator("#scroller")
    await scroller.hover()
    while await page.locator("article").count() < 1000:
        await page.mouse.wheel(0, -20_000)
        await page.wait_for_timeout(20)
    numbers = await page.locator("article .words").all_inner_texts()
    assert numbers == [f"Message {number}" for number in range(1000)]
    await scroller.evaluate("(element) => { element.scrollTop = element.scrollHeight / 2; }")
    place = await scroller.evaluate("(element) => element.scrollTop")
    await bot("sendMessage", chat_id=ADA, text="News")
    await expect(page.locator("#newest")).to_have_text("↓ 1 new")
    assert await scroller.evaluate("(element) => element.scrollTop") == place
    await page.locator("#newest").click()
    await expect(page.get_by_text("News").last).to_be_in_viewport()


async def test_nothing_in_a_chat_runs(url: str, bot: BotCalls, open_page: OpenPage, paint: Painter) -> None:
    """Markup in names, captions, texts, buttons and file names, from either side, shows as it was written."""
    async with Person(url, ADA, HOSTILE) as ada:
        sent = await ada.say(HOSTILE)
        await ada.photo(paint("red"), HOSTILE)
        await ada.document(b"<script>document.title='run'</script>", FILE_NAME, HOSTILE)
    reply = {"message_id": sent["message_id"]}
    url_button, tap = (
        {"text": HOSTILE, "url": "javascript:document.title='run'"},
        {"text": HOSTILE, "callback_data": "x"},
    )
    links = [{"type": "text_link", "offset": 0, "length": 4, "url": "javascript:document.title='run'"}]
    await bot(
        "sendMessage", chat_id=ADA, text=HOSTILE, reply_parameters=reply, reply_markup={"inline_keyboard": [[tap]]}
    )
    await bot(
        "sendMessage", chat_id=ADA, text=HOSTILE, entities=links, reply_markup={"inline_keyboard": [[url_button]]}
    )
    await bot("sendDocument", chat_id=ADA, caption=HOSTILE, files={"document": ("<b>x.txt", b"x")})
    await bot("setMyCommands", commands=[{"command": "x", "description": HOSTILE}])
    group = -77
    await talk(url, HOSTILE, name=HOSTILE, chat=group)
    page = await open_page(url, bot=BOT)
    await expect(page.locator("article .words")).to_have_text([HOSTILE] * 6)
    await expect(page.locator(".file .name")).to_have_text([FILE_NAME, "<b>x.txt"])
    await expect(page.locator(".quote .sender")).to_have_text(HOSTILE)
    await expect(page.locator("#person option")).to_have_text([HOSTILE])
    await expect(page.locator("article .keyboard")).to_have_text([HOSTILE] * 2)
    await page.locator("#text").press_sequentially("/")
    await expect(page.locator("#menu li span")).to_have_text(HOSTILE)
    assert await page.locator("article img[onerror], article script, #chats img, a[href^=javascript]").count() == 0
    assert await page.title() != "run"


async def test_a_hostile_upload_from_the_page(url: str, bot: BotCalls, open_page: OpenPage) -> None:
    """A name and a caption typed in the page reach the bot, and every window, letter by letter."""
    await talk(url, "hello")
    page = await open_page(url, bot=BOT)
    name = "<img src=x onerror=alert(1)>.txt"
    await page.locator("#files").set_input_files([FilePayload(name=name, mimeType="text/plain", buffer=b"x")])
    await page.locator("#text").fill(HOSTILE)
    await page.locator("#send").click()
    await expect(page.locator(".file .name")).to_have_text(name)
    await page.get_by_role("button", name="Somebody new").click()
    await page.get_by_label("Name").fill(HOSTILE[:64])
    await page.get_by_role("button", name="Add").click()
    await expect(page.locator("#person option").last).to_have_text(HOSTILE[:64])
    await write(page, HOSTILE)
    await expect(page.locator(".mine .words")).to_have_text([HOSTILE])
    messages = [update["message"] for update in await bot("getUpdates")]
    assert [message.get("caption", message.get("text")) for message in messages] == ["hello", HOSTILE, HOSTILE]
    assert messages[1]["document"]["file_name"] == name
    assert messages[2]["from"]["first_name"] == HOSTILE[:64]
    assert await page.title() != "run"


async def test_the_keyboard_is_enough(url: str, bot: BotCalls, open_page: OpenPage) -> None:
    """Commands, a reply and a button are all done without a mouse; the focus survives a live edit."""
    await talk(url, "hello")
    await bot("setMyCommands", commands=[{"command": "status", "description": "How it stands"}])
    keyboard = {"inline_keyboard": [[{"text": "More", "callback_data": "more"}]]}
    sent = await bot("sendMessage", chat_id=ADA, text="Good day", reply_markup=keyboard)
    page = await open_page(url, bot=BOT)
    await page.locator("#text").focus()
    await page.keyboard.type("/st")
    await expect(page.locator("#menu li")).to_have_count(1)
    await page.keyboard.press("Tab")
    await page.keyboard.press("Enter")
    await expect(page.locator(".mine").last).to_contain_text("/status")
    await page.locator("article").last.focus()
    await page.keyboard.press("ArrowUp")
    await expect(page.locator("article:focus")).to_contain_text("Good day")
    await page.keyboard.press("Tab")
    await page.keyboard.press("Enter")
    await page.keyboard.type("I reply")
    await page.keyboard.press("Enter")
    await expect(page.locator(".mine").last.locator(".quote")).to_contain_text("Good day")
    await page.get_by_role("button", name="More").focus()
    await bot("editMessageText", chat_id=ADA, message_id=sent["message_id"], text="Good night", reply_markup=keyboard)
    await expect(page.get_by_text("Good night").first).to_be_visible()
    await expect(page.get_by_role("button", name="More")).to_be_focused()


async def test_people_and_chats_are_switched(url: str, bot: BotCalls, open_page: OpenPage) -> None:
    """Each person has a chat of their own with the bot, groups are everybody's, and news elsewhere are counted."""
    await talk(url, "from Ada")
    await talk(url, "from Bo", person=2002, name="Bo")
    await talk(url, "for all", person=2002, name="Bo", chat=-5)
    page = await open_page(url, bot=BOT)
    await expect(page.locator("article")).to_have_count(1)
    await expect(page.locator("#chats button")).to_have_count(2)
    await page.locator("#chats button", has_text="Group 5").click()
    await expect(page.locator("article .sender")).to_have_text("Bo")
    await write(page, "Ada here")
    await expect(page.locator(".mine")).to_have_count(1)
    await bot("sendMessage", chat_id=ADA, text="For you alone")
    await expect(page.locator("#chats .unread")).to_have_text("1 unread")
    await expect(page).to_have_title("(1) Sandbox chat")
    await page.get_by_label("You are").select_option("Bo")
    await expect(page.locator(".mine .words")).to_have_text("from Bo")
    await page.go_back()
    await expect(page.locator("#title")).to_have_text("Group 5")


async def test_the_list_of_chats_keeps_up(url: str, bot: BotCalls, open_page: OpenPage) -> None:
    """It shows the last message as it is now, edited or deleted, counts only what others say, and loses no click."""
    (first,) = await talk(url, "from Ada")
    await talk(url, "for all", chat=-5)
    page = await open_page(url, bot=BOT, chat=-5)
    private = page.locator("#chats button").first
    (again,) = await talk(url, "again from Ada")
    await expect(private).to_contain_text("You: again from Ada")
    await expect(private.locator(".unread")).to_have_count(0)
    sent = await bot("sendMessage", chat_id=ADA, text="10 %")
    await private.hover()
    await page.mouse.down()
    await bot("editMessageText", chat_id=ADA, message_id=sent["message_id"], text="100 %")
    await expect(private).to_contain_text("100 %")
    await page.mouse.up()
    await expect(page.locator("#title")).to_have_text("Sandbox bot")
    await bot("deleteMessage", chat_id=ADA, message_id=sent["message_id"])
    await expect(private).to_contain_text("You: again from Ada")
    for message_id in (again["message_id"], first["message_id"]):
        await bot("deleteMessage", chat_id=ADA, message_id=message_id)
    await expect(private).to_contain_text("Say something")
    await expect(page.locator("#messages > *")).to_have_count(0)


async def test_whoever_is_made_up_in_one_window_stays(url: str, bot: BotCalls, open_page: OpenPage) -> None:
    """Two windows may both introduce somebody; a third knows both."""
    await talk(url, "hello")
    windows = [await open_page(url, bot=BOT) for _ in range(2)]
    for page, name in zip(windows, ("Bo", "Cy"), strict=True):
        await page.get_by_role("button", name="Somebody new").click()
        await page.get_by_label("Name").fill(name)
        await page.get_by_role("button", name="Add").click()
        await expect(page.locator("#person")).to_contain_text(name)
    third = await open_page(url, bot=BOT)
    await expect(third.locator("#person option")).to_have_text(["Ada", "Bo", "Cy"])


async def test_a_slow_answer_shows_once(url: str, bot: BotCalls, open_page: OpenPage) -> None:
    """A chat that is left and opened again before its messages have come shows each of them once."""
    await talk(url, "from Ada")
    await talk(url, "for all", chat=-5)
    page = await open_page(url, bot=BOT, chat=-5)
    await expect(page.locator("article")).to_have_count(1)
    held, slow = asyncio.Event(), re.compile(f"/chats/{ADA}/messages")

    async def hold(route: Route) -> None:
        await held.wait()
        await route.continue_()

    await page.route(slow, hold)
    private, group = page.locator("#chats button").first, page.locator("#chats button").last
    for chat in (private, group, private):
        await chat.click()
    await expect(page.locator("#title")).to_have_text("Sandbox bot")
    held.set()
    await bot("sendMessage", chat_id=ADA, text="Good day")
    await expect(page.locator("article .words")).to_have_text(["from Ada", "Good day"])


async def test_the_bot_is_seen_at_work(url: str, bot: BotCalls, open_page: OpenPage) -> None:
    """A chat action shows under the name until the message comes."""
    await talk(url, "hello")
    page = await open_page(url, bot=BOT)
    await bot("sendChatAction", chat_id=ADA, action="upload_photo")
    await expect(page.locator("#subtitle")).to_have_text("The bot is sending a photo …")
    await bot("sendMessage", chat_id=ADA, text="Here")
    await expect(page.locator("#subtitle")).to_have_text(f"@sandbox_{BOT}_bot")


async def test_a_reply_keyboard_is_pressed(url: str, bot: BotCalls, open_page: OpenPage) -> None:
    """The bot's suggestions stand below the chat, also after loading it again, until the bot takes them away."""
    await talk(url, "hello")
    page = await open_page(url, bot=BOT)
    shown = {"keyboard": [["Left", HOSTILE]], "input_field_placeholder": "Where to?"}
    await bot("sendMessage", chat_id=ADA, text="Which?", reply_markup=shown)
    await page.locator("#keyboard").get_by_role("button", name="Left").click()
    await expect(page.locator(".mine").last).to_contain_text("Left")
    await write(page, "or neither")
    await expect(page.locator("#text")).to_have_attribute("placeholder", "Where to?")
    await page.reload()
    await expect(page.locator("#keyboard button").last).to_have_text(HOSTILE)
    await bot("sendMessage", chat_id=ADA, text="Good", reply_markup={"remove_keyboard": True})
    await expect(page.locator("#keyboard")).to_be_hidden()


async def test_a_refusal_is_told_and_nothing_is_lost(
    url: str, bot: BotCalls, open_page: OpenPage, paint: Painter
) -> None:
    """What the sandbox does not take comes back into the box, with the reason; what it took does not."""
    await talk(url, "hello")
    page = await open_page(url, bot=BOT)
    await page.locator("#files").set_input_files([jpeg(b"no picture at all")])
    await page.locator("#text").fill("a caption")
    await page.locator("#send").click()
    await expect(page.locator("#trouble")).to_contain_text("Not sent: ")
    await expect(page.locator("#text")).to_have_value("a caption")
    await expect(page.locator("#attachments li")).to_have_count(1)
    await page.get_by_role("button", name="Leave out photo.jpg").click()
    good = [jpeg(paint("red"), f"{number}.jpg") for number in range(10)]
    await page.locator("#files").set_input_files([*good, jpeg(b"no picture at all")])
    await page.locator("#send").click()
    await expect(page.locator("#attachments img")).to_have_count(1)
    await expect(page.locator(".mine").last.locator(".photo")).to_have_count(10)


async def test_whoever_writes_faster_than_it_is_sent_loses_nothing(
    url: str, bot: BotCalls, open_page: OpenPage
) -> None:
    """What is written while something is on its way stays, and is sent behind it; lines end as in Telegram."""
    await talk(url, "hello")
    page = await open_page(url, bot=BOT)
    held = asyncio.Event()

    async def hold(route: Route) -> None:
        await held.wait()
        await route.continue_()

    await page.route(f"**/client/chats/{ADA}/messages", hold)
    for words in ("one", "two\ntwo"):
        await write(page, words)
    await page.locator("#text").fill("a draft")
    held.set()
    await expect(page.locator(".mine .words")).to_have_text(["hello", "one", "two\ntwo"])
    await expect(page.locator("#text")).to_have_value("a draft")
    assert [update["message"]["text"] for update in await bot("getUpdates")] == ["hello", "one", "two\ntwo"]


@pytest.mark.parametrize("colours", ["light", "dark"])
async def test_a_phone_shows_one_thing_at_a_time(colours: str) -> None:
    """On a narrow window the chats are one page and a chat is another, to and fro; nothing is wider than the window."""
    options: dict[str, Any] = {"viewport": {"width": 360, "height": 640}, "color_scheme": colours, "has_touch": True}
    async with running() as sandbox, calling(sandbox.url) as bot, browsing(**options) as context:
        await talk(sandbox.url, "hello")
        await bot("sendMessage", chat_id=ADA, text="W" * 300)
        await bot("setMyName", name="W" * 64)
        page = await context.new_page()
        await page.goto(sandbox.url)
        await expect(page.locator("#chat")).to_be_hidden()
        await page.locator("#chats button").click()
        await expect(page.locator("#sidebar")).to_be_hidden()
        assert await page.evaluate("document.documentElement.scrollWidth") == 360
        await page.get_by_role("button", name="Back to the chats").click()
        await expect(page.locator("#sidebar")).to_be_visible()
        await page.locator("#chats button").click()
        await expect(page.locator("#chat")).to_be_visible()


async def test_before_a_bot_comes_the_page_says_how(url: str, context: BrowserContext) -> None:
    """Without a bot the page tells the address; it opens the chat by itself as soon as one calls."""
    page = await context.new_page()
    await page.goto(url)
    await expect(page.locator("#address")).to_have_text(f"{url}/bot")
    await expect(page.get_by_role("button", name="New group")).to_be_disabled()
    await page.get_by_role("button", name="Somebody new").click()
    await page.get_by_label("Name").fill("Bo")
    await page.get_by_role("button", name="Add").click()
    await expect(page.get_by_label("You are").locator("option:checked")).to_have_text("Bo")
    async with calling(url):
        await expect(page.locator("#chat")).to_be_visible()
        await write(page, "hello")
        await expect(page.locator(".mine")).to_have_count(1)


async def test_a_bot_that_comes_before_the_page_listens_is_noticed(url: str, context: BrowserContext) -> None:
    """Between the page's first look and its listening a bot may come, and is not missed."""
    page = await context.new_page()
    held = asyncio.Event()

    async def hold(route: Route) -> None:
        await held.wait()
        await route.continue_()

    await page.route("**/client/stream*", hold)
    await page.goto(url)
    await expect(page.locator("#instructions")).to_be_visible()
    async with calling(url):
        held.set()
        await expect(page.locator("#chat")).to_be_visible()


async def test_samples_and_tour(tmp_path: Path, open_page: OpenPage, paint: Painter) -> None:
    """Sample photos are clicked or dragged into the chat; a tour goes on when the bot says what it waits for."""
    for number in range(3):
        path = tmp_path / "red sign" / f"{number}.jpg"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(paint("red"))
    steps = (
        Step("Ask", "Send one.", samples=("red sign/0.jpg",), until="It is red"),
        Step("Teach", "Send two.", samples=("red sign/1.jpg", "red sign/2.jpg"), caption="red", until="^Stored"),
        Step("Watch", "Look at Bo.", until="^Dear", chat=2002),
        Step("The end", "That is all."),
    )
    async with (
        running(guide=Guide(tmp_path, ((ADA, "You"), (2002, "Bo")), steps)) as sandbox,
        calling(sandbox.url) as bot,
    ):
        page = await open_page(sandbox.url, bot=BOT)
        tour = page.locator("#tour")
        await expect(tour).to_contain_text("1 of 4")
        await tour.get_by_role("button", name="Send", exact=True).click()
        await expect(page.locator(".mine .photo")).to_have_count(1)
        await bot("sendMessage", chat_id=ADA, text="It is red, version 1")
        await expect(tour).to_contain_text("2 of 4")
        await tour.get_by_role("button", name="Send as “red”").click()
        await expect(page.locator(".mine").last.locator(".photo")).to_have_count(2)
        await page.reload()
        await expect(tour).to_contain_text("2 of 4")
        await bot("sendMessage", chat_id=ADA, text="Stored")
        await tour.get_by_role("button", name="Look at Bo’s chat").click()
        await expect(tour.get_by_role("button", name="Look at")).to_have_count(0)
        await talk(sandbox.url, "hello", person=2002, name="Bo")
        await bot("sendMessage", chat_id=2002, text="Dear Bo")
        await expect(tour).to_contain_text("4 of 4")
        await tour.get_by_role("button", name="Back to your own chat").click()
        await expect(tour).to_contain_text("That is all.")
        await tour.get_by_role("button", name="Done").press("Enter")
        await expect(tour).to_be_hidden()
        await page.get_by_text("Sample photos").click()
        samples = page.locator("#samples").get_by_role("button", name="Attach a photo: red sign")
        await expect(samples).to_have_count(3)
        (tmp_path / "red sign" / "2.jpg").unlink()
        await samples.nth(2).click()
        await expect(page.locator("#trouble")).to_have_text("This sample photo is gone.")
        await samples.first.click()
        await samples.nth(1).drag_to(page.locator("#messages"))
        await expect(page.locator("#drop")).to_be_hidden()
        await expect(page.locator("#attachments img")).to_have_count(2)
        await page.locator("#text").press("Enter")
        await expect(page.locator(".mine").last.locator(".photo")).to_have_count(2)


async def test_a_tour_knows_what_was_before_it(open_page: OpenPage) -> None:
    """Whoever comes late goes on from what the bot said, however much was said since."""
    steps = Step("Watch", "Look at Bo.", until="^Dear", chat=2002), Step("Then", "Look on.", until="^Yours")
    guide = Guide(people=((ADA, "You"), (2002, "Bo")), steps=steps)
    async with running(guide=guide) as sandbox, calling(sandbox.url) as bot:
        await talk(sandbox.url, "hello", person=2002)
        await bot("sendMessage", chat_id=2002, text="Dear Bo")
        await talk(sandbox.url, *map(str, range(100)), person=2002)
        page = await open_page(sandbox.url, bot=BOT)
        await expect(page.locator("#tour")).to_contain_text("2 of 2")
