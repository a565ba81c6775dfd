"""The application: which handler takes which update, and what becomes of errors."""

import asyncio
import math
import os
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from concurrent.futures import Executor
from contextlib import suppress
from datetime import timedelta
from typing import Any, TypeAlias

import httpx
import structlog
from telegram import CallbackQuery, LinkPreviewOptions, Message, Update
from telegram.constants import CallbackQueryLimit, ChatType, ParseMode
from telegram.error import BadRequest, TelegramError
from telegram.ext import (
    Application,
    BaseHandler,
    CallbackContext,
    CallbackQueryHandler,
    CommandHandler,
    ContextTypes,
    Defaults,
    MessageHandler,
    filters,
)
from telegram.request import HTTPXRequest

from bot import replies
from bot.access import Access, asks, names_class
from bot.albums import Albums
from bot.answers import Answers
from bot.buttons import USED, Buttons
from bot.choosing import Choosing
from bot.commands import Commands
from bot.corrections import Corrections
from bot.delivery import Delivery
from bot.gallery import Gallery
from bot.groups import Groups
from bot.intake import Intake
from bot.keys import tap_key
from bot.labelling import Labelling
from bot.language import nearest, say, speaking
from bot.limits import Limits
from bot.people import PeopleCommands
from bot.predictor import Predictor
from bot.receiving import Receiver, attachment
from bot.stores import Stores
from bot.subjects import Subjects
from bot.training import Training
from bot.vitals import Vitals
from bot.worker import Later, NoRoom, Unheard
from storage.errors import DatabaseError, RetrainbotError
from storage.received import Received
from storage.settings import Settings
from storage.texts import Text

EXCUSE_SECONDS = 600.0
CONNECTIONS = 64  # Calls to Telegram at the same time; the others wait for as long as the last number says.
IDLE_CONNECTIONS = 8
CONNECT_SECONDS, READ_SECONDS, WRITE_SECONDS, POOL_SECONDS = 10.0, 30.0, 30.0, 60.0

Handler: TypeAlias = BaseHandler[Update, ContextTypes.DEFAULT_TYPE, None]
Handle: TypeAlias = Callable[[Update, ContextTypes.DEFAULT_TYPE], Coroutine[Any, Any, None]]
App: TypeAlias = Application[Any, Any, Any, Any, Any, Any]
Tap: TypeAlias = Callable[[CallbackQuery, Mapping[str, Any], int], Awaitable[str | None]]
log = structlog.get_logger()
os.environ.setdefault("PTB_TIMEDELTA", "true")  # Periods as the library's next version has them; else it warns.


def build(settings: Settings) -> App:
    """The application, not yet connected. Raises SettingsError where there is no token.

    Updates do not come through it, but out of the inbox: see Desk.
    """
    return (
        Application.builder()
        .token(settings.telegram.need_token())
        .base_url(f"{settings.telegram.base_url}/bot")
        .base_file_url(f"{settings.telegram.base_url}/file/bot")
        .defaults(_defaults())
        .rate_limiter(Limits())
        .updater(None)
        .job_queue(None)
        .request(_request())
        .build()
    )


class Desk:
    """Where updates out of the inbox are worked. `decoders` are the threads that photos are checked in."""

    def __init__(
        self,
        application: App,
        settings: Settings,
        stores: Stores,
        vitals: Vitals,
        predictor: Predictor,
        decoders: Executor,
    ) -> None:
        bot, intake = application.bot, settings.intake
        received = Received(stores.database, bot.id)
        self._application = application
        self._buttons = Buttons(stores.offers)
        self._chats = stores.chats
        self._access = Access(stores.people, stores.chats, self._buttons)
        self._delivery = Delivery(timedelta(minutes=intake.late_minutes))
        self._receiver = Receiver(
            bot, stores.photos, received, stores.quarantine, decoders, intake.photos_a_day, stores.reserve
        )
        subjects = Subjects(self._receiver, received)
        labelling = Labelling(stores.photos, self._buttons)
        self._intake = Intake(self._receiver, received, subjects, labelling, self._delivery)
        self._answers = Answers(
            predictor, stores.photos, self._receiver, self._intake, subjects, self._delivery, settings.serving
        )
        self._albums = Albums(stores.photos, self._receiver, received, labelling, self._answers, self._delivery)
        self._corrections = Corrections(stores.photos, stores.history, subjects, self._buttons, self._delivery)
        self._choosing = Choosing(labelling, self._intake, self._answers, self._delivery, settings.training.none_class)
        self._training = Training(settings.training, stores, self._buttons, self._delivery)
        self._gallery = Gallery(stores, self._buttons, self._delivery, settings.runs_dir)
        self._groups = Groups(stores.chats, self._delivery)
        self._commands = Commands(settings, stores, vitals, self._access, self._delivery)
        self._people = PeopleCommands(stores.people, stores.history, self._buttons, self._delivery)
        self._taps: dict[str, Tap] = {
            "label": self._choosing.tapped,
            "train": self._training.chosen,
            "cancel": self._training.cancelled,
            "promote": self._training.promoted,
            "show": self._gallery.turned,
            "undo": self._corrections.undo_tapped,
            "delete": self._corrections.confirmed,
            "withdraw": self._corrections.confirmed,
            "people": self._people.tapped,
        }
        self._handlers = self._table()
        self._clock = time.monotonic
        self._excused: dict[int, float] = {}  # By chat: when it was last told to be patient.
        self._told_full: dict[int, tuple[int, float]] = {}  # By chat: of which update it was told that, and when.

    def _table(self) -> list[Handler]:
        """What is done with an update: the first handler that matches takes it. Albums do not come here."""
        picture = filters.PHOTO | (filters.Document.ALL & ~filters.ANIMATION)
        commands: dict[str, Callable[[Message], Awaitable[None]]] = {
            "start": self._commands.help,
            "help": self._commands.help,
            "train": self._training.train,
            "cancel": self._training.cancel,
            "promote": self._training.promote,
            "rollback": self._training.rollback,
            "notify": self._training.notify,
            "show": self._gallery.show,
            "models": self._gallery.models,
            "mistakes": self._gallery.mistakes,
            "compare": self._gallery.compare,
            "listen": self._groups.listen,
            "status": self._commands.status,
            "schedule": self._commands.schedule,
            "classes": self._commands.classes,
            "gpu": self._commands.gpu,
            "people": self._people.people,
            "label": self._intake.label,
            "undo": self._corrections.undo,
            "rename": self._corrections.rename,
            "merge": self._corrections.merge,
            "delete": self._corrections.delete,
            "withdraw": self._corrections.withdraw,
        }
        return [
            # Commands come before words, because a reply to a photo may be a command too.
            *(CommandHandler(name, _message(work)) for name, work in commands.items()),
            # Photos whose caption names a class come before those that ask.
            MessageHandler(picture & _NamesClass(), _message(self._intake.captioned)),
            MessageHandler(picture, _message(self._answers.photo)),
            # Words mean something only in reply to a photo, or to our message about one.
            MessageHandler(filters.TEXT & filters.REPLY & ~filters.COMMAND & _Asks(), _message(self._answers.again)),
            MessageHandler(filters.TEXT & filters.REPLY & ~filters.COMMAND, _message(self._intake.named)),
            CallbackQueryHandler(self._tapped),
            # Whatever is left is not for us in a group, and gets a hint in private.
            MessageHandler(filters.ChatType.PRIVATE, _message(self._commands.hint)),
        ]

    async def handle(self, updates: Sequence[Update]) -> None:
        """Work an update, or those of an album. Raises what the worker knows how to take."""
        try:
            with speaking(await self._language(updates[0])):
                await self._work(updates)
        except NoRoom:
            await self._tell_full(updates[0])
            raise
        except (Later, Unheard, DatabaseError, TelegramError):
            raise
        except ChildProcessError as error:
            raise Later("no photo can be decoded at the moment") from error
        except Exception as error:  # noqa: BLE001  Whatever it is, the person hears of it.
            with speaking(await self._language(updates[0])):
                await self._tell(updates[0], error)

    async def _language(self, update: Update) -> str:
        """That of the person; in private it is remembered, for what is said there later unasked."""
        user, chat = update.effective_user, update.effective_chat
        language = nearest(user.language_code if user else None)
        if chat and chat.type == ChatType.PRIVATE:
            await asyncio.to_thread(self._chats.met, chat.id, language)
        return language

    async def ahead(self, update: Update) -> None:
        """Begin to fetch the photo of an update that will be worked soon."""
        message = update.message
        if message is None or not attachment(message) or not await self._access.allows(update):
            return
        if names_class(message) or message.media_group_id or not self._answers.room:
            self._receiver.begin(message)
        else:
            self._answers.begin(message)

    def close(self) -> None:
        """Let go of the photos that are being fetched."""
        self._receiver.close()
        self._answers.close()

    async def slow(self, update: Update) -> None:
        """Say, once in a while in each chat, that something takes long."""
        message = update.message
        if message and self._clock() - self._excused.get(message.chat_id, -math.inf) > EXCUSE_SECONDS:
            self._excused[message.chat_id] = self._clock()
            with speaking(nearest(message.from_user.language_code if message.from_user else None)):
                await self._delivery.reply(message, replies.SLOW)

    async def _tell_full(self, update: Update) -> None:
        """Say that the disk takes nothing; of each message once, and of several only now and then."""
        message = update.message
        if message is None:
            return
        newest, at = self._told_full.get(message.chat_id, (0, -math.inf))
        if update.update_id > newest and self._clock() - at > EXCUSE_SECONDS:
            self._told_full[message.chat_id] = update.update_id, self._clock()
            self._excused[message.chat_id] = self._clock()
            try:
                with speaking(nearest(message.from_user.language_code if message.from_user else None)):
                    await self._delivery.reply(message, replies.FULL)
            except (TelegramError, Unheard) as error:  # The photo waits all the same.
                log.info("not told", update=update.update_id, reason=str(error))

    async def give_up(self, update: Update) -> None:
        """Say that something could not be done at all."""
        message = update.message
        if message:
            with speaking(nearest(message.from_user.language_code if message.from_user else None)):
                await self._delivery.reply(message, replies.GIVEN_UP)

    async def _work(self, updates: Sequence[Update]) -> None:
        update = updates[0]
        refusal = await self._access.refusal(updates)
        if refusal:
            await self._refuse(update, refusal.words)
            return
        if update.message and update.message.media_group_id:
            await self._albums.whole([update.message for update in updates if update.message])
            return
        for handler in self._handlers:
            check = handler.check_update(update)
            if check is not None and check is not False:
                context: Any = CallbackContext.from_update(update, self._application)
                await handler.handle_update(update, self._application, check, context)
                return

    async def _tapped(self, update: Update, _context: ContextTypes.DEFAULT_TYPE) -> None:
        """A button. Telegram waits for an answer to every tap."""
        query = update.callback_query
        if query is None:
            return
        key = tap_key(query)
        tap = await self._buttons.read(query, key)
        if isinstance(tap, Text):
            await _answer(query, tap, alert=True)
            return
        # Should this end here, the tap is worked again under the same key, which counts as the same use.
        if not await self._buttons.use(tap, key):
            await _answer(query, USED, alert=True)
            return
        try:
            words = await self._taps[tap.offer.what](query, tap.offer.content, tap.choice)
        except (RetrainbotError, OSError):
            await self._buttons.release(tap, key)
            raise
        await _answer(query, words)

    async def _tell(self, update: Update, error: Exception) -> None:
        """Tell the person in words; what nobody expected is logged too."""
        if isinstance(error, RetrainbotError):
            log.info("told", error=type(error).__name__, message=str(error))
        else:
            log.error("unexpected", exc_info=error)
        await self._refuse(update, replies.error(error))

    async def _refuse(self, update: Update, words: str) -> None:
        """Say in plain words that nothing is done, if there is anything to say."""
        if update.callback_query:
            shown = say(words)[: CallbackQueryLimit.ANSWER_CALLBACK_QUERY_TEXT_LENGTH]
            await _answer(update.callback_query, shown, alert=True)
        elif update.message and words:
            await self._delivery.reply(update.message, replies.wrong(words))


async def _answer(query: CallbackQuery, words: str | None, *, alert: bool = False) -> None:
    with suppress(BadRequest):  # A tap that waited too long cannot be answered, and need not be.
        await query.answer(say(words) if words else None, show_alert=alert)


class _Asks(filters.MessageFilter):
    def filter(self, message: Message) -> bool:
        return asks(message)


class _NamesClass(filters.MessageFilter):
    def filter(self, message: Message) -> bool:
        return names_class(message)


def _message(work: Callable[[Message], Awaitable[None]]) -> Handle:
    async def handle(update: Update, _context: ContextTypes.DEFAULT_TYPE) -> None:
        if update.message:
            await work(update.message)

    return handle


def _request() -> HTTPXRequest:
    # Before each call the library looks at every idle connection.
    limits = httpx.Limits(max_connections=CONNECTIONS, max_keepalive_connections=IDLE_CONNECTIONS)
    return HTTPXRequest(
        connect_timeout=CONNECT_SECONDS,
        read_timeout=READ_SECONDS,
        write_timeout=WRITE_SECONDS,
        pool_timeout=POOL_SECONDS,
        httpx_kwargs={"limits": limits},
    )


def _defaults() -> Defaults:
    return Defaults(
        parse_mode=ParseMode.HTML,
        do_quote=True,
        allow_sending_without_reply=True,
        link_preview_options=LinkPreviewOptions(is_disabled=True),
    )
