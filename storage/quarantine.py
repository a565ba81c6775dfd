"""Files that were refused, kept for a while so that a person can look into what somebody complains about.

Nothing here is ever opened as a picture again.
"""

import hashlib
import json
import logging
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from storage.database import now
from storage.files import remove_unfinished, write_durably

FILE, NOTE = ".bin", ".json"
DIGITS = 12  # Of the SHA-256, in the names.
BLOCK = 4096  # Bytes; files take whole ones.

log = logging.getLogger(__name__)


class Quarantine:
    """`folder` holds `<UTC time>-<start of the SHA-256>.bin` and, beside it, why, from whom and when as `.json`.

    Together they take at most `max_bytes`; the oldest go first. One process at a time may write there.
    """

    def __init__(self, folder: Path, max_bytes: int, clock: Callable[[], datetime] = now) -> None:
        self._folder = folder
        self._max_bytes = max_bytes
        self._clock = clock
        self._lock = threading.Lock()
        self._kept: dict[str, int] | None = None  # Bytes by name, oldest first.

    def put(self, content: bytes, reason: str, by: str) -> None:
        """Keep a file that was refused, once however often it comes. What prevents that is logged, never raised."""
        with self._lock:
            try:
                self._put(content, reason, by)
            except OSError as error:
                self._kept = None  # Who knows what is there now.
                log.warning("a refused file could not be put into %s: %s", self._folder, error)

    def _put(self, content: bytes, reason: str, by: str) -> None:
        self._kept = kept = self._look() if self._kept is None else self._kept
        sha256, time, size = hashlib.sha256(content).hexdigest(), self._clock().astimezone(UTC), _room(len(content))
        if any(name.endswith(sha256[:DIGITS]) for name in kept) or size > self._max_bytes:
            return
        self._make_room(kept, size)
        note = {"reason": reason, "by": by, "sha256": sha256, "size": len(content), "time": time.isoformat()}
        name = f"{time:%Y%m%dT%H%M%S.%fZ}-{sha256[:DIGITS]}"
        write_durably(self._folder / f"{name}{NOTE}", json.dumps(note, indent=1).encode())
        write_durably(self._folder / f"{name}{FILE}", content)
        kept[name] = size

    def _look(self) -> dict[str, int]:
        """What is there; notes whose file was not written any more are removed."""
        remove_unfinished(self._folder)
        for note in self._folder.glob(f"*{NOTE}"):
            if not note.with_suffix(FILE).exists():
                note.unlink()
        return {path.stem: _room(path.stat().st_size) for path in sorted(self._folder.glob(f"*{FILE}"))}

    def _make_room(self, kept: dict[str, int], size: int) -> None:
        total = sum(kept.values())
        for name in list(kept):
            if total + size <= self._max_bytes:
                break
            for suffix in (FILE, NOTE):
                (self._folder / f"{name}{suffix}").unlink(missing_ok=True)
            total -= kept.pop(name)


def _room(size: int) -> int:
    """What a file of so many bytes takes on a disk, together with its note."""
    return (-(-size // BLOCK) + 1) * BLOCK
