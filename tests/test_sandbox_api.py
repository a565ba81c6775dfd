import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio
from bot_api import ADA, TOKEN, URL, BotApi, picture

from sandbox.app import create_app
from sandbox.client import Person

OTHER = "654321:" + "B" * 35
NOW = 1_800_000_000


@pytest.fixture
def transport(tmp_path: Path) -> httpx.ASGITransport:
    return httpx.ASGITransport(create_app(tmp_path, lambda: NOW))


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


async def test_a_token_is_a_bot(bot: BotApi) -> None:
    """A bot's id is the number before the colon of its token."""
    me = await bot.call("getMe")
    assert (me["id"], me["is_bot"]) == (123456, True)


@pytest.mark.parametrize("token", ["123456", "x:" + "A" * 35, "123456:short", "0:" + "A" * 35])
async def test_what_is_no_token_is_unauthorised(client: httpx.AsyncClient, token: str) -> None:
    """Anything but a number, a colon and 30 or more letters is answered by 401."""
    assert (await BotApi(client, token).ask("getMe"))["error_code"] == 401


async def test_unknown_methods_and_addresses_are_not_found(client: httpx.AsyncClient, bot: BotApi) -> None:
    """A method that does not exist, and any other address, answers 404 in the envelope."""
    assert await bot.ask("sendPigeon") == {"ok": False, "error_code": 404, "description": "Not Found"}
    assert (await client.get("/elsewhere")).json()["error_code"] == 404


async def test_method_names_ignore_case_and_parameters_come_in_four_ways(
    client: httpx.AsyncClient, ada: Person
) -> None:
    """Query, form, multipart and JSON carry the same call."""
    await ada.say("hi")
    fields: dict[str, str] = {"chat_id": str(ADA), "text": "hello"}
    address = f"/bot{TOKEN}/SENDMESSAGE"
    answers = [
        await client.get(address, params=fields),
        await client.post(address, data=fields),
        await client.post(address, data=fields, files={"unused": b"x"}),
        await client.post(address, json=fields),
    ]
    assert [answer.json()["result"]["text"] for answer in answers] == ["hello"] * 4


async def test_a_bot_cannot_write_first(bot: BotApi) -> None:
    """A chat that no person opened is not found."""
    assert await bot.refusal("sendMessage", chat_id=ADA, text="hi") == "Bad Request: chat not found"
    assert await bot.refusal("sendMessage", text="hi") == "Bad Request: chat_id is empty"


async def test_text_limits(bot: BotApi, ada: Person) -> None:
    """Text is 1 to 4096 characters, counted after entities are parsed."""
    await ada.say("hi")
    assert await bot.refusal("sendMessage", chat_id=ADA, text=" \n ") == "Bad Request: message text is empty"
    assert await bot.refusal("sendMessage", chat_id=ADA, text="x" * 4097) == "Bad Request: message is too long"
    sent = await bot.call("sendMessage", chat_id=ADA, text=f"<b>{'&lt;' * 4096}</b>", parse_mode="HTML")
    assert sent["text"] == "<" * 4096


async def test_formatting_becomes_entities(bot: BotApi, ada: Person) -> None:
    """HTML and both kinds of Markdown turn into entities, given entities are kept, other modes are refused."""
    await ada.say("hi")
    sent = await bot.call("sendMessage", chat_id=ADA, text="a <b>cat</b> ", parse_mode="html")
    bold = [{"type": "bold", "offset": 2, "length": 3}]
    assert (sent["text"], sent["entities"]) == ("a cat", bold)
    assert (await bot.call("sendMessage", chat_id=ADA, text="a cat", entities=bold))["entities"] == bold
    assert "can't parse entities" in await bot.refusal("sendMessage", chat_id=ADA, text="<b>", parse_mode="HTML")
    for mode in ("MarkdownV2", "Markdown"):
        sent = await bot.call("sendMessage", chat_id=ADA, text="a *cat* ", parse_mode=mode)
        assert (sent["text"], sent["entities"]) == ("a cat", bold)
    assert "unsupported parse_mode" in await bot.refusal("sendMessage", chat_id=ADA, text="a", parse_mode="rst")


async def test_replies_show_what_they_answer(bot: BotApi, ada: Person) -> None:
    """A reply carries the answered message, in either spelling of the parameter; a missing one is an error."""
    asked = await ada.say("question")
    for reply in (
        {"reply_parameters": {"message_id": asked["message_id"]}},
        {"reply_to_message_id": asked["message_id"]},
    ):
        sent = await bot.call("sendMessage", chat_id=ADA, text="answer", **reply)
        assert sent["reply_to_message"]["text"] == "question"
    gone = {"message_id": 1}
    assert "message to be replied not found" in await bot.refusal(
        "sendMessage", chat_id=ADA, text="x", reply_parameters=gone
    )
    lenient = gone | {"allow_sending_without_reply": True}
    assert "reply_to_message" not in await bot.call("sendMessage", chat_id=ADA, text="x", reply_parameters=lenient)


async def test_keyboards_are_checked(bot: BotApi, ada: Person) -> None:
    """Callback data of 1 to 64 bytes is kept, anything else is refused."""
    await ada.say("hi")

    def markup(data: str) -> dict[str, Any]:
        return {"inline_keyboard": [[{"text": "ok", "callback_data": data}]]}

    sent = await bot.call("sendMessage", chat_id=ADA, text="x", reply_markup=markup("ä" * 32))
    assert sent["reply_markup"] == markup("ä" * 32)
    for data in ("", "ä" * 33):
        refusal = await bot.refusal("sendMessage", chat_id=ADA, text="x", reply_markup=markup(data))
        assert refusal == "Bad Request: BUTTON_DATA_INVALID"
    bare = {"inline_keyboard": [[{"text": "ok"}]]}
    assert "Text buttons" in await bot.refusal("sendMessage", chat_id=ADA, text="x", reply_markup=bare)


async def test_a_tap_reaches_the_bot_with_its_message(bot: BotApi, ada: Person) -> None:
    """A callback query carries person, data and the message with what it answered; its answer is an event."""
    asked = await ada.say("question")
    sent = await bot.call("sendMessage", chat_id=ADA, text="pick", reply_to_message_id=asked["message_id"])
    query_id = await ada.tap(sent["message_id"], "right:1")
    query = (await bot.call("getUpdates"))[-1]["callback_query"]
    assert (query["id"], query["data"], query["from"]["id"]) == (query_id, "right:1", ADA)
    assert query["message"]["reply_to_message"]["text"] == "question"
    await bot.call("answerCallbackQuery", callback_query_id=query_id, text="Thanks", show_alert=True)
    answer = (await ada.events())[-1]
    assert (answer["type"], answer["text"], answer["show_alert"]) == ("callback_answered", "Thanks", True)
    assert "MESSAGE_TOO_LONG" in await bot.refusal("answerCallbackQuery", callback_query_id=query_id, text="x" * 201)
    assert "query ID is invalid" in await bot.refusal("answerCallbackQuery", callback_query_id="1")


async def test_edits(bot: BotApi, ada: Person) -> None:
    """An edit changes the text, dates it, drops a keyboard not named again, and refuses to change nothing."""
    await ada.say("hi")
    markup = {"inline_keyboard": [[{"text": "ok", "callback_data": "1"}]]}
    sent = await bot.call("sendMessage", chat_id=ADA, text="<b>a</b>", parse_mode="HTML", reply_markup=markup)
    place = {"chat_id": ADA, "message_id": sent["message_id"]}
    same = await bot.refusal("editMessageText", text="<b>a</b>", parse_mode="HTML", reply_markup=markup, **place)
    assert same.startswith("Bad Request: message is not modified")
    edited = await bot.call("editMessageText", text="b", **place)
    assert (edited["text"], "reply_markup" in edited, edited["edit_date"]) == ("b", False, NOW)
    assert "not modified" in await bot.refusal("editMessageText", text=" b ", **place)
    assert (await bot.call("editMessageReplyMarkup", reply_markup=markup, **place))["reply_markup"] == markup
    assert "reply_markup" not in await bot.call("editMessageReplyMarkup", **place)
    assert "no caption" in await bot.refusal("editMessageCaption", caption="c", **place)
    assert [event["type"] for event in await ada.events()] == ["sent", "sent", *["edited"] * 3]


async def test_only_the_bots_own_messages_can_be_edited(bot: BotApi, ada: Person) -> None:
    """A person's message cannot be edited, and a missing one is not found."""
    said = await ada.say("hi")
    place = {"chat_id": ADA, "text": "x"}
    assert "can't be edited" in await bot.refusal("editMessageText", message_id=said["message_id"], **place)
    assert "message to edit not found" in await bot.refusal("editMessageText", message_id=1, **place)


async def test_photos_go_both_ways(client: httpx.AsyncClient, bot: BotApi, ada: Person) -> None:
    """A bot sends a photo by upload and by file id; it comes in sizes and can be fetched by the person."""
    await ada.say("hi")
    sent = await bot.call("sendPhoto", {"photo": picture()}, chat_id=ADA, caption="<i>me</i>", parse_mode="HTML")
    assert [size["width"] for size in sent["photo"]] == [100, 320, 400]
    assert (sent["caption"], sent["caption_entities"][0]["type"]) == ("me", "italic")
    assert await ada.file(sent["photo"][-1]["file_id"]) == picture()
    again = await bot.call("sendPhoto", chat_id=ADA, photo=sent["photo"][0]["file_id"])
    assert again["photo"][-1] == sent["photo"][-1]
    assert "by address" in await bot.refusal("sendPhoto", chat_id=ADA, photo="https://x.example/a.jpg")
    assert "wrong file identifier" in await bot.refusal("sendPhoto", chat_id=ADA, photo="nonsense")
    assert "caption is too long" in await bot.refusal(
        "sendPhoto", {"photo": picture()}, chat_id=ADA, caption="x" * 1025
    )
    place = {"chat_id": ADA, "message_id": sent["message_id"]}
    assert "no text" in await bot.refusal("editMessageText", text="x", **place)
    assert (await bot.call("editMessageCaption", caption="you", **place))["caption"] == "you"
    media = {"type": "photo", "media": "attach://new", "caption": "new"}
    edited = await bot.call("editMessageMedia", {"new": picture(90)}, media=media, **place)
    assert (edited["photo"][-1]["width"], edited["caption"]) == (90, "new")


async def test_albums_share_a_group(bot: BotApi, ada: Person) -> None:
    """An album of 2 to 10 is one message an item with one decimal group id."""
    await ada.say("hi")
    media = [{"type": "photo", "media": f"attach://p{n}", "caption": f"c{n}"} for n in range(3)]
    files = {f"p{n}": picture(200 + n) for n in range(3)}
    album = await bot.call("sendMediaGroup", files, chat_id=ADA, media=media)
    assert [message["caption"] for message in album] == ["c0", "c1", "c2"]
    assert len({message["media_group_id"] for message in album}) == 1
    assert album[0]["media_group_id"].isdecimal()
    assert "2 to 10" in await bot.refusal("sendMediaGroup", files, chat_id=ADA, media=media[:1])
    mixed = [media[0], {"type": "document", "media": "attach://p1"}]
    assert "can't be mixed" in await bot.refusal("sendMediaGroup", files, chat_id=ADA, media=mixed)


async def test_documents_keep_their_bytes(client: httpx.AsyncClient, bot: BotApi, ada: Person) -> None:
    """A person's file reaches the bot byte for byte through getFile and the download address."""
    await ada.document(b"\0raw", "cat.PNG", "caption")
    message = (await bot.call("getUpdates"))[0]["message"]
    document = message["document"]
    assert (document["file_name"], document["file_size"], message["caption"]) == ("cat.PNG", 4, "caption")
    found = await bot.call("getFile", file_id=document["file_id"])
    assert found["file_unique_id"] == document["file_unique_id"]
    for token in (TOKEN, TOKEN.replace(":", "%3A")):
        assert (await client.get(f"/file/bot{token}/{found['file_path']}")).content == b"\0raw"
    assert (await client.get(f"/file/bot{TOKEN}/../../etc/passwd")).status_code == 404


async def test_files_belong_to_their_bot_and_have_a_limit(client: httpx.AsyncClient, bot: BotApi, ada: Person) -> None:
    """A file id of another bot is wrong, and a file over 20 MB cannot be fetched by a bot."""
    await bot.call("getMe")
    sent = await ada.document(b"x" * (20 * 2**20 + 1), "big.bin")
    file_id = sent["document"]["file_id"]
    assert await bot.refusal("getFile", file_id=file_id) == "Bad Request: file is too big"
    assert "wrong file_id" in await BotApi(client, OTHER).refusal("getFile", file_id=file_id)
    assert "wrong file_id" in await bot.refusal("getFile", file_id="nonsense")


async def test_messages_can_be_deleted(bot: BotApi, ada: Person) -> None:
    """A deleted message is gone, for the person as an event, and cannot be deleted twice."""
    said = await ada.say("hi")
    sent = await bot.call("sendMessage", chat_id=ADA, text="x", reply_to_message_id=said["message_id"])
    assert await bot.call("deleteMessage", chat_id=ADA, message_id=said["message_id"]) is True
    assert "to delete not found" in await bot.refusal("deleteMessage", chat_id=ADA, message_id=said["message_id"])
    last = (await ada.events())[-1]
    assert (last["type"], last["message_id"]) == ("deleted", said["message_id"])
    edited = await bot.call("editMessageText", chat_id=ADA, message_id=sent["message_id"], text="y")
    assert "reply_to_message" not in edited


async def test_chat_actions_are_events(bot: BotApi, ada: Person) -> None:
    """A chat action shows as an event; an unknown one is refused."""
    await ada.say("hi")
    assert await bot.call("sendChatAction", chat_id=ADA, action="typing") is True
    assert (await ada.events())[-1]["action"] == "typing"
    assert "wrong parameter action" in await bot.refusal("sendChatAction", chat_id=ADA, action="dancing")


async def test_commands_are_kept_by_scope_and_language(bot: BotApi) -> None:
    """Command lists are set, read and deleted for each scope and language; bad names are refused."""
    commands = [{"command": "train", "description": "Train now"}]
    scope = {"type": "chat", "chat_id": ADA}
    await bot.call("setMyCommands", commands=commands)
    await bot.call("setMyCommands", commands=[], scope=scope, language_code="zh")
    assert await bot.call("getMyCommands") == commands
    assert await bot.call("getMyCommands", scope=scope, language_code="zh") == []
    await bot.call("deleteMyCommands", scope={"type": "default"})
    assert await bot.call("getMyCommands") == []
    bad = [{"command": "Train!", "description": "x"}]
    assert await bot.refusal("setMyCommands", commands=bad) == "Bad Request: BOT_COMMAND_INVALID"


async def test_a_chat_can_be_looked_up(bot: BotApi, ada: Person) -> None:
    """A getChat tells the kind of chat and the person's name."""
    await ada.say("hi")
    chat = await bot.call("getChat", chat_id=ADA)
    assert (chat["type"], chat["first_name"]) == ("private", "Ada")


@pytest.mark.parametrize(
    "body",
    [
        {"text": "\ud800"},
        {"text": "x", "reply_markup": {"inline_keyboard": [[{"text": "\ud800", "callback_data": "1"}]]}},
        {"text": "x", "reply_markup": {"inline_keyboard": [7]}},
        {"text": "x", "reply_markup": "[]"},
        {"text": "x", "reply_parameters": "{"},
        {"text": "x", "entities": [7]},
        {"text": "x", "entities": [{"type": "bold"}]},
        {"text": "x", "reply_markup": {"keyboard": [7]}},
        {"text": "x", "link_preview_options": []},
        {"text": "x", "message_id": "x"},
    ],
)
async def test_nonsense_parameters_are_bad_requests(
    client: httpx.AsyncClient, ada: Person, body: dict[str, Any]
) -> None:
    """Broken UTF-8, broken JSON and wrong types are answered by 400, never by 500."""
    await ada.say("hi")
    method = "editMessageText" if "message_id" in body else "sendMessage"
    content = json.dumps({"chat_id": ADA, **body})
    response = await client.post(f"/bot{TOKEN}/{method}", content=content, headers={"content-type": "application/json"})
    assert response.json()["error_code"] == 400
