"""Albums. Telegram sends their photos one by one, in any order, with the caption on any of them and without an end."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from telegram import Message

from bot import replies
from bot.access import by
from bot.answers import Answers
from bot.delivery import Delivery
from bot.keys import message_key
from bot.labelling import Labelling, Saying, Subject, question
from bot.receiving import Receiver
from bot.replies import Refused
from bot.worker import Later
from storage import labels
from storage.received import Album, Received


@dataclass(frozen=True)
class _Contents:
    photos: list[str]
    refused: list[Refused]
    missing: int  # Photos that Telegram does not hand out yet.


class Albums:
    def __init__(
        self, receiver: Receiver, received: Received, labelling: Labelling, answers: Answers, delivery: Delivery
    ) -> None:
        self._receiver = receiver
        self._received = received
        self._labelling = labelling
        self._answers = answers
        self._delivery = delivery

    async def whole(self, messages: Sequence[Message]) -> None:
        """See to all photos of an album that have come so far.

        Photos that come later are seen to with the others once more: they join the class, and the receipt is edited.
        Raises Later where Telegram does not hand out all of them yet, when the others have been seen to.
        """
        messages = sorted(messages, key=lambda message: message.message_id)
        contents = await self._receive(messages)
        if contents.photos or contents.refused:
            chat, album = messages[0].chat_id, messages[0].media_group_id or ""
            done = await asyncio.to_thread(self._received.album, chat, album)
            saying = await self._see_to(messages, contents, done)
            # The class stands whether or not the reply arrives.
            await asyncio.to_thread(self._received.set_album, chat, album, Album(saying.class_name, done.reply))
            reply = await self._say(messages[0], done, saying, contents.photos)
            await asyncio.to_thread(self._received.set_album, chat, album, Album(saying.class_name, reply))
        if contents.missing:
            raise Later(f"{contents.missing} photos of an album cannot be downloaded")

    async def _receive(self, messages: Sequence[Message]) -> _Contents:
        results = await asyncio.gather(*map(self._receiver.get, messages), return_exceptions=True)
        photos, refused, missing = [], [], 0
        for place, result in enumerate(results, start=1):
            if isinstance(result, Later):
                missing += 1
            elif isinstance(result, BaseException):
                raise result
            elif result.photo:
                photos.append(result.photo)
            else:
                refused.append(Refused(place, result.refused or ""))
        return _Contents(list(dict.fromkeys(photos)), refused, missing)

    async def _see_to(self, messages: Sequence[Message], contents: _Contents, done: Album) -> Saying:
        first = messages[0]
        album = first.media_group_id or ""
        subject = Subject(contents.photos, by(first.from_user), message_key(first, album), album, contents.refused)
        captions = _captions(messages)
        if not contents.photos:
            return Saying(replies.refusals(contents.refused))
        if done.class_name:
            return await self._labelling.under(subject, done.class_name)
        if len(captions) > 1:
            return question(subject, replies.DIFFERENT_CAPTIONS, [name for name in captions.values() if name])
        if captions:
            return await self._labelling.from_words(subject, next(iter(captions)))
        return await self._answers.album(subject)

    async def _say(self, message: Message, done: Album, saying: Saying, photos: list[str]) -> int:
        """Reply, or edit the reply that there is."""
        keyboard = await self._labelling.keyboard(message.chat_id, saying)
        if done.reply and await self._delivery.edit_number(message, done.reply, saying.text, keyboard):
            number = done.reply
        else:
            number = (await self._delivery.reply(message, saying.text, keyboard)).message_id
        await asyncio.to_thread(self._received.remember, message.chat_id, number, photos)
        return number


def _captions(messages: Sequence[Message]) -> dict[str, str | None]:
    """The captions that mean different things, and the class that each names."""
    found: dict[str, tuple[str, str | None]] = {}
    for caption in filter(None, (message.caption for message in messages)):
        name = labels.read_caption(caption).name
        found.setdefault(labels.key(name) if name else caption, (caption, name))
    return dict(found.values())
