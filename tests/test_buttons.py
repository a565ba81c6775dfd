"""What buttons send back, and that nobody can make it up."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs
from telegram import CallbackQuery, Chat, InlineKeyboardMarkup, Message, User

from bot.buttons import STALE, USED, Buttons, Tap, data, read
from storage.database import Database, now
from storage.offers import Offers

SECRET = bytes(range(32))
OFFERS, CHOICES, CHATS = st.integers(0, 2**64 - 1), st.integers(0, 2**16 - 1), st.integers(-(2**63), 2**63 - 1)
TEXTS = st.text(st.characters(max_codepoint=0x7F), max_size=64)


@given(OFFERS, CHOICES, CHATS, st.binary(min_size=32, max_size=32))
def test_what_is_written_is_read(offer: int, choice: int, chat: int, secret: bytes) -> None:
    """Every offer, choice and chat comes back from what always fits Telegram's 64 bytes."""
    text = data(offer, choice, chat, secret)
    assert len(text.encode()) <= 64
    assert read(text, chat, secret) == (offer, choice)


@given(OFFERS, CHOICES, CHATS, CHATS)
def test_a_button_works_in_its_chat_only(offer: int, choice: int, chat: int, other: int) -> None:
    """Sent from another chat, or sealed with another secret, it is nothing."""
    text = data(offer, choice, chat, SECRET)
    assert chat == other or read(text, other, SECRET) is None
    assert read(text, chat, SECRET[::-1]) is None


@given(OFFERS, CHOICES, CHATS, st.data())
def test_changed_data_is_nothing(offer: int, choice: int, chat: int, draw: st.DataObject) -> None:
    """With any character changed, cut off or added, it is nothing."""
    text = data(offer, choice, chat, SECRET)
    at = draw.draw(st.integers(0, len(text) - 1))
    other = draw.draw(st.characters(exclude_characters=text[at]))
    for changed in (
        text[:at] + other + text[at + 1 :],
        text[:at],
        text[at + 1 :],
        text + other,
        other + text,
        text * 2,
    ):
        assert read(changed, chat, SECRET) is None


@given(TEXTS | st.binary(max_size=48).map(lambda content: content.hex()))
def test_made_up_data_is_nothing(text: str) -> None:
    """Whatever else is sent is nothing, the data of older versions too."""
    assert read(text, 1, SECRET) is None


@pytest.mark.parametrize("text", ["", "label:1", "undo:1+2+3", "A" * 32, "=" * 32, "á" * 32, "A" * 31 + "\n"])
def test_odd_data_is_nothing(text: str) -> None:
    """Nothing, old data, the wrong alphabet and a line's end are nothing."""
    assert read(text, 1, SECRET) is None


@pytest.fixture
def offers(database: Database) -> Offers:
    return Offers(database)


def sent_back(markup: InlineKeyboardMarkup, words: str) -> str:
    """The callback data of the button with these words."""
    rows: list[list[dict[str, Any]]] = json.loads(markup.to_json())["inline_keyboard"]
    return next(str(button["callback_data"]) for row in rows for button in row if button["text"] == words)


def tap(text: str, chat: int = 5) -> CallbackQuery:
    message = Message(1, now(), Chat(chat, "private"))
    return CallbackQuery("77", User(5, "Ada", is_bot=False), "instance", message=message, data=text)


async def test_choices_are_counted_through_the_rows(offers: Offers) -> None:
    """Each button of an offer brings back the offer and its own number."""
    buttons = Buttons(offers)
    markup = await buttons.offer(5, "label", {"names": ["a", "b", "c"]}, [["one", "two"], ["three"]])
    for number, words in enumerate(["one", "two", "three"]):
        found = await buttons.read(tap(sent_back(markup, words)), "key")
        assert isinstance(found, Tap)
        assert (found.choice, found.offer.what, found.offer.content) == (number, "label", {"names": ["a", "b", "c"]})


async def test_an_offer_is_used_by_one_tap(offers: Offers) -> None:
    """After a tap was taken, the same tap passes again, and others hear that it was done already."""
    buttons = Buttons(offers)
    query = tap(sent_back(await buttons.offer(5, "undo", {}, [["Undo"]]), "Undo"))
    first, second = await buttons.read(query, "first"), await buttons.read(query, "second")
    assert isinstance(first, Tap)
    assert isinstance(second, Tap)
    assert await buttons.use(first, "first")
    assert not await buttons.use(second, "second")
    assert isinstance(await buttons.read(query, "first"), Tap)
    assert await buttons.read(query, "second") == USED


async def test_forged_and_forgotten_buttons_do_not_work(offers: Offers) -> None:
    """Data of another chat, of an offer that is gone, or made up is refused in words, and logged."""
    buttons = Buttons(offers)
    text = sent_back(await buttons.offer(5, "undo", {}, [["Undo"]]), "Undo")
    forged = [
        tap(text, chat=6),
        tap(data(99, 0, 5, offers.secret())),
        tap(data(1, 0, 5, SECRET)),
        tap("undo:1"),
        tap(""),
    ]
    with capture_logs() as logs:
        assert [await buttons.read(query, "key") for query in forged] == [STALE] * len(forged)
    assert [entry["user"] for entry in logs] == [5] * len(forged)
