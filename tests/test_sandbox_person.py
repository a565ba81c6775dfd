import asyncio
import io
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio
from PIL import Image

from sandbox.app import create_app
from sandbox.client import Person, RefusedError

TOKEN = "123456:" + "A" * 35
URL = "http://127.0.0.1"
ADA = 1001
GROUP = -5000


@pytest.fixture
def transport(tmp_path: Path) -> httpx.ASGITransport:
    return httpx.ASGITransport(create_app(tmp_path))


@pytest_asyncio.fixture
async def client(transport: httpx.ASGITransport) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(transport=transport, base_url=URL) as client:
        yield client


@pytest_asyncio.fixture
async def ada(transport: httpx.ASGITransport) -> AsyncIterator[Person]:
    async with Person(URL, ADA, transport=transport) as person:
        yield person


async def bot(client: httpx.AsyncClient, method: str, **parameters: Any) -> Any:
    """What the bot's call returns."""
    response = await client.post(f"/bot{TOKEN}/{method}", json=parameters)
    return response.json()["result"]


def picture(shade: str = "red") -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (90, 90), shade).save(out, "JPEG")
    return out.getvalue()


async def test_text_becomes_a_message_with_entities(client: httpx.AsyncClient, ada: Person) -> None:
    """A person's text reaches the bot as a Message whose commands are marked."""
    await ada.say(" /train head ")
    message = (await bot(client, "getUpdates"))[0]["message"]
    assert message["text"] == "/train head"
    assert message["entities"] == [{"type": "bot_command", "offset": 0, "length": 6}]
    assert message["from"] == {"id": ADA, "is_bot": False, "first_name": "Ada"}
    assert message["chat"] == {"id": ADA, "type": "private", "first_name": "Ada"}


async def test_an_album_is_several_updates_of_one_group(client: httpx.AsyncClient, ada: Person) -> None:
    """Photos sent together share a decimal group id; only the first carries the caption."""
    sent = await ada.album([picture(shade) for shade in ("red", "green", "blue")], "traffic light")
    messages = [update["message"] for update in await bot(client, "getUpdates")]
    assert messages == sent
    assert [message.get("caption") for message in messages] == ["traffic light", None, None]
    assert len({message["media_group_id"] for message in messages}) == 1
    assert messages[0]["media_group_id"].isdecimal()


async def test_an_album_can_come_in_pieces(client: httpx.AsyncClient, ada: Person) -> None:
    """Single photos join one album by its number, in any order, among others, with the caption on any of them."""
    await ada.photo(picture("red"), album="77")
    await ada.photo(picture("green"), "alone")
    await ada.say("in between")
    await ada.photo(picture("blue"), "sky", album="77")
    whole = await ada.album([picture(shade) for shade in ("cyan", "pink", "gold")], "sea", captioned=2)
    messages = [update["message"] for update in await bot(client, "getUpdates")]
    joined = [message for message in messages if message.get("media_group_id") == "77"]
    assert [message.get("caption") for message in joined] == [None, "sky"]
    assert [message.get("caption") for message in whole] == [None, None, "sea"]
    assert whole[0]["media_group_id"] != "77"


async def test_a_single_photo_is_no_album(ada: Person) -> None:
    """One photo has no group, and its caption's hashtags are marked."""
    sent = await ada.photo(picture(), "#cat")
    assert "media_group_id" not in sent
    assert sent["caption_entities"][0]["type"] == "hashtag"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("look at https://a.example/b?c=1 now", [("url", 8, 23)]),
        ("see daisies.com/list", [("url", 4, 16)]),
        ("photo.jpg v1.2 e.g. this", []),
        (
            "\N{BLOSSOM} #daisy for @gardener /label@bot1",
            [("hashtag", 3, 6), ("mention", 14, 9), ("bot_command", 24, 11)],
        ),
        ("mail ada@example.com", []),
    ],
)
async def test_links_and_tags_are_marked(ada: Person, text: str, found: list[tuple[str, int, int]]) -> None:
    """Links, hashtags, mentions and commands are entities of text and of captions, counted in UTF-16."""
    said = await ada.say(text)
    shown = await ada.photo(picture(), text)
    for entities in (said.get("entities", []), shown.get("caption_entities", [])):
        assert [(entity["type"], entity["offset"], entity["length"]) for entity in entities] == found


async def test_a_person_can_reply(ada: Person) -> None:
    """A reply shows the answered message one level deep."""
    first = await ada.photo(picture())
    second = await ada.say("a cat", reply_to=first["message_id"])
    third = await ada.say("really", reply_to=second["message_id"])
    assert second["reply_to_message"]["photo"] == first["photo"]
    assert "reply_to_message" not in third["reply_to_message"]


async def test_groups_have_negative_ids_and_several_people(
    client: httpx.AsyncClient, transport: httpx.ASGITransport
) -> None:
    """In a group each person speaks as themselves, and the chat keeps its kind."""
    chat = f"/client/chats/{GROUP}/messages"
    first = {"from_id": ADA, "from_name": "Ada", "text": "hi", "chat_type": "supergroup"}
    assert (await client.post(chat, json=first)).json()["messages"][0]["chat"]["type"] == "supergroup"
    async with Person(URL, GROUP, "Bo", person_id=1002, transport=transport) as bo:
        said = await bo.say("hello")
    async with Person(URL, GROUP - 1, "Cy", person_id=1003, chat_type="supergroup", transport=transport) as cy:
        assert (await cy.say("alone"))["chat"]["type"] == "supergroup"
    assert (said["chat"]["type"], said["from"]["first_name"]) == ("supergroup", "Bo")
    updates = await bot(client, "getUpdates")
    assert [update["message"]["from"]["id"] for update in updates] == [ADA, 1002, 1003]
    assert (await client.post(chat, json={"text": "who?"})).json() == {
        "error": "Say who speaks in the group: from_id is missing."
    }


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ({}, "Send exactly one of these"),
        ({"text": " "}, "The text is empty."),
        ({"text": "x" * 4097}, "message is too long"),
        ({"text": "x", "chat_type": "group"}, "positive chat id"),
        ({"text": "x", "chat_type": "cloud"}, "private, group or supergroup"),
        ({"text": "x", "from_id": "me"}, "must be an integer"),
        ({"text": "x", "bot": 0}, "bot is a bot's id"),
        ({"text": "x", "from_id": -1}, "from_id must be a positive number"),
        ({"text": "x", "reply_to_message_id": 7}, "no message 7"),
        ({"text": "x", "media_group_id": "album"}, "must be a decimal number"),
        ({"text": "x", "media_group_id": "1"}, "not of text"),
    ],
)
async def test_wrong_messages_are_explained(client: httpx.AsyncClient, body: dict[str, Any], reason: str) -> None:
    """What is wrong with a message is said in words, and nothing is sent."""
    response = await client.post(f"/client/chats/{ADA}/messages", json=body)
    assert response.status_code == 400
    assert reason in response.json()["error"]
    assert (await client.get(f"/client/chats/{ADA}/messages")).json() == {"messages": []}


async def test_wrong_photos_albums_and_bodies_are_explained(client: httpx.AsyncClient, ada: Person) -> None:
    """A photo that is none, too large an album, a broken body and a wrong chat id are refused in words."""
    with pytest.raises(RefusedError, match="IMAGE_PROCESS_FAILED"):
        await ada.photo(b"not a photo")
    with pytest.raises(RefusedError, match="there are 2"):
        await ada.album([picture()] * 2, "cat", captioned=2)
    with pytest.raises(RefusedError, match="at most 10"):
        await ada.album([picture()] * 11)
    kind = {"content-type": "application/json"}
    broken = await client.post(f"/client/chats/{ADA}/messages", content=b"{", headers=kind)
    assert "JSON" in broken.json()["error"]
    assert "A chat id is a number" in (await client.get("/client/chats/x/messages")).json()["error"]
    assert (await client.get("/client/files/x")).json() == {"error": "There is no file of that id."}
    assert (await client.get("/client/nothing")).json() == {"error": "Not Found"}
    assert await ada.events() == []


async def test_taps_need_a_message_of_the_bot(client: httpx.AsyncClient, ada: Person) -> None:
    """A tap on nothing, on one's own message, or with too long data is refused in words."""
    said = await ada.say("hi")
    sent = await bot(client, "sendMessage", chat_id=ADA, text="pick")
    for message_id in (1, said["message_id"]):
        with pytest.raises(RefusedError, match="no message"):
            await ada.tap(message_id, "x")
    for data in ("", "x" * 65):
        with pytest.raises(RefusedError, match="1 to 64 bytes"):
            await ada.tap(sent["message_id"], data)


async def test_messages_show_the_present_and_events_what_happened(client: httpx.AsyncClient, ada: Person) -> None:
    """After an edit, messages has the new text with its date, and events has both versions in order."""
    said = await ada.say("hi")
    sent = await bot(client, "sendMessage", chat_id=ADA, text="one")
    await bot(client, "editMessageText", chat_id=ADA, message_id=sent["message_id"], text="two")
    address = f"/client/chats/{ADA}/messages"
    messages = (await client.get(address, params={"after": said["message_id"]})).json()["messages"]
    assert [(message["text"], "edit_date" in message) for message in messages] == [("two", True)]
    events = await ada.events()
    assert [(event["type"], event["message"]["text"]) for event in events] == [
        ("sent", "hi"),
        ("sent", "one"),
        ("edited", "two"),
    ]
    assert await ada.events(after=events[1]["seq"]) == events[2:]
    answer = (await client.get(f"/client/chats/{ADA}/events")).json()
    assert answer["last"] == events[-1]["seq"]


async def test_waiting_ends_with_news_or_with_time(client: httpx.AsyncClient, ada: Person) -> None:
    """A waiting request returns when the bot writes, and returns nothing when time is up."""
    said = await ada.say("hi")
    address = f"/client/chats/{ADA}/messages"
    query = {"after": said["message_id"], "wait": 30}
    waiting = asyncio.create_task(client.get(address, params=query))
    await asyncio.sleep(0)
    sent = await bot(client, "sendMessage", chat_id=ADA, text="hello")
    assert (await waiting).json()["messages"] == [sent]
    nothing = await client.get(address, params={"after": sent["message_id"], "wait": 0.01})
    assert nothing.json() == {"messages": []}
    assert "must be a number" in (await client.get(address, params={"wait": "nan"})).json()["error"]


async def test_a_script_waits_for_messages_in_turn(client: httpx.AsyncClient, ada: Person) -> None:
    """wait_for goes on behind the message it found last, and also sees edits."""
    await ada.say("hi")
    first = await bot(client, "sendMessage", chat_id=ADA, text="step")
    await bot(client, "editMessageText", chat_id=ADA, message_id=first["message_id"], text="step done")
    assert (await ada.wait_for(lambda m: "step" in m["text"]))["text"] == "step"
    assert (await ada.wait_for(lambda m: "step" in m["text"]))["text"] == "step done"
    with pytest.raises(TimeoutError, match=r"no message of the bot as expected in chat 1001. Last heard: 'step done'"):
        await ada.wait_for(lambda m: "step" in m["text"], timeout=0.05)


async def test_many_wait_for_their_replies_at_once(client: httpx.AsyncClient, ada: Person) -> None:
    """Each waiter gets the reply to its own message, in the version asked for, whatever the order."""
    asked = [(await ada.say(f"question {n}"))["message_id"] for n in range(20)]

    async def answer() -> None:
        for message_id in reversed(asked):
            sent = await bot(client, "sendMessage", chat_id=ADA, text="...", reply_to_message_id=message_id)
            await bot(client, "editMessageText", chat_id=ADA, message_id=sent["message_id"], text=f"to {message_id}")

    answering = asyncio.create_task(answer())
    replies = await asyncio.gather(*(ada.reply_to(m, where=lambda reply: reply["text"] != "...") for m in asked))
    await answering
    assert [reply["text"] for reply in replies] == [f"to {message_id}" for message_id in asked]
    with pytest.raises(TimeoutError, match="no reply of the bot to message 1"):
        await ada.reply_to(1, timeout=0.05)


async def test_a_file_is_served_so_that_a_browser_runs_nothing(client: httpx.AsyncClient, ada: Person) -> None:
    """A document that is a web page comes back with headers that forbid scripts."""
    sent = await ada.document(b"<script>alert(1)</script>", "page.html")
    response = await client.get(f"/client/files/{sent['document']['file_id']}")
    assert response.content == b"<script>alert(1)</script>"
    assert response.headers["x-content-type-options"] == "nosniff"
    assert "sandbox" in response.headers["content-security-policy"]
