"""Choosing a class by buttons, where it is none of the likeliest few: all classes in pages, or none of them."""

from collections.abc import Mapping, Sequence
from typing import Any

from telegram import CallbackQuery, Message

from bot import replies
from bot.answers import Answers
from bot.delivery import Delivery
from bot.intake import Intake
from bot.labelling import Labelling, Saying
from bot.replies import BACK, NONE

PAGE = 8  # Classes; more would be a long way for a thumb.


class Choosing:
    """`none_class` is the class for photos of nothing that is asked for."""

    def __init__(
        self,
        labelling: Labelling,
        intake: Intake,
        answers: Answers,
        delivery: Delivery,
        none_class: str,
    ) -> None:
        self._labelling = labelling
        self._intake = intake
        self._answers = answers
        self._delivery = delivery
        self._none_class = none_class

    async def tapped(self, query: CallbackQuery, content: Mapping[str, Any], choice: int) -> str | None:
        """A button under a question: a class, or a way to other buttons."""
        message, names = query.message, content["names"]
        if choice < len(names):
            return await self._intake.tapped(query, content, choice)
        if not isinstance(message, Message):
            return replies.STALE_BUTTON
        way = content["ways"][choice - len(names)]
        text = content.get("text") or message.text_html
        if way == NONE:
            saying = Saying(replies.none_of_these(text), "label", _turned(content, text, [self._none_class], [BACK]))
        else:
            saying = await self._page(content, text, 0 if way == BACK else int(way))
        await self._delivery.edit(message, saying.text, await self._labelling.keyboard(message.chat_id, saying))
        return None

    async def _page(self, content: Mapping[str, Any], text: str, page: int) -> Saying:
        """The classes of a page, from 0: those of the answer come first, and then all others."""
        ranked = await self._answers.ranking(content["photos"])
        first, others = ranked[: content["first"]], ranked[content["first"] :]
        if page == 0:
            names, ways = first, ([1] if others else [])
        else:
            names = others[(page - 1) * PAGE : page * PAGE]
            ways = [page - 1, *([page + 1] if len(others) > page * PAGE else [])]
        return Saying(text, "label", {**_turned(content, text, names, [*ways, NONE]), "page": page})


def _turned(content: Mapping[str, Any], text: str, names: Sequence[str], ways: Sequence[int | str]) -> dict[str, Any]:
    return {**content, "text": text, "names": list(names), "ways": list(ways), "page": 0}
