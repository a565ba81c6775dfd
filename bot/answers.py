"""Photos that come without a class: what the served version sees in them."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from typing import TypeAlias

import numpy as np
from structlog.contextvars import bound_contextvars
from telegram import Message
from telegram.constants import ChatType

from bot import replies
from bot.access import by
from bot.delivery import Delivery
from bot.intake import Intake
from bot.keys import message_key, once
from bot.labelling import Saying, Subject, question
from bot.predictor import BusyError, Prediction, Predictor
from bot.receiving import Receiver
from bot.replies import NONE
from bot.rollout import NoModelYetError
from bot.subjects import Subjects
from bot.worker import Later
from storage import labels
from storage.errors import RetrainbotError
from storage.photos import Photos
from storage.settings import Serving
from storage.texts import Text

MOST_LOOKING = 500
Looking: TypeAlias = asyncio.Task[Prediction | None]


class Answers:
    def __init__(
        self,
        predictor: Predictor,
        photos: Photos,
        receiver: Receiver,
        intake: Intake,
        subjects: Subjects,
        delivery: Delivery,
        serving: Serving,
    ) -> None:
        self._predictor = predictor
        self._photos = photos
        self._receiver = receiver
        self._intake = intake
        self._subjects = subjects
        self._delivery = delivery
        self._serving = serving
        self._looking: dict[str, Looking] = {}

    @property
    def room(self) -> bool:
        """Whether photos may be looked at ahead of their turn."""
        return self._predictor.room

    def begin(self, message: Message) -> None:
        """Receive the photo of this message, and look at it, beside everything else."""
        key = message_key(message)
        if len(self._looking) >= MOST_LOOKING:  # Messages that were given up leave theirs behind.
            self._looking = {key: task for key, task in self._looking.items() if not task.done()}
        if key not in self._looking:
            task = asyncio.create_task(self._look(message), name=f"look {key}")
            self._looking[key] = task
            task.add_done_callback(lambda done: done.cancelled() or done.exception())

    def close(self) -> None:
        for task in self._looking.values():
            task.cancel()

    async def photo(self, message: Message) -> None:
        """The likeliest classes, with a button for each. Raises ModelError, and Later as the receiver does."""
        arrived = await self._receiver.get(message)
        looking = self._looking.pop(message_key(message), None)
        if arrived.photo:
            subject = Subject([arrived.photo], by(message.from_user), once(message_key(message)))
            saying = await self._about(subject, looking)
            if message.caption:  # It names no class.
                saying = replace(saying, text=replies.no_class(labels.read_caption(message.caption), saying.text))
            await self._intake.say(message, saying, [arrived.photo])
        else:
            await self._delivery.reply(message, replies.wrong(arrived.refused or ""))

    async def again(self, message: Message) -> None:
        """A question in reply to a photo, or to our message about one."""
        photos = await self._subjects.of(message.reply_to_message)
        if photos:
            subject = Subject(photos[:1], by(message.from_user), once(message_key(message)))
            await self._intake.say(message, await self._about(subject, None), photos[:1])
        elif message.chat.type == ChatType.PRIVATE:
            await self._delivery.reply(message, replies.UNKNOWN_PHOTO)

    async def album(self, subject: Subject, places: Sequence[int]) -> Saying:
        """A line for each photo, with its place, and a button for each of the classes that all of them may be in."""
        try:
            predictions = await asyncio.gather(*map(self._try, subject.photos))
        except NoModelYetError:
            return Saying(replies.NOTHING_LEARNED)
        text = replies.album_answer(dict(zip(places, predictions, strict=True)))
        seen = [prediction for prediction in predictions if isinstance(prediction, Prediction)]
        return await self._question(subject, text, seen)

    async def ranking(self, photos: Sequence[str]) -> list[str]:
        """All classes that there are, the likeliest for these photos first, and those that no model knows last."""
        predictions = await asyncio.gather(*map(self._try, photos))
        return await self._classes([item for item in predictions if isinstance(item, Prediction)])

    async def _about(self, subject: Subject, looking: Looking | None) -> Saying:
        try:
            prediction = await self._seen_or_predicted(subject.photos[0], looking)
        except NoModelYetError:
            return Saying(replies.NOTHING_LEARNED)
        text = replies.answer(prediction, self._serving.top_k)
        return await self._question(subject, text, [prediction])

    async def _question(self, subject: Subject, text: str, predictions: Sequence[Prediction]) -> Saying:
        ranked = await self._classes(predictions)
        first = ranked[: self._serving.top_k]
        return question(subject, text, first, ways=[*([1] if len(ranked) > len(first) else []), NONE])

    async def _look(self, message: Message) -> Prediction | None:
        arrived = await self._receiver.begin(message)
        return await self._predict(arrived.photo) if arrived.photo else None

    async def _seen_or_predicted(self, photo: str, looking: Looking | None) -> Prediction:
        with suppress(Later, BusyError):  # It came at a second try, or there was no time for it then.
            prediction = await looking if looking else None
            if prediction:
                return prediction
        return await self._predict(photo)

    async def _try(self, photo: str) -> Prediction | Text:
        try:
            return await self._predict(photo)
        except NoModelYetError:
            raise
        except RetrainbotError as error:
            return error.text

    async def _predict(self, photo: str) -> Prediction:
        with bound_contextvars(photo=photo):
            return await self._predictor.predict(await asyncio.to_thread(self._photos.content, photo))

    async def _classes(self, predictions: Sequence[Prediction]) -> list[str]:
        """The classes that there are, the likeliest over all photos first, and those that the model does not know."""
        existing = await asyncio.to_thread(self._photos.class_names)
        if not predictions:
            return existing
        newest = max(prediction.version for prediction in predictions)
        alike = [prediction for prediction in predictions if prediction.version == newest]
        mean = Prediction(newest, alike[0].classes, np.mean([one.probabilities for one in alike], axis=0))
        ranked = [name for name, _ in mean.ranked() if name in existing]
        return [*ranked, *(name for name in existing if name not in mean.classes)]
