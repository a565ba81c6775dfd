"""The bot process: starts the application, the predictor and the watch, and ends them in the other order."""

import asyncio
import gc
import signal
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any, NoReturn

import structlog
from telegram import BotCommand
from telegram.error import InvalidToken, NetworkError, RetryAfter, TelegramError

from bot import albums, predictor, replies, watch
from bot.app import App, build
from bot.polling import Poller
from bot.predictor import Predictor
from bot.stores import Stores, open_stores
from bot.watch import Watch
from storage.errors import SettingsError
from storage.lifeline import follow_parent
from storage.settings import Settings

GOODBYE_SECONDS = 5.0  # What updates under way get at the end.

log = structlog.get_logger()


@dataclass(frozen=True)
class Pace:
    """Seconds: how long albums gather, how often the served pointer and runs are read, and messages edited."""

    album_quiet: float = albums.QUIET_SECONDS
    pointer_poll: float = predictor.POLL_SECONDS
    run_poll: float = watch.POLL_SECONDS
    edit_every: float = watch.EDIT_SECONDS
    reconnect: float = 5.0


@dataclass(frozen=True)
class Service:
    """The running parts. `polling` ends by itself only with an error."""

    stores: Stores
    predictor: Predictor
    application: App
    polling: asyncio.Task[NoReturn]


def run(settings: Settings) -> None:
    """Serve until SIGTERM, SIGINT or the end of the parent process.

    Raises SettingsError where there is no token, or Telegram does not know it (any more), DatabaseError where the
    database is damaged or newer.
    """
    asyncio.run(_until_stopped(_serve(settings)))


@asynccontextmanager
async def serving(settings: Settings, pace: Pace | None = None) -> AsyncIterator[Service]:
    """Serve within the block. What was started last is ended first."""
    pace = pace or Pace()
    gc.freeze()  # A full collection over all that the imports left would hold the event loop for over 100 ms.
    stores = await asyncio.to_thread(open_stores, settings)
    models = Predictor(
        stores.models,
        stores.photos.normalise,
        threads=settings.serving.threads or None,
        start_timeout=settings.serving.start_timeout,
        poll=pace.pointer_poll,
    )
    application = build(settings, stores, models, album_quiet=pace.album_quiet)
    runs = Watch(application.bot, stores.follows, stores.runs, poll=pace.run_poll, edit_every=pace.edit_every)
    try:
        async with models, _online(application, pace.reconnect) as polling, runs:
            log.info("bot ready", name=application.bot.username)
            yield Service(stores, models, application, polling)
    finally:
        await asyncio.to_thread(stores.database.close)


async def _serve(settings: Settings) -> None:
    async with serving(settings) as service:
        await service.polling


@asynccontextmanager
async def _online(application: App, reconnect: float) -> AsyncIterator[asyncio.Task[NoReturn]]:
    """Connect, tell Telegram the commands, and work on updates within the block."""
    await _connect(application, reconnect)
    polling = asyncio.create_task(Poller(application).run(), name="polling")
    try:
        await _publish_commands(application)
        await application.start()
        yield polling
    finally:
        polling.cancel()
        await asyncio.wait([polling])
        await _disconnect(application)


async def _connect(application: App, reconnect: float) -> None:
    """Try until there is a network. Raises SettingsError where Telegram does not know the token."""
    while True:
        try:
            await application.initialize()
        except InvalidToken as error:
            raise SettingsError("Telegram does not know the bot token. Copy it from @BotFather once more.") from error
        except (NetworkError, RetryAfter) as error:
            log.warning("Telegram cannot be reached yet", reason=str(error), again_in=reconnect)
            await asyncio.sleep(reconnect)
        else:
            return


async def _disconnect(application: App) -> None:
    if application.running:
        with suppress(TimeoutError):
            async with asyncio.timeout(GOODBYE_SECONDS):
                await application.stop()
    await application.shutdown()


async def _publish_commands(application: App) -> None:
    try:
        await application.bot.set_my_commands([BotCommand(*item) for item in replies.COMMANDS.items()])
    except TelegramError as error:
        log.warning("the list of commands was not published", reason=str(error))


async def _until_stopped(work: Coroutine[Any, Any, None]) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)

    def stop_from_thread() -> None:
        loop.call_soon_threadsafe(stop.set)

    follow_parent(stop_from_thread)
    working, stopping = asyncio.create_task(work), asyncio.create_task(stop.wait())
    await asyncio.wait({working, stopping}, return_when=asyncio.FIRST_COMPLETED)
    working.cancel()
    stopping.cancel()
    with suppress(asyncio.CancelledError):
        await working
