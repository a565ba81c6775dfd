"""Messages that follow a run: they end in words for every outcome, whatever happens on the way."""

import html
from datetime import timedelta
from typing import Any

import pytest
from conftest import ADA, FAST, Chat, Painter, chatting, until
from hypothesis import given
from hypothesis import strategies as st

from bot.markup import MESSAGE, fit
from sandbox.client import Person
from sandbox.server import running
from storage.database import now
from storage.runs import Run, RunOptions, Runs, RunState
from storage.settings import Settings, Training

LEASE = timedelta(minutes=1)
RESULT = {"version": 3, "promoted": True, "reason": "it is <better>", "metrics": {"test_accuracy": 0.875}}
ENDS = {
    "served": (RunState.SUCCEEDED, RESULT, "Run 1 made version 3: right on 88% of its test photos."),
    "kept": (RunState.SUCCEEDED, {**RESULT, "promoted": False}, "It is kept, but not served, because it is <better>."),
    "failed": (RunState.FAILED, None, "Run 1 failed. The disk is <full>."),
    "cancelled": (RunState.CANCELLED, None, "Run 1 was cancelled. The disk is <full>."),
}


async def follow(chat: Chat, paint: Painter) -> tuple[int, Run]:
    """Two classes, /train, and a trainer that has taken the run: the followed message's id and the run."""
    for caption in ("rose", "tulip"):
        await chat.person.reply_to((await chat.person.photo(paint("red"), caption))["message_id"])
    said = await chat.person.say("/train")
    message = await chat.person.reply_to(said["message_id"])
    await until(lambda: len(chat.service.stores.follows.open()) == 1)
    run = chat.service.stores.runs.claim("trainer", LEASE)
    assert run
    return message["message_id"], run


async def shown(person: Person, message_id: int, words: str) -> dict[str, Any]:
    return await person.wait_for(lambda message: message["message_id"] == message_id and words in message["text"])


@pytest.mark.parametrize("end", ENDS)
async def test_tells_the_end(chat: Chat, paint: Painter, end: str) -> None:
    """The message shows each step with its bar, and at last the outcome; then it is followed no more."""
    state, result, words = ENDS[end]
    message, run = await follow(chat, paint)
    runs = chat.service.stores.runs
    runs.progress(run.id, run.token, "features", 3, 10)
    await shown(chat.person, message, "Run 1: looking at the photos\n███░░░░░░░ 3 of 10")
    runs.finish(run.id, run.token, state, "The disk is <full>.", result)
    await shown(chat.person, message, words)
    await until(lambda: chat.service.stores.follows.open() == [])


async def test_goes_on_after_a_restart(settings: Settings, paint: Painter) -> None:
    """A run that ends while the bot is down is told when the bot is back, in the same message."""
    async with running() as sandbox:
        async with chatting(settings, sandbox.url) as chat:
            message, run = await follow(chat, paint)
        runs = Runs(chat.service.stores.database)
        runs.finish(run.id, run.token, RunState.SUCCEEDED, "", RESULT)
        async with chatting(settings, sandbox.url) as chat:
            await shown(chat.person, message, "Run 1 made version 3")


async def test_edits_at_a_humane_pace(chat: Chat, paint: Painter) -> None:
    """However fast a run goes, the message is edited no oftener than asked, and ends right."""
    message, run = await follow(chat, paint)
    runs = chat.service.stores.runs
    for done in range(200):
        runs.progress(run.id, run.token, "features", done, 200)
    runs.finish(run.id, run.token, RunState.SUCCEEDED, "", RESULT)
    last = await shown(chat.person, message, "Run 1 made version 3")
    edits = [event for event in await chat.person.events() if event["type"] == "edited"]
    seconds = last["edit_date"] - edits[0]["message"]["edit_date"]
    assert len(edits) <= (seconds + 1) / FAST.edit_every + 1


@pytest.mark.parametrize(
    ("code", "description"),
    [(400, "Bad Request: chat not found"), (403, "Forbidden: bot was blocked by the user")],
)
async def test_gives_up_what_is_gone(chat: Chat, paint: Painter, code: int, description: str) -> None:
    """A chat that is gone, or a person who blocked the bot, is told no more."""
    _, run = await follow(chat, paint)
    await chat.fault(method="editMessageText", times=1, error_code=code, description=description)
    chat.service.stores.runs.progress(run.id, run.token, "head", 1, 2)
    await until(lambda: chat.service.stores.follows.open() == [])


async def test_tells_the_end_despite_faults(chat: Chat, paint: Painter) -> None:
    """Errors of Telegram and lost answers delay the end, but it is told."""
    message, run = await follow(chat, paint)
    await chat.fault(method="editMessageText", times=2, error_code=500)
    await chat.fault(method="editMessageText", times=1, drop=True, after=True)
    chat.service.stores.runs.finish(run.id, run.token, RunState.FAILED, "No luck.")
    await shown(chat.person, message, "Run 1 failed. No luck.")
    await until(lambda: chat.service.stores.follows.open() == [])


async def test_tells_an_end_that_is_too_long(chat: Chat, paint: Painter) -> None:
    """Of an end in more words than a message holds, the beginning is told, as it was written."""
    message, run = await follow(chat, paint)
    words = "<b>&amp; 😀</b>" * 500
    chat.service.stores.runs.finish(run.id, run.token, RunState.FAILED, words)
    last = await shown(chat.person, message, "Run 1 failed. <b>&amp; 😀</b><b>")
    assert last["text"].endswith("…")
    assert 4000 < len(last["text"].encode("utf-16-le")) / 2 <= 4096


async def test_goes_on_after_a_refused_edit(chat: Chat, paint: Painter) -> None:
    """An edit that Telegram refuses for another reason than that the message is gone does not end the following."""
    message, run = await follow(chat, paint)
    await chat.fault(method="editMessageText", times=1, error_code=400, description="Bad Request: not today")
    chat.service.stores.runs.finish(run.id, run.token, RunState.FAILED, "No luck.")
    await shown(chat.person, message, "Run 1 failed. No luck.")


@given(
    st.lists(st.sampled_from(["<b>", "</b>", "x", "é", "😀", "&lt;", "&amp;", "\n"]), max_size=40), st.integers(1, 400)
)
def test_cut_texts_stay_whole(parts: list[str], times: int) -> None:
    """A text that was cut is within Telegram's limit and has no half character; one that fits is left alone."""
    text = f"<code>{''.join(part for part in parts if '<' not in part) * times}</code>"
    cut = fit(text)
    seen = html.unescape(cut.removeprefix("<code>").removesuffix("</code>"))
    whole = html.unescape(text.removeprefix("<code>").removesuffix("</code>"))
    assert cut.startswith("<code>")
    assert cut.endswith("</code>")
    assert len(seen.encode("utf-16-le")) <= 2 * MESSAGE
    assert seen == whole or (seen.endswith("…") and whole.startswith(seen.removesuffix("…")))
    assert (cut == text) == (len(whole.encode("utf-16-le")) <= 2 * MESSAGE)


async def test_follows_a_run_of_the_schedule(chat: Chat, paint: Painter) -> None:
    """/train while a scheduled run goes on follows that one to its end."""
    runs = chat.service.stores.runs
    for caption in ("rose", "tulip"):
        await chat.person.reply_to((await chat.person.photo(paint("red"), caption))["message_id"])
    runs.enqueue(RunOptions.from_settings(Training()), "schedule", key="2026-01-01")
    run = runs.claim("trainer", LEASE)
    assert run
    said = await chat.person.say("/train")
    message = await chat.person.reply_to(said["message_id"])
    assert "under way already" in message["text"]
    runs.finish(run.id, run.token, RunState.SUCCEEDED, "", RESULT)
    await shown(chat.person, message["message_id"], "Run 1 made version 3")
    assert chat.person.chat_id == ADA


async def test_a_trainer_that_dies_again_and_again_is_told(chat: Chat, paint: Painter) -> None:
    """A run whose trainer is killed is taken up again, and where it takes every trainer down, that is the end."""
    message, run = await follow(chat, paint)
    later = Runs(chat.service.stores.database, lambda: now() + 2 * LEASE)
    assert later.claim("second trainer", timedelta(0))
    assert later.claim("third trainer", timedelta(0))
    assert later.claim("fourth trainer", timedelta(0)) is None
    assert later.get(run.id).state is RunState.FAILED
    await shown(chat.person, message, "The trainer stopped 3 times during this run.")
    await until(lambda: chat.service.stores.follows.open() == [])
