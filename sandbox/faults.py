"""Scripted faults: the next calls of a method fail, wait or lose their connection."""

from http import HTTPStatus
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from sandbox.bell import Bell
from sandbox.errors import ApiError, ConnectionDroppedError, PersonError

DOWNLOAD = "download"
ANY = "*"


class Fault(BaseModel):
    """One fault. `method` is a Bot API method, ``download`` or ``*``; `times` is how many calls it meets.

    `delay` (seconds) comes first; then the call is answered with `error_code`, or dropped, or goes on as usual.
    With `after`, the call takes effect before the fault, as when only the answer is lost on its way.
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

    @model_validator(mode="after")
    def _does_something(self) -> Self:
        if not (self.error_code or self.delay or self.drop):
            raise ValueError("a fault needs error_code, delay or drop")
        if self.error_code and self.drop:
            raise ValueError("error_code and drop exclude each other")
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
            raise ApiError(self.error_code, self._words(), retry_after=self.retry_after)

    def _words(self) -> str:
        if self.description is not None:
            return self.description
        if self.error_code == HTTPStatus.TOO_MANY_REQUESTS:
            return f"Too Many Requests: retry after {self.retry_after or 0}"
        if self.error_code == HTTPStatus.FORBIDDEN:
            return "Forbidden: bot was blocked by the user"
        return next((status.phrase for status in HTTPStatus if status == self.error_code), "Error")


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
    if fault.method.lower() not in methods | {ANY, DOWNLOAD}:
        raise PersonError(f"method: there is no method {fault.method!r} here; use its Bot API name, download or *")
    return fault
