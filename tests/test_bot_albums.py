"""Albums: their photos come one by one, in any order, and the caption with any of them."""

from collections.abc import Sequence

from conftest import Chat, Painter, PublishTiny, buttons
from test_bot_intake import counts

from sandbox.client import Person
from storage.people import Role


async def send(chat: Chat, paint: Painter, captions: Sequence[str | None], group: str = "77") -> list[int]:
    """An album whose photos come one by one with these captions; their numbers."""
    sent = [await chat.person.photo(paint("red"), caption, album=group) for caption in captions]
    return [int(message["message_id"]) for message in sent]


async def said(chat: Chat, words: str) -> None:
    """Wait until the bot has said something that begins so."""
    await chat.person.wait_for(lambda message: message["text"].startswith(words))


async def test_takes_the_caption_of_any_photo(chat: Chat, paint: Painter) -> None:
    """Wherever the caption is, all photos of the album get its class, and there is one receipt."""
    for place in range(3):
        captions: list[str | None] = [None, None, None]
        captions[place] = "rose"
        numbers = await send(chat, paint, captions, group=f"7{place}")
        receipt = await chat.person.reply_to(numbers[0])
        assert receipt["text"].startswith("3 photos learned as rose.")
    assert counts(chat) == {"rose": 9}


async def test_a_late_photo_joins(chat: Chat, paint: Painter) -> None:
    """A photo that comes after the receipt joins the album's class, and the receipt is edited to count it."""
    numbers = await send(chat, paint, ["rose", None])
    await chat.person.reply_to(numbers[0])
    await send(chat, paint, [None])
    receipt = await chat.person.reply_to(numbers[0], where=lambda message: message["text"].startswith("3 photos"))
    assert receipt["text"] == "3 photos learned as rose.\nrose has 3 photos now."
    assert counts(chat) == {"rose": 3}
    events = await chat.person.events()
    assert sum(event["type"] == "sent" and event["message"]["from"]["is_bot"] for event in events) == 1
    await chat.person.tap(receipt["message_id"], buttons(receipt)["↩ Undo"])
    await chat.person.wait_for(lambda message: message["text"] == "Undone: 3 photos taken out again.")


async def test_a_late_caption_labels_all(chat: Chat, paint: Painter) -> None:
    """A caption that comes after the album was answered labels all of it, and the answer becomes the receipt."""
    numbers = await send(chat, paint, [None, None])
    answer = await chat.person.reply_to(numbers[0])
    assert answer["text"].startswith("I have learned nothing yet")
    await send(chat, paint, ["rose"])
    receipt = await chat.person.reply_to(numbers[0], where=lambda message: "learned as rose" in message["text"])
    assert receipt["message_id"] == answer["message_id"]
    assert counts(chat) == {"rose": 3}


async def test_one_tap_labels_all(chat: Chat, paint: Painter, publish_tiny: PublishTiny) -> None:
    """An album without a caption is answered photo by photo, and one tap labels all; a late photo joins."""
    publish_tiny()
    await chat.person.reply_to((await chat.person.photo(paint("red"), "red"))["message_id"])
    numbers = await send(chat, paint, [None, None])
    answer = await chat.person.reply_to(numbers[0])
    assert answer["text"].splitlines()[-1] == "Version 1"
    await chat.person.tap(answer["message_id"], buttons(answer)["✓ red"])
    await chat.person.reply_to(numbers[0], where=lambda message: "2 photos learned as red" in message["text"])
    await send(chat, paint, [None])
    await chat.person.reply_to(numbers[0], where=lambda message: "3 photos learned as red" in message["text"])
    assert counts(chat) == {"red": 4}


async def test_asks_about_different_captions(chat: Chat, paint: Painter) -> None:
    """Captions that disagree are asked about, and nothing is stored under either until one is chosen."""
    numbers = await send(chat, paint, ["rose", "#Rose", "tulip"])
    question = await chat.person.reply_to(numbers[0])
    assert "different captions" in question["text"]
    assert list(buttons(question)) == ["+ rose, a new class", "+ tulip, a new class"]
    assert counts(chat) == {}
    await chat.person.tap(question["message_id"], buttons(question)["+ tulip, a new class"])
    await chat.person.reply_to(numbers[0], where=lambda message: "3 photos learned as tulip" in message["text"])
    assert counts(chat) == {"tulip": 3}


async def test_keeps_albums_apart(chat: Chat, paint: Painter) -> None:
    """Two albums whose photos arrive in turns stay two."""
    for group, caption in (("1", "rose"), ("2", "tulip"), ("1", None), ("2", None), ("1", None)):
        await send(chat, paint, [caption], group)
    for name, count in (("rose", 3), ("tulip", 2)):
        await said(chat, f"{count} photos learned as {name}.")
    assert counts(chat) == {"rose": 3, "tulip": 2}


async def test_a_hanging_photo_joins_later(chat: Chat, paint: Painter) -> None:
    """A photo of an album that Telegram does not hand out at first is stored with the others when it does."""
    await chat.fault(method="download", times=3, error_code=500)
    numbers = await send(chat, paint, ["rose", None])
    receipt = await chat.person.reply_to(numbers[0], where=lambda message: message["text"].startswith("2 photos"))
    assert receipt["text"] == "2 photos learned as rose.\nrose has 2 photos now."
    assert counts(chat) == {"rose": 2}


async def test_a_late_photo_follows_a_correction(chat: Chat, paint: Painter) -> None:
    """A photo that comes after the album was put elsewhere goes there; after an undo the bot asks."""
    numbers = await send(chat, paint, ["daisy", None])
    receipt = await chat.person.reply_to(numbers[0])
    words = await chat.person.say("tulip", reply_to=receipt["message_id"])
    await chat.person.reply_to(words["message_id"])
    await send(chat, paint, [None])
    await chat.person.reply_to(numbers[0], where=lambda message: "1 photo learned as tulip" in message["text"])
    assert counts(chat) == {"tulip": 3}
    await chat.person.say("/undo 3")
    await said(chat, "Undone")
    await send(chat, paint, [None])
    question = await chat.person.reply_to(numbers[0], where=lambda message: "Which class" in message["text"])
    assert counts(chat) == {}
    (button,) = buttons(question).values()
    await chat.person.tap(question["message_id"], button)
    await chat.person.reply_to(numbers[0], where=lambda message: message["text"].startswith("4 photos learned"))


async def test_a_late_caption_that_differs_is_asked_about(chat: Chat, paint: Painter) -> None:
    """A late photo with another caption than its album's is not filed under either before somebody says."""
    numbers = await send(chat, paint, ["daisy", None])
    await chat.person.reply_to(numbers[0])
    await send(chat, paint, ["tulip"])
    question = await chat.person.reply_to(numbers[0], where=lambda message: "Which class" in message["text"])
    assert list(buttons(question)) == ["✓ daisy", "+ tulip, a new class"]
    assert counts(chat) == {"daisy": 2}


async def test_the_rest_comes_though_the_answer_failed(chat: Chat, paint: Painter) -> None:
    """When a photo of an album hangs and the receipt cannot be sent, the photo is stored all the same, later."""
    await chat.fault(method="download", times=5, error_code=500)  # The three tries of one of the photos among them.
    await chat.fault(method="sendMessage", times=1, error_code=403)
    numbers = await send(chat, paint, ["rose", None])
    await chat.person.reply_to(numbers[0], where=lambda message: message["text"].startswith("2 photos"))
    assert counts(chat) == {"rose": 2}


async def test_says_which_photos_were_refused(chat: Chat, paint: Painter) -> None:
    """What cannot be used of an album is told with its place, also where the bot asks back or knows nothing yet."""
    for caption, words in (("#a #b", "several hashtags"), (None, "learned nothing yet")):
        group = str(len(words))
        first = await chat.person.photo(paint("red"), caption, album=group)
        await chat.fault(method="download", times=1, error_code=400)
        await chat.person.photo(paint("red"), album=group)
        refused = "not used: Telegram has lost this file"  # The second photo may come when the first was answered.
        answer = await chat.person.reply_to(first["message_id"], where=lambda message: refused in message["text"])  # noqa: B023
        assert words in answer["text"]


async def test_two_people_disagree_about_an_album(chat: Chat, paint: Painter) -> None:
    """An album of one photo, sent twice, that somebody else labelled otherwise is settled by one tap."""
    chat.service.stores.people.let_in(2002, "Bo", Role.LABELLER, "test")
    photo = paint("red")
    await chat.person.reply_to((await chat.person.photo(photo, "rose"))["message_id"])
    async with Person(chat.url, 2002, "Bo") as bo:
        numbers = [(await bo.photo(photo, "tulip", album="5"))["message_id"] for _ in range(2)]
        question = await bo.reply_to(numbers[0])
        assert "Which is it?" in question["text"]
        await bo.tap(question["message_id"], buttons(question)["✓ tulip"])
        await bo.wait_for(lambda message: "1 photo moved there from rose" in message["text"])
    assert counts(chat) == {"tulip": 1}
