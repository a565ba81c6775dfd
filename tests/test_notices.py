"""What the chats hear of a version that the bot had to give up."""

import asyncio

from conftest import Chat, Painter, PublishTiny, until

from storage.database import now
from storage.tables import ServedRow


def heard(texts: list[str]) -> list[str]:
    return [text for text in texts if "I went back" in text]


async def texts(chat: Chat) -> list[str]:
    return [event["message"].get("text", "") for event in await chat.person.events() if event["type"] == "sent"]


async def test_a_damaged_version_is_told_in_chat_and_status(
    chat: Chat, publish_tiny: PublishTiny, paint: Painter
) -> None:
    """The chat hears once that a version was given up, why, and what answers instead; /status says it, too."""
    await chat.person.reply_to((await chat.person.say("/help"))["message_id"])  # So that there is a chat.
    good, bad = publish_tiny(), publish_tiny(promote=None)
    rollout = chat.service.rollout
    await until(lambda: rollout.answering == good)
    (chat.service.stores.models.folder / str(bad) / "saved_model.pb").unlink()
    with chat.service.stores.database.write() as session:
        session.add(ServedRow(version=bad, at=now(), by="ann", reason="promoted by hand"))
    message = await chat.person.wait_for(lambda message: "I went back" in message.get("text", ""))
    assert "I went back to version 1: version 2 was given up: Version 2 is damaged: saved_model.pb" in message["text"]
    assert "/promote 2" in message["text"]
    answer = await chat.person.reply_to((await chat.person.photo(paint("red")))["message_id"])
    assert answer["text"].endswith("Version 1")
    status = await chat.person.reply_to((await chat.person.say("/status"))["message_id"])
    assert status["text"].splitlines()[1].startswith("⚠ version 2 was given up: Version 2 is damaged")
    await asyncio.sleep(0.3)
    assert len(heard(await texts(chat))) == 1


async def test_a_step_back_is_told_though_telegram_is_away(chat: Chat, publish_tiny: PublishTiny) -> None:
    """Where Telegram does not take the message, it is sent again, until it has."""
    publish_tiny()
    publish_tiny()
    await chat.person.reply_to((await chat.person.say("/help"))["message_id"])
    await chat.fault(method="sendMessage", times=2, error_code=502)
    chat.service.stores.models.give_up(2, "a <b> is no tag here")
    message = await chat.person.wait_for(lambda message: "I went back" in message.get("text", ""))
    assert "a <b> is no tag here" in message["text"]
    await until(lambda: chat.service.stores.models.steps_back() == [])
    assert len(heard(await texts(chat))) == 1
