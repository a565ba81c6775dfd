"""Commands in the chat, and who may use them."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
from conftest import ADA, STRANGER, TOKEN, Chat, Painter, PublishTiny, buttons, until

from bot import replies
from sandbox.client import Person
from storage.gpus import Gpu, GpuReport
from storage.runs import RunState
from trainer import gpu


async def answer(chat: Chat, text: str) -> str:
    """What the bot replies to this text."""
    said = await chat.person.say(text)
    return str((await chat.person.reply_to(said["message_id"]))["text"])


async def teach(chat: Chat, paint: Painter, *captions: str) -> None:
    for caption in captions:
        sent = await chat.person.photo(paint("red"), caption)
        await chat.person.reply_to(sent["message_id"])


async def test_help_lists_every_command(chat: Chat) -> None:
    """/help, the list that Telegram shows, and the commands that are answered agree."""
    text = await answer(chat, "/help")
    async with httpx.AsyncClient(trust_env=False) as client:
        mine = {"scope": {"type": "chat", "chat_id": ADA}}
        published = (await client.post(f"{chat.url}/bot{TOKEN}/getMyCommands", json=mine)).json()["result"]
    assert {item["command"]: item["description"] for item in published} == replies.COMMANDS
    assert all(f"/{name}: {meaning}" in text for name, meaning in replies.COMMANDS.items())
    for name in replies.COMMANDS:
        assert not (await answer(chat, f"/{name}")).startswith("Send me a photo and")
    assert f"Your id is {ADA}." in text


async def test_refuses_strangers(chat: Chat, paint: Painter) -> None:
    """Whoever was not let in is told their id and how to be, and nothing they send has any effect."""
    await teach(chat, paint, "rose")
    async with Person(chat.url, STRANGER, "Eve") as eve:
        for sent in (await eve.photo(paint("red"), "rose"), await eve.say("/train"), await eve.say("hello")):
            refusal = await eve.reply_to(sent["message_id"])
            assert f"Your id is {STRANGER}. Ask an admin to send me: /people add {STRANGER}" in refusal["text"]
        said = await eve.say("/start")
        assert str(STRANGER) in (await eve.reply_to(said["message_id"]))["text"]
    assert [item.photos for item in chat.service.stores.photos.classes()] == [1]
    assert chat.service.stores.runs.newest() == []


async def test_refuses_the_taps_of_strangers(chat: Chat, paint: Painter) -> None:
    """A button in a group works for the people who were let in only."""
    group = -77
    chat.service.stores.people.allow_group(group, "Garden", "test")
    async with Person(chat.url, group, person_id=ADA) as ada, Person(chat.url, group, person_id=STRANGER) as eve:
        sent = await ada.photo(paint("red"), "#rose")
        receipt = await ada.reply_to(sent["message_id"])
        await eve.tap(receipt["message_id"], buttons(receipt)["↩ Undo"])
        answered: list[dict[str, Any]] = []
        while not answered:
            answered = [event for event in await ada.events(wait=1) if event["type"] == "callback_answered"]
    assert str(STRANGER) in str(answered[0])
    assert [item.photos for item in chat.service.stores.photos.classes()] == [1]


async def test_gives_a_hint(chat: Chat) -> None:
    """Words and commands that mean nothing get a short hint."""
    for text in ("hello", "/nonsense", "<b>"):
        assert "Send me a photo" in await answer(chat, text)


async def test_train_leaves_the_counting_to_the_run(chat: Chat) -> None:
    """/train asks for a run whatever the catalogue counts, because photos may have been copied into the folders."""
    assert await answer(chat, "/train") == "Run 1 waits for the trainer."


async def test_train_names_the_ways(chat: Chat, paint: Painter) -> None:
    """/train with an unknown mode says which there are."""
    await teach(chat, paint, "rose", "tulip")
    assert (
        await answer(chat, "/train <i>")
        == "“<i>” is not a way to train. There is: head, full, scratch. Try /train head."
    )


async def test_train_starts_one_run(chat: Chat, paint: Painter) -> None:
    """/train puts one run into the queue; a second /train follows the same run and says so."""
    await teach(chat, paint, "rose", "tulip")
    assert await answer(chat, "/train HEAD") == "Run 1 waits for the trainer."
    assert "under way already" in await answer(chat, "/train")
    (run,) = chat.service.stores.runs.newest()
    assert (run.state, run.options.mode, run.requested_by) == (RunState.QUEUED, "head", f"telegram:{ADA}")
    await until(lambda: len(chat.service.stores.follows.open()) == 2)


async def test_classes_are_counted(chat: Chat, paint: Painter) -> None:
    """/classes lists each class with its count and marks those with few photos; however many, nothing is cut."""
    assert "no photos yet" in await answer(chat, "/classes")
    await teach(chat, paint, *["rose"] * 10, "white tulip")
    assert await answer(chat, "/classes") == "rose 10\nwhite tulip 1 ⚠\n⚠ fewer than 10 photos: send more of these."
    names = [f"a_rather_long_class_name_for_a_flower_{number}" for number in range(100)]
    for name in names:
        chat.service.stores.photos.add(paint("green"), name, "test")
    said = await chat.person.say("/classes")
    await chat.person.reply_to(said["message_id"], where=lambda message: "⚠ fewer" in message["text"])
    texts = [event["message"].get("text", "") for event in await chat.person.events()]
    assert all(any(f"{name.replace('_', ' ')} 1 ⚠" in text for text in texts) for name in names)


async def test_status_tells_the_state(chat: Chat, publish_tiny: PublishTiny, paint: Painter) -> None:
    """/status tells what is served and how good it is, the photos, the run and the trainer."""
    empty = await answer(chat, "/status")
    assert "Nothing is served yet" in empty
    assert "No trainer has reported yet" in empty
    await asyncio.to_thread(publish_tiny)
    await teach(chat, paint, "rose", "tulip")
    await answer(chat, "/train")
    stores = chat.service.stores
    run = stores.runs.claim("trainer", timedelta(minutes=1))
    assert run
    stores.runs.progress(run.id, run.token, "features", 1, 2)
    stores.gpus.write("box", datetime.now(UTC) - timedelta(minutes=5), GpuReport())
    await until(lambda: chat.service.rollout.answering == 1)
    lines = (await answer(chat, "/status")).splitlines()
    assert lines[0].startswith("Version 1 since ")
    assert lines[0].endswith("right on 90% of its test photos")
    assert lines[1:7] == [
        "2 photos in 2 classes",
        "New since then: rose 1, tulip 1",
        "Run 2: looking at the photos",
        "█████░░░░░ 1 of 2",
        lines[5],
        "Trainer seen 5 min ago",
    ]
    assert lines[5].startswith("Training is next due at")
    assert lines[-1].endswith("GB of disk left")
    stores.runs.finish(run.id, run.token, RunState.FAILED, "The disk was full.")
    assert f"Run {run.id} failed. The disk was full." in (await answer(chat, "/status")).splitlines()


async def test_schedule_is_told(chat: Chat) -> None:
    """/schedule tells when training is next due, its conditions, and why the last slot did or did not train."""
    first = (await answer(chat, "/schedule")).splitlines()
    assert first[0].startswith("Training is next due at ")
    assert first[0].endswith(" 02:30 (UTC).")
    assert first[1:] == ["It starts only if photos are new, changed or gone since the newest version: at least 1."]
    due = datetime(2026, 1, 5, 2, 30, tzinfo=UTC)
    chat.service.stores.slots.decide(due, "nothing changed since version 2 <b>")
    told = "Last time, at 2026-01-05 02:30, it did not train: nothing changed since version 2 <b>"
    assert (await answer(chat, "/schedule")).splitlines()[2:] == [told]


async def test_gpu_in_plain_words(chat: Chat) -> None:
    """/gpu tells each card's numbers, or plainly that there is none, or that no trainer has reported."""
    assert "No trainer has reported yet" in await answer(chat, "/gpu")
    gpus = chat.service.stores.gpus
    card = Gpu(index=0, name="A<100>", memory_total=40960, memory_used=1024, utilisation=7, temperature=41, power=59.6)
    report = GpuReport(gpus=(card,), driver="570.1", tensorflow="TensorFlow 2.21 trains on GPU 0.")
    gpus.write("box", datetime.now(UTC), report)
    assert (await answer(chat, "/gpu")).splitlines()[1:] == [
        "GPU 0: A<100>",
        "1.0 of 40.0 GB memory, 7% busy, 41 °C, 60 W",
        "Driver 570.1",
        "TensorFlow 2.21 trains on GPU 0.",
    ]
    gpus.write("box", datetime.now(UTC), gpu.report(None))
    text = await answer(chat, "/gpu")
    assert text.startswith("box, seen ")
    assert "No GPU." in text or "GPU 0" in text


async def test_cancel_ends_a_waiting_run(chat: Chat, paint: Painter) -> None:
    """/cancel ends the run that waits, and says so under /train, too; without one it says that there is none."""
    await teach(chat, paint, "rose", "tulip")
    assert await answer(chat, "/cancel") == "No run is under way."
    said = await chat.person.say("/train")
    await chat.person.reply_to(said["message_id"])
    assert await answer(chat, "/cancel") == "Run 1 was cancelled. Cancelled by Ada."
    await chat.person.reply_to(said["message_id"], where=lambda message: "was cancelled" in message["text"])
    (run,) = chat.service.stores.runs.newest()
    assert run.state is RunState.CANCELLED
