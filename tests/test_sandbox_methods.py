"""What any bot may call beyond sending and editing: copies, pins, members, reactions, keyboards, introductions."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio
from bot_api import ADA, URL, BotApi, picture

from sandbox.app import create_app
from sandbox.client import Person

OTHER = "654321:" + "B" * 35
BO, GROUP = 1002, -7000


@pytest.fixture
def transport(tmp_path: Path) -> httpx.ASGITransport:
    return httpx.ASGITransport(create_app(tmp_path))


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
        await person.say("hi")
        yield person


@pytest_asyncio.fixture
async def group(transport: httpx.ASGITransport) -> AsyncIterator[Person]:
    """Ada in a group, in which Bo writes after her."""
    async with (
        Person(URL, GROUP, "Ada", person_id=ADA, transport=transport) as ada,
        Person(URL, GROUP, "Bo", person_id=BO, transport=transport) as bo,
    ):
        await ada.say("hello")
        await bo.say("hello")
        yield ada


async def happened(person: Person, kind: str) -> list[dict[str, Any]]:
    """The events of that kind."""
    return [event for event in await person.events() if event["type"] == kind]


async def test_a_forwarded_message_says_where_it_is_from(bot: BotApi, ada: Person, group: Person) -> None:
    """A forwarded photo keeps its caption and names its first sender, even when forwarded again, but no keyboard."""
    said = await ada.photo(picture(), "*look*")
    moved = await bot.call("forwardMessage", chat_id=GROUP, from_chat_id=ADA, message_id=said["message_id"])
    assert (moved["photo"], moved["caption"], moved["chat"]["id"]) == (said["photo"], "*look*", GROUP)
    origin = {"type": "user", "sender_user": said["from"], "date": said["date"]}
    assert moved["forward_origin"] == origin
    again = await bot.call("forwardMessage", chat_id=ADA, from_chat_id=GROUP, message_id=moved["message_id"])
    assert again["forward_origin"] == origin
    markup = {"inline_keyboard": [[{"text": "ok", "callback_data": "1"}]]}
    own = await bot.call("sendMessage", chat_id=ADA, text="pick", reply_markup=markup)
    moved = await bot.call("forwardMessage", chat_id=ADA, from_chat_id=ADA, message_id=own["message_id"])
    assert "reply_markup" not in moved


async def test_a_copy_hides_its_origin_and_may_have_another_caption(bot: BotApi, ada: Person) -> None:
    """A copied photo looks as if the bot had sent it, with the old caption, a new one, or none."""
    said = await ada.photo(picture(), "old")
    place = {"chat_id": ADA, "from_chat_id": ADA, "message_id": said["message_id"]}
    markup = {"inline_keyboard": [[{"text": "ok", "callback_data": "1"}]]}
    for caption in ({}, {"caption": "<b>new</b>", "parse_mode": "HTML", "reply_markup": markup}, {"caption": ""}):
        answer = await bot.call("copyMessage", **place, **caption)
        assert list(answer) == ["message_id"]
    copies = [event["message"] for event in await happened(ada, "sent")][-3:]
    assert [copy.get("caption") for copy in copies] == ["old", "new", None]
    assert all("forward_origin" not in copy and copy["from"]["is_bot"] for copy in copies)
    assert copies[1]["reply_markup"] == markup


@pytest.mark.parametrize("verb", ["forward", "copy"])
async def test_albums_stay_albums(bot: BotApi, ada: Person, verb: str) -> None:
    """Several messages are forwarded or copied at once, those that are gone left out, an album as a new album."""
    album = await ada.album([picture(100), picture(200)], "pair")
    numbers = [1, *(message["message_id"] for message in album)]
    place = {"chat_id": ADA, "from_chat_id": ADA}
    answer = await bot.call(f"{verb}Messages", **place, message_ids=numbers)
    moved = [event["message"] for event in await happened(ada, "sent")][-2:]
    assert [message["message_id"] for message in moved] == [one["message_id"] for one in answer]
    assert [message.get("caption") for message in moved] == ["pair", None]
    assert len({message["media_group_id"] for message in moved} - {album[0]["media_group_id"]}) == 1
    assert "there are no messages" in await bot.refusal(f"{verb}Messages", **place, message_ids=[1])
    assert "1 to 100" in await bot.refusal(f"{verb}Messages", **place, message_ids=[])
    assert "must be numbers" in await bot.refusal(f"{verb}Messages", **place, message_ids=["x"])
    assert f"message to {verb} not found" in await bot.refusal(f"{verb}Message", **place, message_id=1)


async def test_captions_can_be_left_behind(bot: BotApi, ada: Person) -> None:
    """With remove_caption, copies come without their captions, and texts as they are."""
    said = [await ada.photo(picture(), "old"), await ada.say("text")]
    numbers = [message["message_id"] for message in said]
    await bot.call("copyMessages", chat_id=ADA, from_chat_id=ADA, message_ids=numbers, remove_caption=True)
    photo, text = [event["message"] for event in await happened(ada, "sent")][-2:]
    assert ("caption" in photo, text["text"]) == (False, "text")


async def test_what_is_protected_stays(bot: BotApi, ada: Person) -> None:
    """A protected message, and a note that something was pinned, can be neither forwarded nor copied."""
    sent = await bot.call("sendMessage", chat_id=ADA, text="secret", protect_content=True)
    assert sent["has_protected_content"]
    await bot.call("pinChatMessage", chat_id=ADA, message_id=sent["message_id"])
    note = (await happened(ada, "sent"))[-1]["message"]
    for message in (sent, note):
        place = {"chat_id": ADA, "from_chat_id": ADA, "message_id": message["message_id"]}
        assert "message can't be forwarded" in await bot.refusal("forwardMessage", **place)
        assert "message can't be copied" in await bot.refusal("copyMessage", **place)


async def test_many_messages_are_deleted_at_once(bot: BotApi, ada: Person, group: Person) -> None:
    """Those that are there go; in a group, those of people stay."""
    sent = [await bot.call("sendMessage", chat_id=ADA, text=str(n)) for n in range(2)]
    numbers = [message["message_id"] for message in sent]
    assert await bot.call("deleteMessages", chat_id=ADA, message_ids=[*numbers, 1]) is True
    assert [event["message_id"] for event in await happened(ada, "deleted")] == numbers
    said = await group.say("mine")
    assert await bot.call("deleteMessages", chat_id=GROUP, message_ids=[said["message_id"]]) is True
    assert await happened(group, "deleted") == []
    assert "1 to 100" in await bot.refusal("deleteMessages", chat_id=ADA, message_ids=list(range(101)))


async def test_messages_are_pinned(bot: BotApi, ada: Person) -> None:
    """The chat says what was pinned last, and a note in it that something was; each can be taken back, and all."""
    said = [await ada.say(str(n)) for n in range(3)]
    first, second, third = (message["message_id"] for message in said)
    for message_id in (first, second, third):
        assert await bot.call("pinChatMessage", chat_id=ADA, message_id=message_id) is True
    assert (await happened(ada, "sent"))[-1]["message"]["pinned_message"]["text"] == "2"
    assert (await bot.call("getChat", chat_id=ADA))["pinned_message"]["text"] == "2"
    await bot.call("unpinChatMessage", chat_id=ADA)
    assert (await bot.call("getChat", chat_id=ADA))["pinned_message"]["text"] == "1"
    await bot.call("unpinChatMessage", chat_id=ADA, message_id=first)
    await bot.call("unpinAllChatMessages", chat_id=ADA)
    assert "pinned_message" not in await bot.call("getChat", chat_id=ADA)
    assert [event["message_id"] for event in await happened(ada, "unpinned")] == [third, first, second]
    assert "message to unpin not found" in await bot.refusal("unpinChatMessage", chat_id=ADA)
    assert "message to pin not found" in await bot.refusal("pinChatMessage", chat_id=ADA, message_id=1)


async def test_members_of_a_group(bot: BotApi, group: Person) -> None:
    """Members are those who wrote, and the bot; a group belongs to the first of them."""
    assert await bot.call("getChatMemberCount", chat_id=GROUP) == 3
    for user_id, status in ((ADA, "creator"), (BO, "member"), (123456, "member")):
        member = await bot.call("getChatMember", chat_id=GROUP, user_id=user_id)
        assert (member["status"], member["user"]["id"]) == (status, user_id)
    administrators = await bot.call("getChatAdministrators", chat_id=GROUP)
    assert [administrator["user"]["first_name"] for administrator in administrators] == ["Ada"]
    assert "user not found" in await bot.refusal("getChatMember", chat_id=GROUP, user_id=5)


async def test_members_of_a_private_chat(bot: BotApi, ada: Person) -> None:
    """In a private chat both are members, and nobody has more to say."""
    assert await bot.call("getChatMemberCount", chat_id=ADA) == 2
    assert (await bot.call("getChatMember", chat_id=ADA, user_id=ADA))["status"] == "member"
    assert "no administrators" in await bot.refusal("getChatAdministrators", chat_id=ADA)
    assert await bot.call("getUserProfilePhotos", user_id=ADA) == {"total_count": 0, "photos": []}


async def test_a_bot_reacts(bot: BotApi, ada: Person) -> None:
    """A reaction of Telegram's list is an event, however it is spelt; others, and a second one, are refused."""
    said = await ada.say("good news")
    place = {"chat_id": ADA, "message_id": said["message_id"]}
    for reaction in ([{"type": "emoji", "emoji": "❤\N{VARIATION SELECTOR-16}"}], []):
        assert await bot.call("setMessageReaction", **place, reaction=reaction) is True
    events = await happened(ada, "reacted")
    assert [event["reaction"] for event in events] == [[{"type": "emoji", "emoji": "❤"}], []]
    assert (events[0]["message_id"], events[0]["from_id"]) == (said["message_id"], 123456)
    for wrong in ({"type": "emoji", "emoji": "✅"}, {"type": "paid"}, "👍"):
        assert "REACTION_INVALID" in await bot.refusal("setMessageReaction", **place, reaction=[wrong])
    twice = [{"type": "emoji", "emoji": "👍"}, {"type": "emoji", "emoji": "🔥"}]
    assert "REACTIONS_TOO_MANY" in await bot.refusal("setMessageReaction", **place, reaction=twice)


@pytest.mark.parametrize(
    ("markup", "shown"),
    [
        (
            {"keyboard": [["Yes", {"text": "No"}]], "resize_keyboard": True},
            {"keyboard": [[{"text": "Yes"}, {"text": "No"}]], "resize_keyboard": True},
        ),
        ({"remove_keyboard": True}, {"remove_keyboard": True}),
        ({"force_reply": True, "input_field_placeholder": "Name?"},) * 2,
    ],
)
async def test_reply_keyboards_are_events(
    bot: BotApi, ada: Person, markup: dict[str, Any], shown: dict[str, Any]
) -> None:
    """A keyboard for the person is no part of the message, as with Telegram, but an event after it."""
    sent = await bot.call("sendMessage", chat_id=ADA, text="Well?", reply_markup=markup)
    assert "reply_markup" not in sent
    events = await ada.events()
    assert [event["type"] for event in events] == ["sent", "sent", "keyboard"]
    assert (events[-1]["message_id"], events[-1]["reply_markup"]) == (sent["message_id"], shown)


@pytest.mark.parametrize(
    ("markup", "reason"),
    [
        ({"keyboard": ["Yes"]}, 'field "keyboard" must be an Array of Arrays'),
        ({"keyboard": [[{"text": ""}]]}, "can't parse keyboard button"),
        ({"keyboard": [["a"]], "input_field_placeholder": "x" * 65}, "1 to 64 characters"),
        ({"inline_keyboard": [[{"text": "x", "url": "http://localhost/"}]]}, "localhost/' is invalid: Wrong HTTP URL"),
        ({"inline_keyboard": [[{"text": "x", "url": "app://x.example"}]]}, "is invalid: Unsupported URL protocol"),
    ],
)  # fmt: skip
async def test_wrong_keyboards_are_refused(bot: BotApi, ada: Person, markup: dict[str, Any], reason: str) -> None:
    """What is wrong with a keyboard is said in words, and nothing is sent."""
    assert reason in await bot.refusal("sendMessage", chat_id=ADA, text="x", reply_markup=markup)
    assert len(await ada.events()) == 1


async def test_links_on_buttons_are_completed(bot: BotApi, ada: Person) -> None:
    """A button's address gets what goes without saying."""
    markup = {"inline_keyboard": [[{"text": "x", "url": "Example.com"}]]}
    sent = await bot.call("sendMessage", chat_id=ADA, text="x", reply_markup=markup)
    assert sent["reply_markup"]["inline_keyboard"][0][0]["url"] == "http://example.com/"
    reply = {"remove_keyboard": True}
    place = {"chat_id": ADA, "message_id": sent["message_id"]}
    assert "inline keyboard expected" in await bot.refusal("editMessageText", text="y", reply_markup=reply, **place)


@pytest.mark.parametrize(
    ("mode", "source"),
    [
        ("HTML", '<a href="tg://user?id={}">you</a>'),
        ("MarkdownV2", "[you](tg://user?id={})"),
        ("Markdown", "[you](tg://user?id={})"),
    ],
)
async def test_people_are_mentioned(bot: BotApi, ada: Person, mode: str, source: str) -> None:
    """A link to somebody who wrote in the chat is a mention with the person in it, one to a stranger is plain text."""
    sent = await bot.call("sendMessage", chat_id=ADA, text=source.format(ADA), parse_mode=mode)
    assert sent["entities"] == [
        {"type": "text_mention", "offset": 0, "length": 3, "user": {"id": ADA, "is_bot": False, "first_name": "Ada"}}
    ]
    entities = [{"type": "text_mention", "offset": 0, "length": 3, "user": {"id": ADA}}]
    given = await bot.call("sendMessage", chat_id=ADA, text="you", entities=entities)
    assert given["entities"] == sent["entities"]
    assert "entities" not in await bot.call("sendMessage", chat_id=ADA, text=source.format(5), parse_mode=mode)


async def test_looks_are_told(bot: BotApi, ada: Person) -> None:
    """Link previews and spoilers are fields of the message, and an edit without them takes them away."""
    options = {"is_disabled": True}
    sent = await bot.call("sendMessage", chat_id=ADA, text="x", link_preview_options=options)
    assert sent["link_preview_options"] == options
    place = {"chat_id": ADA, "message_id": sent["message_id"]}
    old = await bot.call("editMessageText", text="y", disable_web_page_preview=True, **place)
    assert old["link_preview_options"] == options
    assert "link_preview_options" not in await bot.call("editMessageText", text="z", **place)
    media = {"type": "photo", "media": "attach://new", "has_spoiler": True}
    edited = await bot.call("editMessageMedia", {"new": picture(90)}, media=media, **place)
    assert (edited["has_media_spoiler"], edited["photo"][-1]["width"], "text" in edited) == (True, 90, False)


async def test_a_bot_introduces_itself(client: httpx.AsyncClient, bot: BotApi, ada: Person) -> None:
    """Name and descriptions are kept for each language, with that for all languages in place of a missing one."""
    for kind, method in (("description", "Description"), ("short_description", "ShortDescription")):
        await bot.call(f"setMy{method}", **{kind: "I echo"})
        await bot.call(f"setMy{method}", **{kind: "Ich wiederhole"}, language_code="de")
        assert await bot.call(f"getMy{method}") == {kind: "I echo"}
        assert await bot.call(f"getMy{method}", language_code="de") == {kind: "Ich wiederhole"}
        assert await bot.call(f"getMy{method}", language_code="fr") == {kind: "I echo"}
        assert await BotApi(client, OTHER).call(f"getMy{method}") == {kind: ""}
        assert "more than" in await bot.refusal(f"setMy{method}", **{kind: "x" * 513})
    assert await bot.call("getMyName") == {"name": "Sandbox bot"}
    await bot.call("setMyName", name="Echo")
    assert await bot.call("getMyName", language_code="fr") == {"name": "Echo"}
    assert (await bot.call("getMe"))["first_name"] == "Echo"
    assert (await bot.call("sendMessage", chat_id=ADA, text="x"))["from"]["first_name"] == "Echo"


async def test_the_menu_has_a_button(bot: BotApi, ada: Person) -> None:
    """The menu's button is that of the chat, else that of all chats, else the usual one."""
    assert await bot.call("getChatMenuButton", chat_id=ADA) == {"type": "default"}
    await bot.call("setChatMenuButton", menu_button={"type": "commands"})
    assert await bot.call("getChatMenuButton", chat_id=ADA) == {"type": "commands"}
    app = {"type": "web_app", "text": "Open", "web_app": {"url": "https://x.example/"}}
    await bot.call("setChatMenuButton", chat_id=ADA, menu_button=app)
    assert await bot.call("getChatMenuButton", chat_id=ADA) == app
    assert await bot.call("getChatMenuButton") == {"type": "commands"}
    assert "can't parse menu button" in await bot.refusal("setChatMenuButton", menu_button={"type": "x"})
