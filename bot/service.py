"""The bot process: starts the predictor, the worker and the watch, and ends them in the other order."""

import asyncio
import gc
import hmac
import signal
from collections.abc import AsyncIterator, Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, NoReturn

import structlog
from telegram.error import InvalidToken, NetworkError, RetryAfter

from bot import rollout, watch
from bot.app import App, Desk, build
from bot.buttons import Buttons
from bot.menus import publish_commands
from bot.monitor import Monitor
from bot.notices import Notices
from bot.polling import Poller
from bot.predictor import Predictor
from bot.rollout import Rollout
from bot.stores import Stores, open_stores
from bot.vitals import Vitals
from bot.watch import Watch
from bot.webhook import Registration, create_app
from bot.worker import Turns, Worker
from serving.backend import Backend
from serving.local import Local
from serving.tensorflow_serving import TensorFlowServing
from storage.database import now
from storage.decoder import Decoder
from storage.errors import SettingsError
from storage.inbox import Inbox
from storage.lifeline import follow_parent
from storage.logs import hide
from storage.notify import Notifier
from storage.settings import Serving, Settings
from storage.web import listening

DECODERS = 2  # Photos checked at the same time, each in a process of its own.
THREADS = 32  # For what waits for the disk or the database; more than usual, so that nothing waits for a slow one.
INBOX_KEPT = timedelta(days=3)  # Telegram sends an update again for a day at most.
OFFERS_KEPT = timedelta(days=90)
TIDY_SECONDS = 3600.0

log = structlog.get_logger()


@dataclass(frozen=True)
class Pace:
    """Seconds: how often the served pointer and runs are read, messages edited, and Telegram tried at the start.

    `retries` are the pauses before a version that failed is tried again.
    """

    pointer_poll: float = rollout.POLL_SECONDS
    run_poll: float = watch.POLL_SECONDS
    edit_every: float = watch.EDIT_SECONDS
    reconnect: float = 5.0
    retries: tuple[float, ...] = rollout.PAUSES


@dataclass(frozen=True)
class Service:
    """The running parts. `incoming` gets updates for ever."""

    stores: Stores
    rollout: Rollout
    predictor: Predictor
    vitals: Vitals
    inbox: Inbox
    application: App
    incoming: asyncio.Task[NoReturn]


def run(settings: Settings, pace: Pace | None = None) -> None:
    """Serve until SIGTERM, SIGINT or the end of the parent process.

    Raises SettingsError where there is no token, or Telegram does not know it at the start, DatabaseError where the
    database is damaged or newer.
    """
    notifier = Notifier.from_environment()
    asyncio.run(_until_stopped(_serve(settings, pace, notifier), notifier.stopping))


@asynccontextmanager
async def serving(
    settings: Settings, pace: Pace | None = None, notifier: Notifier | None = None
) -> AsyncIterator[Service]:
    """Serve within the block. What was started last is ended first. `notifier` gets signs of life."""
    pace, notifier = pace or Pace(), notifier or Notifier(None)
    gc.freeze()  # A full collection over all that the imports left would hold the event loop for over 100 ms.
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(THREADS, "store"))
    async with AsyncExitStack() as stack:
        backend = await stack.enter_async_context(_backend(settings.serving))
        application = build(settings)
        decoder = stack.enter_context(Decoder(settings.images, DECODERS))
        stores = await asyncio.to_thread(open_stores, settings, decoder.normalise)
        stack.push_async_callback(asyncio.to_thread, stores.database.close)
        decoders = ThreadPoolExecutor(DECODERS, "photo")
        stack.callback(decoders.shutdown, wait=False, cancel_futures=True)
        versions = await stack.enter_async_context(_rollout(settings, stores, backend, pace))
        models = _predictor(settings, versions, decoder, decoders)
        vitals = Vitals(versions, models, backend)
        monitor = Monitor(vitals, stores.database, settings.data)
        await stack.enter_async_context(monitor.listening(settings.metrics))
        await stack.enter_async_context(_beside(_live(notifier)))
        notifier.ready()  # Whether Telegram can be reached is nothing that a restart would help with.
        await _connect(application, pace.reconnect)
        stack.push_async_callback(application.shutdown)
        desk = Desk(application, settings, stores, vitals, models, decoders)
        stack.callback(desk.close)
        inbox = Inbox(stores.database, application.bot.id, timedelta(seconds=settings.intake.album_seconds))
        monitor.inbox = inbox
        turns = Turns(settings.intake.messages_a_minute)
        worker = Worker(inbox, application.bot, desk.handle, desk.ahead, desk.slow, desk.give_up, turns, now)
        await stack.enter_async_context(worker)
        incoming = await stack.enter_async_context(_incoming(settings, application, stores, worker, vitals))
        await publish_commands(application.bot, stores.people)
        await stack.enter_async_context(_beside(_keep_tidy(settings, stores, inbox)))
        await stack.enter_async_context(_beside(vitals.keep(stores.servings)))
        notices = Notices(application.bot, stores, settings.telegram.users, pace.run_poll)
        await stack.enter_async_context(_beside(notices.keep()))
        runs = Watch(
            application.bot,
            stores,
            Buttons(stores.offers),
            settings.runs_dir,
            poll=pace.run_poll,
            edit_every=pace.edit_every,
        )
        await stack.enter_async_context(runs)
        log.info("bot ready", name=application.bot.username)
        yield Service(stores, versions, models, vitals, inbox, application, incoming)


async def _serve(settings: Settings, pace: Pace | None, notifier: Notifier) -> None:
    async with serving(settings, pace, notifier) as service:
        await service.incoming


@asynccontextmanager
async def _backend(serving: Serving) -> AsyncIterator[Backend]:
    """What runs the models. If that is a child of ours, one already gets ready for the served version."""
    if serving.backend == "tensorflow_serving":
        backend: Backend = TensorFlowServing(serving.address, start_timeout=serving.start_timeout)
    else:
        backend = local = Local(serving.threads or None, serving.start_timeout, standby=serving.standby)
        await local.stand_by()
    try:
        yield backend
    finally:
        await backend.close()


def _rollout(settings: Settings, stores: Stores, backend: Backend, pace: Pace) -> Rollout:
    serving = settings.serving
    return Rollout(
        stores.models,
        backend,
        keep_warm=60 * serving.keep_warm,
        memory_limit=serving.memory_mb * 1_000_000,
        poll=pace.pointer_poll,
        pauses=pace.retries,
    )


def _predictor(settings: Settings, versions: Rollout, decoder: Decoder, decoders: ThreadPoolExecutor) -> Predictor:
    serving = settings.serving
    return Predictor(
        versions,
        decoder.model_input,
        decoders=decoders,
        most_waiting=serving.most_waiting,
        deadline=serving.deadline,
        sure_above=serving.sure_above,
    )


@asynccontextmanager
async def _incoming(
    settings: Settings, application: App, stores: Stores, worker: Worker, vitals: Vitals
) -> AsyncIterator[asyncio.Task[NoReturn]]:
    """The way in for updates: we ask for them, or Telegram brings them."""
    telegram = settings.telegram
    async with AsyncExitStack() as stack:
        if telegram.webhook_url:
            key = await asyncio.to_thread(stores.offers.secret)
            secret = hmac.new(key, b"webhook", "sha256").hexdigest()
            hide(secret)
            app = create_app(worker.take, secret)
            await stack.enter_async_context(listening(app, telegram.webhook_listen, "telegram.webhook_listen"))
            way: Poller | Registration = Registration(application.bot, telegram.webhook_url, secret)
        else:
            way = Poller(application.bot, worker.take)
        vitals.watch(way)
        yield await stack.enter_async_context(_beside(way.run()))


@asynccontextmanager
async def _beside(work: Coroutine[Any, Any, NoReturn]) -> AsyncIterator[asyncio.Task[NoReturn]]:
    """Something that goes on within the block."""
    task = asyncio.create_task(work)
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.wait([task])


async def _keep_tidy(settings: Settings, stores: Stores, inbox: Inbox) -> NoReturn:
    """Now and then, let go of what is old."""
    while True:
        try:
            await asyncio.to_thread(inbox.prune, INBOX_KEPT)
            await asyncio.to_thread(stores.offers.prune, now() - OFFERS_KEPT)
            await asyncio.to_thread(stores.photos.prune_unlabelled, settings.intake.unlabelled_mb * 1_000_000)
        except Exception:  # The next time may be luckier.
            log.exception("not tidied")
        await asyncio.sleep(TIDY_SECONDS)


async def _live(notifier: Notifier) -> NoReturn:
    """Give signs of life, as long as the event loop comes round."""
    while True:
        notifier.alive()
        await asyncio.sleep(notifier.every or 3600.0)


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


async def _until_stopped(work: Coroutine[Any, Any, None], stopping: Callable[[], None]) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)

    def stop_from_thread() -> None:
        loop.call_soon_threadsafe(stop.set)

    follow_parent(stop_from_thread)
    working, stopped = asyncio.create_task(work), asyncio.create_task(stop.wait())
    await asyncio.wait({working, stopped}, return_when=asyncio.FIRST_COMPLETED)
    stopping()
    working.cancel()
    stopped.cancel()
    with suppress(asyncio.CancelledError):
        await working
