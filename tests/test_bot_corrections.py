"""Changing one's mind in the chat: undo at any depth, renaming, merging, deleting, and taking photos back."""

from conftest import Chat, Painter, buttons, told
from test_bot_intake import counts


async def teach(chat: Chat, paint: Painter, *captions: str) -> list[int]:
    """Photos with these captions, sent and answered; their numbers."""
    numbers = []
    for caption in captions:
        sent = await chat.person.photo(paint("red"), caption)
        numbers.append(int(sent["message_id"]))
        await chat.person.reply_to(numbers[-1])
    return numbers


async def say(chat: Chat, text: str, reply_to: int | None = None) -> str:
    said = await chat.person.say(text, reply_to=reply_to)
    return str((await chat.person.reply_to(said["message_id"]))["text"])


async def test_undoes_at_any_depth(chat: Chat, paint: Painter) -> None:
    """/undo takes back one act after the other, newest first, and says when there is none left."""
    first, _ = await teach(chat, paint, "rose", "rose")
    await say(chat, "tulip", reply_to=first)
    assert counts(chat) == {"rose": 1, "tulip": 1}
    assert await say(chat, "/undo") == "Undone: 1 photo back in rose."
    assert counts(chat) == {"rose": 2}
    text = await say(chat, "/undo 5")
    assert text.splitlines() == ["Undone: 1 photo taken out again."] * 2 + ["There is nothing of yours left to undo."]
    assert counts(chat) == {}


async def test_renames_and_merges(chat: Chat, paint: Painter) -> None:
    """Classes get new names and go into one another, with spaces in their names, and each can be undone."""
    await teach(chat, paint, "red rose", "red rose", "lily")
    assert await say(chat, "/rename Red Rose = garden rose") == "red rose is garden rose now: 2 photos."
    assert (
        await say(chat, "/rename lily garden rose") == "Say which class gets which name: /rename daisy = ox-eye daisy."
    )
    assert "merge" in await say(chat, "/rename lily = garden rose")
    assert await say(chat, "/merge lily into garden rose") == "lily is garden rose now: 1 photo."
    assert counts(chat) == {"garden_rose": 3}
    assert await say(chat, "/undo") == "Undone: 1 photo back in lily."
    assert await say(chat, "/undo") == "Undone: garden rose is called red rose again."
    assert counts(chat) == {"red_rose": 2, "lily": 1}
    assert "no class" in (await say(chat, "/rename orchid = rose")).lower()


async def test_deletes(chat: Chat, paint: Painter) -> None:
    """A photo is taken out by reply; a class only after it was asked back; undo brings them back."""
    first, *_ = await teach(chat, paint, "rose", "rose", "tulip")
    assert (await say(chat, "/delete", reply_to=first)).startswith("1 photo taken out,")
    assert counts(chat) == {"rose": 1, "tulip": 1}
    for choice, left in (("No", {"rose": 1, "tulip": 1}), ("Yes", {"tulip": 1})):
        said = await chat.person.say("/delete rose")
        question = await chat.person.reply_to(said["message_id"])
        assert question["text"] == "Take all photos of rose out of it? It has 1 photo."
        await chat.person.tap(question["message_id"], buttons(question)[choice])
        await chat.person.reply_to(said["message_id"], where=lambda message: "Take all" not in message["text"])
        assert counts(chat) == left
    await say(chat, "/undo")
    assert counts(chat) == {"rose": 1, "tulip": 1}
    assert (await say(chat, "/delete")).startswith("Reply to a photo with /delete")
    assert await say(chat, "/delete lily") == "There is no class lily. /classes lists those there are."


async def test_withdraws_ones_photos(chat: Chat, paint: Painter) -> None:
    """Whoever wants their photos back sees how many there are, and one tap takes all out."""
    chat.service.stores.photos.add(paint("blue"), "rose", "import")
    await teach(chat, paint, "rose", "tulip")
    said = await chat.person.say("/withdraw")
    question = await chat.person.reply_to(said["message_id"])
    assert question["text"].splitlines()[1:] == ["rose: 1 photo", "tulip: 1 photo"]
    await chat.person.tap(question["message_id"], buttons(question)["Yes"])
    gone = await chat.person.reply_to(said["message_id"], where=lambda message: "taken out" in message["text"])
    assert counts(chat) == {"rose": 1}
    await chat.person.tap(gone["message_id"], buttons(gone)["↩ Undo"])
    await chat.person.reply_to(said["message_id"], where=lambda message: "Undone" in message["text"])
    assert counts(chat) == {"rose": 2, "tulip": 1}
    await say(chat, "/undo 9")
    assert await say(chat, "/withdraw") == "No photo in the classes is from you."


async def test_a_button_works_once(chat: Chat, paint: Painter) -> None:
    """A tap that is repeated, also on another button of the same question, changes nothing more."""
    await teach(chat, paint, "daisy")
    sent = await chat.person.photo(paint("red"), "daisies")
    question = await chat.person.reply_to(sent["message_id"])
    for data in buttons(question).values():
        await chat.person.tap(question["message_id"], data)
    assert await told(chat.person) == "That was done already."
    assert counts(chat) == {"daisy": 2}
