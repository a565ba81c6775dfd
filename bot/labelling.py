"""From words about photos to their class: stored, or asked back about where the words are not clear."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from telegram import InlineKeyboardMarkup

from bot import replies
from bot.buttons import Buttons
from bot.metrics import LABELLED
from storage import labels
from storage.photos import Photos
from storage.receipts import Labelled, Outcome
from storage.similar import similar

MOST_CHOICES = 8


@dataclass(frozen=True)
class Saying:
    """What to say, the buttons under it, and the class that the photos are in now, if they are.

    `what` and `content` are the offer behind the buttons. An offer to "label" has a button for each of its `names`, and
    one for each of the `ways` to other buttons.
    """

    text: str
    what: str = ""
    content: Mapping[str, Any] = field(default_factory=dict)
    class_name: str | None = None


@dataclass(frozen=True)
class Subject:
    """The photos that are meant, and who says something about them.

    `key` gives the key of the act that puts them into a class: what is done again under it is done once. `album` is
    where they came from, if they came together.
    """

    photos: Sequence[str]
    by: str
    key: Callable[[str], str]
    album: str | None = None


class Labelling:
    def __init__(self, photos: Photos, buttons: Buttons) -> None:
        self._photos = photos
        self._buttons = buttons

    async def from_words(self, subject: Subject, words: str) -> Saying:
        """Label as a caption or a reply says; ask where it is unclear, or close to a class that there is."""
        caption = labels.read_caption(words)
        if caption.name is None:
            return question(subject, replies.unclear(caption.problem), caption.choices)
        return await self.named(subject, caption.name)

    async def named(self, subject: Subject, name: str) -> Saying:
        """Label with a name, unless it is a new one that may be a slip."""
        close = await asyncio.to_thread(self._close_to, name)
        if close:
            return question(subject, replies.did_you_mean(name, close), [*close, name], sure=True)
        return await self.under(subject, name)

    async def chosen(self, subject: Subject, content: Mapping[str, Any], choice: int) -> Saying:
        """Label as a tapped button says. A class that has been renamed since is meant under its new name."""
        number, name = content["ids"][choice], content["names"][choice]
        present = await asyncio.to_thread(self._photos.name_of, number) if number is not None else None
        if present or content["sure"]:
            return await self.under(subject, present or name, settle=content["settle"])
        return await self.named(subject, name)

    async def under(self, subject: Subject, name: str, *, settle: bool = False) -> Saying:
        """Label with a name that is meant so; with `settle` even against what somebody else said."""
        labelled = await asyncio.to_thread(
            self._photos.label, subject.photos, name, subject.by, subject.key(name), contest=not settle
        )
        for receipt in labelled.receipts:
            LABELLED.labels(receipt.outcome.value).inc()
        only = labelled.receipts[0] if len(labelled.receipts) == 1 else None
        if only and only.outcome is Outcome.CONTESTED:
            names = [only.before or "", labelled.class_name]
            return question(subject, replies.contested(*names), names, settle=True)
        return _receipt(labelled, subject)

    async def keyboard(self, chat: int, saying: Saying) -> InlineKeyboardMarkup | None:
        """The buttons of `saying`, from now on good for one tap in this chat."""
        if saying.what == "undo":
            return await self._buttons.offer(chat, "undo", dict(saying.content), [[replies.UNDO]])
        names = saying.content.get("names", [])
        if not names and not saying.content.get("ways"):
            return None
        known = await asyncio.to_thread(self._photos.class_ids)
        content = {**saying.content, "ids": [known.get(name) for name in names]}
        rows = [[replies.class_button(name, new=name not in known)] for name in names]
        if saying.content.get("ways"):
            rows.append([replies.way(way, saying.content["page"]) for way in saying.content["ways"]])
        return await self._buttons.offer(chat, saying.what, content, rows)

    def _close_to(self, name: str) -> list[str]:
        """Classes that a new name may have been meant for."""
        existing = self._photos.class_names()
        if labels.key(name) in {labels.key(other) for other in existing}:
            return []
        return similar(name, existing)


def question(
    subject: Subject,
    text: str,
    names: Sequence[str],
    *,
    sure: bool = False,
    settle: bool = False,
    ways: Sequence[int | str] = (),
) -> Saying:
    """Ask which of these classes is meant; `sure` where a new one among them has been asked about already.

    `ways` lead to other classes, where these are only the likeliest.
    """
    content = {
        "photos": list(subject.photos),
        "names": list(names[:MOST_CHOICES]),
        "album": subject.album,
        "sure": sure,
        "settle": settle,
        "ways": list(ways),
        "page": 0,
        "first": len(names[:MOST_CHOICES]),
    }
    return Saying(text, "label", content)


def _receipt(labelled: Labelled, subject: Subject) -> Saying:
    single = subject.album is None and len(labelled.receipts) == 1
    text = replies.receipt(labelled) if single else replies.album_receipt(labelled)
    if labelled.act is None:
        return Saying(text, class_name=labelled.class_name)
    return Saying(text, "undo", {"act": labelled.act}, labelled.class_name)
