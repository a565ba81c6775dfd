"""What a check found, and what to do about it."""

from dataclasses import dataclass
from enum import StrEnum


class State(StrEnum):
    OK = "ok"
    WARNING = "warning"  # It works, but somebody should know.
    FAILED = "failed"  # Something will not work.


MARKS = {State.OK: "✓", State.WARNING: "!", State.FAILED: "✗"}


@dataclass(frozen=True)
class Finding:
    """`found` and `advice` are sentences, the second one empty where nothing is to be done."""

    check: str
    state: State
    found: str
    advice: str = ""

    def line(self) -> str:
        return f"{MARKS[self.state]} {self.check}: {' '.join(filter(None, (self.found, self.advice)))}"


def ok(check: str, found: str, advice: str = "") -> Finding:
    return Finding(check, State.OK, found, advice)


def warning(check: str, found: str, advice: str) -> Finding:
    return Finding(check, State.WARNING, found, advice)


def failed(check: str, found: str, advice: str) -> Finding:
    return Finding(check, State.FAILED, found, advice)


def blame(check: str, error: object) -> Finding:
    """What an error says: as a rule first what happened, then what to do."""
    words = str(error)
    found, _, advice = words.partition("; " if ". " not in words else ". ")
    return failed(check, f"{found.rstrip('.')}.", advice[:1].upper() + advice[1:])
