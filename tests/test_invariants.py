"""The script that finds what went wrong with a data folder must itself find it."""

import hashlib
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from pictures import encoded, noise, photo
from sqlalchemy import update

from benchmarks.invariants import Sent, check, leftovers, unfit
from storage.database import Database, now
from storage.photos import Photos
from storage.settings import Settings
from storage.tables import InboxRow, PhotoRow, ReceivedRow

pytestmark = pytest.mark.both_databases

CHAT = 1001
BOT = 4711


class Folder:
    """A data folder with two labelled photos of one album and one that nobody named."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.database = Database(settings.database_place)
        self.photos = Photos(self.database, settings.photos_dir, settings.unlabelled_dir, settings.images)
        self.sent = [self.send(1, "daisy", "7"), self.send(2, "daisy", "7"), self.send(3, None, None)]

    def send(self, seed: int, class_name: str | None, album: str | None) -> Sent:
        content = photo(seed)
        sha256 = self.photos.keep(self.photos.prepare(content), "test")
        if class_name:
            self.photos.label([sha256], class_name, "test")
        with self.database.write() as session:
            session.add(
                ReceivedRow(
                    bot=BOT, chat=CHAT, message=seed, person=CHAT, at=now(), album=album,
                    file_unique_id=str(seed), photo=sha256,
                )
            )  # fmt: skip
        return Sent(CHAT, seed, hashlib.sha256(content).hexdigest(), class_name, album)

    def file(self, name: str = "daisy") -> Path:
        return next((self.settings.photos_dir / name).glob("*.jpg"))

    def letter(self) -> None:
        row = InboxRow(
            bot=BOT, update_id=5, chat=CHAT, lane="photos", content={}, received_at=now(),
            due_at=now() + timedelta(hours=1), tries=0,
        )  # fmt: skip
        with self.database.write() as session:
            session.add(row)

    def unlabel(self) -> None:
        with self.database.write() as session:
            session.execute(update(PhotoRow).where(PhotoRow.sha256 == self.file().stem).values(class_id=None))


@pytest.fixture
def folder(settings: Settings) -> Folder:
    return Folder(settings)


def test_nothing_is_found_where_all_is_well(folder: Folder) -> None:
    """Photos that are stored as they were sent break no rule."""
    assert check(folder.settings, folder.sent).all() == []
    assert leftovers(folder.settings.data) == []
    assert unfit(folder.settings.data.rglob("*.jpg")) == []


HARM: dict[str, tuple[Callable[[Folder], object], str]] = {
    "a file is gone": (lambda folder: folder.file().unlink(), "is missing"),
    "a file came from elsewhere": (
        lambda folder: folder.file().with_name(f"{'0' * 64}.jpg").write_bytes(b""),
        "is in no catalogue",
    ),
    "a file was cut": (lambda folder: folder.file().write_bytes(b"cut"), "holds something else"),
    "a class is not what its history says": (Folder.unlabel, "is not where its history has put it"),
    "a photo lies in another class": (
        lambda folder: folder.photos.label([folder.file().stem], "tulip", "test"),
        "is under tulip, not under daisy",
    ),
    "an album is in two classes": (
        lambda folder: folder.photos.label([folder.file().stem], "tulip", "test"),
        "album 7 of chat 1001 is in pieces",
    ),
    "an update waits": (Folder.letter, "update 5 was not worked"),
    "a photo was never sent": (lambda folder: folder.send(9, "daisy", None), "was never sent"),
    "a photo never came": (
        lambda folder: folder.sent.append(Sent(CHAT, 4, "0" * 64, "daisy")),
        "its photo is not stored",
    ),
    "a message never came": (
        lambda folder: folder.sent.append(Sent(CHAT, 4, folder.sent[0].source, "daisy")),
        "was not received",
    ),
}


@pytest.mark.parametrize("harm", HARM)
def test_each_harm_is_found(folder: Folder, harm: str) -> None:
    """Whatever is broken in the data folder is told in words."""
    strike, words = HARM[harm]
    strike(folder)
    assert any(words in problem for problem in check(folder.settings, folder.sent).all())


def test_unfinished_files_and_metadata_are_found(folder: Folder, tmp_path: Path) -> None:
    """A file that a kill left behind, one that tells where it was taken, and one that is no picture are named."""
    unfinished = folder.settings.photos_dir / ".new-1"
    unfinished.write_bytes(b"")
    exif = noise(1).getexif()
    exif[0x010F] = "Camera"
    spoilt = {"exif.jpg": encoded(noise(1), exif=exif), "grey.jpg": encoded(noise(1).convert("L")), "no.jpg": b"no"}
    for name, content in spoilt.items():
        (tmp_path / name).write_bytes(content)
    assert leftovers(folder.settings.data) == [f"{unfinished} was left behind"]
    found = unfit(tmp_path / name for name in spoilt)
    assert [words in problem for words, problem in zip(("metadata", "is L", "not decode"), found, strict=True)] == [
        True
    ] * 3
