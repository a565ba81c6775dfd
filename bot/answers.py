"""Photos that come without a class: what the served version sees in them."""

import asyncio

from telegram import Message

from bot import buttons, replies
from bot.attachments import Attachment, Subjects, attachment, fetch
from bot.predictor import NoModelYetError, Prediction, Predictor
from bot.replies import Refused
from storage.errors import RetrainbotError
from storage.photos import Photos
from storage.settings import Serving


class Answers:
    def __init__(self, predictor: Predictor, photos: Photos, subjects: Subjects, serving: Serving) -> None:
        self._predictor = predictor
        self._photos = photos
        self._subjects = subjects
        self._serving = serving

    async def photo(self, message: Message) -> None:
        """The likeliest classes, with a button for each. Raises ImageError or ModelError."""
        photo = attachment(message)
        if photo is None:
            return
        try:
            prediction = await self._predict(message, photo)
        except NoModelYetError:
            sent = await message.reply_text(replies.NOTHING_LEARNED)
        else:
            sent = await self._reply(message, prediction)
        self._subjects.remember(sent, photo)

    async def album(self, messages: list[Message]) -> None:
        """One reply with a line for each photo."""
        places = enumerate(messages, start=1)
        try:
            predictions = await asyncio.gather(*(self._try(place, message) for place, message in places))
        except NoModelYetError:
            await messages[0].reply_text(replies.NOTHING_LEARNED)
        else:
            await messages[0].reply_text(replies.album_answer(predictions, self._serving.sure_above))

    async def _try(self, place: int, message: Message) -> Prediction | Refused:
        photo = attachment(message)
        try:
            return await self._predict(message, photo) if photo else Refused(place, replies.LOST_PHOTO)
        except NoModelYetError:
            raise
        except RetrainbotError as error:
            return Refused(place, str(error))

    async def _predict(self, message: Message, photo: Attachment) -> Prediction:
        return await self._predictor.predict(await fetch(message.get_bot(), photo))

    async def _reply(self, message: Message, prediction: Prediction) -> Message:
        top_k = self._serving.top_k
        ids = await asyncio.to_thread(self._photos.class_ids)
        return await message.reply_text(
            replies.answer(prediction, top_k, self._serving.sure_above),
            reply_markup=buttons.label_keyboard([name for name, _ in prediction.ranked()[:top_k]], ids),
        )
