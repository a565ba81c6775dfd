from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from sandbox.limits import CALLBACK_LIFE, UPDATE_LIFE

MESSAGE = "message"
CALLBACK_QUERY = "callback_query"
_LIFE = {MESSAGE: UPDATE_LIFE, CALLBACK_QUERY: CALLBACK_LIFE}


@dataclass(frozen=True)
class Waiting:
    id: int
    kind: str
    body: dict[str, Any]
    expires: float

    def update(self) -> dict[str, Any]:
        return {"update_id": self.id, self.kind: self.body}


class Updates:
    """What waits for one bot until it confirms it by a higher offset, or it grows too old.

    `coming` is the id of the next one.
    """

    def __init__(self, first_id: int, clock: Callable[[], float]) -> None:
        self.coming = first_id
        self._clock = clock
        self.waiting: deque[Waiting] = deque()
        self.allowed: frozenset[str] | None = None
        self.turn = 0

    def take_turn(self) -> int:
        """A number for a new poll; a poll whose number is no longer `turn` was superseded."""
        self.turn += 1
        return self.turn

    def allow(self, kinds: Iterable[str]) -> None:
        """Which kinds are kept from now on; none named means all."""
        self.allowed = frozenset(kinds) or None

    def put(self, kind: str, body: dict[str, Any]) -> None:
        if self.allowed is None or kind in self.allowed:
            self.waiting.append(Waiting(self.coming, kind, body, self._clock() + _LIFE[kind]))
            self.coming += 1

    def confirm(self, offset: int) -> None:
        """Forget all below `offset`; a negative one keeps only that many from the end."""
        if offset < 0:
            self.waiting = deque(list(self.waiting)[offset:])
        while self.waiting and self.waiting[0].id < offset:
            self.waiting.popleft()

    def clear(self) -> None:
        self.waiting.clear()

    def first(self, limit: int) -> list[dict[str, Any]]:
        """The oldest, at most `limit`."""
        self._expire()
        return [waiting.update() for waiting, _ in zip(self.waiting, range(limit), strict=False)]

    def __len__(self) -> int:
        self._expire()
        return len(self.waiting)

    def take_over(self, other: "Updates") -> None:
        """Append what waited elsewhere."""
        for waiting in other.waiting:
            self.put(waiting.kind, waiting.body)
        other.clear()

    def _expire(self) -> None:
        now = self._clock()
        if any(waiting.expires <= now for waiting in self.waiting):
            self.waiting = deque(waiting for waiting in self.waiting if waiting.expires > now)
