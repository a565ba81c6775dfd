"""The commands, one method each."""

import asyncio
from collections.abc import Callable
from datetime import datetime, timedelta

from telegram import Message
from telegram.constants import MessageEntityType

from bot import chart, replies, reports
from bot.access import Access, may, refused
from bot.delivery import Delivery
from bot.language import say
from bot.markup import pages
from bot.reports import Status
from bot.stores import Stores
from bot.vitals import Vitals
from storage.database import now
from storage.disk import free_bytes
from storage.errors import ModelError
from storage.pointer import Served
from storage.runs import Run, RunState
from storage.settings import Settings
from storage.usage import usage

LINKS = {MessageEntityType.URL, MessageEntityType.TEXT_LINK}


class Commands:
    def __init__(
        self,
        settings: Settings,
        stores: Stores,
        vitals: Vitals,
        access: Access,
        delivery: Delivery,
        clock: Callable[[], datetime] = now,
    ) -> None:
        self._settings = settings
        self._stores = stores
        self._vitals = vitals
        self._access = access
        self._delivery = delivery
        self._clock = clock

    async def help(self, message: Message) -> None:
        user, role = message.from_user, await self._access.role(message.from_user)
        if user is None:
            return
        if role is None:
            text = replies.stranger(refused(user.id, role, "ask"))
        else:
            allowed = {name: text for name, text in replies.COMMANDS.items() if may(role, name)}
            text = replies.greeting(user.id, allowed)
        await self._delivery.reply(message, text)

    async def hint(self, message: Message) -> None:
        """What nothing else made sense of."""
        linked = {entity.type for entity in (*message.entities, *message.caption_entities)} & LINKS
        text = replies.LINK if linked else replies.HINT if message.text else replies.NO_PHOTO
        await self._delivery.reply(message, text)

    async def status(self, message: Message) -> None:
        await self._delivery.reply(message, reports.status(await asyncio.to_thread(self._status)))

    async def schedule(self, message: Message) -> None:
        outlook = await asyncio.to_thread(self._stores.slots.outlook, self._settings.schedule)
        await self._delivery.reply(message, reports.schedule(outlook))

    async def classes(self, message: Message) -> None:
        counts = await asyncio.to_thread(self._stores.photos.classes)
        for page in pages(reports.classes(counts)):
            await self._delivery.reply(message, page)

    async def gpu(self, message: Message) -> None:
        """What each trainer's cards are and do, and a picture of the last hours where there are cards."""
        present = self._clock()
        seen = await asyncio.to_thread(self._stores.gpus.read)
        await self._delivery.reply(message, reports.gpu(seen, present))
        for host, _, report in seen:
            samples = await asyncio.to_thread(self._stores.gpus.samples, host, present - timedelta(hours=chart.HOURS))
            picture = await chart.draw(samples, {gpu.index: gpu.memory_total for gpu in report.gpus})
            if picture:
                await self._delivery.picture(message, picture, say(reports.GPU_CHART, hours=chart.HOURS))

    def _status(self) -> Status:
        served = self._stores.models.served()
        return Status(
            served=served,
            accuracy=self._accuracy(served) if served else None,
            serving=self._vitals.report(),
            classes=self._stores.photos.classes(),
            new=self._stores.photos.since(served.at) if served else {},
            run=self._stores.runs.active(),
            failed=self._failed(),
            outlook=self._stores.slots.outlook(self._settings.schedule),
            trainers=self._stores.gpus.read(),
            used=usage(self._settings),
            free_bytes=free_bytes(self._settings.data),
            short=self._stores.reserve.short(),
            now=self._clock(),
        )

    def _failed(self) -> Run | None:
        newest = self._stores.runs.newest(1)
        return newest[0] if newest and newest[0].state is RunState.FAILED else None

    def _accuracy(self, served: Served) -> float | None:
        try:
            return self._stores.models.get(served.version).manifest.metrics.get("test_accuracy")
        except ModelError:  # What is said of serving says it.
            return None
