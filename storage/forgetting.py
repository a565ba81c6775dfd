"""Forgetting a person: what they gave goes, and where their name stood nobody is named; see docs/privacy.md.

Photos whose file is gone are rows without files to everybody else, so files go first: after a kill, forgetting again
finishes it.
"""

import json
import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import delete, func, or_, select, update
from sqlalchemy.orm import Session

from storage.database import Database
from storage.errors import ForgetError
from storage.files import sync_folder, write_durably
from storage.fingerprints import forget_what_was_read
from storage.quarantine import FILE, NOTE
from storage.receipts import PERSON
from storage.settings import Settings
from storage.tables import (
    ActRow,
    AlbumRow,
    ChangeRow,
    ChatRow,
    FingerprintRow,
    FollowedRunRow,
    GroupRow,
    InboxRow,
    OfferRow,
    PersonRow,
    PhotoRow,
    ReceivedRow,
    RunRow,
    ServedRow,
    SourceRow,
    SubjectRow,
)
from storage.texts import Text

FORGOTTEN = "forgotten"  # Who did what somebody did that was forgotten.
IMPORT = "import"  # Whoever imported a photo had it from somewhere else.
PART = 500  # Values in one statement.
MISTAKES, REPORTS = "mistakes.jpg", ("report.json", "report.md")

Item = TypeVar("Item")


@dataclass(frozen=True)
class Person:
    """`names` are those by which the chat knows them."""

    id: int
    names: frozenset[str] = frozenset()

    @property
    def by(self) -> str:
        """How the history names them."""
        return f"{PERSON}{self.id}"


@dataclass(frozen=True)
class Trace:
    """What there is of a person. `shared` photos were given by somebody else, too, and stay."""

    photos: tuple[str, ...]
    shared: dict[str, str]  # Who has them from now on.
    acts: int  # What they did: labelled, renamed, trained.
    messages: int  # That are kept: those with photos, and all of the last days.
    refused: int  # Files in the quarantine.
    known: bool  # They were let in, or have talked to the bot.

    @property
    def empty(self) -> bool:
        return not (self.photos or self.shared or self.acts or self.messages or self.refused or self.known)


class Forgetting:
    def __init__(self, database: Database, settings: Settings) -> None:
        self._database = database
        self._settings = settings

    def find(self, text: str) -> Person:
        """The person with this id, or this name. Raises ForgetError where that is nobody, several, or an owner."""
        with self._database.read() as session:
            rows = session.execute(select(PersonRow.id, PersonRow.name)).all()
        if text.isdecimal():
            ids = [int(text)]
        else:
            ids = [number for number, name in rows if name.casefold() == text.strip().casefold()]
        if not ids:
            raise ForgetError(f"Nobody is called “{text}” here. Name the person by the id that /people shows.")
        if len(ids) > 1:
            raise ForgetError(f"Several people are called “{text}”: {', '.join(map(str, ids))}. Name one by their id.")
        if ids[0] in self._settings.telegram.users:
            raise ForgetError(
                f"{ids[0]} owns the bot. Take the id out of users under [telegram] in the configuration, start the bot"
                " again, and then forget the person."
            )
        return Person(ids[0], frozenset(name for number, name in rows if number == ids[0] and name))

    def look(self, person: Person) -> Trace:
        """What is known of a person. Raises ForgetError where that is nothing."""
        with self._database.read() as session:
            trace = _trace(session, person, len(list(self._refused(person))))
        if trace.empty:
            raise ForgetError(f"Nothing is known of {person.id}.")
        return trace

    def forget(self, person: Person) -> Trace:
        """Remove it, and say what it was. The file of the database is not overwritten yet: see `scrub`."""
        for note in self._refused(person):
            note.with_suffix(FILE).unlink(missing_ok=True)
            note.unlink(missing_ok=True)
        with self._database.write() as session:  # So nobody moves a photo.
            trace = _trace(session, person, 0)
            self._clean_reports(person, set(trace.photos))
            self._remove_files(set(trace.photos))
            _Rows(session, person).forget(trace)
        return trace

    def _refused(self, person: Person) -> Iterator[Path]:
        """The notes beside the person's files in the quarantine."""
        for note in self._settings.quarantine_dir.glob(f"*{NOTE}"):
            with suppress(OSError, ValueError):
                if json.loads(note.read_bytes()).get("by") == person.by:
                    yield note

    def _remove_files(self, photos: Collection[str]) -> None:
        """Wherever a file of such a name lies, also where a person or a kill has left it."""
        settings = self._settings
        classes = [path for path in settings.photos_dir.glob("*") if path.is_dir() and not path.is_symlink()]
        for folder in (settings.unlabelled_dir, *classes):
            found = [path for path in folder.glob("*.jpg") if path.stem in photos]
            for path in found:
                path.unlink(missing_ok=True)
            if found:
                sync_folder(folder)

    def _clean_reports(self, person: Person, photos: Collection[str]) -> None:
        """Reports of runs name nobody, and show none of the photos."""
        pattern = re.compile(rf"{re.escape(person.by)}(?!\d)".encode())
        for folder in self._settings.runs_dir.glob("*"):
            for path in (folder / name for name in REPORTS):
                content = _read(path)
                if pattern.search(content):
                    write_durably(path, pattern.sub(FORGOTTEN.encode(), content))
            if photos and (folder / MISTAKES).exists() and _may_show(_read(folder / REPORTS[0]), photos):
                (folder / MISTAKES).unlink()


class _Rows:
    """The rows of one person, within a write transaction."""

    def __init__(self, session: Session, person: Person) -> None:
        self._session = session
        self._person = person
        self._names = set(person.names)

    def forget(self, trace: Trace) -> None:
        self._letters()
        self._messages()
        self._photos(trace)
        self._offers(set(trace.photos))
        self._anonymise()
        self._session.execute(delete(PersonRow).where(PersonRow.id == self._person.id))
        # A private chat has the number of its person.
        self._session.execute(delete(ChatRow).where(ChatRow.id == self._person.id))
        self._session.execute(delete(FollowedRunRow).where(FollowedRunRow.chat == self._person.id))
        forget_what_was_read(self._session)

    def _letters(self) -> None:
        for (bot, letter), names in list(_letters(self._session, self._person)):
            self._names |= names
            self._session.execute(delete(InboxRow).where(InboxRow.bot == bot, InboxRow.update_id == letter))

    def _messages(self) -> None:
        """What they sent, the albums that they sent it in, and what was answered to them alone."""
        theirs = ReceivedRow.person == self._person.id
        albums = select(ReceivedRow.bot, ReceivedRow.chat, ReceivedRow.album).where(
            theirs, ReceivedRow.album.is_not(None)
        )
        for bot, chat, album in self._session.execute(albums.where(theirs, ReceivedRow.album.is_not(None))).all():
            known = AlbumRow.bot == bot, AlbumRow.chat == chat, AlbumRow.album == album
            self._session.execute(delete(AlbumRow).where(*known))
        self._session.execute(delete(ReceivedRow).where(theirs))
        for table in (AlbumRow, SubjectRow):
            self._session.execute(delete(table).where(table.chat == self._person.id))

    def _photos(self, trace: Trace) -> None:
        for sha256, other in trace.shared.items():
            self._session.execute(update(PhotoRow).where(PhotoRow.sha256 == sha256).values(added_by=other))
        photos = set(trace.photos)
        self._subjects(photos)
        for part in _parts(sorted(photos)):
            self._session.execute(update(ReceivedRow).where(ReceivedRow.photo.in_(part)).values(photo=None))
            for table in (ChangeRow, SourceRow, FingerprintRow):
                self._session.execute(delete(table).where(table.photo.in_(part)))
            self._session.execute(delete(PhotoRow).where(PhotoRow.sha256.in_(part)))
            self._regroup(part)

    def _regroup(self, gone: Sequence[str]) -> None:
        """Near duplicates of a photo that is gone are called after another of them."""
        query = select(PhotoRow.duplicates, func.min(PhotoRow.sha256)).where(PhotoRow.duplicates.in_(gone))
        for group, first in self._session.execute(query.group_by(PhotoRow.duplicates)).all():
            self._session.execute(update(PhotoRow).where(PhotoRow.duplicates == group).values(duplicates=first))

    def _subjects(self, photos: set[str]) -> None:
        """Our messages in groups are about the other photos only."""
        for row in self._session.scalars(select(SubjectRow).execution_options(yield_per=PART)).all():
            if not photos.isdisjoint(row.photos):
                row.photos = [sha256 for sha256 in row.photos if sha256 not in photos]

    def _offers(self, photos: Collection[str]) -> None:
        """Their buttons, and those about them or their photos, do nothing any more; the numbers are not given again."""
        about = {self._person.id, self._person.by, *photos}
        for row in self._session.scalars(select(OfferRow)).all():
            if row.chat == self._person.id or any(leaf in about for leaf in _leaves(row.content)):
                row.chat, row.content, row.used_by = 0, {}, FORGOTTEN

    def _anonymise(self) -> None:
        """What stays, because something else rests on it, names nobody."""
        by = self._person.by
        named = {*self._names, by}
        for column in (
            ChangeRow.by,
            ActRow.by,
            RunRow.requested_by,
            ServedRow.by,
            PersonRow.added_by,
            GroupRow.added_by,
        ):
            self._session.execute(update(column.class_).where(column == by).values({column.key: FORGOTTEN}))
        # In the key of an act stands the chat, and a private one has the number of its person.
        keys = ActRow.key.like(f"%:{self._person.id}:%")
        self._session.execute(update(ActRow).where(or_(ActRow.by == FORGOTTEN, keys)).values(key=None))
        for run in self._session.scalars(select(RunRow).where(RunRow.cancelled_by.in_(named))):
            run.cancelled_by = FORGOTTEN
            run.message = run.message and Text("Cancelled by {by}.", by=FORGOTTEN)


def _trace(session: Session, person: Person, refused: int) -> Trace:
    given = sorted(session.scalars(select(PhotoRow.sha256).where(PhotoRow.added_by == person.by)))
    shared = {sha256: other for part in _parts(given) for sha256, other in _others(session, person, part)}
    acts = select(func.count()).select_from(ActRow).where(ActRow.by == person.by)
    runs = select(func.count()).select_from(RunRow).where(RunRow.requested_by == person.by)
    received = select(func.count()).select_from(ReceivedRow).where(ReceivedRow.person == person.id)
    return Trace(
        photos=tuple(sha256 for sha256 in given if sha256 not in shared),
        shared=shared,
        acts=session.scalars(acts).one() + session.scalars(runs).one(),
        messages=session.scalars(received).one() + sum(1 for _ in _letters(session, person)),
        refused=refused,
        known=any(session.get(table, person.id) is not None for table in (PersonRow, ChatRow)),
    )


def _letters(session: Session, person: Person) -> Iterator[tuple[tuple[int, int], set[str]]]:
    """Their letters, worked or not, and those of others that quote them and were worked; and how they call them."""
    rows = select(InboxRow.bot, InboxRow.update_id, InboxRow.chat, InboxRow.content, InboxRow.done_at)
    for row in session.execute(rows.execution_options(yield_per=PART)):
        found = list(_about(row.content, person.id))
        theirs = row.chat == person.id or _sender(row.content) == person.id
        if theirs or (found and row.done_at is not None):
            yield (row.bot, row.update_id), {name for name in map(_full_name, found) if name}


def _others(session: Session, person: Person, photos: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Photos that somebody else gave, too, and who: whoever sent it first, before whoever imported it."""
    imported = select(ChangeRow.photo).where(ChangeRow.photo.in_(photos), ChangeRow.by == IMPORT)
    yield from ((sha256, IMPORT) for sha256 in session.scalars(imported))
    sent = select(ReceivedRow.photo, ReceivedRow.person).where(
        ReceivedRow.photo.in_(photos), ReceivedRow.person.not_in([person.id, 0])
    )
    for sha256, other in session.execute(sent.order_by(ReceivedRow.at.desc())):
        if sha256 is not None:
            yield sha256, f"{PERSON}{other}"


def _leaves(content: Any) -> Iterator[object]:
    """Every number and string in a document."""
    if isinstance(content, dict):
        for value in content.values():
            yield from _leaves(value)
    elif isinstance(content, list):
        for value in content:
            yield from _leaves(value)
    elif isinstance(content, str | int):
        yield content


def _about(content: Any, person: int) -> Iterator[dict[str, Any]]:
    """Wherever an update speaks of a person, as sender, chat or mention."""
    if isinstance(content, dict):
        if content.get("id") == person:
            yield content
        for value in content.values():
            yield from _about(value, person)
    elif isinstance(content, list):
        for value in content:
            yield from _about(value, person)


def _sender(content: dict[str, Any]) -> int | None:
    for part in content.values():
        if isinstance(part, dict) and isinstance(part.get("from"), dict):
            number: int | None = part["from"].get("id")
            return number
    return None


def _full_name(found: dict[str, Any]) -> str:
    return " ".join(str(found[key]) for key in ("first_name", "last_name") if found.get(key))


def _may_show(report: bytes, photos: Collection[str]) -> bool:
    """Whether any of the photos is among those that the report says were answered wrongly, as far as that is known."""
    try:
        mistakes = json.loads(report)["mistakes"]
        return any(mistake["sha256"] in photos for mistake in mistakes)
    except (ValueError, KeyError, TypeError):
        return True


def _read(path: Path) -> bytes:
    """Nothing where it is gone."""
    with suppress(OSError):
        return path.read_bytes()
    return b""


def _parts(items: Iterable[Item]) -> Iterator[list[Item]]:
    rest = iter(items)
    while part := list(islice(rest, PART)):
        yield part
