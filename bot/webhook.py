"""The other way in: Telegram brings updates itself, to an address that its owner makes reachable from outside."""

import asyncio
import hmac
from http import HTTPStatus
from typing import NoReturn

import structlog
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from telegram import Bot
from telegram.error import RetryAfter, TelegramError

from bot.polling import WANTED, Take
from bot.worker import seconds
from storage.errors import RetrainbotError

SECRET_HEADER = "X-Telegram-Bot-Api-Secret-Token"  # noqa: S105  The header's name.
MOST_BYTES = 1_000_000  # An update holds texts and names of files, never files.
RENEW_SECONDS, RETRY_SECONDS = 300.0, 5.0

log = structlog.get_logger()


def create_app(take: Take, secret: str) -> Starlette:
    """One address for everything that is posted: an update is answered with 200 once `take` has it safe."""

    async def receive(request: Request) -> Response:
        if not hmac.compare_digest(request.headers.get(SECRET_HEADER, "").encode(), secret.encode()):
            return Response(status_code=HTTPStatus.FORBIDDEN)
        if int(request.headers.get("content-length") or MOST_BYTES + 1) > MOST_BYTES:
            return Response(status_code=HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
        try:
            update = await request.json()
            if not isinstance(update, dict) or not isinstance(update.get("update_id"), int):
                return Response(status_code=HTTPStatus.BAD_REQUEST)
            await take([update])
        except ValueError:
            return Response(status_code=HTTPStatus.BAD_REQUEST)
        except RetrainbotError as error:  # Telegram brings it again.
            log.warning("an update could not be kept", reason=str(error))
            return Response(status_code=HTTPStatus.SERVICE_UNAVAILABLE)
        return Response()

    return Starlette(routes=[Route("/{path:path}", receive, methods=["POST"])])


class Registration:
    """Tells Telegram the address, and again if somebody takes it away."""

    def __init__(self, bot: Bot, url: str, secret: str) -> None:
        self._bot = bot
        self._url = url
        self._secret = secret
        self._problem: str | None = None
        self._known = False

    @property
    def problem(self) -> str | None:
        """Why Telegram does not take the address, in its own words; None where it does."""
        return self._problem

    @property
    def ready(self) -> bool:
        """Whether Telegram knows the address."""
        return self._known

    async def run(self) -> NoReturn:
        while True:
            wait = await self._register()
            await asyncio.sleep(wait)

    async def _register(self) -> float:
        """The seconds after which to do it again."""
        try:
            # One at a time, so that they come in order.
            await self._bot.set_webhook(
                self._url, secret_token=self._secret, allowed_updates=list(WANTED), max_connections=1
            )
        except TelegramError as error:
            if str(error) != self._problem:
                log.warning("Telegram does not take the webhook; it is tried again", reason=str(error))
            self._problem, self._known = str(error), False
            return seconds(error.retry_after) if isinstance(error, RetryAfter) else RETRY_SECONDS
        if self._problem:
            log.info("Telegram took the webhook")
        self._problem, self._known = None, True
        return RENEW_SECONDS
