"""The catalogue follows the class folders, where people rename, copy, move and delete."""

import re
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from uuid import uuid4

from sqlalchemy import select
from sqlalchemy.orm import Session

from storage import catalogue, labels
from storage.acts import Act
from storage.errors import LabelError, PhotoError
from storage.files import TEMPORARY, move_durably, remove_unfinished, sha256_of, write_durably
from storage.folders import Refusal, entries, prepare_each, unfit
from storage.photos import Photos, Prepared
from storage.tables import ClassRow, PhotoRow
from storage.upgrading import make_up

STORED = re.compile(r"[0-9a-f]{64}\.jpg")


@dataclass
class ReindexReport:
    """What differed from the catalogue. `refused` and `conflicts` were left where they are; the rest is settled."""

    added: int = 0  # Photos that came into a class.
    moved: int = 0  # Photos that are in another class now.
    removed: int = 0  # Photos whose file is gone; they keep their split, should they come back.
    tidied: int = 0  # Files under another name than the stored one, of photos whose class stays.
    renamed: dict[str, str] = field(default_factory=dict)  # Classes and folders: the old name, the new one.
    refused: list[Refusal] = field(default_factory=list)  # No photos, or in no folder that can be a class.
    conflicts: list[Refusal] = field(default_factory=list)  # Photos that are in another class as well.

    @property
    def changed(self) -> bool:
        return bool(self.added or self.moved or self.removed or self.tidied or self.renamed)


def reindex(photos: Photos, by: str = "reindex") -> ReindexReport:
    """Make the catalogue, and the names of files and folders, follow what people did in the class folders.

    A photo copied in by hand is stored in normal form before its original goes. Nobody's split changes. Where nothing
    was done, this costs one listing and one query.
    Raises PhotoError where the folders cannot be read, or are all gone; nothing counts as deleted then.
    """
    make_up(photos)
    return _Reindex(photos, by).run()


class _Reindex:
    def __init__(self, photos: Photos, by: str) -> None:
        self._photos = photos
        self._by = by
        self._report = ReindexReport()
        self._key = f"reindex:{uuid4().hex}"  # However many transactions it takes, this is one act.
        query = select(PhotoRow.sha256, ClassRow.name).join(ClassRow, PhotoRow.class_id == ClassRow.id)
        with photos.database.read() as session:
            self._known = dict(session.execute(query).all())  # The class of each photo.

    def run(self) -> ReindexReport:
        missing = set(self._known)
        strangers = {folder: files for folder in self._folders() if (files := self._strangers(folder, missing))}
        folders = {folder: name for folder, files in strangers.items() if (name := self._class(folder, files))}
        files = [path for folder in folders for path in strangers[folder]]
        # A file that has only changed its folder is looked at before copies that may hold the same photo.
        kept = {path: Prepared(path.stem, None) for path in files if self._is_known(path)}
        for path, prepared in kept.items():
            self._try_to_settle(path, prepared, folders[path.parent])
        for path, ready in prepare_each(self._photos, [path for path in files if path not in kept]):
            self._try_to_settle(path, ready, folders[path.parent])
        self._drop_emptied(folders)
        if missing:
            self._remove(missing)
        return self._report

    def _act(self) -> AbstractContextManager[Act]:
        return self._photos.act("reindex", self._by, self._key)

    def _folders(self) -> list[Path]:
        found = entries(self._photos.folder) if self._photos.folder.is_dir() else []
        if self._known and not found:
            raise PhotoError(
                "The folder {folder} is missing or empty, but {known} photos were there. Is its disk connected?"
                " If you want none of them, put an empty class folder there.",
                folder=self._photos.folder,
                known=len(self._known),
            )
        folders = []
        for entry in found:
            if reason := unfit(entry, folder=True):
                self._report.refused.append(Refusal(entry.path, reason))
            else:
                folders.append(Path(entry.path))
        return folders

    def _strangers(self, folder: Path, missing: set[str]) -> list[Path]:
        """The files that the catalogue does not have in this folder; those that it has are no longer `missing`."""
        if any(folder.glob(f"{TEMPORARY}*")):
            with self._photos.database.write():  # So nobody is writing there.
                remove_unfinished(folder)
        strangers = []
        for entry in entries(folder):
            sha256 = entry.name.removesuffix(".jpg")
            if self._known.get(sha256) == folder.name and STORED.fullmatch(entry.name):
                missing.discard(sha256)
            elif reason := unfit(entry):
                self._report.refused.append(Refusal(entry.path, reason))
            else:
                strangers.append(Path(entry.path))
        return strangers

    def _class(self, folder: Path, files: list[Path]) -> str | None:
        """The class that a folder with strange files is for; None where its name cannot be one."""
        try:
            name = labels.class_name(folder.name)
        except LabelError as error:
            self._report.refused.append(Refusal(str(folder), f"The folder names no class. {error}"))
            return None
        with self._act() as act:
            row = catalogue.find_class(act.session, name) or self._renamed_from(act.session, files)
            if row is None:
                return name
            if row.name != name and not self._has_folder(row.name):
                self._report.renamed[row.name] = name
                act.record_rename(row, name)
            return row.name

    def _renamed_from(self, session: Session, files: list[Path]) -> ClassRow | None:
        """The class whose folder was given a new name: it has none any more, and all known photos here are its own."""
        names = {self._known[path.stem] for path in files if path.stem in self._known}
        if len(names) != 1 or self._has_folder(min(names)):
            return None
        return catalogue.find_class(session, names.pop())

    def _has_folder(self, name: str) -> bool:
        """Whether there is a folder of exactly this name, also where the file system ignores case."""
        return any(path.name == name for path in self._photos.folder.iterdir())

    def _is_known(self, path: Path) -> bool:
        """Whether this is, by its name and its content, a photo of the catalogue."""
        if path.stem not in self._known or not STORED.fullmatch(path.name):
            return False
        try:
            return sha256_of(path) == path.stem
        except OSError:  # Whoever reads it next reports that.
            return False

    def _try_to_settle(self, path: Path, prepared: Prepared | Refusal, class_name: str) -> None:
        if isinstance(prepared, Refusal):
            self._report.refused.append(prepared)
            return
        try:
            with self._act() as act:
                self._settle(act, path, prepared, class_name)
        except OSError as error:
            self._report.refused.append(Refusal(str(path), f"The file cannot be moved ({error.strerror})."))

    def _settle(self, act: Act, path: Path, prepared: Prepared, class_name: str) -> None:
        """Bring a file that a person put into the class's folder to its stored name, and the catalogue along."""
        if not path.exists():  # Moved on since it was seen.
            return
        row = self._row(act, prepared)
        if row is None:
            return
        class_row = catalogue.need_class(act.session, class_name)
        before = catalogue.class_of(act.session, row)
        present = self._photos.places.path(catalogue.name_of(before), row.sha256)
        if before not in (None, class_row) and present.exists():
            reason = f"It is already stored under “{before.name if before else ''}”; remove one of the two."
            self._report.conflicts.append(Refusal(str(path), reason))
            return
        wanted = self._photos.places.path(class_row.name, row.sha256)
        self._bring(path, prepared, present, wanted)
        catalogue.remember_source(act.session, prepared.source, row)
        self._count(before, changed=act.record(row, class_row), renamed=path != wanted)

    def _row(self, act: Act, prepared: Prepared) -> PhotoRow | None:
        if prepared.photo is None:  # Known by its own hash, or by that of the file it was made from.
            return act.session.get(PhotoRow, prepared.source) or self._photos.stored(act.session, prepared.source)
        return self._photos.insert(act, prepared.photo)

    def _bring(self, path: Path, prepared: Prepared, present: Path, wanted: Path) -> None:
        """The stored file is safe in its place before the original goes."""
        if present != wanted and present.exists():  # It waited among those in no class.
            move_durably(present, wanted)
        elif prepared.source == wanted.stem and path != wanted:
            move_durably(path, wanted)
        elif prepared.photo and prepared.source != wanted.stem:
            write_durably(wanted, prepared.photo.content)
        if path != wanted and wanted.exists():
            path.unlink(missing_ok=True)

    def _count(self, before: ClassRow | None, *, changed: bool, renamed: bool) -> None:
        if changed and before is None:
            self._report.added += 1
        elif changed:
            self._report.moved += 1
        elif renamed:
            self._report.tidied += 1

    def _drop_emptied(self, folders: dict[Path, str]) -> None:
        """Remove folders whose files all went to the class's own folder."""
        for folder, class_name in folders.items():
            with self._photos.database.read() as session:
                row = catalogue.find_class(session, class_name)
            if row and row.name != folder.name and folder.is_dir() and not any(folder.iterdir()):
                folder.rmdir()
                self._report.renamed[folder.name] = row.name

    def _remove(self, missing: set[str]) -> None:
        """Photos whose file is gone leave their class."""
        with self._act() as act:
            for row in (act.session.get_one(PhotoRow, sha256) for sha256 in sorted(missing)):
                class_row = catalogue.class_of(act.session, row)
                if class_row and not self._photos.path(class_row.name, row.sha256).exists():
                    self._report.removed += act.record(row, None)
