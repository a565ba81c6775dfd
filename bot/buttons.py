"""Buttons under messages, and what they send back when tapped: at most 64 bytes."""

import re
from collections.abc import Mapping, Sequence
from itertools import pairwise

from telegram import InlineKeyboardButton, InlineKeyboardMarkup

from storage import labels

DATA_BYTES = 64
LABEL = re.compile(r"label:(\d{1,15})\Z")
UNDO = re.compile(r"undo:(\d{1,15}(?:\+\d{1,15})*)\Z")


def label_keyboard(classes: Sequence[str], ids: Mapping[str, int]) -> InlineKeyboardMarkup:
    """A button for each class that still exists."""
    rows = [
        [InlineKeyboardButton(f"✓ {labels.shown(name)}", callback_data=f"label:{ids[name]}")]
        for name in classes
        if name in ids
    ]
    return InlineKeyboardMarkup(rows)


def undo_keyboard(changes: Sequence[int]) -> InlineKeyboardMarkup | None:
    """One button that undoes all `changes`; None where there are none, or more than a button can hold."""
    data = undo_data(changes)
    if not changes or len(data) > DATA_BYTES:
        return None
    return InlineKeyboardMarkup.from_button(InlineKeyboardButton("↩ Undo", callback_data=data))


def undo_data(changes: Sequence[int]) -> str:
    """`undo:` and the change ids: the first, then each one's distance to the one before, which is short."""
    ordered = sorted(changes)
    steps = [after - before for before, after in pairwise(ordered)]
    return "undo:" + "+".join(str(number) for number in [*ordered[:1], *steps])


def read_undo(numbers: str) -> list[int]:
    """The change ids, oldest first, from what UNDO matched."""
    changes: list[int] = []
    for number in numbers.split("+"):
        changes.append(int(number) + (changes[-1] if changes else 0))
    return changes
