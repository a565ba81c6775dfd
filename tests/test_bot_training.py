"""Training from the phone: started by words or buttons, followed, ended, promoted, and told to who wants to hear."""

import asyncio
from collections import Counter
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from conftest import ADA, Chat, Painter, PublishTiny, buttons, chatting, told, until

from bot.pace import Paces
from sandbox.client import Person
from storage.runs import Run, RunOptions, RunState
from storage.settings import Settings

LEASE = timedelta(minutes=1)
KEPT = {
    "version": 1,
    "promoted": False,
    "reason": "it is worse",
    "metrics": {"test_accuracy": 0.8},
    "better": [{"name": "rose", "photos": 9, "before": 5, "after": 7}],
    "worse": [{"name": "sea_daisy", "photos": 10, "before": 9, "after": 4}],
}


async def ask(chat: Chat, words: str) -> dict[str, Any]:
    return await chat.person.reply_to((await chat.person.say(words))["message_id"])


def claim(chat: Chat) -> Run:
    run = chat.service.stores.runs.claim("trainer", LEASE)
    assert run
    return run


async def test_options_are_taken_by_name(chat: Chat) -> None:
    """What stands behind /train is what the run is asked for."""
    await ask(chat, "/train full epochs=3 learning_rate=0.001 time_budget=30 seed=5 force")
    options = claim(chat).options
    assert (options.mode, options.epochs, options.learning_rate) == ("full", 3, 0.001)
    assert (options.time_budget, options.seed, options.force) == (30, 5, True)


@pytest.mark.parametrize(
    ("words", "answer"),
    [
        ("/train sideways", "“sideways” is not a way to train. There is: head, full, scratch. Try /train head."),
        ("/train epochs=many", "“many” cannot be the value of epochs."),
        ("/train epochs=0", "“0” cannot be the value of epochs."),
        ("/train weights=/etc/passwd", "“weights” cannot be set here."),
    ],
)
async def test_what_is_not_understood_starts_nothing(chat: Chat, words: str, answer: str) -> None:
    """A slip does not cost an hour of the wrong training."""
    assert (await ask(chat, words))["text"].startswith(answer)
    assert chat.service.stores.runs.active() is None


async def test_modes_can_be_chosen_by_a_button(chat: Chat) -> None:
    """“/train ?” asks; the message that asked becomes the one that follows the run."""
    asked = await ask(chat, "/train ?")
    assert list(buttons(asked)) == [
        "The last layer (minutes at most)",
        "The whole network (better, and slow)",
        "From nothing (many photos, very slow)",
    ]
    await chat.person.tap(asked["message_id"], buttons(asked)["The whole network (better, and slow)"])
    begun = await chat.person.wait_for(lambda message: message["text"] == "Run 1 waits for the trainer.")
    assert begun["message_id"] == asked["message_id"]
    assert claim(chat).options.mode == "full"


async def test_a_run_is_ended_by_its_button(chat: Chat) -> None:
    """The button stays below the message through every edit, and the end is told there."""
    message = await ask(chat, "/train")
    run = claim(chat)
    chat.service.stores.runs.progress(run.id, run.token, "features", 3, 10)
    going = await chat.person.wait_for(lambda message: "3 of 10" in message["text"])
    assert buttons(going) == buttons(message)
    await chat.person.tap(going["message_id"], buttons(going)["✕ Cancel"])
    assert await told(chat.person) == "Run 1 is being ended."
    assert chat.service.stores.runs.get(run.id).cancelled_by == "Ada"
    chat.service.stores.runs.finish(run.id, run.token, RunState.CANCELLED, "Cancelled by Ada.")
    ended = await chat.person.wait_for(lambda message: "was cancelled" in message["text"])
    assert buttons(ended) == {}


async def test_a_kept_version_can_be_served_all_the_same(
    settings: Settings, publish_tiny: PublishTiny, paint: Painter
) -> None:
    """The end says what got better and worse, shows pictures, and lets an admin overrule the gate."""
    first, second = publish_tiny(), publish_tiny()
    async with chatting(settings) as chat:
        stores = chat.service.stores
        stores.models.promote(first, "test")
        await ask(chat, "/train")
        run = claim(chat)
        folder = settings.runs_dir / str(run.id)
        folder.mkdir(parents=True)
        for name in ("confusion.png", "curves.png"):
            (folder / name).write_bytes(paint("red", "PNG"))
        await chat.fault(method="sendMediaGroup", times=1, drop=True, after=True)  # It arrives, unheard.
        result = {**KEPT, "version": second, "numbered": {"3": "蝴蝶兰_白色"}}
        stores.runs.finish(run.id, run.token, RunState.SUCCEEDED, "", result)
        ended = await chat.person.wait_for(lambda message: "is kept" in message.get("text", ""))
        assert "📈 Better: rose 5 → 7 of 9" in ended["text"]
        assert "📉 Worse: sea daisy 9 → 4 of 10" in ended["text"]
        picture = await chat.person.wait_for(lambda message: "photo" in message)
        assert picture["caption"].endswith("on test photos\n#3 蝴蝶兰 白色")
        assert picture["reply_to_message"]["message_id"] == ended["message_id"]
        await chat.person.tap(ended["message_id"], buttons(ended)["Serve it all the same"])
        await chat.person.wait_for(
            lambda message: message.get("text") == f"Version {second} answers as soon as it has loaded."
        )
        served = stores.models.served()
        assert served
        assert served.version == second
        await until(lambda: stores.follows.open() == [])
        shown = [event for event in await chat.person.events() if "photo" in event.get("message", {})]
        assert len(shown) == 2


async def test_versions_are_changed_by_command(settings: Settings, publish_tiny: PublishTiny) -> None:
    """/promote and /rollback move what is served, and say so; a slip says how it is meant."""
    first, second = publish_tiny(), publish_tiny()
    async with chatting(settings) as chat:
        assert (await ask(chat, f"/promote {first}"))["text"] == f"Version {first} answers as soon as it has loaded."
        assert (await ask(chat, f"/promote {second}"))["text"] == f"Version {second} answers as soon as it has loaded."
        assert (await ask(chat, "/rollback"))["text"] == f"Version {first} answers as soon as it has loaded."
        assert "Say which version" in (await ask(chat, "/promote it"))["text"]
        assert "There is no version 99" in (await ask(chat, "/promote 99"))["text"]


async def test_scheduled_runs_are_told_to_who_wants_to_hear(settings: Settings) -> None:
    """A chat that asked with /notify gets one message for each scheduled run after that, until it has enough."""
    async with chatting(settings) as chat:
        stores = chat.service.stores
        options = RunOptions.from_settings(settings.training)
        before, _ = stores.runs.enqueue(options, "schedule")
        stores.runs.cancel(before.id, "test")
        assert "I tell this chat" in (await ask(chat, "/notify"))["text"]
        run, _ = stores.runs.enqueue(options, "schedule")
        await chat.person.wait_for(lambda message: message["text"] == f"Run {run.id} waits for the trainer.")
        stores.runs.cancel(run.id, "test")
        await chat.person.wait_for(lambda message: f"Run {run.id} was cancelled" in message["text"])
        assert "no more" in (await ask(chat, "/notify off"))["text"]
        after, _ = stores.runs.enqueue(options, "schedule")
        stores.runs.cancel(after.id, "test")
        await asyncio.sleep(0.5)
        texts = [event["message"]["text"] for event in await chat.person.events() if event["type"] == "sent"]
        assert not [text for text in texts if f"Run {after.id} " in text or f"Run {before.id} " in text]


async def test_a_hundred_chats_hear_the_end_once_each(settings: Settings) -> None:
    """Whatever Telegram asks to wait for, each chat's message gets its end, and none gets it twice."""
    async with chatting(settings) as chat:
        stores = chat.service.stores
        run, _ = stores.runs.enqueue(RunOptions.from_settings(settings.training), "schedule")
        people = [Person(chat.url, 5000 + number) for number in range(100)]
        for person in people:
            await person.say("hello")
            stores.chats.hear(person.chat_id, None, "en")
        again, _ = stores.runs.enqueue(RunOptions.from_settings(settings.training), "schedule", join=False)
        await until(lambda: len([f for f in stores.follows.open() if f.message]) == 100, 120)
        await chat.fault(method="editMessageText", times=60, error_code=429, retry_after=1)
        stores.runs.cancel(run.id, "test")
        stores.runs.cancel(again.id, "test")
        await until(lambda: stores.follows.open() == [], 180)
        for person in people:
            ends = Counter(
                event["type"]
                for event in await person.events()
                if event["type"] in {"sent", "edited"} and "was cancelled" in event["message"].get("text", "")
            )
            assert ends == {"edited": 1}
            await person.close()


async def test_a_chat_that_blocked_the_bot_is_left_alone(settings: Settings) -> None:
    """Where nothing arrives nothing more is sent, until somebody speaks there again."""
    async with chatting(settings) as chat:
        stores = chat.service.stores
        await ask(chat, "/notify")
        await chat.fault(
            method="sendMessage", times=1, error_code=403, description="Forbidden: bot was blocked by the user"
        )
        run, _ = stores.runs.enqueue(RunOptions.from_settings(settings.training), "schedule")
        await until(lambda: stores.chats.get(ADA).blocked)
        assert stores.chats.hearing() == []
        await until(lambda: stores.follows.open() == [])
        stores.runs.cancel(run.id, "test")
        await ask(chat, "/status")
        assert [item.id for item in stores.chats.hearing()] == [ADA]


async def test_a_message_that_was_deleted_is_not_missed(chat: Chat, tmp_path: Path) -> None:
    """The end of a run is told anew where the message that followed it is gone."""
    message = await ask(chat, "/train")
    run = claim(chat)
    await until(lambda: len(chat.service.stores.follows.open()) == 1)
    await chat.service.application.bot.delete_message(ADA, message["message_id"])
    chat.service.stores.runs.finish(run.id, run.token, RunState.FAILED, "The disk is full.")
    again = await chat.person.wait_for(lambda message: "The disk is full" in message["text"])
    assert again["message_id"] != message["message_id"]


def test_the_time_left_follows_from_what_was_seen() -> None:
    """After 4 s with 20 of 100 photos done since the first look, 60 more take 12 s, at 5 a second."""
    now = [0.0]
    paces = Paces(lambda: now[0])
    options = RunOptions(mode="head", backbone="efficientnet_lite0", weights="imagenet", seed=0)

    def at(seconds: float, done: int, step: str = "features") -> Run:
        now[0] = seconds
        run = Run(1, RunState.RUNNING, options, "", None, None, None, 1, step, done, 100, None, None, None)  # type: ignore[arg-type]
        paces.see(run)
        return run

    assert paces.of(at(10, 20)) is None
    assert paces.of(at(11, 30)) is None
    pace = paces.of(at(14, 40))
    assert pace
    assert (pace.left, pace.photos) == (12, 5)
    assert paces.of(at(15, 0, "head")) is None
    head = paces.of(at(25, 50, "head"))
    assert head
    assert (head.left, head.photos) == (10, None)
