"""What the buttons under our messages do, and to what. Of the buttons under one message one works, once."""

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import delete, func, select

from storage.database import Database, now
from storage.logs import hide
from storage.tables import OfferRow, SecretRow

SECRET = "buttons"  # noqa: S105  The name of the row.
SECRET_BYTES = 32


@dataclass(frozen=True)
class Offer:
    """`what` names the handler of a tap, to which `content` belongs. `used_by` is the key of the tap that was taken."""

    id: int
    chat: int
    what: str
    content: dict[str, Any]
    used_by: str | None


class Offers:
    """`random` gives as many random bytes as it is asked for; they must be unpredictable."""

    def __init__(
        self,
        database: Database,
        clock: Callable[[], datetime] = now,
        random: Callable[[int], bytes] = secrets.token_bytes,
    ) -> None:
        self._database = database
        self._clock = clock
        self._random = random

    def make(self, chat: int, what: str, content: dict[str, Any]) -> int:
        """`content` is kept as JSON. Returns the offer's id."""
        with self._database.write() as session:
            row = OfferRow(chat=chat, what=what, content=content, made_at=self._clock())
            session.add(row)
        return row.id

    def get(self, offer: int) -> Offer | None:
        with self._database.read() as session:
            row = session.get(OfferRow, offer)
        return Offer(row.id, row.chat, row.what, row.content, row.used_by) if row else None

    def use(self, offer: int, key: str) -> bool:
        """Take the offer up. True the first time, and again for the same key: a tap that is worked again after a crash.

        False where another key was faster, or the offer is gone.
        """
        with self._database.write() as session:
            row = session.get(OfferRow, offer)
            if row is None or row.used_by not in (None, key):
                return False
            row.used_by = key
        return True

    def release(self, offer: int, key: str) -> None:
        """Undo `use` by this key, whose effect has failed: the offer can be taken up again."""
        with self._database.write() as session:
            row = session.get(OfferRow, offer)
            if row and row.used_by == key:
                row.used_by = None

    def secret(self) -> bytes:
        """32 random bytes that stay the same from their first use on; they seal what buttons send back."""
        with self._database.write() as session:
            row = session.get(SecretRow, SECRET)
            if row is None:
                row = SecretRow(name=SECRET, value=self._random(SECRET_BYTES).hex())
                session.add(row)
        hide(row.value)
        return bytes.fromhex(row.value)

    def prune(self, before: datetime) -> int:
        """Forget offers made before that time; returns how many. The newest stays, so that no id is ever used again."""
        newest = select(func.max(OfferRow.id)).scalar_subquery()
        old = delete(OfferRow).where(OfferRow.made_at < before, OfferRow.id < newest)
        with self._database.write() as session:
            return len(session.execute(old.returning(OfferRow.id)).all())
