"""What must hold of a data folder, whatever happened to the bot.

The catalogue agrees with the folders, every update was worked, and every photo that was sent is stored once, under its
class.

Nothing may be writing into the folder meanwhile.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image
from sqlalchemy import select

from storage.database import Database
from storage.files import TEMPORARY, sha256_of
from storage.runs import FINAL, RunState
from storage.settings import Settings
from storage.tables import ChangeRow, ClassRow, InboxRow, PhotoRow, ReceivedRow, RunRow, SourceRow


@dataclass(frozen=True)
class Sent:
    """A photo that a person sent: the SHA-256 of its bytes as the bot gets them, and the class it must end in.

    No class means that nobody said one. `album` is the number of its album, if it came in one.
    """

    chat: int
    message: int
    source: str
    class_name: str | None = None
    album: str | None = None


@dataclass
class Findings:
    """What is wrong, in words, by kind."""

    lost: list[str] = field(default_factory=list)
    twice: list[str] = field(default_factory=list)
    misfiled: list[str] = field(default_factory=list)
    torn: list[str] = field(default_factory=list)  # Albums.
    catalogue: list[str] = field(default_factory=list)
    inbox: list[str] = field(default_factory=list)

    def all(self) -> list[str]:
        return [*self.lost, *self.twice, *self.misfiled, *self.torn, *self.catalogue, *self.inbox]


def check(settings: Settings, sent: Sequence[Sent]) -> Findings:
    """Everything, for a data folder into which exactly these photos were sent."""
    database = Database(settings.database_place)
    try:
        findings = Findings(
            catalogue=[*catalogue(database, settings), *history(database)],
            inbox=inbox(database),
        )
        _check_photos(_stored(database), sent, findings)
        findings.lost += _unreceived(database, sent)
        return findings
    finally:
        database.close()


def catalogue(database: Database, settings: Settings) -> list[str]:
    """Where rows and files disagree, and files that are not what their names say."""
    wanted = {_place(settings, name, sha256) for sha256, name in _rows(database)}
    found = {path for folder in (settings.photos_dir, settings.unlabelled_dir) for path in folder.rglob("*.jpg")}
    return [
        *(f"{path} is missing" for path in sorted(wanted - found)),
        *(f"{path} is in no catalogue" for path in sorted(found - wanted)),
        *(f"{path} holds something else" for path in sorted(found) if sha256_of(path) != path.stem),
    ]


def history(database: Database) -> list[str]:
    """Photos that are not in the class in which their newest change, made and not undone, has put them."""
    with database.read() as session:
        changes = session.scalars(select(ChangeRow).order_by(ChangeRow.id)).all()
        classes = dict(session.execute(select(PhotoRow.sha256, PhotoRow.class_id)).all())
    undone = {change.undoes for change in changes}
    said: dict[str, int | None] = {
        change.photo: change.after
        for change in changes
        if change.made and change.undoes is None and change.id not in undone
    }
    wrong = [sha256 for sha256, class_id in classes.items() if said.get(sha256) != class_id]
    return [f"photo {sha256} is not where its history has put it" for sha256 in wrong]


def leftovers(folder: Path) -> list[str]:
    """Unfinished files. A kill leaves some, which nobody reads and which go later; nothing else may."""
    return [f"{path} was left behind" for path in sorted(folder.rglob(f"{TEMPORARY}*"))]


def splits(database: Database) -> dict[str, str]:
    """The split of each photo that ever had a class. None of them may ever change."""
    query = select(PhotoRow.sha256, PhotoRow.split).where(PhotoRow.split.is_not(None))
    with database.read() as session:
        return {sha256: str(split) for sha256, split in session.execute(query)}


def unsplit(database: Database) -> list[str]:
    """Labelled photos without a split, and near duplicates that stand on both sides of one."""
    query = select(PhotoRow.sha256, PhotoRow.split, PhotoRow.duplicates).where(PhotoRow.class_id.is_not(None))
    with database.read() as session:
        rows = session.execute(query).all()
    groups: dict[str, set[str | None]] = {}
    for _, split, group in rows:
        groups.setdefault(group, set()).add(split)
    return [
        *(f"photo {sha256} has a class and no split" for sha256, split, _ in rows if split is None),
        *(f"near duplicates {group} are in {len(kinds)} splits" for group, kinds in groups.items() if len(kinds) > 1),
    ]


def runs(database: Database) -> list[str]:
    """Runs that have not ended."""
    with database.read() as session:
        rows = session.execute(select(RunRow.id, RunRow.state)).all()
    return [f"run {number} is {state}" for number, state in rows if RunState(state) not in FINAL]


def inbox(database: Database) -> list[str]:
    """Updates that were taken but not worked."""
    with database.read() as session:
        waiting = session.scalars(select(InboxRow.update_id).where(InboxRow.done_at.is_(None))).all()
    return [f"update {number} was not worked" for number in waiting]


def unfit(paths: Iterable[Path]) -> list[str]:
    """Stored photos that do not decode, or tell more than their picture."""
    return [f"{path}: {problem}" for path in paths for problem in _unfit(path)]


def _unfit(path: Path) -> Iterator[str]:
    try:
        with Image.open(path, formats=("JPEG",)) as image:
            image.load()
            if image.getexif() or {"exif", "xmp", "comment", "photoshop"} & image.info.keys():
                yield "has metadata"
            if image.mode != "RGB":
                yield f"is {image.mode}"
    except (OSError, SyntaxError) as error:
        yield f"does not decode ({error})"


@dataclass(frozen=True)
class _Stored:
    """The photos of the catalogue: the class of each, and which bytes became which."""

    classes: dict[str, str | None]
    photos: dict[str, str]


def _stored(database: Database) -> _Stored:
    with database.read() as session:
        sources = dict(session.execute(select(SourceRow.sha256, SourceRow.photo)).all())
    return _Stored(dict(_rows(database)), sources)


def _rows(database: Database) -> list[tuple[str, str | None]]:
    """Every photo and the name of its class."""
    query = select(PhotoRow.sha256, ClassRow.name).outerjoin(ClassRow, PhotoRow.class_id == ClassRow.id)
    with database.read() as session:
        return [(sha256, name) for sha256, name in session.execute(query)]


def _place(settings: Settings, name: str | None, sha256: str) -> Path:
    folder = settings.unlabelled_dir if name is None else settings.photos_dir / name
    return folder / f"{sha256}.jpg"


def _check_photos(stored: _Stored, sent: Sequence[Sent], findings: Findings) -> None:
    known = {item.source: stored.photos.get(item.source) for item in sent}
    for item in sent:
        photo = known[item.source]
        if photo is None:
            findings.lost.append(f"message {item.message} of chat {item.chat}: its photo is not stored")
        elif stored.classes[photo] != item.class_name:
            place = f"is under {stored.classes[photo]}, not under {item.class_name}"
            findings.misfiled.append(f"message {item.message} of chat {item.chat}: its photo {place}")
    findings.twice += [f"photo {photo} was never sent" for photo in stored.classes.keys() - set(known.values())]
    findings.torn += _torn(stored, sent, known)


def _torn(stored: _Stored, sent: Sequence[Sent], known: dict[str, str | None]) -> list[str]:
    """Albums whose photos are not all there, or not all in one class."""
    albums: dict[tuple[int, str], set[str | None]] = {}
    for item in sent:
        if item.album:
            photo = known[item.source]
            place = "lost" if photo is None else f"in {stored.classes[photo]}"
            albums.setdefault((item.chat, item.album), set()).add(place)
    return [f"album {album} of chat {chat} is in pieces" for (chat, album), places in albums.items() if len(places) > 1]


def _unreceived(database: Database, sent: Sequence[Sent]) -> list[str]:
    with database.read() as session:
        received = {(chat, number) for chat, number in session.execute(select(ReceivedRow.chat, ReceivedRow.message))}
    missing = [item for item in sent if (item.chat, item.message) not in received]
    return [f"message {item.message} of chat {item.chat} was not received" for item in missing]
