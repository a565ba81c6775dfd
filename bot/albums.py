"""Albums. Telegram sends their photos one by one, in any order, with the caption on any of them and without an end."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import structlog
from telegram import Message

from bot import replies
from bot.access import by
from bot.answers import Answers
from bot.delivery import Delivery
from bot.keys import album_key
from bot.labelling import Labelling, Saying, Subject, question
from bot.language import say
from bot.receiving import Receiver
from bot.replies import Refused
from bot.worker import Later
from storage import labels
from storage.photos import Photos
from storage.received import Album, Received

log = structlog.get_logger()


@dataclass(frozen=True)
class _Contents:
    """The photos with their places, from 1, and what cannot be used; `missing` says why some have not come yet."""

    photos: dict[str, int]
    refused: list[Refused]
    missing: Later | None
    of: dict[int, str]  # The photo of each message.


class Albums:
    def __init__(
        self,
        photos: Photos,
        receiver: Receiver,
        received: Received,
        labelling: Labelling,
        answers: Answers,
        delivery: Delivery,
    ) -> None:
        self._photos = photos
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
        try:
            if contents.photos or contents.refused:
                await self._answer(messages, contents)
        except Exception:
            if not contents.missing:
                raise
            log.exception("an album was not answered yet")
        if contents.missing:  # Whatever became of the answer, the others are still to come.
            raise contents.missing

    async def _receive(self, messages: Sequence[Message]) -> _Contents:
        results = await asyncio.gather(*map(self._receiver.get, messages), return_exceptions=True)
        contents = _Contents({}, [], next((result for result in results if isinstance(result, Later)), None), {})
        for place, (message, result) in enumerate(zip(messages, results, strict=True), start=1):
            if isinstance(result, Later):
                continue
            if isinstance(result, BaseException):
                raise result
            if result.photo:
                contents.photos.setdefault(result.photo, place)
                contents.of[message.message_id] = result.photo
            else:
                contents.refused.append(Refused(place, result.refused or ""))
        return contents

    async def _answer(self, messages: Sequence[Message], contents: _Contents) -> None:
        chat, album = messages[0].chat_id, messages[0].media_group_id or ""
        done = await asyncio.to_thread(self._received.album, chat, album)
        saying = await self._see_to(messages, contents, done)
        tapped = await asyncio.to_thread(self._received.album, chat, album)
        if tapped.class_name and not done.class_name:  # By a button, while we looked at the photos.
            done, saying = tapped, await self._see_to(messages, contents, tapped)
        # The class stands whether or not the reply arrives.
        await asyncio.to_thread(self._received.set_album, chat, album, Album(saying.class_name, done.reply))
        reply = await self._say(messages[0], done, saying, list(contents.photos))
        await asyncio.to_thread(self._received.set_album, chat, album, Album(saying.class_name, reply))

    async def _see_to(self, messages: Sequence[Message], contents: _Contents, done: Album) -> Saying:
        if not contents.photos:
            return Saying(replies.refusals(contents.refused))
        first, album = messages[0], messages[0].media_group_id or ""
        subject = Subject(list(contents.photos), by(first.from_user), partial(album_key, first, album), album)
        captions = _captions(messages)
        if done.class_name:
            saying = await self._late(messages, contents, done.class_name, subject)
        elif len(captions) > 1:
            saying = question(subject, replies.DIFFERENT_CAPTIONS, [name for name in captions.values() if name])
        elif captions:
            saying = await self._labelling.from_words(subject, next(iter(captions)))
        else:
            saying = await self._answers.album(subject, list(contents.photos.values()))
        return replace(saying, text="\n".join([say(saying.text), *replies.refusals(contents.refused).splitlines()]))

    async def _late(self, messages: Sequence[Message], contents: _Contents, name: str, subject: Subject) -> Saying:
        """The album was labelled before: what came since joins where the most of it are now, if that is clear."""
        standings = await asyncio.to_thread(self._photos.standings, subject.photos)
        ranked = Counter(filter(None, standings.values())).most_common(2)
        classes = [present for present, _ in ranked]
        fresh = [message for message in messages if not standings.get(contents.of.get(message.message_id, ""))]
        said = [other for other in _captions(fresh).values() if other]
        tie = len({count for _, count in ranked}) < len(ranked)
        if classes and not tie and all(labels.key(other) == labels.key(classes[0]) for other in said):
            return await self._labelling.under(subject, classes[0])
        return question(subject, replies.LATE_PHOTO, list(dict.fromkeys([*classes, *said])) or [name])

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
