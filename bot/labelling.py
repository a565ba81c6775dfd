"""From words about photos to their class: stored, or asked back about where the words are not clear."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from telegram import InlineKeyboardMarkup

from bot import replies
from bot.buttons import Buttons
from bot.replies import Refused
from storage import labels
from storage.photos import Photos
from storage.receipts import Labelled, Outcome
from storage.similar import similar

MOST_CHOICES = 4


@dataclass(frozen=True)
class Saying:
    """What to say, the buttons under it, and the class that the photos are in now, if they are.

    `what` and `content` are the offer behind the buttons; `choices` are their rows.
    """

    text: str
    what: str = ""
    content: Mapping[str, Any] = field(default_factory=dict)
    choices: Sequence[Sequence[str]] = ()
    class_name: str | None = None


@dataclass(frozen=True)
class Subject:
    """The photos that are meant, and whose they are.

    `key` is that of the act: whatever is done again under it is done once. `album` is where they came from, if they
    came together; `refused` are those of it that cannot be used.
    """

    photos: Sequence[str]
    by: str
    key: str
    album: str | None = None
    refused: Sequence[Refused] = ()


class Labelling:
    def __init__(self, photos: Photos, buttons: Buttons) -> None:
        self._photos = photos
        self._buttons = buttons

    async def from_words(self, subject: Subject, words: str) -> Saying:
        """Label as a caption or a reply says; ask where it is unclear, or close to a class that there is."""
        caption = labels.read_caption(words)
        if caption.name is None:
            return question(subject, replies.unclear(caption.problem), caption.choices)
        close = await asyncio.to_thread(self._close_to, caption.name)
        if close:
            return question(subject, replies.did_you_mean(caption.name, close), [*close, caption.name], new=True)
        return await self.under(subject, caption.name)

    async def under(self, subject: Subject, name: str, *, settle: bool = False) -> Saying:
        """Label with a name that is meant so; with `settle` even against what somebody else said."""
        labelled = await asyncio.to_thread(
            self._photos.label, subject.photos, name, subject.by, subject.key, contest=not settle
        )
        if len(subject.photos) == 1 and labelled.receipts[0].outcome is Outcome.CONTESTED:
            names = [labelled.receipts[0].before or "", labelled.class_name]
            return question(subject, replies.contested(*names), names, settle=True)
        return _receipt(labelled, subject)

    async def keyboard(self, chat: int, saying: Saying) -> InlineKeyboardMarkup | None:
        """The buttons of `saying`, from now on good for one tap in this chat."""
        if not saying.choices:
            return None
        return await self._buttons.offer(chat, saying.what, dict(saying.content), saying.choices)

    def _close_to(self, name: str) -> list[str]:
        """Classes that a new name may have been meant for."""
        existing = [count.name for count in self._photos.classes()]
        if labels.key(name) in {labels.key(other) for other in existing}:
            return []
        return similar(name, existing)


def choices_of(names: Sequence[str]) -> list[list[str]]:
    """A button for each class."""
    return [[f"✓ {labels.shown(name)}"] for name in names]


def question(subject: Subject, text: str, names: Sequence[str], *, new: bool = False, settle: bool = False) -> Saying:
    """Ask which of these classes is meant. With `new`, the last of them would be a new one."""
    names = names[:MOST_CHOICES]
    rows = choices_of(names)
    if new:
        rows[-1] = [f"+ {labels.shown(names[-1])}, a new class"]
    content = {"photos": list(subject.photos), "names": list(names), "album": subject.album, "settle": settle}
    return Saying(text, "label", content, rows)


def _receipt(labelled: Labelled, subject: Subject) -> Saying:
    if subject.album or subject.refused or len(subject.photos) > 1:
        text = replies.album_receipt(labelled, subject.refused)
    else:
        text = replies.receipt(labelled)
    if labelled.act is None:
        return Saying(text, class_name=labelled.class_name)
    return Saying(text, "undo", {"act": labelled.act}, [[replies.UNDO]], labelled.class_name)
