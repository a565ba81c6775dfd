"""Albums. Telegram sends their photos one by one, in any order, with the caption on any of them and without an end."""

import asyncio
from collections.abc import Sequence

import structlog
from telegram import Message

from bot import buttons, replies
from bot.answers import Answers
from bot.attachments import attachment
from bot.intake import Intake
from bot.replies import Refused
from storage import labels
from storage.errors import LabelError, RetrainbotError
from storage.photos import Receipt

QUIET_SECONDS = 1.0  # An album is whole when nothing more of it has come for so long.
MOST = 10  # Photos that Telegram puts into one album.

log = structlog.get_logger()


class Albums:
    def __init__(self, intake: Intake, answers: Answers, quiet: float = QUIET_SECONDS) -> None:
        self._intake = intake
        self._answers = answers
        self._quiet = quiet
        self._gathering: dict[tuple[int, str], list[Message]] = {}

    async def photo(self, message: Message) -> None:
        """Take one photo of an album; whoever brings the last one sees to all of them. Raises LabelError."""
        key = (message.chat_id, message.media_group_id or "")
        gathered = self._gathering.setdefault(key, [])
        gathered.append(message)
        present = len(gathered)
        if present < MOST:
            await asyncio.sleep(self._quiet)
        if len(gathered) == present:
            del self._gathering[key]
            await self._whole(sorted(gathered, key=lambda item: item.message_id))

    async def _whole(self, messages: list[Message]) -> None:
        name = _class_name(messages)
        if name is None:
            await self._answers.album(messages)
            return
        results = [await self._store(place, message, name) for place, message in enumerate(messages, start=1)]
        done = [result for result in results if isinstance(result, Receipt)]
        refused = [result for result in results if isinstance(result, Refused)]
        changes = [receipt.change for receipt in done if receipt.change is not None]
        await messages[0].reply_text(
            replies.album_receipt(name, done, refused), reply_markup=buttons.undo_keyboard(changes)
        )

    async def _store(self, place: int, message: Message, name: str) -> Receipt | Refused:
        photo = attachment(message)
        try:
            return await self._intake.store(message, photo, name) if photo else Refused(place, replies.LOST_PHOTO)
        except RetrainbotError as error:
            return Refused(place, replies.error(error))
        except OSError as error:
            log.exception("photo not stored")
            return Refused(place, replies.error(error))


def _class_name(messages: Sequence[Message]) -> str | None:
    """The class that the album's caption names. Raises LabelError where captions disagree."""
    names = [labels.from_caption(message.caption) for message in messages if message.caption]
    if len({labels.key(name) for name in names}) > 1:
        raise LabelError("The photos of this album have different captions. Send it again with one caption only.")
    return names[0] if names else None
