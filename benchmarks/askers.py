"""People who ask about photos, and how long each of their replies takes."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from sandbox.client import Person

PATIENCE = 300.0  # Seconds.


@dataclass(frozen=True)
class Reply:
    """`seconds` are those since Telegram had the message. `text` is empty where no reply came."""

    seconds: float
    text: str

    @property
    def answered(self) -> bool:
        return "version" in self.text.lower()

    @property
    def refused(self) -> bool:
        return "busy" in self.text.lower()


@dataclass
class Asker:
    """One person. `replies` counts what came for each message, with the time and words of the first."""

    person: Person
    replies: dict[int, list[tuple[float, str]]] = field(default_factory=dict)
    _news: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def listen(self) -> None:
        last = 0
        while True:
            events = await self.person.events(last, 20.0)
            at = time.perf_counter()
            for event in events:
                last = event["seq"]
                message = event.get("message", {})
                if event["type"] == "sent" and message["from"]["is_bot"] and "reply_to_message" in message:
                    self.replies.setdefault(message["reply_to_message"]["message_id"], []).append((at, message["text"]))
            async with self._news:
                self._news.notify_all()

    async def ask(self, photo: bytes) -> Reply:
        return await self._reply(await self.person.photo(photo))

    async def say(self, text: str) -> Reply:
        return await self._reply(await self.person.say(text))

    async def _reply(self, sent: dict[str, object]) -> Reply:
        sent_at, number = time.perf_counter(), int(str(sent["message_id"]))
        try:
            async with asyncio.timeout(PATIENCE), self._news:
                await self._news.wait_for(lambda: number in self.replies)
        except TimeoutError:
            return Reply(PATIENCE, "")
        at, text = self.replies[number][0]
        return Reply(at - sent_at, text)


@asynccontextmanager
async def asking(url: str, people: Sequence[int], bot: int) -> AsyncIterator[list[Asker]]:
    askers = [Asker(Person(url, user, bot=bot)) for user in people]
    listening = [asyncio.create_task(asker.listen()) for asker in askers]
    try:
        yield askers
    finally:
        for task in listening:
            task.cancel()
        await asyncio.gather(*listening, return_exceptions=True)
        for asker in askers:
            await asker.person.close()


async def one_by_one(asker: Asker, photos: Sequence[bytes], pause: float) -> list[Reply]:
    replies = []
    for photo in photos:
        replies.append(await asker.ask(photo))
        await asyncio.sleep(pause)
    return replies


async def in_flight(askers: Sequence[Asker], photos: Sequence[bytes], count: int) -> list[Reply]:
    """So many photos are on their way at any time."""
    coming: Iterator[bytes] = iter(photos)

    async def go_on(asker: Asker) -> list[Reply]:
        return [await asker.ask(photo) for photo in coming]

    parts = await asyncio.gather(*(go_on(askers[place % len(askers)]) for place in range(count)))
    return [reply for part in parts for reply in part]


async def at_rate(askers: Sequence[Asker], photos: Sequence[bytes], rate: float) -> list[Reply]:
    """So many photos a second, whatever becomes of those before."""
    start, asked = time.perf_counter(), []
    for place, photo in enumerate(photos):
        await asyncio.sleep(max(0.0, start + place / rate - time.perf_counter()))
        asked.append(asyncio.create_task(askers[place % len(askers)].ask(photo)))
    return list(await asyncio.gather(*asked))
