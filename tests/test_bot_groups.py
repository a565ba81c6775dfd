"""In a group the bot answers what is meant for it, in the topic where it was asked, and nothing else."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from conftest import ADA, Chat, Painter, PublishTiny, chatting

from sandbox.client import Person
from storage.received import Received
from storage.settings import Settings

GROUP = -1001


@asynccontextmanager
async def group(settings: Settings, publish_tiny: PublishTiny) -> AsyncIterator[tuple[Chat, Person, str]]:
    """A chat, the same person in a topic of a group where the bot may work, and the bot's name there."""
    publish_tiny()
    async with chatting(settings) as chat:
        chat.service.stores.people.allow_group(GROUP, "Garden", "test")
        async with Person(chat.url, GROUP, person_id=ADA, chat_type="supergroup", thread=7) as person:
            yield chat, person, f"@{chat.service.application.bot.username}"


async def test_only_what_is_meant_for_the_bot_is_answered(
    settings: Settings, publish_tiny: PublishTiny, paint: Painter
) -> None:
    """A mention, a reply, and a caption with a hashtag are meant for it; a family's other photos are not."""
    async with group(settings, publish_tiny) as (chat, person, name):
        silent = [
            (await person.photo(paint("red")))["message_id"],
            (await person.photo(paint("red"), "our garden"))["message_id"],
            (await person.say("good morning"))["message_id"],
        ]
        asked = await person.photo(paint("red"), f"{name} what is this?")
        answer = await person.reply_to(asked["message_id"])
        assert answer["text"].startswith("red\n")
        tagged = await person.photo(paint("green"), "#moss in our garden today, look at that")
        assert "Learned as moss" in (await person.reply_to(tagged["message_id"]))["text"]
        named = await person.photo(paint("green"), f"{name} lawn")
        assert "Learned as lawn" in (await person.reply_to(named["message_id"]))["text"]
        replied = await person.say("poppy", reply_to=answer["message_id"])
        assert "Learned as poppy" in (await person.reply_to(replied["message_id"]))["text"]
        alone = await person.photo(paint("blue"), name)
        assert (await person.reply_to(alone["message_id"]))["text"].startswith("blue\n")
        answered = {
            event["message"].get("reply_to_message", {}).get("message_id")
            for event in await person.events()
            if event["type"] == "sent" and event["message"]["from"]["is_bot"]
        }
        assert not answered & set(silent)
        received = Received(chat.service.stores.database, chat.service.application.bot.id)
        assert [received.get(GROUP, message) for message in silent] == [None] * 3  # They were not even fetched.


async def test_a_photo_can_be_asked_about_afterwards(
    settings: Settings, publish_tiny: PublishTiny, paint: Painter
) -> None:
    """A mention in reply to somebody's photo is about that photo."""
    async with group(settings, publish_tiny) as (_, person, name):
        photo = await person.photo(paint("blue"))
        asked = await person.say(f"{name} what is this?", reply_to=photo["message_id"])
        assert (await person.reply_to(asked["message_id"]))["text"].startswith("blue\n")
        named = await person.say(f"{name} sky", reply_to=photo["message_id"])
        assert "Learned as sky" in (await person.reply_to(named["message_id"]))["text"]


async def test_a_group_can_be_set_so_that_every_photo_is_meant(
    settings: Settings, publish_tiny: PublishTiny, paint: Painter
) -> None:
    """/listen all, and back."""
    async with group(settings, publish_tiny) as (_, person, _name):
        said = await person.say("/listen all")
        assert "every photo" in (await person.reply_to(said["message_id"]))["text"]
        photo = await person.photo(paint("red"))
        assert (await person.reply_to(photo["message_id"]))["text"].startswith("red\n")
        said = await person.say("/listen mentions")
        await person.reply_to(said["message_id"])
        quiet = await person.photo(paint("red"))
        last = await person.photo(paint("red"), "#rose")
        await person.reply_to(last["message_id"])
        replies = [
            event["message"].get("reply_to_message", {}) for event in await person.events() if "message" in event
        ]
        assert quiet["message_id"] not in [reply.get("message_id") for reply in replies]


async def test_answers_stay_in_their_topic(settings: Settings, publish_tiny: PublishTiny, paint: Painter) -> None:
    """An answer, and the messages that follow a run there, stand in the thread in which they were asked for."""
    async with group(settings, publish_tiny) as (chat, person, _name):
        photo = await person.photo(paint("red"), "#rose")
        assert (await person.reply_to(photo["message_id"]))["message_thread_id"] == 7
        await person.reply_to((await person.say("/notify"))["message_id"])
        run, _ = chat.service.stores.runs.enqueue(chat.service.stores.runs.newest(1)[0].options, "schedule", join=False)
        begun = await person.wait_for(lambda message: message["text"].startswith(f"Run {run.id} "))
        assert begun["message_thread_id"] == 7
