"""Which message brought which photo."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from storage.database import Database
from storage.images import NormalPhoto
from storage.photos import Photos, Prepared
from storage.received import Album, Arrived, Origin, Received
from storage.settings import Images

pytestmark = pytest.mark.both_databases

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.fixture
def photo(database: Database, tmp_path: Path) -> str:
    """The hash of a stored photo."""
    photos = Photos(database, tmp_path / "photos", tmp_path / "unlabelled", Images())
    return photos.keep(Prepared("1" * 64, NormalPhoto(b"photo", "2" * 64, 9, 9, "0" * 64)), "telegram:1")


def test_tells_what_a_message_brought(database: Database, photo: str) -> None:
    """A message's photo, or why it was refused, is known again; to this bot only, as bots number messages alike."""
    received = Received(database, 4711, lambda: NOON)
    assert received.get(1, 5) is None
    received.put(Origin(1, 5, 1, None, "file"), Arrived(photo))
    received.put(Origin(1, 6, 1, None, "other"), Arrived(None, "It is broken."))
    assert received.get(1, 5) == Arrived(photo)
    assert received.get(1, 6) == Arrived(None, "It is broken.")
    assert Received(database, 4712).get(1, 5) is None


def test_knows_a_file_again(database: Database, photo: str) -> None:
    """A file that was forwarded is known by Telegram's name for it, unless it was refused."""
    received = Received(database, 4711, lambda: NOON)
    received.put(Origin(1, 5, 1, None, "file"), Arrived(photo))
    received.put(Origin(1, 6, 1, None, "broken"), Arrived(None, "It is broken."))
    assert received.twin("file") == photo
    assert received.twin("broken") is None


def test_counts_what_a_person_sent(database: Database, photo: str) -> None:
    """The photos of one person since a time are counted, with those that were refused."""
    received = Received(database, 4711, lambda: NOON)
    for message, person in ((1, 7), (2, 7), (3, 8)):
        received.put(Origin(1, message, person, None, "file"), Arrived(photo))
    assert received.count(7, NOON - timedelta(hours=1)) == 2
    assert received.count(7, NOON + timedelta(hours=1)) == 0


def test_album_keeps_what_it_has(database: Database) -> None:
    """Whoever knows of no class or reply does not take away those that somebody else has set meanwhile."""
    received = Received(database, 4711)
    received.set_album(1, "9", Album("daisy", None))
    received.set_album(1, "9", Album(None, 40))
    assert received.album(1, "9") == Album("daisy", 40)
    received.set_album(1, "9", Album("rose", None))
    assert received.album(1, "9") == Album("rose", 40)
    received.set_album(1, "9", Album(None, 41))
    assert received.album(1, "9") == Album("rose", 41)


def test_remembers_albums_and_subjects(database: Database) -> None:
    """What was said of an album, and what a message of ours is about, outlives the process."""
    received = Received(database, 4711)
    assert received.album(1, "9") == Album()
    received.set_album(1, "9", Album(None, 40))
    received.set_album(1, "9", Album("daisy", 40))
    assert Received(database, 4711).album(1, "9") == Album("daisy", 40)
    received.remember(1, 40, ["a", "b"])
    assert received.subjects(1, 40) == ["a", "b"]
    assert received.subjects(1, 41) == []
