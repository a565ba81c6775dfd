"""Looking at what there is: photos of a class, versions, and what they answer wrongly."""

import asyncio
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from telegram import CallbackQuery, InlineKeyboardMarkup, InputMediaPhoto, Message

from bot import displays
from bot.buttons import STALE, Buttons
from bot.delivery import Delivery
from bot.displays import Judged
from bot.markup import arguments, pages
from bot.sheet import COLUMNS, ROWS, sheet
from bot.stores import Stores
from storage.errors import ModelError
from storage.models import Version, summary

PAGE = COLUMNS * ROWS
MISTAKES, REPORT = "mistakes.jpg", "report.json"  # In the folder of a run.
NEWEST = 10  # Versions that /models lists.


class Gallery:
    """`runs_dir` is where runs leave their reports."""

    def __init__(self, stores: Stores, buttons: Buttons, delivery: Delivery, runs_dir: Path) -> None:
        self._stores = stores
        self._buttons = buttons
        self._delivery = delivery
        self._runs_dir = runs_dir

    async def show(self, message: Message) -> None:
        """/show CLASS: its photos, a page at a time, the newest first. Raises LabelError and PhotoError."""
        name = arguments(message.text)
        if not name:
            await self._delivery.reply(message, displays.HOW_TO_SHOW)
            return
        picture, caption, keyboard = await self._page(message.chat_id, name, 0)
        await self._delivery.picture(message, picture, caption, keyboard)

    async def turned(self, query: CallbackQuery, content: Mapping[str, Any], choice: int) -> str | None:
        """A button to another page. Raises PhotoError where the class is gone."""
        message = query.message
        if not isinstance(message, Message):
            return STALE
        picture, caption, keyboard = await self._page(message.chat_id, content["class"], content["pages"][choice])
        await message.edit_media(InputMediaPhoto(picture, caption), reply_markup=keyboard)
        return None

    async def models(self, message: Message) -> None:
        """/models: the newest versions, with what they are worth."""
        lines = displays.models(await asyncio.to_thread(self._newest))
        for page in pages(lines):
            await self._delivery.reply(message, page)

    async def mistakes(self, message: Message) -> None:
        """/mistakes [VERSION]: the test photos that it answers wrongly. Raises ModelError."""
        version = await asyncio.to_thread(self._version, arguments(message.text))
        picture = await asyncio.to_thread(_read, self._runs_dir / str(version.manifest.run) / MISTAKES)
        if picture is None:
            await self._delivery.reply(message, displays.no_mistakes(version.number))
        else:
            await self._delivery.picture(message, picture, displays.mistakes(version.number))

    async def compare(self, message: Message) -> None:
        """/compare A B: which classes the one knows better, and which the other. Raises ModelError."""
        words = arguments(message.text).split()
        if len(words) != 2:
            await self._delivery.reply(message, displays.HOW_TO_COMPARE)
            return
        judged = [await asyncio.to_thread(self._judged, word) for word in words]
        await self._delivery.reply(message, displays.comparison(*judged))

    async def _page(self, chat: int, name: str, page: int) -> tuple[bytes, str, InlineKeyboardMarkup | None]:
        found = await asyncio.to_thread(self._stores.photos.page, name, page * PAGE, PAGE)
        last = (found.total - 1) // PAGE
        picture = await asyncio.to_thread(self._sheet, found.photos)
        caption = displays.sheet(found.name, found.total, page + 1, last + 1)
        others = [other for other in (page - 1, page + 1) if 0 <= other <= last]
        if not others:
            return picture, caption, None
        words = ["‹" if other < page else "›" for other in others]
        content = {"class": found.name, "pages": others}
        return picture, caption, await self._buttons.offer(chat, "show", content, [words])

    def _sheet(self, photos: list[str]) -> bytes:
        return sheet([self._stores.photos.content(photo) for photo in photos])

    def _newest(self) -> list[dict[str, Any]]:
        models, served = self._stores.models, self._stores.models.served()
        found = []
        for number in reversed(models.numbers()[-NEWEST:]):
            try:
                found.append(summary(models.get(number), served))
            except ModelError:  # It is damaged; who asks for it hears of that.
                continue
        return found

    def _version(self, text: str) -> Version:
        """The version of this number, the served one where there is no text."""
        models = self._stores.models
        served = models.served()
        if not text and served is None:
            raise ModelError("Nothing has been learned yet. Add photos of at least two classes, then train.")
        if text and not (text.isdecimal() and len(text) < 10):
            raise ModelError("“{text}” is not the number of a version. /models lists them.", text=text)
        return models.get(int(text) if text else served.version if served else 0)

    def _judged(self, text: str) -> Judged:
        version = self._version(text)
        content = _read(self._runs_dir / str(version.manifest.run) / REPORT)
        if content is None:
            raise ModelError("The report of version {number} is gone, so it cannot be compared.", number=version.number)
        report = json.loads(content)
        tested = {item["name"]: (item["right"], item["judged"]) for item in report["classes"] if item["judged"]}
        return Judged(version.number, report["metrics"]["test_accuracy"], report["metrics"]["test_photos"], tested)


def _read(path: Path) -> bytes | None:
    return path.read_bytes() if path.is_file() else None
