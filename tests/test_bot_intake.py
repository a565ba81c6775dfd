"""Labelled photos in the chat: captions, replies, buttons, albums, undo, and what cannot be used."""

from conftest import Chat, Painter, buttons, told
from hypothesis import given
from hypothesis import strategies as st

from bot.buttons import DATA_BYTES, UNDO, read_undo, undo_data, undo_keyboard


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
    assert "cannot be undone" in await told(chat.person)
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
    assert refusal["text"].startswith("A class name cannot contain “/” “<” “>”.")
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
    assert receipt["text"].splitlines()[:2] == [
        "1 photo learned as rose.",
        "1. not used: Telegram has lost this file; send it again.",
    ]
    assert counts(chat) == {"rose": 1}


async def test_says_that_the_disk_takes_nothing(chat: Chat, paint: Painter) -> None:
    """Where a photo cannot be written, alone or in an album, the person reads that and not that the bot is at fault."""
    chat.settings.photos_dir.write_bytes(b"in the way")
    sent = await chat.person.photo(paint("red"), "rose")
    refusal = await chat.person.reply_to(sent["message_id"])
    assert refusal["text"].startswith("There is no room or no right to write")
    album = await chat.person.album([paint("red"), paint("red")], "rose")
    receipt = await chat.person.reply_to(album[0]["message_id"])
    assert receipt["text"].count("not used: There is no room or no right to write") == 2


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


@given(st.lists(st.integers(1, 10**15 - 1), min_size=1, max_size=10, unique=True))
def test_undo_data_round_trip(changes: list[int]) -> None:
    """The changes that a button undoes come back from its data; no button holds more than Telegram allows."""
    match = UNDO.match(undo_data(changes))
    assert match
    assert read_undo(match[1]) == sorted(changes)
    keyboard = undo_keyboard(changes)
    assert keyboard is None or len(str(keyboard.inline_keyboard[0][0].callback_data)) <= DATA_BYTES


@given(st.integers(1, 10**12), st.lists(st.integers(1, 1000), max_size=9))
def test_an_album_fits_one_button(first: int, steps: list[int]) -> None:
    """Ten changes made one after the other fit into one button, however many there have been before."""
    changes = [first]
    for step in steps:
        changes.append(changes[-1] + step)
    assert undo_keyboard(changes) is not None
