"""Offers behind buttons: kept, used once, and forgotten."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest

from storage.database import Database
from storage.offers import Offer, Offers

pytestmark = pytest.mark.both_databases

START = datetime(2026, 1, 1, tzinfo=UTC)
CHAT = -(2**40)


@pytest.fixture
def offers(database: Database) -> Offers:
    return Offers(database)


def test_offers_are_kept(offers: Offers) -> None:
    """What was offered is what is found; an unknown number is nothing."""
    number = offers.make(CHAT, "label", {"photos": ["a"], "names": ["向日葵"]})
    assert offers.get(number) == Offer(number, CHAT, "label", {"photos": ["a"], "names": ["向日葵"]}, None)
    assert offers.get(number + 1) is None


def test_an_offer_is_used_once(offers: Offers) -> None:
    """The first key wins and passes again after a crash; every other key and every unknown offer is refused."""
    number = offers.make(CHAT, "undo", {})
    assert offers.use(number, "first")
    assert offers.use(number, "first")
    assert not offers.use(number, "second")
    assert not offers.use(number + 1, "first")
    used = offers.get(number)
    assert used
    assert used.used_by == "first"


def test_an_offer_whose_effect_failed_can_be_used_again(offers: Offers) -> None:
    """Only the key that took it up can give it back."""
    number = offers.make(CHAT, "undo", {})
    assert offers.use(number, "first")
    offers.release(number, "second")
    assert not offers.use(number, "second")
    offers.release(number, "first")
    offers.release(number + 1, "first")
    assert offers.use(number, "second")


def test_of_many_taps_at_once_one_counts(offers: Offers) -> None:
    """Taps that come at the same time do not all win."""
    number = offers.make(CHAT, "undo", {})
    with ThreadPoolExecutor(8) as pool:
        won = list(pool.map(lambda tap: offers.use(number, f"tap {tap}"), range(32)))
    assert won.count(True) == 1


def test_the_secret_is_made_once(database: Database) -> None:
    """Whoever asks gets the same 32 bytes, also at the same time; another database has others."""
    numbers = iter(range(100))
    stores = [Offers(database, random=lambda count: bytes([next(numbers)]) * count) for _ in range(8)]
    with ThreadPoolExecutor(8) as pool:
        secrets = set(pool.map(Offers.secret, stores))
    assert secrets == {bytes(32)}
    assert Offers(database).secret() in secrets


def test_old_offers_are_forgotten(database: Database) -> None:
    """Offers from before a time go, but a number is never given out again, for old buttons still name it."""
    clock = START
    offers = Offers(database, clock=lambda: clock)
    old = [offers.make(CHAT, "undo", {}) for _ in range(3)]
    clock += timedelta(days=1)
    assert offers.prune(clock) == 2
    assert [offers.get(number) is None for number in old] == [True, True, False]
    assert offers.make(CHAT, "undo", {}) > old[-1]
