"""Telegram's limits, kept in the one place that every call passes."""

from collections.abc import Callable, Coroutine
from typing import Any

from telegram.ext import AIORateLimiter

from bot.markup import fit

RETRIES = 5  # Telegram says how long to wait before each. The library's own default is not to try again.


class Limits(AIORateLimiter):
    """Keeps to Telegram's pace, and cuts texts that are too long for one message."""

    def __init__(self) -> None:
        super().__init__(max_retries=RETRIES)

    async def process_request(
        self,
        callback: Callable[..., Coroutine[Any, Any, Any]],
        args: Any,
        kwargs: dict[str, Any],
        endpoint: str,
        data: dict[str, Any],
        rate_limit_args: int | None,
    ) -> Any:
        if "text" in data:
            data["text"] = fit(data["text"])
        return await super().process_request(callback, args, kwargs, endpoint, data, rate_limit_args)
