"""The folders of records: who builds there, and which of them go."""

import fcntl
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import numpy as np

from storage.errors import RecordsError
from storage.files import TEMPORARY, make_folder, remove_unfinished
from trainer.records.manifest import Records, load, locked
from trainer.snapshot import Hashes

LOCK = ".lock"


@dataclass(frozen=True)
class Cleaned:
    """How many `shards` went because of photos that they held; `in_use` are folders that somebody reads or builds."""

    shards: int
    in_use: tuple[Path, ...] = ()


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Wait until nobody else builds in the folder, and remove what killed builds left there."""
    make_folder(folder)
    with (folder / LOCK).open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # Given back when the file is closed, also by a kill.
        remove_unfinished(folder)
        yield


def folders(folder: Path) -> list[Path]:
    """Those of the snapshots."""
    return [path for path in folder.iterdir() if path.is_dir() and not path.name.startswith(".")]


def remove_others(folder: Path, snapshot: str) -> None:
    """Remove the records of every other snapshot from `folder`, but for those that somebody has opened."""
    with alone(folder):
        for other in folders(folder):
            if other.name != snapshot:
                remove(other)


def remove(folder: Path) -> None:
    """Remove records, unless somebody reads them; nobody else may be building beside them."""
    with ExitStack() as stack:
        try:
            stack.enter_context(locked(folder, fcntl.LOCK_EX | fcntl.LOCK_NB))
        except BlockingIOError:  # Somebody reads them.
            return
        except OSError:  # There is no manifest, so nobody can.
            pass
        unfinished = folder.rename(folder.parent / f"{TEMPORARY}{uuid4().hex}")
        shutil.rmtree(unfinished)


def tidy(folder: Path, known: Hashes) -> Cleaned:
    """Leave the newest records alone, without the shards that hold other photos than these; all others go.

    A shard that is missing is written anew when records are built the next time. Does nothing while somebody builds.
    """
    if not folder.is_dir():
        return Cleaned(0)
    with (folder / LOCK).open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return Cleaned(0, (folder,))
        remove_unfinished(folder)
        present = sorted(folders(folder), key=lambda path: path.stat().st_mtime_ns)
        for old in present[:-1]:
            remove(old)
        found = [_clean(path, known) for path in present if path.is_dir()]
        return Cleaned(sum(one.shards for one in found), tuple(path for one in found for path in one.in_use))


def _clean(folder: Path, known: Hashes) -> Cleaned:
    try:
        records = load(folder)
    except RecordsError:  # Nobody can use it.
        remove(folder)
        return Cleaned(0)
    shards = _holding(records, known)
    if not shards:
        return Cleaned(0)
    try:
        with locked(folder, fcntl.LOCK_EX | fcntl.LOCK_NB):
            for shard in shards:
                shard.unlink()
    except BlockingIOError:
        return Cleaned(0, (folder,))
    return Cleaned(len(shards))


def _holding(records: Records, known: Hashes) -> list[Path]:
    """The shards that are there and hold photos that are not known."""
    strange = np.unique(records.index["shard"][~records.among(known)])
    paths = [records.folder / records.manifest.shards[number].file for number in strange.tolist()]
    return [path for path in paths if path.exists()]
