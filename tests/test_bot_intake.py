"""Labelled photos in the chat: captions, replies, buttons, albums, undo, and what cannot be used."""

import json
import re

from conftest import Chat, Painter, buttons, chatting, told
from sqlalchemy import select

from bot import replies
from sandbox.client import Person
from sandbox.server import running
from storage.people import Role
from storage.settings import Intake, Settings
from storage.tables import ChangeRow


def counts(chat: Chat) -> dict[str, int]:
    """How many photos each class has, as the folders say."""
    folders = chat.settings.photos_dir.iterdir() if chat.settings.photos_dir.exists() else []
    found = {folder.name: len(list(folder.glob("*.jpg"))) for folder in folders}
    return {name: count for name, count in found.items() if count}


async def test_stores_a_captioned_photo(chat: Chat, paint: Painter) -> None:
    """A photo with a caption is stored in the class folder of that name, and the receipt counts."""
    for number, words in enumerate(("1 photo", "2 photos"), start=1):
        sent = await chat.person.photo(paint("red"), "Rote  Rose")
        receipt = await chat.person.reply_to(sent["message_id"])
        assert receipt["text"] == f"Learned as Rote Rose, which has {words} now."
        assert counts(chat) == {"Rote_Rose": number}


async def test_undoes_a_photo(chat: Chat, paint: Painter) -> None:
    """The button under a receipt takes the photo out of its class; a second tap says that it is too late."""
    sent = await chat.person.photo(paint("red"), "rose")
    receipt = await chat.person.reply_to(sent["message_id"])
    data = buttons(receipt)["↩ Undo"]
    await chat.person.tap(receipt["message_id"], data)
    undone = await chat.person.reply_to(sent["message_id"], where=lambda message: "Undone" in message["text"])
    assert undone["text"] == "Undone: 1 photo taken out again."
    assert buttons(undone) == {}
    assert counts(chat) == {}
    await chat.person.tap(receipt["message_id"], data)
    assert await told(chat.person) == "That was done already."
    assert [event["type"] for event in await chat.person.events()].count("edited") == 1


async def test_knows_a_photo_again(chat: Chat, paint: Painter) -> None:
    """The same photo again is not stored twice; under another class it moves, and undo moves it back."""
    photo = paint("red")
    texts = []
    for caption in ("rose", "ROSE", "tulip"):
        sent = await chat.person.photo(photo, caption)
        receipt = await chat.person.reply_to(sent["message_id"])
        texts.append(receipt["text"])
    assert texts[1] == "I have this photo under rose already (1 photo)."
    assert texts[2] == "Moved from rose to tulip, which has 1 photo now."
    assert counts(chat) == {"tulip": 1}
    await chat.person.tap(receipt["message_id"], buttons(receipt)["↩ Undo"])
    await chat.person.wait_for(lambda message: message["text"] == "Undone: 1 photo back in rose.")
    assert counts(chat) == {"rose": 1}


async def test_takes_image_files(chat: Chat, paint: Painter) -> None:
    """An image sent as a file counts as a photo; its name is nobody's business."""
    sent = await chat.person.document(paint("red", "PNG"), "<b>../../x</b>.png", "rose")
    assert "Learned as rose" in (await chat.person.reply_to(sent["message_id"]))["text"]
    assert counts(chat) == {"rose": 1}


async def test_refuses_what_is_no_photo(chat: Chat, paint: Painter) -> None:
    """Broken and foreign files get a reason in words, and nothing is stored."""
    cut = paint("red")[:900]
    for content, reason in ((cut, "damaged"), (b"%PDF-1.7", "not a JPEG, PNG or WebP")):
        sent = await chat.person.document(content, "photo.jpg", "rose")
        assert reason in (await chat.person.reply_to(sent["message_id"]))["text"]
    assert counts(chat) == {}


async def test_refuses_files_that_are_too_large(chat: Chat) -> None:
    """A file that Telegram does not hand to bots is answered plainly."""
    sent = await chat.person.document(bytes(20_000_001), "photo.jpg", "rose")
    assert "over 20 MB" in (await chat.person.reply_to(sent["message_id"]))["text"]


async def test_shows_hostile_text_verbatim(chat: Chat, paint: Painter) -> None:
    """Markup in captions is shown as it was written, in errors and in class names."""
    sent = await chat.person.photo(paint("red"), "<b>rose</b>")
    refusal = await chat.person.reply_to(sent["message_id"])
    assert "A class name cannot contain “/” “<” “>”." in refusal["text"]
    assert "\nYou wrote: <b>rose</b>\n" in refusal["text"]
    sent = await chat.person.photo(paint("red"), "R&amp+D")
    assert "Learned as R&amp+D" in (await chat.person.reply_to(sent["message_id"]))["text"]
    await chat.person.say("/classes")
    listed = await chat.person.wait_for(lambda message: "⚠" in message["text"])
    assert "R&amp+D 1 ⚠" in listed["text"]


async def test_labels_by_reply(chat: Chat, paint: Painter) -> None:
    """A class name in reply to a photo, or to the bot's answer on it, labels that photo."""
    asked = await chat.person.photo(paint("red"))
    answer = await chat.person.reply_to(asked["message_id"])
    assert "learned nothing yet" in answer["text"]
    for subject, name in ((asked, "rose"), (answer, "tulip")):
        said = await chat.person.say(name, reply_to=subject["message_id"])
        assert name in (await chat.person.reply_to(said["message_id"]))["text"]
        assert counts(chat) == {name: 1}
    said = await chat.person.say("tulip", reply_to=said["message_id"])
    assert "which photo" in (await chat.person.reply_to(said["message_id"]))["text"]


async def test_stores_an_album(chat: Chat, paint: Painter) -> None:
    """Every photo of an album with one caption is stored; one receipt counts and undoes them all."""
    known = paint("green")
    await chat.person.reply_to((await chat.person.photo(known, "leaf"))["message_id"])
    sent = await chat.person.album([paint("red"), known, paint("red")], "rose")
    receipt = await chat.person.reply_to(sent[0]["message_id"])
    assert receipt["text"] == "2 photos learned as rose.\n1 photo moved there from leaf.\nrose has 3 photos now."
    assert counts(chat) == {"rose": 3}
    await chat.person.tap(receipt["message_id"], buttons(receipt)["↩ Undo"])
    undone = await chat.person.wait_for(lambda message: "Undone" in message["text"])
    assert undone["text"] == "Undone: 2 photos taken out again.\nUndone: 1 photo back in leaf."
    assert counts(chat) == {"leaf": 1}


async def test_stores_the_rest_of_an_album(chat: Chat, paint: Painter) -> None:
    """A photo of an album that cannot be downloaded is named in the receipt; the others are stored."""
    await chat.fault(method="download", times=1, error_code=400)
    sent = await chat.person.album([paint("red"), paint("red")], "rose")
    receipt = await chat.person.reply_to(sent[0]["message_id"])
    lines = receipt["text"].splitlines()
    assert lines[:2] == ["1 photo learned as rose.", "rose has 1 photo now."]
    assert re.fullmatch(r"[12]\. not used: Telegram has lost this file; send it again\.", lines[2])
    assert counts(chat) == {"rose": 1}


async def test_says_that_the_disk_takes_nothing(chat: Chat, paint: Painter) -> None:
    """Where a photo cannot be written, alone or in an album, the person reads that and not that the bot is at fault."""
    chat.settings.photos_dir.write_bytes(b"in the way")
    sent = await chat.person.photo(paint("red"), "rose")
    refusal = await chat.person.reply_to(sent["message_id"])
    assert refusal["text"].startswith("There is no room or no right to write")
    album = await chat.person.album([paint("red"), paint("red")], "rose")
    refusal = await chat.person.reply_to(album[0]["message_id"])
    assert refusal["text"].startswith("There is no room or no right to write")


async def test_downloads_again(chat: Chat, paint: Painter) -> None:
    """A download whose connection breaks is repeated, and the photo is stored."""
    await chat.fault(method="download", times=2, drop=True)
    sent = await chat.person.photo(paint("red"), "rose")
    assert "Learned" in (await chat.person.reply_to(sent["message_id"]))["text"]


async def test_ignores_strange_buttons(chat: Chat, paint: Painter) -> None:
    """Callback data that nobody was given changes nothing and is answered."""
    sent = await chat.person.photo(paint("red"), "rose")
    receipt = await chat.person.reply_to(sent["message_id"])
    for data in ("undo:999", "undo:1+", "label:77", "label:1 OR 1", "<b>"):
        await chat.person.tap(receipt["message_id"], data)
    answered: list[dict[str, object]] = []
    while len(answered) < 5:
        answered = [event for event in await chat.person.events(wait=1) if event["type"] == "callback_answered"]
    assert counts(chat) == {"rose": 1}


async def test_takes_a_label_in_many_ways(chat: Chat, paint: Painter) -> None:
    """A hashtag, `label:`, /label as a caption, and /label in reply all name the class."""
    for caption in ("#rose", "label: rose", "look at this #rose in my garden\nsecond line", "/label rose"):
        sent = await chat.person.photo(paint("red"), caption)
        assert "rose" in (await chat.person.reply_to(sent["message_id"]))["text"]
    asked = await chat.person.photo(paint("red"))
    said = await chat.person.say("/label Rose", reply_to=asked["message_id"])
    assert "Learned as rose, which has 5 photos" in (await chat.person.reply_to(said["message_id"]))["text"]
    said = await chat.person.say("/label rose")
    assert (await chat.person.reply_to(said["message_id"]))["text"].startswith("Reply to a photo with /label")
    assert counts(chat) == {"rose": 5}


async def test_asks_where_a_caption_is_unclear(chat: Chat, paint: Painter) -> None:
    """Several hashtags are asked about, with a button for each; until one is tapped nothing is stored."""
    sent = await chat.person.photo(paint("red"), "#rose or #tulip?")
    question = await chat.person.reply_to(sent["message_id"])
    assert list(buttons(question)) == ["+ rose, a new class", "+ tulip, a new class"]
    assert counts(chat) == {}
    await chat.person.tap(question["message_id"], buttons(question)["+ tulip, a new class"])
    await chat.person.wait_for(lambda message: message["text"] == "Learned as tulip, which has 1 photo now.")
    assert counts(chat) == {"tulip": 1}
    sent = await chat.person.photo(paint("red"), "🌹🌹🌹")
    question = await chat.person.reply_to(sent["message_id"])
    assert question["text"].startswith("Nothing is stored yet")
    assert "learned nothing yet" in question["text"]
    said = await chat.person.say("rose", reply_to=question["message_id"])
    assert "Learned as rose" in (await chat.person.reply_to(said["message_id"]))["text"]
    assert counts(chat) == {"rose": 1, "tulip": 1}


async def test_asks_whether_a_new_class_is_meant(chat: Chat, paint: Painter) -> None:
    """A new class close to an old one is asked about; the photo waits, and either answer stores it."""
    await chat.person.reply_to((await chat.person.photo(paint("red"), "daisy"))["message_id"])
    for chosen, stored in (("✓ daisy", {"daisy": 2}), ("+ daisies, a new class", {"daisy": 2, "daisies": 1})):
        sent = await chat.person.photo(paint("red"), "daisies")
        question = await chat.person.reply_to(sent["message_id"])
        assert question["text"].startswith("There is no class daisies yet. Did you mean daisy?")
        assert list(buttons(question)) == ["✓ daisy", "+ daisies, a new class"]
        await chat.person.tap(question["message_id"], buttons(question)[chosen])
        await chat.person.reply_to(sent["message_id"], where=lambda message: "Learned" in message["text"])
        assert counts(chat) == stored


async def test_asks_when_two_people_disagree(chat: Chat, paint: Painter) -> None:
    """A photo that somebody else labelled otherwise stays until it is settled; both labels are in the history."""
    chat.service.stores.people.let_in(2002, "Bo", Role.LABELLER, "test")
    photo = paint("red")
    await chat.person.reply_to((await chat.person.photo(photo, "rose"))["message_id"])
    async with Person(chat.url, 2002, "Bo") as bo:
        sent = await bo.photo(photo, "tulip")
        question = await bo.reply_to(sent["message_id"])
        assert question["text"] == "Somebody else labelled this photo rose, and you say tulip. Which is it?"
        assert counts(chat) == {"rose": 1}
        await bo.tap(question["message_id"], buttons(question)["✓ tulip"])
        await bo.wait_for(lambda message: message["text"] == "Moved from rose to tulip, which has 1 photo now.")
    assert counts(chat) == {"tulip": 1}
    with chat.service.stores.database.read() as session:
        said = [(change.by, change.made) for change in session.scalars(select(ChangeRow).order_by(ChangeRow.id))]
    assert said == [("telegram:1001", True), ("telegram:2002", False), ("telegram:2002", True)]


async def test_remembers_after_a_restart(settings: Settings, paint: Painter) -> None:
    """Buttons, and what our messages are about, hold for a bot that was started again."""
    async with running() as sandbox:
        async with chatting(settings, sandbox.url) as chat:
            asked = await chat.person.photo(paint("red"))
            answer = await chat.person.reply_to(asked["message_id"])
            sent = await chat.person.photo(paint("red"), "rose")
            receipt = await chat.person.reply_to(sent["message_id"])
        async with chatting(settings, sandbox.url) as chat:
            said = await chat.person.say("tulip", reply_to=answer["message_id"])
            await chat.person.reply_to(said["message_id"])
            await chat.person.tap(receipt["message_id"], buttons(receipt)["↩ Undo"])
            await chat.person.wait_for(lambda message: "Undone" in message["text"])
            assert counts(chat) == {"tulip": 1}


async def test_refuses_links(chat: Chat) -> None:
    """A link is answered plainly; nothing is fetched."""
    said = await chat.person.say("https://example.org/rose.jpg")
    assert (await chat.person.reply_to(said["message_id"]))["text"] == replies.LINK


async def test_apologises_for_late_answers(settings: Settings, paint: Painter) -> None:
    """An answer to a message that has waited long says so."""
    late = settings.model_copy(update={"intake": Intake(late_minutes=0.0001)})
    async with chatting(late) as chat:
        sent = await chat.person.album([paint("red"), paint("red")], "rose")
        lines = (await chat.person.reply_to(sent[0]["message_id"]))["text"].splitlines()
    assert lines[0].startswith("⏳ Sorry, this waited for ")
    assert lines[1] == "2 photos learned as rose."


async def test_keeps_refused_files_apart(chat: Chat, paint: Painter) -> None:
    """What is refused lies in quarantine, with the reason that the sender was told."""
    sent = await chat.person.document(b"MZ\x90 not a photo", "photo.jpg", "rose")
    reason = (await chat.person.reply_to(sent["message_id"]))["text"]
    (note,) = chat.settings.quarantine_dir.glob("*.json")
    assert json.loads(note.read_text())["reason"] == reason


async def test_limits_a_day(settings: Settings, paint: Painter) -> None:
    """Photos beyond a person's number for one day are refused in words."""
    async with chatting(settings.model_copy(update={"intake": Intake(photos_a_day=2)})) as chat:
        texts = []
        for _ in range(3):
            sent = await chat.person.photo(paint("red"), "rose")
            texts.append((await chat.person.reply_to(sent["message_id"]))["text"])
        assert "You have sent 2 photos today" in texts[2]
        assert counts(chat) == {"rose": 2}


async def test_tells_nobody_twice(chat: Chat, paint: Painter) -> None:
    """When the connection breaks as a receipt is sent, it is not sent again, as it may have come; the photo is safe."""
    await chat.fault(method="sendMessage", times=1, drop=True, after=True)
    for words in ("1 photo", "2 photos"):
        sent = await chat.person.photo(paint("red"), "rose")
        assert words in (await chat.person.reply_to(sent["message_id"]))["text"]
    events = await chat.person.events()
    assert sum(event["type"] == "sent" and event["message"]["from"]["is_bot"] for event in events) == 2


async def test_answers_a_question(chat: Chat, paint: Painter) -> None:
    """A photo whose caption is a question is answered as if it had none."""
    sent = await chat.person.photo(paint("red"), "what is this?")
    assert (await chat.person.reply_to(sent["message_id"]))["text"].startswith("I have learned nothing yet")


async def test_asks_twice_where_it_must(chat: Chat, paint: Painter) -> None:
    """A new name that was chosen among hashtags may be a slip, too."""
    await chat.person.reply_to((await chat.person.photo(paint("red"), "daisy"))["message_id"])
    sent = await chat.person.photo(paint("red"), "#daisies #tulip")
    question = await chat.person.reply_to(sent["message_id"])
    await chat.person.tap(question["message_id"], buttons(question)["+ daisies, a new class"])
    again = await chat.person.reply_to(sent["message_id"], where=lambda message: "Did you mean" in message["text"])
    await chat.person.tap(again["message_id"], buttons(again)["✓ daisy"])
    await chat.person.reply_to(sent["message_id"], where=lambda message: "Learned as daisy" in message["text"])
    assert counts(chat) == {"daisy": 2}


async def test_a_button_follows_a_renamed_class(chat: Chat, paint: Painter) -> None:
    """A class that was renamed while its button stood there is meant under its new name."""
    await chat.person.reply_to((await chat.person.photo(paint("red"), "daisy"))["message_id"])
    sent = await chat.person.photo(paint("red"), "daisies")
    question = await chat.person.reply_to(sent["message_id"])
    chat.service.stores.history.rename("daisy", "ox-eye", "test")
    await chat.person.tap(question["message_id"], buttons(question)["✓ daisy"])
    await chat.person.reply_to(sent["message_id"], where=lambda message: "Learned as ox-eye" in message["text"])
    assert counts(chat) == {"ox-eye": 2}


async def test_a_failed_tap_can_be_repeated(chat: Chat, paint: Painter) -> None:
    """A button whose effect fails works again afterwards."""
    await chat.person.reply_to((await chat.person.photo(paint("red"), "daisy"))["message_id"])
    sent = await chat.person.photo(paint("red"), "daisies")
    question = await chat.person.reply_to(sent["message_id"])
    folder, away = chat.settings.photos_dir, chat.settings.data / "away"
    folder.rename(away)
    folder.write_bytes(b"in the way")
    await chat.person.tap(question["message_id"], buttons(question)["✓ daisy"])
    assert "no room or no right to write" in await told(chat.person)
    folder.unlink()
    away.rename(folder)
    await chat.person.tap(question["message_id"], buttons(question)["✓ daisy"])
    await chat.person.reply_to(sent["message_id"], where=lambda message: "Learned as daisy" in message["text"])
    assert counts(chat) == {"daisy": 2}


async def test_tells_again_why_a_photo_was_refused(chat: Chat, paint: Painter) -> None:
    """Words in reply to a photo that was refused are answered with the reason."""
    sent = await chat.person.document(paint("red")[:900], "photo.jpg", "rose")
    reason = (await chat.person.reply_to(sent["message_id"]))["text"]
    said = await chat.person.say("rose", reply_to=sent["message_id"])
    assert (await chat.person.reply_to(said["message_id"]))["text"] == reason
