"""What can go wrong, as the two kinds of client are told."""

from http import HTTPStatus
from typing import Any

SUPERSEDED = "Conflict: terminated by other getUpdates request; make sure that only one bot instance is running"


class ApiError(Exception):
    """A bot's call failed: the Bot API's error envelope."""

    def __init__(self, code: int, description: str, *, retry_after: int | None = None) -> None:
        super().__init__(description)
        self.code = code
        self.description = description
        self.retry_after = retry_after

    def envelope(self) -> dict[str, Any]:
        """The JSON object that a bot receives."""
        body: dict[str, Any] = {"ok": False, "error_code": self.code, "description": self.description}
        if self.retry_after is not None:
            body["parameters"] = {"retry_after": self.retry_after}
        return body


class BadRequestError(ApiError):
    """The call itself is wrong; the description says why."""

    def __init__(self, reason: str) -> None:
        super().__init__(HTTPStatus.BAD_REQUEST, f"Bad Request: {reason}")
        self.reason = reason


class PersonError(Exception):
    """A request of the person's side is wrong; the message says why in plain words."""


class ConnectionDroppedError(Exception):
    """A scripted fault: the connection is to be closed without an answer."""


class ListenError(OSError):
    """The sandbox cannot listen where it was asked to; the message names the address and the way out."""
