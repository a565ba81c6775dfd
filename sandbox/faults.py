"""Scripted faults: the next calls of a method fail, wait or lose their connection."""

from http import HTTPStatus
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from sandbox.bell import Bell
from sandbox.errors import SUPERSEDED, ApiError, ConnectionDroppedError, PersonError

DOWNLOAD, WEBHOOK, GET_UPDATES = "download", "webhook", "getUpdates"
ANY = "*"
_WORDS = {  # What Telegram says where it is not just the name of the code.
    HTTPStatus.FORBIDDEN: "Forbidden: bot was blocked by the user",
    HTTPStatus.CONFLICT: SUPERSEDED,
}


class Fault(BaseModel):
    """One fault. `method` is a Bot API method, ``download``, ``webhook`` or ``*``; `times` is how many calls it meets.

    `delay` (seconds) comes first; then the call is answered with `error_code`, or dropped, or goes on as usual.
    With `after`, the call takes effect before the fault, as when only the answer is lost on its way; of a download,
    half the file arrives before it, and an `error_code` drops the rest. A 429 says a `retry_after` of 1 unless told
    otherwise.

    ``webhook`` is a call by the sandbox: a dropped one does not reach the bot, or with `after` its answer is lost,
    and an `error_code` counts as the bot's answer. So such an update is brought again.

    For getUpdates and ``webhook``: `copies` updates come in place of each (1 2 3 1 2 3). For getUpdates: with `again`,
    the call's offset is overheard, so that what it confirms comes again.
    """

    model_config = ConfigDict(extra="forbid")

    method: str = Field(min_length=1)
    times: Annotated[int, Field(ge=1)] = 1
    bot: int | None = None
    error_code: Annotated[int | None, Field(ge=400, le=599)] = None
    description: str | None = None
    retry_after: Annotated[int | None, Field(ge=0)] = None
    delay: Annotated[float, Field(ge=0, le=3600)] = 0
    drop: bool = False
    after: bool = False
    copies: Annotated[int, Field(ge=1, le=10)] = 1
    again: bool = False

    @model_validator(mode="after")
    def _does_something(self) -> Self:
        if not (self.error_code or self.delay or self.drop or self.copies > 1 or self.again):
            raise ValueError("a fault needs error_code, delay, drop, copies or again")
        if self.error_code and self.drop:
            raise ValueError("error_code and drop exclude each other")
        if self.copies > 1 and self.method.lower() not in {GET_UPDATES.lower(), WEBHOOK}:
            raise ValueError("copies is for getUpdates and webhook")
        if self.again and self.method.lower() != GET_UPDATES.lower():
            raise ValueError("again is for getUpdates")
        return self

    def meets(self, method: str, bot: int) -> bool:
        """Whether a call of `method` by `bot` suffers it."""
        return self.method.lower() in {ANY, method.lower()} and self.bot in {None, bot}

    async def strike(self, bell: Bell) -> None:
        """Wait, then raise what was asked for, if anything."""
        await bell.sleep(self.delay)
        if self.drop:
            raise ConnectionDroppedError
        if self.error_code:
            limited = self.error_code == HTTPStatus.TOO_MANY_REQUESTS
            pause = 1 if limited and self.retry_after is None else self.retry_after
            raise ApiError(self.error_code, self._words(self.error_code, pause), retry_after=pause)

    def _words(self, code: int, pause: int | None) -> str:
        if self.description is not None:
            return self.description
        if code == HTTPStatus.TOO_MANY_REQUESTS:
            return f"Too Many Requests: retry after {pause}"
        status = next((status for status in HTTPStatus if status == code), None)
        return _WORDS.get(status, status.phrase) if status else "Error"


class Faults:
    """The faults still to come, oldest first."""

    def __init__(self) -> None:
        self._coming: list[Fault] = []

    def script(self, wanted: Any, methods: frozenset[str]) -> None:
        """Add one fault or a list of them; an empty list takes all back. Raises PersonError on nonsense."""
        faults = [_checked(item, methods) for item in (wanted if isinstance(wanted, list) else [wanted])]
        self._coming = self._coming + faults if faults else []

    def clear(self) -> None:
        """Take all back."""
        self._coming = []

    def take(self, method: str, bot: int) -> Fault | None:
        """The fault that this call meets, used up by one."""
        fault = next((fault for fault in self._coming if fault.meets(method, bot)), None)
        if fault is not None:
            fault.times -= 1
            self._coming = [fault for fault in self._coming if fault.times > 0]
        return fault

    def coming(self) -> list[dict[str, Any]]:
        """The faults left, with the times left."""
        return [fault.model_dump(exclude_defaults=True) | {"times": fault.times} for fault in self._coming]


def _checked(item: Any, methods: frozenset[str]) -> Fault:
    try:
        fault = Fault.model_validate(item)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"]) or "fault"
        raise PersonError(f"{place}: {first['msg']}") from error
    if fault.method.lower() not in methods | {ANY, DOWNLOAD, WEBHOOK}:
        raise PersonError(
            f"method: there is no method {fault.method!r} here; use its Bot API name, download, webhook or *"
        )
    return fault
