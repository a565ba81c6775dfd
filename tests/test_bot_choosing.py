"""Labelling by taps alone: the likeliest classes, all the others in pages, and none of them."""

from typing import Any

from conftest import Chat, Painter, PublishTiny, buttons, chatting

from storage.settings import Settings


async def turn(chat: Chat, message: dict[str, Any], words: str) -> dict[str, Any]:
    """Tap a button, and wait for the message as it is then."""
    before = buttons(message)
    await chat.person.tap(message["message_id"], before[words])
    return await chat.person.wait_for(
        lambda edited: edited["message_id"] == message["message_id"] and buttons(edited) != before
    )


async def test_all_classes_are_a_few_taps_away(settings: Settings, publish_tiny: PublishTiny, paint: Painter) -> None:
    """“Another…” pages through all classes that the answer did not show; a tap labels, and can be undone."""
    publish_tiny()
    serving = settings.serving.model_copy(update={"top_k": 1})
    async with chatting(settings.model_copy(update={"serving": serving})) as chat:
        photos = chat.service.stores.photos
        for number in range(12):
            photos.add(paint("red"), f"thing_{number:02}", "test")
        photos.add(paint("green"), "green", "test")
        sent = await chat.person.photo(paint("green"))
        answer = await chat.person.reply_to(sent["message_id"])
        assert list(buttons(answer)) == ["✓ green", "another…", "✗ none of these"]
        first = await turn(chat, answer, "another…")
        assert first["text"] == answer["text"]
        assert [words for words in buttons(first) if words[0] == "✓"] == [f"✓ thing {n:02}" for n in range(8)]
        second = await turn(chat, first, "more ›")
        assert list(buttons(second)) == [*(f"✓ thing {n:02}" for n in range(8, 12)), "‹ back", "✗ none of these"]
        back = await turn(chat, await turn(chat, second, "‹ back"), "‹ back")
        assert list(buttons(back)) == list(buttons(answer))
        last = await turn(chat, await turn(chat, back, "another…"), "✓ thing 03")
        assert last["text"] == "Learned as thing 03, which has 2 photos now."
        assert list(buttons(last)) == ["↩ Undo"]


async def test_none_of_these_asks_what_it_is(settings: Settings, publish_tiny: PublishTiny, paint: Painter) -> None:
    """Whoever says that it is none of the classes can name it in a reply, or say that it is worth nothing."""
    publish_tiny()
    async with chatting(settings) as chat:
        chat.service.stores.photos.add(paint("green"), "green", "test")
        sent = await chat.person.photo(paint("red"))
        answer = await chat.person.reply_to(sent["message_id"])
        asked = await turn(chat, answer, "✗ none of these")
        assert asked["text"].startswith(answer["text"])
        assert "Reply to this message" in asked["text"]
        assert list(buttons(asked)) == ["+ none, a new class", "‹ back"]
        assert (await turn(chat, asked, "‹ back"))["text"] == answer["text"]
        said = await chat.person.say("poppy", reply_to=answer["message_id"])
        assert (await chat.person.reply_to(said["message_id"]))["text"] == "Learned as poppy, which has 1 photo now."
        asked = await chat.person.reply_to((await chat.person.photo(paint("red")))["message_id"])
        done = await turn(chat, await turn(chat, asked, "✗ none of these"), "+ none, a new class")
        assert done["text"] == "Learned as none, which has 1 photo now."


async def test_a_button_works_for_one_tap_and_in_one_chat(
    settings: Settings, publish_tiny: PublishTiny, paint: Painter
) -> None:
    """What a button sends back has at most 64 bytes."""
    publish_tiny()
    async with chatting(settings) as chat:
        chat.service.stores.photos.add(paint("green"), "green", "test")
        answer = await chat.person.reply_to((await chat.person.photo(paint("green")))["message_id"])
        assert all(len(data.encode()) <= 64 for data in buttons(answer).values())
        assert len(set(buttons(answer).values())) == len(buttons(answer))


async def test_a_question_in_reply_to_a_photo_is_answered(
    settings: Settings, publish_tiny: PublishTiny, paint: Painter
) -> None:
    """“What is this?” below a photo gets the same answer as the photo alone."""
    publish_tiny()
    async with chatting(settings) as chat:
        sent = await chat.person.photo(paint("green"), "green")
        await chat.person.reply_to(sent["message_id"])
        asked = await chat.person.say("what is this?", reply_to=sent["message_id"])
        assert (await chat.person.reply_to(asked["message_id"]))["text"].startswith("green\n")
