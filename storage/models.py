"""Model versions: immutable folders with a number. See pointer.py for which of them is served."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from storage import labels
from storage.database import Database, now
from storage.errors import DatabaseError, LabelError, ModelError
from storage.files import locked, move_durably, sha256_of, sync_tree, write_durably
from storage.pointer import BOT, Served, StepBack, newest, point, untold, way
from storage.runs import RunState, end, held
from storage.tables import ServedRow, VersionRow, numbered
from storage.texts import Text

SURE_ABOVE = 0.7  # For a version whose photos were too few to choose by.
MANIFEST, LABELS, GOLDEN = "manifest.json", "labels.txt", "golden.npz"
FORMAT = 1  # Of a version's folder and its manifest; it rises with a change that older code must not pass over.


class _Format(BaseModel):
    """What can be read of every manifest, whatever else is in it."""

    format: int = FORMAT


class Manifest(_Format):
    """What a version was made of. `files` holds the SHA-256 of every other file in the folder."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    run: int
    snapshot: str
    taken: str = ""  # The snapshot before photos that cannot be read were left out.
    photos: int
    backbone: str
    weights_digest: str
    input_size: int
    mode: str
    seed: int
    metrics: dict[str, float]
    software: dict[str, str]
    created_at: datetime
    sure_above: float | None = None  # Answers less likely than this are doubtful; None where nobody could tell.
    none_class: str | None = None  # The class for photos of nothing that is asked for.
    files: dict[str, str] = {}


@dataclass(frozen=True)
class Version:
    number: int
    folder: Path
    manifest: Manifest
    classes: tuple[str, ...]
    pinned: bool = False

    def sure_above(self, configured: float) -> float:
        """How likely the best class of an answer must be; `configured` is the setting, 0 where it leaves that to us."""
        return configured or self.manifest.sure_above or SURE_ABOVE


@dataclass(frozen=True)
class Ending:
    """What a run that made a version says at its end."""

    message: str
    result: dict[str, Any]


class Models:
    def __init__(self, database: Database, folder: Path, clock: Callable[[], datetime] = now) -> None:
        self.folder = folder
        self._database = database
        self._clock = clock

    def publish(
        self,
        made: Path,
        manifest: Manifest,
        token: int,
        *,
        promote: str | None,
        ending: Callable[[int], Ending] | None = None,
    ) -> int:
        """Move the folder `made`, complete with its labels, in as the next version, and return its number.

        `promote` is the reason to serve it, or None to keep it as a candidate. `ending` gives, for that number, what
        the run succeeds with in the same transaction; without it the run goes on. Raises LeaseLostError where the run
        that made it no longer holds its lease; then nothing is published.
        """
        files = {path.relative_to(made).as_posix(): sha256_of(path) for path in made.rglob("*") if path.is_file()}
        content = manifest.model_copy(update={"files": files}).model_dump_json(indent=2).encode()
        write_durably(made / MANIFEST, content)
        sync_tree(made)
        with ExitStack() as stack:
            number = self._move_in(made, manifest, token, promote, ending, stack)
            stack.pop_all()
        return number

    def _move_in(
        self,
        made: Path,
        manifest: Manifest,
        token: int,
        promote: str | None,
        ending: Callable[[int], Ending] | None,
        stack: ExitStack,
    ) -> int:
        """In one transaction with the version's row; `stack` takes it back where that cannot be committed."""
        with self._database.write() as session:
            run = held(session, manifest.run, token)
            number = self._next_number(session)
            stack.callback(self._take_back, number)  # Unless all goes well.
            move_durably(made, self.folder / str(number))
            session.add(
                VersionRow(
                    number=number,
                    created_at=self._clock(),
                    run=manifest.run,
                    manifest=sha256_of(self.folder / str(number) / MANIFEST),
                )
            )
            session.flush()
            if promote is not None:
                point(session, Served(number, self._clock(), f"run {manifest.run}", promote))
            if ending is not None:
                last = ending(number)
                end(run, RunState.SUCCEEDED, last.message, last.result, self._clock())
        return number

    def get(self, number: int) -> Version:
        """Raises ModelError where the version does not exist or cannot be read."""
        with self._database.read() as session:
            pinned = present(session, number).pinned
        return read_version(number, self.folder / str(number), pinned=pinned)

    def files(self, number: int) -> dict[str, str]:
        """The SHA-256 of every file of the version, by its path in the folder. Raises ModelError as `get` does."""
        return {MANIFEST: self.manifest_digest(number), **self.get(number).manifest.files}

    def manifest_digest(self, number: int) -> str:
        """The SHA-256 of the manifest with which the version was published. Raises ModelError where it is gone."""
        with self._database.read() as session:
            return present(session, number).manifest

    def verified(self, number: int) -> Version:
        """The version, after every file was compared with the hash it was published with. Raises ModelError."""
        version = self.get(number)
        check_files(version, self.manifest_digest(number))
        return version

    @contextmanager
    def reading(self, number: int) -> Iterator[Version]:
        """The version, verified; within the block nobody removes it. Raises ModelError."""
        with locked(self.folder / str(number)):
            yield self.verified(number)

    def numbers(self) -> list[int]:
        """Every version that was not removed, oldest first."""
        with self._database.read() as session:
            here = select(VersionRow.number).where(VersionRow.removed_at.is_(None))
            return list(session.scalars(here.order_by(VersionRow.number)))

    def next_number(self) -> int:
        """The number of the next version that is published."""
        with self._database.read() as session:
            return self._next_number(session)

    def pin(self, number: int, *, pinned: bool) -> Version:
        """Keep this version, however old it gets; or no longer. Raises ModelError where there is none."""
        with self._database.write() as session:
            present(session, number).pinned = pinned
        return self.get(number)

    def served(self) -> Served | None:
        """The served pointer, or None before the first version."""
        with self._database.read() as session:
            return newest(session)

    def promote(self, number: int, by: str, reason: str = Text("promoted by hand")) -> Version:
        """Serve this version from now on. Raises ModelError where it is missing or damaged."""
        version = self.verified(number)
        with self._database.write() as session:
            present(session, number)  # It may have been removed meanwhile.
            point(session, Served(number, self._clock(), by, reason))
        return version

    def rollback(self, by: str) -> Version:
        """Serve what was served before the present version. Raises ModelError where there is nothing to go back to."""
        with self._database.read() as session:
            steps = way(session)
        if len(steps) < 2:
            raise ModelError("There is no earlier version to go back to.")
        return self.promote(steps[-2], by, Text("rolled back from version {number}", number=steps[-1]))

    def give_up(self, number: int, reason: str) -> Served | None:
        """Serve what was served before this version, because it cannot be; None where that is not possible.

        It is not where another version is wanted by now, where nothing was served before, and where this one was itself
        gone back to: if the second one fails as well, it is not the versions' fault.
        """
        with self._database.write() as session:
            steps, present = way(session), newest(session)
            if present is None or present.version != number or present.by == BOT or len(steps) < 2:
                return None
            why = Text("version {number} was given up: {reason}", number=number, reason=reason)
            back = Served(steps[-2], self._clock(), BOT, why)
            point(session, back)
            return back

    def steps_back(self) -> list[StepBack]:
        """What the bot did to the pointer by itself that the chats have not heard of."""
        with self._database.read() as session:
            return untold(session)

    def told(self, step: StepBack) -> None:
        """The chats have heard of it."""
        with self._database.write() as session:
            session.get_one(ServedRow, step.id).told = True

    def _take_back(self, number: int) -> None:
        """Remove the folder of a version that has no row.

        A server that goes away amid a commit leaves open whether there is one. While nobody can tell, the folder stays:
        without a row it is no version, and its number is not given again.
        """
        # A write begins when that commit is over, one way or the other.
        with suppress(DatabaseError), self._database.write() as session:
            if session.get(VersionRow, number) is None:
                shutil.rmtree(self.folder / str(number), ignore_errors=True)

    def _next_number(self, session: Session) -> int:
        # A folder may have no row: a kill, or an older database brought back. Its number is not given again.
        row = session.scalar(select(func.max(VersionRow.number))) or 0
        folders = [int(path.name) for path in self.folder.glob("*") if path.name.isdigit()]
        return max([row, *folders]) + 1


def read_version(number: int, folder: Path, *, pinned: bool = False) -> Version:
    """What lies in `folder`. Raises ModelError where it cannot be read."""
    reading = MANIFEST
    try:
        manifest = _read_manifest(number, (folder / MANIFEST).read_bytes())
        reading = LABELS
        names = labels.read_lines((folder / LABELS).read_text("utf-8"))
    except (OSError, ValidationError, UnicodeDecodeError, LabelError) as error:
        raise ModelError(
            "Version {number} is damaged: its {file} cannot be read. Train again or roll back.",
            number=number,
            file=reading,
        ) from error
    return Version(number, folder, manifest, tuple(names), pinned)


def check_files(version: Version, manifest: str) -> None:
    """Compare every file with its hash; `manifest` is that of manifest.json. Raises ModelError."""
    expected = {MANIFEST: manifest, **version.manifest.files}
    present = {path.relative_to(version.folder).as_posix() for path in version.folder.rglob("*") if path.is_file()}
    for name in sorted(expected.keys() | present):
        if name not in present or sha256_of(version.folder / name) != expected.get(name):
            raise ModelError(
                "Version {number} is damaged: {name} is missing or changed. Train again or roll back.",
                number=version.number,
                name=name,
            )


def _read_manifest(number: int, content: bytes) -> Manifest:
    found = _Format.model_validate_json(content).format
    if found != FORMAT:
        raise ModelError(
            "Version {number} was made by another Retrainbot (its format is {found}, this one reads {known}) and cannot"
            " be used. Train again, or install that Retrainbot again.",
            number=number,
            found=found,
            known=FORMAT,
        )
    return Manifest.model_validate_json(content)


def present(session: Session, number: int) -> VersionRow:
    """Raises ModelError where there is no such version any more, or never was."""
    row = numbered(session, VersionRow, number)
    if row is None:
        raise ModelError("There is no version {number}; `retrainbot models` lists them.", number=number)
    if row.removed_at is not None:
        raise ModelError(
            "Version {number} was removed on {day} to save room; the setting"
            " serving.keep_versions says how many are kept.",
            number=number,
            day=f"{row.removed_at:%Y-%m-%d}",
        )
    return row


def summary(version: Version, served: Served | None) -> dict[str, Any]:
    """A version in a few words, for lists."""
    return {
        "version": version.number,
        "served": served is not None and served.version == version.number,
        "pinned": version.pinned,
        "created_at": version.manifest.created_at.isoformat(),
        "backbone": version.manifest.backbone,
        "mode": version.manifest.mode,
        "classes": len(version.classes),
        "photos": version.manifest.photos,
        "metrics": version.manifest.metrics,
    }
