"""The commands, one method each."""

import asyncio
import shutil
from collections.abc import Callable
from datetime import datetime
from typing import get_args

from telegram import Message, User
from telegram.constants import MessageEntityType

from bot import replies, reports
from bot.access import Access, by, may, refused
from bot.delivery import Delivery
from bot.markup import pages
from bot.reports import Status
from bot.stores import Stores
from bot.vitals import Vitals
from storage.database import now
from storage.errors import ModelError
from storage.pointer import Served
from storage.runs import RunOptions
from storage.settings import Settings

LINKS = {MessageEntityType.URL, MessageEntityType.TEXT_LINK}
MODES: tuple[str, ...] = get_args(RunOptions.model_fields["mode"].annotation)


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

    async def train(self, message: Message) -> None:
        """Put a run into the queue, or follow the one that is there; the message is edited as it goes on."""
        words = (message.text or "").split()[1:]
        mode = words[0].lower() if words else None
        if mode is not None and mode not in MODES:
            await self._delivery.reply(message, reports.unknown_mode(mode, MODES))
        else:
            await self._follow(message, RunOptions.from_settings(self._settings.training, mode=mode))

    async def cancel(self, message: Message) -> None:
        """End the run that is under way; whoever follows it is told when it has ended."""
        await self._delivery.reply(message, await asyncio.to_thread(self._cancel, message.from_user))

    def _cancel(self, user: User | None) -> str:
        active = self._stores.runs.active()
        if active is None:
            return reports.NO_RUN
        return reports.cancelling(self._stores.runs.cancel(active.id, user.full_name if user else "somebody"))

    async def _follow(self, message: Message, options: RunOptions) -> None:
        run, new = await asyncio.to_thread(self._stores.runs.enqueue, options, by(message.from_user))
        sent = await self._delivery.reply(message, reports.run(run) if new else reports.already(run))
        await asyncio.to_thread(self._stores.follows.add, run.id, sent.chat_id, sent.message_id)

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
        seen = await asyncio.to_thread(self._stores.gpus.read)
        await self._delivery.reply(message, reports.gpu(seen, self._clock()))

    def _status(self) -> Status:
        served = self._stores.models.served()
        return Status(
            served=served,
            accuracy=self._accuracy(served) if served else None,
            serving=self._vitals.report(),
            classes=self._stores.photos.classes(),
            run=self._stores.runs.active(),
            trainers=self._stores.gpus.read(),
            free_bytes=shutil.disk_usage(self._settings.data).free,
            now=self._clock(),
        )

    def _accuracy(self, served: Served) -> float | None:
        try:
            return self._stores.models.get(served.version).manifest.metrics.get("test_accuracy")
        except ModelError:  # What is said of serving says it.
            return None
