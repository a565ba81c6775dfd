"""What is kept of updates, in which order it is worked, and when."""

from datetime import UTC, datetime, timedelta

import pytest

from storage.database import Database
from storage.inbox import Arrival, Inbox, Lane

pytestmark = pytest.mark.both_databases

CHAT = 1001
QUIET = timedelta(seconds=2)


class Clock:
    """Time that passes only when it is told to."""

    def __init__(self) -> None:
        self.at = datetime(2026, 3, 1, 12, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.at

    def pass_by(self, seconds: float) -> None:
        self.at += timedelta(seconds=seconds)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def inbox(database: Database, clock: Clock) -> Inbox:
    return Inbox(database, 4711, QUIET, clock)


def arrival(number: int, chat: int = CHAT, lane: Lane = Lane.PHOTOS, album: str | None = None) -> Arrival:
    return Arrival(number, chat, lane, album, {"update_id": number, "message": {"text": f"😀 {number}"}})


def ids(inbox: Inbox, chat: int = CHAT, lane: Lane = Lane.PHOTOS) -> list[int]:
    return [letter.id for letter in inbox.next(chat, lane, 100)]


def test_keeps_what_comes_in_its_order(inbox: Inbox) -> None:
    """Updates of a lane come back whole and by their number, whenever they were put in, until they are done."""
    inbox.keep([arrival(3), arrival(1)])
    inbox.keep([arrival(2), arrival(4, lane=Lane.QUICK), arrival(5, chat=-7)])
    assert inbox.lanes() == {(CHAT, Lane.PHOTOS), (CHAT, Lane.QUICK), (-7, Lane.PHOTOS)}
    assert ids(inbox) == [1, 2, 3]
    assert inbox.next(CHAT, Lane.PHOTOS, 1)[0].content == arrival(1).content
    inbox.done([1, 3])
    assert ids(inbox) == [2]
    inbox.done([2])
    assert inbox.wakes_at(CHAT, Lane.PHOTOS) is None


def test_knows_an_update_again(inbox: Inbox, database: Database) -> None:
    """An update that comes again is not worked again, whether it was done or not; another bot's is another one."""
    for _ in range(3):
        inbox.keep([arrival(1), arrival(1), arrival(2)])
    assert ids(inbox) == [1, 2]
    inbox.done([1, 2])
    inbox.keep([arrival(1), arrival(2)])
    assert ids(inbox) == []
    other = Inbox(database, 4712, QUIET)
    other.keep([arrival(1)])
    assert ids(other) == [1]


def test_waits_for_the_rest_of_an_album(inbox: Inbox, clock: Clock) -> None:
    """An album is worked when nothing more of it has come for a while, and what comes after it waits for it."""
    inbox.keep([arrival(1), arrival(2, album="9")])
    clock.pass_by(1.5)
    inbox.keep([arrival(3), arrival(4, album="9")])
    assert ids(inbox) == [1]
    inbox.done([1])
    clock.pass_by(1.5)
    assert ids(inbox) == []
    assert inbox.wakes_at(CHAT, Lane.PHOTOS) == clock.at + timedelta(seconds=0.5)
    clock.pass_by(0.5)
    assert ids(inbox) == [2, 3, 4]
    assert [letter.id for letter in inbox.album(CHAT, "9")] == [2, 4]


def test_a_late_photo_finds_its_album(inbox: Inbox, clock: Clock) -> None:
    """What comes of an album after it was worked is worked alone, and the album still lists all."""
    inbox.keep([arrival(1, album="9")])
    clock.pass_by(2)
    inbox.done(ids(inbox))
    inbox.keep([arrival(2, album="9")])
    clock.pass_by(2)
    assert ids(inbox) == [2]
    assert [letter.id for letter in inbox.album(CHAT, "9")] == [1, 2]


def test_waits_anew_after_a_start(inbox: Inbox, clock: Clock) -> None:
    """After a restart an album that was not worked waits once more, for the rest of it may be about to come."""
    inbox.keep([arrival(1, album="9")])
    clock.pass_by(60)
    inbox.resume()
    assert ids(inbox) == []
    clock.pass_by(2)
    assert ids(inbox) == [1]


def test_puts_off(inbox: Inbox, clock: Clock) -> None:
    """What is put off lets the others pass, and comes first when it is due."""
    inbox.keep([arrival(1), arrival(2), arrival(3)])
    inbox.put_off([2], timedelta(seconds=30))
    assert ids(inbox) == [1, 3]
    inbox.done([1])
    clock.pass_by(30)
    assert [(letter.id, letter.tries) for letter in inbox.next(CHAT, Lane.PHOTOS, 10)] == [(2, 1), (3, 0)]
    inbox.done([3])
    inbox.put_off([2], timedelta(seconds=5))
    assert ids(inbox) == []
    assert inbox.wakes_at(CHAT, Lane.PHOTOS) == clock.at + timedelta(seconds=5)


def test_forgets_what_is_long_done(inbox: Inbox, clock: Clock) -> None:
    """Worked updates are forgotten after a while; those that wait never are."""
    inbox.keep([arrival(1), arrival(2)])
    inbox.done([1])
    clock.pass_by(3600)
    assert inbox.prune(timedelta(hours=2)) == 0
    clock.pass_by(3 * 3600)
    assert inbox.prune(timedelta(hours=2)) == 1
    assert ids(inbox) == [2]
