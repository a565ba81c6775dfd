"""Webhooks: updates brought to the bot's own server, one at a time and in order, until it takes each of them.

A 2xx answer confirms an update, and a method of the Bot API in it is carried out, though nobody learns with what
result. After anything else the update is brought again, `FIRST_PAUSE` seconds later; each further failure doubles the
pause up to `LONGEST_PAUSE`. Telegram waits longer, and brings updates of different chats at the same time.
"""

import asyncio
import contextlib
import re
from typing import Any
from urllib.parse import urlsplit

import httpx
from starlette.requests import Request
from starlette.types import Message as HttpMessage

from sandbox.call import Call, Methods, Result
from sandbox.errors import ApiError, BadRequestError, ConnectionDroppedError
from sandbox.faults import WEBHOOK
from sandbox.limits import CONNECTIONS, DEFAULT_CONNECTIONS, WEBHOOK_ANSWER
from sandbox.parameters import read_parameters
from sandbox.world import Bot, Webhook, World

SECRET_HEADER = "X-Telegram-Bot-Api-Secret-Token"  # noqa: S105  The name of a header.
FIRST_PAUSE, LONGEST_PAUSE = 0.2, 2.0  # seconds
_SECRET = re.compile(r"[A-Za-z0-9_-]{1,256}")
_LOOPBACK = {"127.0.0.1", "::1", "localhost"}
_HOUR = 3600.0  # seconds


async def set_webhook(call: Call, methods: Methods) -> Result:
    """Bring updates to `url` from now on, in place of any other. An empty one ends it.

    `methods` are those that the bot may call in its answers.
    """
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
    webhook.bringing = asyncio.create_task(_bring(call.world, call.bot, webhook, methods))
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


async def _bring(world: World, bot: Bot, webhook: Webhook, methods: Methods) -> None:
    """Bring what comes, for as long as nobody ends it."""
    secret = {SECRET_HEADER: webhook.secret} if webhook.secret else {}
    pause = FIRST_PAUSE
    async with httpx.AsyncClient(headers=secret, timeout=WEBHOOK_ANSWER, trust_env=False) as client:
        while not world.bell.closed:
            await world.bell.until(lambda: len(bot.updates) > 0, _HOUR)
            for update in bot.updates.first(1):
                answer = await _answer(world, bot.id, client, webhook.url, update)
                if isinstance(answer, str):
                    webhook.error = int(world.clock()), answer
                    await world.bell.sleep(pause)
                    pause = min(2 * pause, LONGEST_PAUSE)
                else:
                    bot.updates.confirm(update["update_id"] + 1)
                    pause = FIRST_PAUSE
                    await _carry_out(world, bot, answer, methods)


async def _answer(
    world: World, bot_id: int, client: httpx.AsyncClient, url: str, update: dict[str, Any]
) -> httpx.Response | str:
    """Bring one update; the answer of a bot that took it, or why it did not, in Telegram's words."""
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
        return response
    return f"Wrong response from the webhook: {response.status_code} {response.reason_phrase}"


async def _carry_out(world: World, bot: Bot, answer: httpx.Response, methods: Methods) -> None:
    """Call the method that an answer names, if any; what is wrong with the call is told to nobody."""
    with contextlib.suppress(ApiError):
        parameters = await read_parameters(_request(answer))
        method = methods.get((parameters.text("method") or "").lower())
        if method:
            await method(Call(world, bot, parameters))


def _request(answer: httpx.Response) -> Request:
    """The answer as if it were a request, since it holds parameters in the same forms."""

    async def receive() -> HttpMessage:
        return {"type": "http.request", "body": answer.content}

    headers = [(name.lower(), value) for name, value in answer.headers.raw]
    return Request({"type": "http", "method": "POST", "query_string": b"", "headers": headers}, receive)
