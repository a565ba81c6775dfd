"""Scripted faults of Telegram while photos arrive: nothing is lost, and nobody is told anything twice."""

import asyncio
import time
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import numpy as np

from benchmarks.intake_figures import Figures
from benchmarks.intake_stage import TOKEN, Stage, staged, told
from benchmarks.intake_traffic import deliver, mixed, send, singles
from benchmarks.invariants import Sent, check
from sandbox.client import Person

HANGING = 20  # Downloads.
HANG_SECONDS = 3600.0
STATUS_SECONDS = 2.0
ASKED = 5  # Times, in each chat.
PHOTOS = 40  # In each storm.
PEOPLE = HANGING + 1  # The last one sends no photo that hangs.

Fault = Mapping[str, Any]


def _everywhere(times: int, **fault: Any) -> tuple[Fault, ...]:
    """The fault for each method that the bot needs for a photo."""
    return tuple(
        {"method": method, "times": times, **fault}
        for method in ("getUpdates", "getFile", "download", "sendMessage", "editMessageText", "sendChatAction")
    )


STORMS: Mapping[str, tuple[Fault, ...]] = MappingProxyType(
    {
        "429 for everything": _everywhere(8, error_code=429, retry_after=1),
        "429 for every message": ({"method": "sendMessage", "times": 30, "error_code": 429, "retry_after": 1},),
        "500 and 502 for everything": (*_everywhere(4, error_code=500), *_everywhere(4, error_code=502)),
        "dropped connections": _everywhere(8, drop=True),
        "answers that are lost": ({"method": "sendMessage", "times": 20, "drop": True, "after": True},),
        "downloads that break off half-way": ({"method": "download", "times": 20, "drop": True, "after": True},),
        "slow calls": _everywhere(8, delay=1.5),
        "401 while polling": ({"method": "getUpdates", "times": 3, "error_code": 401},),
        "409 while polling": ({"method": "getUpdates", "times": 3, "error_code": 409},),
        "confirmations that are not heard": ({"method": "getUpdates", "times": 10, "again": True},),
    }
)


async def faults(figures: Figures, seed: int) -> None:
    random = np.random.default_rng(seed)
    sent: list[Sent] = []
    async with staged(PEOPLE) as stage:
        await stage.bot.start()
        sent += await send(stage.people[:1], singles(1, random))
        await stage.settled(len(sent))
        figures.title(f"Faults of Telegram, each while {PHOTOS} photos arrive")
        for name, storm in STORMS.items():
            for fault in storm:
                await stage.fault(**fault)
            now = await send(stage.people[:4], mixed(PHOTOS, random), 0.05)
            sent += now
            seconds = await stage.settled(len(sent), supervised=True)
            await stage.no_faults()
            twice = _twice(await stage.replies(), now)
            figures.line(name, f"all done {seconds:.1f} s after the last photo; answered twice: {twice}")
        sent += await _rival(figures, stage, random, len(sent))
        sent += await _hanging(figures, stage, random)
        replies = await stage.replies()
        await stage.bot.stop()
        figures.limit("times that the bot ended by itself", stage.bot.starts - 1, 0)
        figures.findings(check(stage.settings, sent))
        figures.limit("photos and albums answered more than once", _twice(replies, sent), 0)
        # Where the connection breaks before the answer, nobody knows whether the message was sent.
        figures.line("photos and albums never answered", sum(count == 0 for count in told(replies, sent).values()))


def _twice(replies: dict[int, list[int]], sent: list[Sent]) -> int:
    """How many photos and albums were answered more than once."""
    return sum(count > 1 for count in told(replies, sent).values())


async def _rival(figures: Figures, stage: Stage, random: np.random.Generator, before: int) -> list[Sent]:
    """Another program polls with the same token, for a while."""

    async def poll() -> None:
        for _ in range(5):
            await stage.client.get(f"/bot{TOKEN}/getUpdates", params={"timeout": 1}, timeout=10)

    rival = asyncio.create_task(poll())
    sent = await send(stage.people[:4], mixed(PHOTOS, random), 0.05)
    await rival
    seconds = await stage.settled(before + len(sent), supervised=True)
    figures.line("another program with the same token", f"all done {seconds:.1f} s after it stopped")
    return sent


async def _hanging(figures: Figures, stage: Stage, random: np.random.Generator) -> list[Sent]:
    """Downloads hang in as many chats; /status is asked for in one of them and in another."""
    before = stage.received()
    await stage.fault(method="download", times=HANGING, delay=HANG_SECONDS)
    senders, other = stage.people[:HANGING], stage.people[-1]
    parcels = singles(HANGING, random)
    sent = [await deliver(person, parcel) for person, parcel in zip(senders, parcels, strict=True)]
    await asyncio.sleep(1)
    left = (await stage.client.get("/client/faults")).json()["faults"]
    figures.line("downloads that hang", HANGING - sum(fault["times"] for fault in left))
    for where, person in (("in a chat whose photo hangs", senders[0]), ("in another chat", other)):
        figures.limit(f"slowest of {ASKED} /status {where}", await _slowest(person), STATUS_SECONDS, " s")
    seconds = await stage.settled(before + len(sent), supervised=True)
    figures.line("all done after the downloads were given up", f"{seconds:.1f} s")
    return sent


async def _slowest(person: Person) -> float:
    """Seconds."""
    longest = 0.0
    for _ in range(ASKED):
        start = time.monotonic()
        asked = await person.say("/status")
        await person.reply_to(asked["message_id"], timeout=60)
        longest = max(longest, time.monotonic() - start)
    return longest
