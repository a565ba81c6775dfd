from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice, takewhile
from typing import Any

from sandbox.limits import EVENTS_KEPT, MESSAGES_KEPT

Message = dict[str, Any]


@dataclass
class Counter:
    """Counts up, one by one; `coming` is the number that `next` gives out next."""

    coming: int

    def __next__(self) -> int:
        self.coming += 1
        return self.coming - 1


@dataclass
class Stored:
    """A message as it is now; the one it answers is looked up when shown."""

    body: Message
    reply_to: int | None


@dataclass(frozen=True)
class Numbers:
    """Where ids, event numbers and the time come from; one for the whole world."""

    messages: Counter
    events: Counter
    clock: Callable[[], float]
    ring: Callable[[], None]


class Chat:
    """One chat of one bot: its messages as Bot API objects, and what happened, as events.

    An event is ``{"seq", "type", "date", ...}`` with, by type: ``sent`` and ``edited``: `message` (as it was then);
    ``deleted``: `message_id`; ``callback_answered``: `callback_query_id`, `message_id`, `from_id`, `text`,
    `show_alert`; ``chat_action``: `action`. Numbers grow over the whole sandbox, so a chat's own have gaps.
    """

    def __init__(self, info: dict[str, Any], numbers: Numbers) -> None:
        self.info = info
        self._numbers = numbers
        self.stored: dict[int, Stored] = {}
        self.history: deque[dict[str, Any]] = deque(maxlen=EVENTS_KEPT)

    def post(self, sender: dict[str, Any], content: Message, reply_to: int | None = None) -> Message:
        """Add a message; returns it as shown."""
        message_id = next(self._numbers.messages)
        head = {"message_id": message_id, "from": sender, "chat": self.info, "date": self._now()}
        self.stored[message_id] = Stored(head | content, reply_to)
        if len(self.stored) > MESSAGES_KEPT:
            del self.stored[next(iter(self.stored))]
        message = self.show(message_id)
        self.note("sent", message=message)
        return message

    def edit(self, message_id: int, body: Message) -> Message:
        """Put `body` in the place of a message's; returns it as shown."""
        self.stored[message_id].body = body | {"edit_date": self._now()}
        message = self.show(message_id)
        self.note("edited", message=message)
        return message

    def delete(self, message_id: int) -> None:
        del self.stored[message_id]
        self.note("deleted", message_id=message_id)

    def get(self, message_id: int) -> Message | None:
        """A message without the one it answers."""
        stored = self.stored.get(message_id)
        return stored.body if stored else None

    def show(self, message_id: int) -> Message:
        """A message with the one it answers, one level deep, unless that was deleted."""
        stored = self.stored[message_id]
        answered = None if stored.reply_to is None else self.get(stored.reply_to)
        return stored.body | ({"reply_to_message": answered} if answered else {})

    def note(self, kind: str, **details: Any) -> None:
        """Record an event and wake who waits for it."""
        self.history.append({"seq": next(self._numbers.events), "type": kind, "date": self._now(), **details})
        self._numbers.ring()

    def messages(self, after: int) -> list[Message]:
        """Messages with a higher id, oldest first."""
        newer = list(takewhile(lambda message_id: message_id > after, reversed(self.stored)))
        return [self.show(message_id) for message_id in reversed(newer)]

    def latest(self, count: int, before: int | None = None) -> list[Message]:
        """The last `count` messages, or of those with an id below `before`, oldest first."""
        earlier = (message_id for message_id in reversed(self.stored) if before is None or message_id < before)
        return [self.show(message_id) for message_id in islice(earlier, count)][::-1]

    def bodies(self) -> Iterator[Message]:
        """Every message without the one it answers, oldest first."""
        return (stored.body for stored in self.stored.values())

    def events(self, after: int) -> list[dict[str, Any]]:
        """Events with a higher number, oldest first."""
        newer = list(takewhile(lambda event: event["seq"] > after, reversed(self.history)))
        return newer[::-1]

    def absorb(self, other: "Chat") -> None:
        """Take in what was said elsewhere, in the order in which it was said."""
        self.stored = dict(sorted((self.stored | other.stored).items()))
        self.history.extend(other.history)
        self.history = deque(sorted(self.history, key=lambda event: event["seq"]), maxlen=EVENTS_KEPT)

    def _now(self) -> int:
        return int(self._numbers.clock())
