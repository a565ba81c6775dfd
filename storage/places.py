"""Where the files of photos lie, and how they move there: always within the catalogue's write transaction."""

import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path

from storage import labels
from storage.files import TEMPORARY, make_folder, sha256_of, sync_folder

STALE = timedelta(hours=1)  # An unfinished file so old was left by a kill.


class Places:
    """`folder` holds the class folders, `unlabelled` the photos that are in no class."""

    def __init__(self, folder: Path, unlabelled: Path) -> None:
        self.folder = folder
        self.unlabelled = unlabelled

    def path(self, class_name: str | None, sha256: str) -> Path:
        return (self.unlabelled if class_name is None else self.folder / class_name) / f"{sha256}.jpg"

    def find(self, class_name: str | None, sha256: str) -> Path | None:
        """The photo's file; also where a kill between a move and its commit, or a person, left it elsewhere."""
        wanted = self.path(class_name, sha256)
        if wanted.exists():
            return wanted
        elsewhere = (folder / wanted.name for folder in (self.unlabelled, *self._class_folders()))
        return next((path for path in elsewhere if path.is_file() and sha256_of(path) == sha256), None)

    def prune(self, max_bytes: int, at: datetime, may_go: Callable[[str], bool]) -> int:
        """Remove the oldest unlabelled photos that may go, until the others fit. How many went."""
        entries = list(self._waiting())
        for status, path in entries:
            if path.name.startswith(TEMPORARY) and status.st_mtime < (at - STALE).timestamp():
                path.unlink(missing_ok=True)
        photos = sorted((status.st_mtime, status.st_size, path) for status, path in entries if path.suffix == ".jpg")
        excess, removed = sum(size for _, size, _ in photos) - max_bytes, 0
        for _, size, path in photos:
            if excess > 0 and may_go(path.stem):
                path.unlink(missing_ok=True)
                excess, removed = excess - size, removed + 1
        return removed

    def _waiting(self) -> Iterator[tuple[os.stat_result, Path]]:
        for path in self.unlabelled.glob("*"):
            with suppress(FileNotFoundError):  # A person, or whoever staged it, has taken it away.
                yield path.stat(), path

    def _class_folders(self) -> Iterator[Path]:
        with suppress(FileNotFoundError), os.scandir(self.folder) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False) and labels.is_name(entry.name):
                    yield Path(entry.path)


class Moves:
    """The moves of one act. Each folder that takes part is flushed once, by `sync`."""

    def __init__(self, places: Places) -> None:
        self._places = places
        self._touched: set[Path] = set()

    def bring(self, source: Path, target: Path) -> None:
        """Put a file where it belongs; what lies there already is the same photo."""
        if source == target:
            return
        make_folder(target.parent)
        source.replace(target)
        if target.parent == self._places.unlabelled:
            os.utime(target)  # Those that have waited there longest are the first to be given up.
        self._touched |= {source.parent, target.parent}

    def rename_folder(self, before: str, after: str) -> None:
        """A class folder gets another name. Where there is such a folder already, the files join those in it."""
        source, target = self._places.folder / before, self._places.folder / after
        if not source.is_dir():  # It was renamed before a kill, or the class has never held a photo.
            return
        self._touched.add(source.parent)
        # A file system that ignores case has one folder under both names.
        if target.exists() and not target.samefile(source):
            for path in source.iterdir():
                if not (target / path.name).exists():
                    self.bring(path, target / path.name)
            self.drop_folder(before)
        else:
            source.rename(target)

    def drop_folder(self, class_name: str) -> None:
        """Remove a class folder that nothing is left in."""
        with suppress(OSError):  # Something of a person's is in it.
            (self._places.folder / class_name).rmdir()
            self._touched.add(self._places.folder)

    def sync(self) -> None:
        for folder in self._touched:
            if folder.is_dir():
                sync_folder(folder)
