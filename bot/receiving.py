"""From a message to a photo that is ours: downloaded, checked, and kept, or refused with a reason."""

import asyncio
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Executor
from contextlib import asynccontextmanager
from contextvars import copy_context
from dataclasses import dataclass
from datetime import datetime
from functools import partial

import structlog
from telegram import Bot, Document, Message, PhotoSize
from telegram.constants import FileSizeLimit
from telegram.error import BadRequest, TelegramError

from bot import metrics
from bot.access import by
from bot.worker import Later, NoRoom
from storage.database import now
from storage.disk import FULL, Reserve
from storage.errors import ImageError
from storage.photos import Photos
from storage.quarantine import Quarantine
from storage.received import Arrived, Origin, Received
from storage.texts import Text

DOWNLOADS = 3  # Tries, before it is put off.
PAUSE_SECONDS = 0.5
PATIENCE_SECONDS = 5.0  # A download that takes longer goes on beside, and its photo steps back behind the others.
SMALL = 4_000_000  # Bytes. So many files of this size, and so many larger ones, are in memory at most.
SMALL_AT_ONCE, LARGE_AT_ONCE = 24, 4
TOO_LARGE = Text("The file is over 20 MB, more than Telegram lets a bot download. Send it smaller, or as a photo.")
LOST = Text("Telegram has lost this file; send it again.")
NO_PHOTO = Text("This is no photo; I can only use JPEG, PNG and WebP.")

log = structlog.get_logger()


@dataclass(frozen=True)
class Attachment:
    file_id: str
    file_unique_id: str
    size: int | None  # Bytes, where Telegram told.


@dataclass(frozen=True)
class _Coming:
    task: asyncio.Task[Arrived]
    hangs: asyncio.Event  # Set while its download takes longer than it should.


def attachment(message: Message) -> Attachment | None:
    """The largest size of the message's photo, or its file."""
    file: PhotoSize | Document | None = message.photo[-1] if message.photo else message.document
    if file is None or message.animation:
        return None
    return Attachment(file.file_id, file.file_unique_id, file.file_size)


class Receiver:
    """`decoders` are the threads in which photos are checked and stored."""

    def __init__(
        self,
        bot: Bot,
        photos: Photos,
        received: Received,
        quarantine: Quarantine,
        decoders: Executor,
        photos_a_day: int,
        reserve: Reserve,
        clock: Callable[[], datetime] = now,
    ) -> None:
        self._bot = bot
        self._photos = photos
        self._received = received
        self._quarantine = quarantine
        self._decoders = decoders
        self._photos_a_day = photos_a_day
        self._reserve = reserve
        self._clock = clock
        self._coming: dict[tuple[int, int], _Coming] = {}
        self._small, self._large = asyncio.Semaphore(SMALL_AT_ONCE), asyncio.Semaphore(LARGE_AT_ONCE)

    def begin(self, message: Message) -> asyncio.Task[Arrived]:
        """Receive the photo of this message beside everything else; once, however often it is asked for."""
        return self._begun(message).task

    async def get(self, message: Message) -> Arrived:
        """What became of the photo of this message.

        Raises Later where Telegram does not hand it out yet, and NoRoom where the disk takes no more.
        """
        coming = self._begun(message)
        hangs = asyncio.create_task(coming.hangs.wait())
        try:
            await asyncio.wait({coming.task, hangs}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            hangs.cancel()
        if coming.task.done():
            return coming.task.result()
        raise Later("the download hangs")

    def close(self) -> None:
        for coming in self._coming.values():
            coming.task.cancel()

    def _begun(self, message: Message) -> _Coming:
        key = message.chat_id, message.message_id
        if key not in self._coming:
            hangs = asyncio.Event()
            task = asyncio.create_task(self._receive(message, hangs), name=f"photo {key}")
            self._coming[key] = _Coming(task, hangs)
            task.add_done_callback(lambda done: self._finished(key, done))
        return self._coming[key]

    def _finished(self, key: tuple[int, int], task: asyncio.Task[Arrived]) -> None:
        del self._coming[key]
        if not task.cancelled():
            task.exception()  # Whoever needs the photo begins anew and gets the error himself.

    async def _receive(self, message: Message, hangs: asyncio.Event) -> Arrived:
        known = await asyncio.to_thread(self._known, message)
        if known:
            return known
        arrived, outcome = await self._look_at(message, hangs)
        metrics.PHOTOS.labels(outcome).inc()
        return arrived

    async def _look_at(self, message: Message, hangs: asyncio.Event) -> tuple[Arrived, str]:
        """What becomes of the photo, and the word for that among the figures."""
        file = attachment(message)
        if file is None:
            return Arrived(None, NO_PHOTO), metrics.NO_PHOTO
        if file.size and file.size > FileSizeLimit.FILESIZE_DOWNLOAD:
            return Arrived(None, TOO_LARGE), metrics.TOO_LARGE
        person = message.from_user
        if person and await asyncio.to_thread(self._sent_today, person.id) >= self._photos_a_day:
            enough = Text(
                "You have sent {count} photos today, and more are not taken. Send it again tomorrow.",
                count=self._photos_a_day,
            )
            return Arrived(None, enough), metrics.TOO_MANY
        short = await asyncio.to_thread(self._reserve.short)
        if short:
            raise NoRoom(short)
        try:
            arrived = await self._fetch_and_keep(file, by(person), hangs)
            outcome = metrics.KEPT if arrived.photo else metrics.NOT_DECODED
        except BadRequest as error:
            large = "too big" in str(error)
            arrived, outcome = Arrived(None, TOO_LARGE if large else LOST), metrics.TOO_LARGE if large else metrics.LOST
        await asyncio.to_thread(self._received.put, _origin(message, file), arrived)
        return arrived, outcome

    def _known(self, message: Message) -> Arrived | None:
        """What became of it before, if that still holds."""
        known = self._received.get(message.chat_id, message.message_id)
        return known if known and (known.refused or self._photos.holds(known.photo or "")) else None

    async def _fetch_and_keep(self, file: Attachment, person: str, hangs: asyncio.Event) -> Arrived:
        twin = await asyncio.to_thread(self._twin, file)
        if twin:
            return Arrived(twin)
        async with self._room(file, hangs) as is_here:
            content = await self._fetch(file)
            is_here()
            keep = partial(copy_context().run, self._keep, content, person)  # With what the logs tell of the update.
            return await asyncio.get_running_loop().run_in_executor(self._decoders, keep)

    @asynccontextmanager
    async def _room(self, file: Attachment, hangs: asyncio.Event) -> AsyncIterator[Callable[[], None]]:
        """Room in memory for one file; what is yielded says that its download is over. One that hangs makes room."""
        room = self._small if (file.size or SMALL) < SMALL else self._large
        await room.acquire()
        held = True

        def hang() -> None:
            nonlocal held
            held = False
            hangs.set()
            room.release()

        timer = asyncio.get_running_loop().call_later(PATIENCE_SECONDS, hang)

        def is_here() -> None:
            timer.cancel()
            hangs.clear()

        try:
            yield is_here
        finally:
            timer.cancel()
            if held:
                room.release()

    def _sent_today(self, person: int) -> int:
        return self._received.count(person, self._clock().replace(hour=0, minute=0, second=0, microsecond=0))

    def _twin(self, file: Attachment) -> str | None:
        twin = self._received.twin(file.file_unique_id)
        return twin if twin and self._photos.holds(twin) else None

    async def _fetch(self, file: Attachment) -> bytes:
        """The file's bytes. Raises BadRequest where Telegram does not have it, Later where it does not answer."""
        for attempt in range(1, DOWNLOADS + 1):
            try:
                place = await self._bot.get_file(file.file_id)
                return bytes(await place.download_as_bytearray())
            except BadRequest:
                raise
            except TelegramError as error:
                if attempt == DOWNLOADS:
                    raise Later(f"a photo cannot be downloaded: {error}") from error
            await asyncio.sleep(PAUSE_SECONDS)
        raise AssertionError

    def _keep(self, content: bytes, person: str) -> Arrived:
        try:
            sha256 = self._photos.keep(self._photos.prepare(content), person)
        except ImageError as error:
            log.info("refused a photo", by=person, bytes=len(content), reason=str(error))
            self._quarantine.put(content, str(error), person)
            return Arrived(None, error.text)
        except OSError as error:
            if error.errno in FULL:
                raise NoRoom(str(error)) from error
            raise
        log.debug("kept a photo", photo=sha256)
        return Arrived(sha256)


def _origin(message: Message, file: Attachment) -> Origin:
    return Origin(
        chat=message.chat_id,
        message=message.message_id,
        person=message.from_user.id if message.from_user else 0,
        album=message.media_group_id,
        file_unique_id=file.file_unique_id,
    )
