"""The bot killed at random points while photos arrive, and a backlog that waited while it was off."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.intake_figures import Figures
from benchmarks.intake_stage import Stage, staged, told
from benchmarks.intake_traffic import mixed, send, singles
from benchmarks.invariants import Sent, check, leftovers

PEOPLE = 4
LONGEST = 3.0  # Seconds from when the bot is at work to its end by kill -9.
COPIES = 3
FOREVER = 10**6  # Times.


@dataclass(frozen=True)
class Survived:
    """What was sent, how long the bot takes from its start to its first photo, and in how many lives it took in any."""

    sent: list[Sent]
    ready: float
    busy: int


async def kills(
    figures: Figures, photos: int, kills: int, seed: int, *, copies: int = 1, webhook: bool = False
) -> None:
    """`photos` arrive while the bot is killed so many times; then it may finish, and everything is checked."""
    way = "by webhook" if webhook else "by polling"
    figures.title(f"{photos} photos {way}, {kills} times kill -9, every update {_times(copies)}")
    async with staged(PEOPLE, webhook=webhook) as stage:
        if copies > 1:
            await stage.fault(method="webhook" if webhook else "getUpdates", copies=copies, times=FOREVER)
        survived = await survive(stage, photos, kills, np.random.default_rng(seed))
        await stage.bot.start()
        seconds = await stage.settled(photos)
        await stage.bot.stop()
        figures.line("albums", len({item.album for item in survived.sent if item.album}))
        figures.line("seconds from a start to the first photo", f"{survived.ready:.1f}")
        figures.line("lives in which photos were taken in", f"{survived.busy} of {kills}")
        figures.line("seconds from the last start until all was done", f"{seconds:.1f}")
        figures.findings(check(stage.settings, survived.sent))
        figures.limit("unfinished files, which only kills leave", len(leftovers(stage.settings.data)), kills)
        _answers(figures, told(await stage.replies(), survived.sent))


async def survive(
    stage: Stage, photos: int, kills: int, random: np.random.Generator, longest: float = LONGEST
) -> Survived:
    """Send `photos` while the bot is killed so many times, at random points: some while it starts, most at work."""
    sent = await send(stage.people[:1], singles(1, random))
    await stage.bot.start()
    ready = await stage.settled(1)
    await stage.bot.kill()
    lives = random.uniform(ready / 2, ready + longest, kills).tolist()
    sending = asyncio.create_task(send(stage.people, mixed(photos - 1, random), sum(lives) / photos))
    busy = 0
    for life, seconds in enumerate(lives, start=1):
        before = stage.received()
        await stage.bot.start()
        await asyncio.sleep(seconds)
        while life == kills and not busy and stage.received() == before:  # noqa: ASYNC110  A slow computer; it has no event.
            await asyncio.sleep(0.05)
        await stage.bot.kill()
        busy += stage.received() > before
    return Survived(sent + await sending, ready, busy)


def _times(copies: int) -> str:
    return "once" if copies == 1 else f"{copies} times"


def _answers(figures: Figures, counts: dict[tuple[int, int | str], int]) -> None:
    # A bot that is killed between telling and noting that it told may do so again, or not at all.
    figures.line("photos and albums never answered", sum(count == 0 for count in counts.values()))
    figures.line("answered more than once", sum(count > 1 for count in counts.values()))


async def backlog(figures: Figures, photos: int, seed: int) -> None:
    """`photos` wait in several chats before the bot starts."""
    figures.title(f"{photos} photos of {PEOPLE} people waited while the bot was off")
    async with staged(PEOPLE) as stage:
        sent = await send(stage.people, singles(photos, np.random.default_rng(seed)))
        await stage.bot.start()
        seconds = await stage.settled(photos)
        replies = await stage.replies()
        await stage.bot.stop()
        figures.line("seconds from the start until all was done", f"{seconds:.1f}")
        figures.findings(check(stage.settings, sent))
        counts = told(replies, sent)
        figures.limit("photos not answered exactly once", sum(count != 1 for count in counts.values()), 0)
        figures.limit("chats answered out of order", sum(not _in_order(replies[chat], sent) for chat in replies), 0)


def _in_order(replies: Sequence[int], sent: Sequence[Sent]) -> bool:
    asked = {item.message for item in sent}
    answered = [message for message in replies if message in asked]
    return answered == sorted(answered)
