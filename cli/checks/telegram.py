"""Whether Telegram knows the bot, and whether updates would come to us alone."""

import asyncio
from collections.abc import AsyncIterator
from datetime import datetime, timedelta

from sqlalchemy import select
from telegram import Bot, User, WebhookInfo
from telegram.error import Conflict, InvalidToken, NetworkError, TelegramError
from telegram.request import HTTPXRequest

from cli.checks.finding import Finding, blame, failed, ok, warning
from storage.errors import DatabaseError
from storage.looking import exists, looking
from storage.servings import ServingReport
from storage.settings import Settings
from storage.tables import ServingRow

BOT, UPDATES, GROUPS = "Telegram", "updates", "groups"
CONNECT_SECONDS, READ_SECONDS = 5.0, 15.0
LISTEN_SECONDS = 4  # Another program asks again within such a time, and Telegram then ends our own question.
ALIVE = timedelta(seconds=30)  # A bot gives a sign of life every ten seconds.
STOP_OTHER = "Stop the other program, or give one of them a bot of its own: /newbot at @BotFather."


def check(settings: Settings, now: datetime) -> list[Finding]:
    return asyncio.run(_check(settings, now))


async def _check(settings: Settings, now: datetime) -> list[Finding]:
    telegram = settings.telegram
    request = HTTPXRequest(connect_timeout=CONNECT_SECONDS, read_timeout=READ_SECONDS)
    async with request:
        bot = Bot(telegram.token.get_secret_value(), base_url=f"{telegram.base_url}/bot", request=request)
        try:
            me = await bot.get_me()
        except TelegramError as error:
            return [unknown(error, telegram.base_url)]
        name = "" if telegram.base_url == type(telegram)().base_url else f" at {telegram.base_url}"
        found = [ok(BOT, f"The token is that of @{me.username}{name}.")]
        try:
            found += [finding async for finding in _incoming(bot, settings, running(settings, now))]
        except TelegramError as error:
            found.append(unknown(error, telegram.base_url))
        return [*found, privacy(me)]


def unknown(error: TelegramError, address: str) -> Finding:
    """Telegram does not answer as it should."""
    if isinstance(error, InvalidToken):
        return failed(BOT, "Telegram does not know the bot token.", "Copy it from @BotFather once more.")
    if isinstance(error, NetworkError):
        return failed(
            BOT,
            f"{address} cannot be reached ({error}).",
            "Check the internet connection, a firewall, and HTTPS_PROXY if there is a proxy.",
        )
    return failed(BOT, f"Telegram answers: {error}.", "Try again in a minute.")


def running(settings: Settings, now: datetime) -> ServingReport | None:
    """What a bot on this database said just now; None where none runs."""
    if not exists(settings.database_place):
        return None
    try:
        with looking(settings.database_place) as session:
            row = session.scalar(select(ServingRow).order_by(ServingRow.at.desc()).limit(1))
    except DatabaseError:  # Which has a check of its own.
        return None
    return ServingReport.model_validate(row.report) if row and abs(now - row.at) < ALIVE else None


async def _incoming(bot: Bot, settings: Settings, ours: ServingReport | None) -> AsyncIterator[Finding]:
    hook, address = await bot.get_webhook_info(), settings.telegram.webhook_url
    if ours is not None:  # A question of ours would take the place of its own; but it knows the answer.
        yield blame(UPDATES, ours.updates) if ours.updates else ok(UPDATES, "They come to the bot that runs.")
    elif address:
        yield webhook(hook, address)
    elif hook.url:
        yield warning(
            UPDATES,
            f"Telegram brings them to {hook.url}, which the bot ends when it starts.",
            "If that is another program of yours, " + STOP_OTHER[0].lower() + STOP_OTHER[1:],
        )
    else:
        yield await _alone(bot)


def webhook(hook: WebhookInfo, address: str) -> Finding:
    """How bringing updates to our address goes, while no bot of ours runs."""
    if hook.url and hook.url != address:
        return warning(UPDATES, f"Telegram brings them to {hook.url}, until the bot starts.", STOP_OTHER)
    if hook.last_error_message and hook.pending_update_count:
        return warning(
            UPDATES,
            f"Telegram could not bring them to {address} the last time ({hook.last_error_message});"
            f" {hook.pending_update_count} wait.",
            "If the bot was running then, see that what answers there passes them on to telegram.webhook_listen.",
        )
    return ok(UPDATES, f"Telegram brings them to {address}, once the bot runs.")


async def _alone(bot: Bot) -> Finding:
    """Ask for updates without confirming any, for a few seconds: somebody else who asks, too, ends our question."""
    try:
        await bot.get_updates(timeout=LISTEN_SECONDS, limit=1)
    except Conflict:
        return failed(UPDATES, "Another program asks Telegram for this bot's messages.", STOP_OTHER)
    return ok(UPDATES, "No other program asks for them.")


def privacy(me: User) -> Finding:
    if me.can_read_all_group_messages:
        return ok(GROUPS, "The bot sees every message of a group that it is in.")
    return ok(
        GROUPS,
        "The bot sees only commands and replies to it in groups (privacy mode), so no photos.",
        "If it shall work in groups, send /setprivacy to @BotFather and choose Disable, or make it an admin there.",
    )
