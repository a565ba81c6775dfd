"""Photos that come with a class: by caption, by reply or by button. And how that is undone."""

import asyncio
from concurrent.futures import Executor

from telegram import CallbackQuery, InlineKeyboardMarkup, Message, User
from telegram.constants import ChatType

from bot import buttons, replies
from bot.access import by
from bot.attachments import Attachment, Subjects, attachment, fetch
from storage import labels
from storage.errors import PhotoError
from storage.photos import Photos, Receipt


class Intake:
    """`decoders` are the threads that photos are decoded in."""

    def __init__(self, photos: Photos, subjects: Subjects, decoders: Executor) -> None:
        self._photos = photos
        self._subjects = subjects
        self._decoders = decoders

    async def captioned(self, message: Message) -> None:
        """A photo with a caption. Raises LabelError or ImageError, and then nothing is stored."""
        photo = attachment(message)
        if photo:
            await self._learn(message, photo, labels.from_caption(message.caption or ""))

    async def named(self, message: Message) -> None:
        """Words in reply to a photo, or to our answer about one: the photo's class."""
        photo = self._subjects.find(message.reply_to_message)
        if photo:
            await self._learn(message, photo, labels.from_caption(message.text or ""))
        elif message.chat.type == ChatType.PRIVATE:  # In a group people reply to each other.
            await message.reply_text(replies.UNKNOWN_PHOTO)

    async def label_tapped(self, query: CallbackQuery, class_id: str) -> str | None:
        """A class button under an answer: the photo's class; the answer becomes the receipt.

        A second tap changes nothing, so it leaves the receipt of the first with its Undo; what to tell is returned.
        """
        photo = self._photo_of(query)
        name = await asyncio.to_thread(self._photos.class_of, int(class_id))
        receipt = await self._store(query.from_user, await fetch(query.get_bot(), photo), name)
        if receipt.change is None:
            return replies.known(receipt)
        await query.edit_message_text(replies.receipt(receipt), reply_markup=_undo(receipt))
        return None

    async def undo_tapped(self, query: CallbackQuery, changes: str) -> str | None:
        """The button under a receipt: its photos go back to where they were. If none can, why is returned."""
        done, failed = await asyncio.to_thread(self._undo, buttons.read_undo(changes), by(query.from_user))
        if not done:
            return failed[0]
        await query.edit_message_text(replies.undone(done, failed))
        return None

    async def store(self, message: Message, photo: Attachment, name: str) -> Receipt:
        """Put the photo of this message under a class. Raises ImageError."""
        return await self._store(message.from_user, await fetch(message.get_bot(), photo), name)

    async def _learn(self, message: Message, photo: Attachment, name: str) -> None:
        receipt = await self.store(message, photo, name)
        sent = await message.reply_text(replies.receipt(receipt), reply_markup=_undo(receipt))
        self._subjects.remember(sent, photo)

    async def _store(self, user: User | None, content: bytes, name: str) -> Receipt:
        loop = asyncio.get_running_loop()
        prepared = await loop.run_in_executor(self._decoders, self._photos.prepare, content)
        return await asyncio.to_thread(self._photos.store, prepared, name, by(user))

    def _photo_of(self, query: CallbackQuery) -> Attachment:
        message = query.message if isinstance(query.message, Message) else None
        photo = message and (self._subjects.find(message.reply_to_message) or self._subjects.find(message))
        if not photo:
            raise PhotoError(replies.LOST_PHOTO)
        return photo

    def _undo(self, changes: list[int], person: str) -> tuple[list[Receipt], list[str]]:
        done, failed = [], []
        for change in reversed(changes):
            try:
                done.append(self._photos.undo(change, person))
            except PhotoError as error:
                failed.append(str(error))
        return done, failed


def _undo(receipt: Receipt) -> InlineKeyboardMarkup | None:
    return buttons.undo_keyboard([receipt.change] if receipt.change is not None else [])
