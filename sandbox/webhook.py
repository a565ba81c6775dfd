"""Webhooks: updates brought to the bot's own server, one at a time and in order, until it takes each of them.

A 2xx answer confirms an update. After anything else it is brought again, `FIRST_PAUSE` seconds later; each further
failure doubles the pause up to `LONGEST_PAUSE`. Telegram waits longer, and brings several at a time.
"""

import asyncio
import re
from typing import Any
from urllib.parse import urlsplit

import httpx

from sandbox.call import Call, Result
from sandbox.errors import ApiError, BadRequestError, ConnectionDroppedError
from sandbox.faults import WEBHOOK
from sandbox.limits import CONNECTIONS, DEFAULT_CONNECTIONS, WEBHOOK_ANSWER
from sandbox.world import Bot, Webhook, World

SECRET_HEADER = "X-Telegram-Bot-Api-Secret-Token"  # noqa: S105  The name of a header.
FIRST_PAUSE, LONGEST_PAUSE = 0.2, 2.0  # seconds
_SECRET = re.compile(r"[A-Za-z0-9_-]{1,256}")
_LOOPBACK = {"127.0.0.1", "::1", "localhost"}
_HOUR = 3600.0  # seconds


async def set_webhook(call: Call) -> Result:
    """Bring updates to `url` from now on, in place of any other. An empty one ends it."""
    url = call.parameters.text("url")
    if not url:
        return await delete_webhook(call)
    secret = call.parameters.text("secret_token") or ""
    if secret and not _SECRET.fullmatch(secret):
        raise BadRequestError("secret token contains unallowed characters")
    if call.parameters.has("allowed_updates"):
        call.bot.updates.allow(map(str, call.parameters.listing("allowed_updates")))
    _end(call)
    webhook = Webhook(_checked(url), secret, _connections(call))
    call.bot.webhook = webhook
    call.world.bell.ring()  # Whoever polls now is told.
    webhook.bringing = asyncio.create_task(_bring(call.world, call.bot, webhook))
    return True


async def delete_webhook(call: Call) -> Result:
    _end(call)
    return True


async def get_webhook_info(call: Call) -> Result:
    known = {"url": "", "has_custom_certificate": False, "pending_update_count": len(call.bot.updates)}
    if call.bot.updates.allowed is not None:
        known["allowed_updates"] = sorted(call.bot.updates.allowed)
    webhook = call.bot.webhook
    if webhook is None:
        return known
    error = dict(zip(("last_error_date", "last_error_message"), webhook.error or (), strict=False))
    return known | {"url": webhook.url, "max_connections": webhook.connections} | error


def _end(call: Call) -> None:
    if call.bot.webhook:
        call.bot.webhook.end()
    call.bot.webhook = None
    if call.parameters.flag("drop_pending_updates"):
        call.bot.updates.clear()


def _checked(url: str) -> str:
    """The address itself. Raises BadRequestError for one that is no HTTPS, unless it is on this computer."""
    try:
        parts = urlsplit(url)
        secure = parts.port != 0 and (
            parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in _LOOPBACK)
        )
    except ValueError:
        secure = False
    if not (secure and parts.hostname):
        raise BadRequestError("bad webhook: An HTTPS URL must be provided for webhook")
    return url


def _connections(call: Call) -> int:
    wanted = call.parameters.integer("max_connections") or DEFAULT_CONNECTIONS
    return min(max(wanted, 1), CONNECTIONS)


async def _bring(world: World, bot: Bot, webhook: Webhook) -> None:
    """Bring what comes, for as long as nobody ends it."""
    secret = {SECRET_HEADER: webhook.secret} if webhook.secret else {}
    pause = FIRST_PAUSE
    async with httpx.AsyncClient(headers=secret, timeout=WEBHOOK_ANSWER, trust_env=False) as client:
        while not world.bell.closed:
            await world.bell.until(lambda: len(bot.updates) > 0, _HOUR)
            for update in bot.updates.first(1):
                failure = await _failure(world, bot.id, client, webhook.url, update)
                if failure is None:
                    bot.updates.confirm(update["update_id"] + 1)
                    pause = FIRST_PAUSE
                else:
                    webhook.error = int(world.clock()), failure
                    await world.bell.sleep(pause)
                    pause = min(2 * pause, LONGEST_PAUSE)


async def _failure(
    world: World, bot_id: int, client: httpx.AsyncClient, url: str, update: dict[str, Any]
) -> str | None:
    """Bring one update; why the bot did not take it, in Telegram's words, or None where it did."""
    fault = world.faults.take(WEBHOOK, bot_id)
    try:
        if fault and not fault.after:
            await fault.strike(world.bell)
        for _ in range(fault.copies if fault else 1):
            response = await client.post(url, json=update)
        if fault and fault.after:
            await fault.strike(world.bell)
    except ApiError as error:
        return f"Wrong response from the webhook: {error.code} {error.description}"
    except httpx.ConnectError:
        return "Connection refused"
    except httpx.TimeoutException:
        return "Read timeout expired"
    except (httpx.HTTPError, httpx.InvalidURL, ConnectionDroppedError):
        return "Connection reset by peer"
    if response.is_success:
        return None
    return f"Wrong response from the webhook: {response.status_code} {response.reason_phrase}"
