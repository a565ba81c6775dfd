"""What a folder of records says of itself: its shards, and where in them each photo lies."""

import fcntl
import io
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from itertools import compress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from storage import labels
from storage.errors import RecordsError
from storage.files import sha256_of
from storage.splits import Split
from storage.texts import Text
from trainer.snapshot import Hashes

MANIFEST, LABELS, INDEX = "manifest.json", "labels.txt", "index.npy"
MEND = Text("Build the records again: `retrainbot records build`.")

# A photo: its SHA-256, label and split as in its snapshot, the place of its shard, and where in that its JPEG lies.
ENTRY = np.dtype(
    [("sha256", "u1", 32), ("label", "<i4"), ("split", "u1"), ("shard", "<u4"), ("offset", "<u8"), ("length", "<u4")]
)

Index = NDArray[Any]  # Of ENTRY.
Places = NDArray[np.int64]


class Shard(BaseModel):
    """One TFRecord file. Shards of one `lot` were written together, with their classes mixed."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    file: str
    split: Split
    lot: int
    count: int
    bytes: int
    sha256: str


class Manifest(BaseModel):
    """`classes` in the order of the labels' numbers; `index` is the SHA-256 of the index."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    snapshot: str
    classes: tuple[str, ...]
    shards: tuple[Shard, ...]
    index: str


@dataclass(frozen=True, eq=False)
class Records:
    """Records on the disk; `index` has an ENTRY for each photo, by hash, as the rows of their snapshot."""

    folder: Path
    manifest: Manifest
    index: Index

    def find(self, hashes: Hashes) -> Places:
        """The place in `index` of each photo, uint8 (n, 32); -1 where it is not there."""
        if not len(self.index):
            return np.full(len(hashes), -1)
        wanted = _keys(hashes)
        places = np.minimum(np.searchsorted(self._known, wanted), len(self.index) - 1)
        return np.where(self._known[places] == wanted, places, -1)

    def among(self, hashes: Hashes) -> NDArray[np.bool_]:
        """Which photos of `index` are among these, uint8 (n, 32)."""
        return np.isin(self._known, _keys(hashes))

    @cached_property
    def _known(self) -> NDArray[Any]:
        return _keys(self.index["sha256"])


@contextmanager
def locked(folder: Path, how: int) -> Iterator[None]:
    """Hold the folder against being removed (fcntl.LOCK_SH), or to remove it (fcntl.LOCK_EX).

    The lock is given back by a kill, too. Raises OSError where there is no manifest, or where LOCK_NB would wait.
    """
    # A network file system gives the second kind only to who may write.
    with (folder / MANIFEST).open("r+b" if how & fcntl.LOCK_EX else "rb") as file:
        fcntl.flock(file, how)
        yield


def load(folder: Path) -> Records:
    """What the folder says; its shards are not looked at. Raises RecordsError where it cannot be read."""
    reading = MANIFEST
    try:
        manifest = Manifest.model_validate_json((folder / MANIFEST).read_bytes())
        reading = INDEX
        content = (folder / INDEX).read_bytes()
        if sha256(content).hexdigest() != manifest.index:
            raise ValueError(INDEX)
        return Records(folder, manifest, np.load(io.BytesIO(content), allow_pickle=False))
    except (OSError, ValueError) as error:
        raise unreadable(folder, reading) from error


def unreadable(folder: Path, name: str) -> RecordsError:
    return RecordsError(
        "The records in {folder} are incomplete: {name} cannot be read. {mend}", folder=folder, name=name, mend=MEND
    )


def verify(folder: Path) -> Records:
    """Compare every byte with the manifest. Raises RecordsError naming the first file that is not as it was written."""
    records = load(folder)
    for name in faults(records, check=True):
        raise RecordsError(
            "{file} is missing or damaged, or does not belong there. {mend}", file=folder / name, mend=MEND
        )
    return records


def faults(records: Records, *, check: bool) -> list[str]:
    """The files that are not as the manifest says: by their size, or with `check` by their SHA-256."""
    shards = records.manifest.shards
    with ThreadPoolExecutor() as pool:
        wrong = pool.map(lambda shard: _is_damaged(records.folder / shard.file, shard, check=check), shards)
        damaged = list(compress((shard.file for shard in shards), wrong))
    return [*damaged, *_strays(records)]


def _is_damaged(path: Path, shard: Shard, *, check: bool) -> bool:
    try:
        return path.stat().st_size != shard.bytes or (check and sha256_of(path) != shard.sha256)
    except OSError:
        return True


def _strays(records: Records) -> Iterator[str]:
    """Shards that a plain reader would find, though they are not ours; and the labels, if they were changed."""
    known = {shard.file for shard in records.manifest.shards}
    yield from sorted(path.name for path in records.folder.glob("*.tfrecord") if path.name not in known)
    with suppress(OSError, ValueError):
        if (records.folder / LABELS).read_text("utf-8") == labels.write_lines(records.manifest.classes):
            return
    yield LABELS


def _keys(hashes: Hashes) -> NDArray[Any]:
    """The hashes as values that sort and compare; S drops zeros at the end, which no two hashes differ by."""
    return np.ascontiguousarray(hashes).view("S32").ravel()
