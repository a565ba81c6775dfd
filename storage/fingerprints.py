"""Near duplicates: photos that look the same, found by the bits in which their fingerprints differ."""

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import select
from sqlalchemy.orm import Session

from storage.database import Database
from storage.tables import FingerprintRow, SecretRow

# Bits of 256. Of 852 photos of orchids and 600 of road signs, photos of different things differed in 62 or more, and
# re-encoded, smaller, brighter, darker and slightly cropped copies, even all of that at once, in at most 36.
NEAR = 36
TAIL = 256  # So many new fingerprints are read each time, before they are taken in.
REMOVALS = "fingerprints"  # The name of the row that counts how often any were removed.

Words = NDArray[np.uint64]


class Fingerprints:
    """Every fingerprint in memory, 40 bytes each: a hundred thousand are compared in milliseconds."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._ids = np.empty(0, np.int64)
        self._words: Words = np.empty((0, 4), np.uint64)
        self._removals = ""

    def nearest(self, session: Session, bits: str) -> str | None:
        """The photo whose fingerprint is nearest to `bits`, 64 hexadecimal digits; None where none is near.

        `session` must be a write transaction, so that only one thread is here at a time.
        """
        self._follow_removals(session)
        ids, words = _tail(session, self._last)
        if len(ids) > TAIL:
            self._take_in()
            ids, words = _tail(session, self._last)
        wanted = _words([bits])
        known, number = _closest(self._ids, self._words, wanted)
        new, new_number = _closest(ids, words, wanted)
        distance, found = min((known, number), (new, new_number))
        row = session.get(FingerprintRow, found) if distance <= NEAR and _tells(wanted, distance) else None
        return row.photo if row else None

    @property
    def _last(self) -> int:
        return int(self._ids[-1]) if len(self._ids) else 0

    def _follow_removals(self, session: Session) -> None:
        """Read all anew where some were removed: their numbers may be given again."""
        row = session.get(SecretRow, REMOVALS)
        if row and row.value != self._removals:
            self._ids, self._words, self._removals = self._ids[:0], self._words[:0], row.value

    def _take_in(self) -> None:
        """Keep what is committed; what the present transaction has written may yet be undone."""
        with self._database.read() as session:
            ids, words = _tail(session, self._last)
        self._ids = np.concatenate([self._ids, ids])
        self._words = np.concatenate([self._words, words])


def forget_what_was_read(session: Session) -> None:
    """Some fingerprints are removed in this transaction: whoever keeps them in memory reads them anew."""
    row = session.get(SecretRow, REMOVALS)
    session.merge(SecretRow(name=REMOVALS, value=str(int(row.value) + 1 if row else 1)))


def _tail(session: Session, after: int) -> tuple[NDArray[np.int64], Words]:
    query = select(FingerprintRow.id, FingerprintRow.bits).where(FingerprintRow.id > after).order_by(FingerprintRow.id)
    rows = session.execute(query).all()
    return np.array([row.id for row in rows], np.int64), _words([row.bits for row in rows])


def _words(bits: list[str]) -> Words:
    return np.frombuffer(bytes.fromhex("".join(bits)), np.uint64).reshape(-1, 4)


def _tells(words: Words, distance: int) -> bool:
    """Whether so small a distance means anything: one plain picture is much like any other."""
    lighter = int(np.bitwise_count(words).sum())
    return 3 * distance < 2 * min(lighter, 256 - lighter)


def _closest(ids: NDArray[np.int64], words: Words, wanted: Words) -> tuple[int, int]:
    """The smallest distance in bits, and whose it is."""
    if not len(ids):
        return 257, 0
    distances = np.bitwise_count(words ^ wanted).sum(axis=1, dtype=np.int64)
    place = int(distances.argmin())
    return int(distances[place]), int(ids[place])
