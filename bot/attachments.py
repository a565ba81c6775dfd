"""The photo that a message carries, and its bytes."""

import asyncio
from collections import OrderedDict
from dataclasses import dataclass

import structlog
from telegram import Bot, Message
from telegram.constants import FileSizeLimit
from telegram.error import BadRequest, TelegramError

from storage.errors import ImageError

DOWNLOADS = 3  # Tries; a download can be repeated without harm.
PAUSE_SECONDS = 0.5
REMEMBERED = 10_000
TOO_LARGE = "The file is over 20 MB, more than Telegram lets a bot download. Send it smaller, or as a photo."

log = structlog.get_logger()


@dataclass(frozen=True)
class Attachment:
    file_id: str
    size: int | None  # Bytes, where Telegram told.


class Subjects:
    """Which photo each of our latest answers is about: a reply to an answer does not say what that replied to."""

    def __init__(self, room: int = REMEMBERED) -> None:
        self._room = room
        self._known: OrderedDict[tuple[int, int], Attachment] = OrderedDict()

    def remember(self, answer: Message, photo: Attachment) -> None:
        self._known[answer.chat_id, answer.message_id] = photo
        if len(self._known) > self._room:
            self._known.popitem(last=False)

    def find(self, message: Message | None) -> Attachment | None:
        """The photo in this message, or that this message of ours was about."""
        if message is None:
            return None
        return attachment(message) or self._known.get((message.chat_id, message.message_id))


def attachment(message: Message) -> Attachment | None:
    """The largest size of the message's photo, or its file."""
    if message.photo:
        return Attachment(message.photo[-1].file_id, message.photo[-1].file_size)
    if message.document and not message.animation:
        return Attachment(message.document.file_id, message.document.file_size)
    return None


async def fetch(bot: Bot, photo: Attachment, tries: int = DOWNLOADS) -> bytes:
    """The file's bytes. Raises ImageError where Telegram does not hand it out."""
    if photo.size and photo.size > FileSizeLimit.FILESIZE_DOWNLOAD:
        raise ImageError(TOO_LARGE)
    try:
        file = await bot.get_file(photo.file_id)
        return bytes(await file.download_as_bytearray())
    except BadRequest as error:
        too_large = "too big" in str(error)
        raise ImageError(TOO_LARGE if too_large else "Telegram has lost this file; send it again.") from error
    except TelegramError as error:
        if tries == 1:
            log.warning("file not fetched", reason=str(error))
            raise ImageError("Telegram does not hand this photo out at the moment; send it again.") from error
    await asyncio.sleep(PAUSE_SECONDS)
    return await fetch(bot, photo, tries - 1)
