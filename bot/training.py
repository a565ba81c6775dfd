"""Training from the chat: started, followed, ended and promoted."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, get_args

from pydantic import ValidationError
from telegram import CallbackQuery, InlineKeyboardMarkup, Message, User

from bot import reports
from bot.access import by
from bot.buttons import Buttons
from bot.delivery import Delivery
from bot.language import nearest
from bot.markup import arguments
from bot.stores import Stores
from storage.runs import Run, RunOptions
from storage.settings import Training as TrainingSettings

MODES: tuple[str, ...] = get_args(RunOptions.model_fields["mode"].annotation)
# What may stand behind /train as NAME=VALUE.
OPTIONS = ("backbone", "batch_size", "epochs", "init_version", "learning_rate", "seed", "steps", "time_budget")


class Training:
    def __init__(self, settings: TrainingSettings, stores: Stores, buttons: Buttons, delivery: Delivery) -> None:
        self._settings = settings
        self._stores = stores
        self._buttons = buttons
        self._delivery = delivery

    async def train(self, message: Message) -> None:
        """/train [MODE] [NAME=VALUE …]: a new run, or the one that is under way; the message is edited as it goes on.

        `/train ?` asks with buttons.
        """
        words = arguments(message.text).lower().split()
        if words in (["?"], ["options"]):
            keyboard = await self._buttons.offer(
                message.chat_id, "train", {"modes": MODES}, [[reports.MODES[mode]] for mode in MODES]
            )
            await self._delivery.reply(message, reports.HOW_TO_TRAIN, keyboard)
            return
        options = self._options(words)
        if isinstance(options, RunOptions):
            await self._start(message, message.from_user, options)
        else:
            await self._delivery.reply(message, options)

    async def chosen(self, query: CallbackQuery, content: Mapping[str, Any], choice: int) -> str | None:
        """A mode's button."""
        message = query.message
        if not isinstance(message, Message):
            return reports.STALE
        options = RunOptions.from_settings(self._settings, mode=content["modes"][choice])
        run, new = await asyncio.to_thread(self._stores.runs.enqueue, options, by(query.from_user))
        offer = await self._offer(message.chat_id, run)
        text = reports.run(run) if new else reports.already(run)
        await self._delivery.edit(message, text, await self._cancel_button(offer, message.chat_id))
        await self._follow(message, query.from_user, run, offer)
        return None

    async def cancel(self, message: Message) -> None:
        """/cancel: end the run that is under way; whoever follows it is told when it has ended."""
        active = await asyncio.to_thread(self._stores.runs.active)
        if active is None:
            await self._delivery.reply(message, reports.NO_RUN)
        else:
            await self._delivery.reply(message, await self._end(active.id, message.from_user))

    async def cancelled(self, query: CallbackQuery, content: Mapping[str, Any], _choice: int) -> str | None:
        """The button under a run's message; what becomes of it is shown there."""
        return await self._end(content["run"], query.from_user)

    async def promoted(self, query: CallbackQuery, content: Mapping[str, Any], _choice: int) -> str | None:
        """The button under a version that is kept, but not served. Raises ModelError."""
        version = await asyncio.to_thread(self._stores.models.promote, content["version"], by(query.from_user))
        if isinstance(query.message, Message):
            await self._delivery.reply(query.message, reports.promoted(version))
        return None

    async def promote(self, message: Message) -> None:
        """/promote N. Raises ModelError."""
        number = arguments(message.text)
        if not (number.isdecimal() and len(number) < 10):
            await self._delivery.reply(message, reports.HOW_TO_PROMOTE)
            return
        version = await asyncio.to_thread(self._stores.models.promote, int(number), by(message.from_user))
        await self._delivery.reply(message, reports.promoted(version))

    async def rollback(self, message: Message) -> None:
        """/rollback. Raises ModelError."""
        version = await asyncio.to_thread(self._stores.models.rollback, by(message.from_user))
        await self._delivery.reply(message, reports.promoted(version))

    async def notify(self, message: Message) -> None:
        """/notify [off]: whether this chat hears of the runs that the schedule starts."""
        chat, chats = message.chat_id, self._stores.chats
        if arguments(message.text).lower() in {"off", "no", "stop"}:
            await asyncio.to_thread(chats.hear_no_more, chat)
            await self._delivery.reply(message, reports.HEARS_NO_MORE)
        else:
            language = nearest(message.from_user.language_code if message.from_user else None)
            await asyncio.to_thread(chats.hear, chat, _thread(message), language)
            await self._delivery.reply(message, reports.HEARS)

    def _options(self, words: Sequence[str]) -> RunOptions | str:
        """The options, or in words what is wrong with them."""
        changes: dict[str, Any] = {}
        for word in words:
            name, separator, value = word.partition("=")
            if word in MODES:
                changes["mode"] = word
            elif word == "force":
                changes["force"] = True
            elif separator and name in OPTIONS:
                changes[name] = value
            elif separator:
                return reports.unknown_option(name, OPTIONS)
            else:
                return reports.unknown_mode(word, MODES)
        try:
            return RunOptions.from_settings(self._settings, **changes)
        except ValidationError as error:
            name = str(error.errors()[0]["loc"][0])
            return reports.wrong_option(name, str(changes.get(name, "")))

    async def _start(self, message: Message, user: User | None, options: RunOptions) -> None:
        run, new = await asyncio.to_thread(self._stores.runs.enqueue, options, by(user))
        offer = await self._offer(message.chat_id, run)
        keyboard = await self._cancel_button(offer, message.chat_id)
        sent = await self._delivery.reply(message, reports.run(run) if new else reports.already(run), keyboard)
        await self._follow(sent, user, run, offer)

    async def _follow(self, sent: Message, user: User | None, run: Run, offer: int) -> None:
        language = nearest(user.language_code if user else None)
        await asyncio.to_thread(
            self._stores.follows.add,
            run.id,
            sent.chat_id,
            sent.message_id,
            language=language,
            thread=_thread(sent),
            offer=offer,
        )

    async def _offer(self, chat: int, run: Run) -> int:
        return await self._buttons.make(chat, "cancel", {"run": run.id})

    async def _cancel_button(self, offer: int, chat: int) -> InlineKeyboardMarkup:
        return await self._buttons.keyboard(offer, chat, [[reports.CANCEL]])

    async def _end(self, run: int, user: User | None) -> str:
        name = user.full_name if user else "somebody"
        return reports.cancelling(await asyncio.to_thread(self._stores.runs.cancel, run, name))


def _thread(message: Message) -> int | None:
    return message.message_thread_id if message.is_topic_message else None
