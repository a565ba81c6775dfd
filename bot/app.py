"""The application: which handler takes which update, and what becomes of errors."""

import os
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from typing import Any, TypeAlias

import structlog
from telegram import CallbackQuery, LinkPreviewOptions, Message, Update
from telegram.constants import CallbackQueryLimit, ParseMode
from telegram.error import BadRequest, TelegramError
from telegram.ext import (
    Application,
    BaseHandler,
    CallbackQueryHandler,
    CommandHandler,
    ContextTypes,
    Defaults,
    MessageHandler,
    filters,
)

from bot import buttons, replies
from bot.access import Strangers
from bot.albums import QUIET_SECONDS, Albums
from bot.answers import Answers
from bot.attachments import Subjects
from bot.commands import Commands
from bot.intake import Intake
from bot.limits import Limits
from bot.predictor import Predictor
from bot.stores import Stores
from storage.errors import RetrainbotError
from storage.settings import Settings

AT_ONCE = 256  # Updates worked on at the same time.
CONNECTIONS = 64  # Calls to Telegram at the same time; the others wait for as long as the last number says.
CONNECT_SECONDS, READ_SECONDS, WRITE_SECONDS, POOL_SECONDS = 10.0, 30.0, 30.0, 60.0

Handler: TypeAlias = BaseHandler[Update, ContextTypes.DEFAULT_TYPE, None]
Handle: TypeAlias = Callable[[Update, ContextTypes.DEFAULT_TYPE], Coroutine[Any, Any, None]]
App: TypeAlias = Application[Any, Any, Any, Any, Any, Any]
log = structlog.get_logger()
os.environ.setdefault("PTB_TIMEDELTA", "true")  # Periods as the library's next version has them; else it warns.


def build(settings: Settings, stores: Stores, predictor: Predictor, *, album_quiet: float = QUIET_SECONDS) -> App:
    """The application with its handlers, not yet connected. Raises SettingsError where there is no token."""
    token = settings.telegram.need_token()
    application: App = (
        Application.builder()
        .token(token)
        .base_url(f"{settings.telegram.base_url}/bot")
        .base_file_url(f"{settings.telegram.base_url}/file/bot")
        .defaults(_defaults())
        .rate_limiter(Limits())
        .updater(None)  # See polling.
        .concurrent_updates(AT_ONCE)
        .job_queue(None)
        .connection_pool_size(CONNECTIONS)
        .pool_timeout(POOL_SECONDS)
        .connect_timeout(CONNECT_SECONDS)
        .read_timeout(READ_SECONDS)
        .write_timeout(WRITE_SECONDS)
        .get_updates_connect_timeout(CONNECT_SECONDS)
        .build()
    )
    application.add_handlers(_handlers(settings, stores, predictor, album_quiet))
    application.add_error_handler(_tell)
    return application


def _handlers(settings: Settings, stores: Stores, predictor: Predictor, album_quiet: float) -> list[Handler]:
    """What is done with an update: the first handler that matches takes it."""
    subjects = Subjects()
    commands = Commands(settings, stores, predictor)
    intake = Intake(stores.photos, subjects, predictor.decoders)
    answers = Answers(predictor, stores.photos, subjects, settings.serving)
    albums = Albums(intake, answers, album_quiet)
    picture = filters.PHOTO | (filters.Document.ALL & ~filters.ANIMATION)
    return [
        # Anybody may ask how to be let in. Strangers get no further than that.
        CommandHandler(["start", "help"], _message(commands.help)),
        Strangers(settings.telegram.users),
        # Commands come before words, because a reply to a photo may be a command too.
        CommandHandler("train", _message(commands.train)),
        CommandHandler("status", _message(commands.status)),
        CommandHandler("classes", _message(commands.classes)),
        CommandHandler("gpu", _message(commands.gpu)),
        # Albums come before single photos, and captioned photos before those that ask.
        MessageHandler(picture & _InAlbum(), _message(albums.photo)),
        MessageHandler(picture & filters.CAPTION, _message(intake.captioned)),
        MessageHandler(picture, _message(answers.photo)),
        # Words mean something only in reply to a photo, or to our answer about one.
        MessageHandler(filters.TEXT & filters.REPLY & ~filters.COMMAND, _message(intake.named)),
        # Buttons; the last pattern catches those of older versions.
        CallbackQueryHandler(_tap(intake.label_tapped), buttons.LABEL),
        CallbackQueryHandler(_tap(intake.undo_tapped), buttons.UNDO),
        CallbackQueryHandler(_stale),
        # Whatever is left is not for us in a group, and gets a hint in private.
        MessageHandler(filters.ChatType.PRIVATE, _message(commands.hint)),
    ]


class _InAlbum(filters.MessageFilter):
    def filter(self, message: Message) -> bool:
        return message.media_group_id is not None


def _defaults() -> Defaults:
    return Defaults(
        parse_mode=ParseMode.HTML,
        do_quote=True,
        allow_sending_without_reply=True,
        link_preview_options=LinkPreviewOptions(is_disabled=True),
    )


def _message(work: Callable[[Message], Awaitable[None]]) -> Handle:
    async def handle(update: Update, _context: ContextTypes.DEFAULT_TYPE) -> None:
        if update.message:
            await work(update.message)

    return handle


def _tap(work: Callable[[CallbackQuery, str], Awaitable[str | None]]) -> Handle:
    """For a button: `work` gets what its pattern caught. Telegram waits for an answer to every tap.

    What `work` returns, if anything, is shown in the little window that a tap opens.
    """

    async def handle(update: Update, context: ContextTypes.DEFAULT_TYPE) -> None:
        if update.callback_query and context.match:
            words = await work(update.callback_query, context.match[1])
            with suppress(BadRequest):  # A tap that waited too long cannot be answered, and need not be.
                await update.callback_query.answer(words)

    return handle


async def _stale(update: Update, _context: ContextTypes.DEFAULT_TYPE) -> None:
    if update.callback_query:
        await update.callback_query.answer(replies.STALE_BUTTON, show_alert=True)


async def _tell(update: object, context: ContextTypes.DEFAULT_TYPE) -> None:
    """Tell the person in words; what nobody expected is logged too."""
    error = context.error
    if isinstance(error, RetrainbotError):
        log.info("told", error=type(error).__name__, message=str(error))
    else:
        log.error("unexpected", exc_info=error)
    words = replies.error(error)
    if not isinstance(update, Update):
        return
    try:
        if update.callback_query:
            await update.callback_query.answer(
                words[: CallbackQueryLimit.ANSWER_CALLBACK_QUERY_TEXT_LENGTH], show_alert=True
            )
        elif update.message:
            await update.message.reply_text(replies.wrong(words))
    except TelegramError as unsaid:
        log.warning("not told", reason=str(unsaid))
