"""Photos without a caption in the chat: answers, buttons, albums, and no photo left without one."""

import asyncio
import os
import re
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pytest
import pytest_asyncio
from conftest import COLOURS, Chat, Painter, PublishTiny, buttons, chatting, model_servers, publish, told, until

from bot import replies
from bot.predictor import Prediction
from sandbox.client import Person
from storage.settings import Settings

FRENCH = ("rouge", "vert", "bleu")
shared = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def taught(tmp_path_factory: pytest.TempPathFactory, tiny_graph: Path) -> AsyncIterator[Chat]:
    """A bot whose version 1 knows the colours."""
    settings = Settings(data=tmp_path_factory.mktemp("taught"))
    publish(settings, tiny_graph)
    async with chatting(settings) as chat:
        yield chat


@shared
async def test_answers_with_the_likeliest_classes(taught: Chat, paint: Painter) -> None:
    """A photo without a caption is answered with the likeliest classes, bars, percentages and the version."""
    sent = await taught.person.photo(paint("green"))
    lines = (await taught.person.reply_to(sent["message_id"]))["text"].splitlines()
    assert lines[0] == "green"
    assert re.fullmatch(r"█{10} +\d+% green", lines[1])
    assert lines[4:] == ["Version 1"]


@shared
async def test_a_tap_labels_the_photo(taught: Chat, paint: Painter) -> None:
    """Under an answer there is a button for each class that has a folder; a tap labels the photo, and can be undone.

    The button works once; the receipt and its Undo stay as they are.
    """
    await taught.person.reply_to((await taught.person.photo(paint("blue"), "blue"))["message_id"])
    sent = await taught.person.photo(paint("blue"))
    answer = await taught.person.reply_to(sent["message_id"])
    assert list(buttons(answer)) == ["✓ blue", "✗ none of these"]
    await taught.person.tap(answer["message_id"], buttons(answer)["✓ blue"])
    receipt = await taught.person.reply_to(sent["message_id"], where=lambda message: "Learned" in message["text"])
    assert receipt["text"] == "Learned as blue, which has 2 photos now."
    assert receipt["message_id"] == answer["message_id"]
    await taught.person.tap(receipt["message_id"], buttons(answer)["✓ blue"])
    assert await told(taught.person) == "That was done already."
    await taught.person.tap(receipt["message_id"], buttons(receipt)["↩ Undo"])
    undone = await taught.person.reply_to(sent["message_id"], where=lambda message: "Undone" in message["text"])
    assert undone["text"] == "Undone: 1 photo taken out again."
    assert buttons(undone) == {}


@shared
async def test_answers_an_album(taught: Chat, paint: Painter) -> None:
    """An album without a caption gets one reply with a line for each photo, the broken one too."""
    sent = await taught.person.album([paint("red"), paint("blue")])
    answer = await taught.person.reply_to(sent[0]["message_id"])
    assert re.fullmatch(r"1\. red \d+%\n2\. blue \d+%\nVersion 1", answer["text"])
    await taught.fault(method="download", times=1, error_code=400)
    sent = await taught.person.album([paint("red"), paint("blue")])
    answer = await taught.person.reply_to(sent[0]["message_id"])
    assert answer["text"].count("not used: Telegram has lost this file") == 1
    await taught.fault(method="download", times=3, error_code=500)
    sent = await taught.person.album([paint("red"), paint("blue")])
    answer = await taught.person.reply_to(sent[0]["message_id"], where=lambda message: "2. blue" in message["text"])
    assert re.fullmatch(r"1\. red \d+%\n2\. blue \d+%\nVersion 1", answer["text"])


@shared
async def test_refuses_a_broken_photo(taught: Chat, paint: Painter) -> None:
    """A file that is no whole photo is answered with the reason."""
    sent = await taught.person.document(paint("red")[:700], "photo.jpg")
    assert "damaged" in (await taught.person.reply_to(sent["message_id"]))["text"]


@shared
async def test_tries_again_to_answer(taught: Chat, paint: Painter) -> None:
    """When Telegram fails to take an answer, it is given a little later."""
    await taught.fault(method="sendMessage", times=1, error_code=500)
    sent = await taught.person.photo(paint("red"))
    assert "red" in (await taught.person.reply_to(sent["message_id"]))["text"]


@shared
async def test_waits_when_told_to(taught: Chat, paint: Painter) -> None:
    """When Telegram asks for patience the answer comes later, but it comes."""
    await taught.fault(method="sendMessage", times=1, error_code=429, retry_after=1)
    sent = await taught.person.photo(paint("red"))
    assert "red" in (await taught.person.reply_to(sent["message_id"]))["text"]


async def test_answers_all_through_swap_and_kill(settings: Settings, publish_tiny: PublishTiny, paint: Painter) -> None:
    """While versions change and the model server is killed, every photo of several people is answered.

    Each answer's classes are those of the version that it names.
    """
    names = {str(publish_tiny()): tuple(COLOURS)}
    async with chatting(settings) as chat:
        sent: list[tuple[Person, int]] = []

        async def stream(person: Person) -> None:
            for _ in range(25):
                sent.append((person, (await person.photo(paint("green")))["message_id"]))
                await person.reply_to(sent[-1][1], timeout=90)

        others = [Person(chat.url, chat.person.chat_id, name) for name in ("Bo", "Cy")]
        streams = [asyncio.create_task(stream(person)) for person in (chat.person, *others)]
        await until(lambda: len(sent) > 9)
        names[str(await asyncio.to_thread(publish_tiny, FRENCH))] = FRENCH
        await until(lambda: chat.service.rollout.answering == 2)
        for pid in model_servers():
            os.kill(pid, signal.SIGKILL)
        await asyncio.gather(*streams)
        answers = [(await person.reply_to(message))["text"].splitlines() for person, message in sent]
        for person in others:
            await person.close()
    assert len(answers) == 75
    assert {lines[0] for lines in answers} <= {"green", "vert"}
    assert all(lines[0] == names[lines[-1].removeprefix("Version ")][1] for lines in answers)


def test_says_when_it_is_not_sure() -> None:
    """An answer whose best class is not likely enough says so first; class names are escaped and shown with spaces."""
    prediction = Prediction(3, ("a&b", "white_rose"), np.array([0.45, 0.55], np.float32), sure_above=0.6)
    text = replies.answer(prediction, top_k=2)
    assert text.splitlines() == [
        "Not sure.",
        "<code>██████░░░░  55%</code> white rose",
        "<code>████░░░░░░  45%</code> a&amp;b",
        "Version 3",
    ]


def test_says_when_a_photo_shows_nothing_that_it_knows() -> None:
    """A class for photos of nothing that is asked for is told in words; where that is doubtful, it is a guess."""
    shares = np.array([0.2, 0.8], np.float32)
    prediction = Prediction(3, ("rose", "none"), shares, sure_above=0.6, none_class="none")
    assert replies.answer(prediction, top_k=1).splitlines()[0] == "None of the things I know."
    doubtful = Prediction(3, ("rose", "none"), shares, sure_above=0.9, none_class="none")
    assert replies.answer(doubtful, top_k=1).splitlines()[0] == "Not sure."
