"""Buttons under messages: the offers behind them, and what they send back when tapped."""

import asyncio
import hmac
import re
import struct
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import structlog
from telegram import CallbackQuery, InlineKeyboardButton, InlineKeyboardMarkup

from bot.language import say
from storage.offers import Offer, Offers
from storage.texts import Text

PLACE = struct.Struct(">QH")  # The offer's id and the number of the choice.
SEAL_BYTES = 14  # 112 bits; with the place 24 bytes, which base64 writes in just 32 characters, in one way only.
DATA = re.compile(r"[A-Za-z0-9_-]{32}")
# These are shown as plain text, in the little window that a tap opens.
STALE = Text("That button no longer works.")
USED = Text("That was done already.")

log = structlog.get_logger()


def data(offer: int, choice: int, chat: int, secret: bytes) -> str:
    """What the button sends back: 32 characters, which hold for this offer, choice and chat only.

    Ids of offers are 0 to 2⁶⁴-1, choices 0 to 65535. Telegram allows 64 bytes.
    """
    place = PLACE.pack(offer, choice)
    return urlsafe_b64encode(place + _seal(place, chat, secret)).decode()


def read(text: str, chat: int, secret: bytes) -> tuple[int, int] | None:
    """The offer and the choice; None where `data` did not write this for this chat with this secret."""
    if not DATA.fullmatch(text):
        return None
    content = urlsafe_b64decode(text)
    place, seal = content[: PLACE.size], content[PLACE.size :]
    if not hmac.compare_digest(seal, _seal(place, chat, secret)):
        return None
    offer, choice = PLACE.unpack(place)
    return offer, choice


@dataclass(frozen=True)
class Tap:
    """A button of ours that somebody tapped: its offer, and the choice, counted from 0 through the rows."""

    offer: Offer
    choice: int


class Buttons:
    """`key` names a tap, so that one that is worked again after a crash counts as the same."""

    def __init__(self, offers: Offers) -> None:
        self._offers = offers
        self._secret: bytes | None = None

    async def offer(
        self, chat: int, what: str, content: dict[str, Any], choices: Sequence[Sequence[str]]
    ) -> InlineKeyboardMarkup:
        """Buttons with these words, in rows, for a message in this chat. One of them works, once."""
        return await self.keyboard(await self.make(chat, what, content), chat, choices)

    async def make(self, chat: int, what: str, content: dict[str, Any]) -> int:
        """The number of a new offer, for `keyboard`."""
        return await asyncio.to_thread(self._offers.make, chat, what, content)

    async def keyboard(self, number: int, chat: int, choices: Sequence[Sequence[str]]) -> InlineKeyboardMarkup:
        """The buttons of an offer."""
        secret = await self._sealing()
        rows: list[list[InlineKeyboardButton]] = []
        choice = 0
        for row in choices:
            rows.append([])
            for words in row:
                rows[-1].append(InlineKeyboardButton(say(words), callback_data=data(number, choice, chat, secret)))
                choice += 1
        return InlineKeyboardMarkup(rows)

    async def find(self, query: CallbackQuery) -> Tap | None:
        """What was tapped; None where it is no button of ours in this chat, or one that is forgotten."""
        chat = query.message.chat.id if query.message else 0
        place = read(query.data or "", chat, await self._sealing())
        offer = await asyncio.to_thread(self._offers.get, place[0]) if place else None
        return Tap(offer, place[1]) if place and offer and offer.chat == chat else None

    async def read(self, query: CallbackQuery, key: str) -> Tap | Text:
        """What was tapped, or in words why the tap counts for nothing."""
        tap = await self.find(query)
        if tap is None:
            log.warning("not a button of ours", user=query.from_user.id, data=query.data)
            return STALE
        return tap if tap.offer.used_by in (None, key) else USED

    async def use(self, tap: Tap, key: str) -> bool:
        """Whether this tap is the one that counts; true again for the same key."""
        return await asyncio.to_thread(self._offers.use, tap.offer.id, key)

    async def release(self, tap: Tap, key: str) -> None:
        """The tap came to nothing; the buttons work again."""
        await asyncio.to_thread(self._offers.release, tap.offer.id, key)

    async def _sealing(self) -> bytes:
        if self._secret is None:
            self._secret = await asyncio.to_thread(self._offers.secret)
        return self._secret


def _seal(place: bytes, chat: int, secret: bytes) -> bytes:
    return hmac.digest(secret, b"button" + place + chat.to_bytes(8, signed=True), sha256)[:SEAL_BYTES]
