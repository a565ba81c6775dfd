"""Features of photos, kept in one file that a kill cannot spoil and that need not fit into memory."""

import fcntl
import mmap
import os
import weakref
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from storage.files import make_folder, sync_folder
from storage.images import INPUT_VERSION

PART_BYTES = 16 << 20  # Of the file, checked at a time.
PART_ROWS = 256  # Taken from the file at a time; with each the system maps up to 64 KB more around it.

Features = NDArray[np.float32]
Hashes = NDArray[np.uint8]  # SHA-256, shape (n, 32).
Places = NDArray[np.int64]


class FeatureStore:
    """Features by photo, for one backbone, weights digest and way of making model input, mirrored or not.

    The file is a row of records: the photo's SHA-256 (32 bytes), `dimension` float32, and the CRC-32 of both,
    little-endian. A record counts only when it is whole and its CRC is right, so a write that was cut short, or a
    byte that the disk lost, costs that photo's features and nothing else. Of several records of one photo the last
    counts. Several processes may append; `missing` and `rows` know what any of them has appended until then.

    The file may be replaced by one with fewer photos (see tidy.py): rows that were given out go on reading the old one.
    A million photos take 40 MB of memory, however many features each has.
    """

    def __init__(self, folder: Path, backbone: str, digest: str, dimension: int, *, mirrored: bool = False) -> None:
        variant = "-mirrored" if mirrored else ""
        self.path = folder / f"{backbone}-{digest}-input{INPUT_VERSION}{variant}.features"
        self.mirrored = mirrored
        self._record = np.dtype([("sha256", "u1", 32), ("features", "<f4", dimension), ("crc", "<u4")])
        self._held: _Held | None = None  # The file that was looked at.
        self._seen = 0  # Records that were looked at, good or not.
        self._keys = keys_of(np.zeros((0, 32), np.uint8))  # Of the good ones, ascending, each once.
        self._places: Places = np.zeros(0, np.int64)  # Where in the file each of them is.

    def missing(self, hashes: Hashes) -> NDArray[np.bool_]:
        """Which of the photos have no features yet, shape (n,)."""
        with self._opened() as file:
            return ~self._find(hashes, file)[1]

    def rows(self, hashes: Hashes) -> "FeatureRows":
        """Features of the photos, in their order. Raises KeyError for a missing one."""
        with self._opened() as file:
            at, found = self._find(hashes, file)
            if not found.all():
                raise KeyError(hashes[~found][0].tobytes().hex())
            return FeatureRows(file, self._record, self._places[at])

    def append(self, hashes: Hashes, features: Features) -> None:
        """Keep features, float32 (n, dimension). A kill cannot take them away any more; a power cut can, until `sync`.

        Raises OSError where the disk is full; nothing that was kept before is lost then.
        """
        records = np.zeros(len(hashes), self._record)
        records["sha256"] = hashes
        records["features"] = features
        content = records.view(np.uint8).reshape(len(records), self._record.itemsize)
        records["crc"] = [zlib.crc32(row[:-4].data) for row in content]
        make_folder(self.path.parent)
        with locked(self.path) as file:
            self._cut_torn_tail(file)
            file.write(content.data)

    def sync(self) -> None:
        """Flush to the disk what was appended."""
        if self.path.exists():
            with self.path.open("rb") as file:
                os.fsync(file.fileno())
            sync_folder(self.path.parent)

    def _cut_torn_tail(self, file: BinaryIO) -> None:
        size = os.fstat(file.fileno()).st_size
        if size % self._record.itemsize:
            file.truncate(size - size % self._record.itemsize)

    @contextmanager
    def _opened(self) -> Iterator[BinaryIO | None]:
        """The file, None where there is none; where it is another one than before, what is known of that is dropped."""
        try:
            file = self.path.open("rb")
        except FileNotFoundError:
            self._forget()
            yield None
            return
        with file:
            if self._held is not None and not self._held.is_same(file):
                self._forget()
            yield file

    def _forget(self) -> None:
        self._held, self._seen = None, 0
        self._keys, self._places = self._keys[:0], self._places[:0]

    def _find(self, hashes: Hashes, file: BinaryIO | None) -> tuple[Places, NDArray[np.bool_]]:
        """Where each photo is among the known ones, and whether it is there at all."""
        if file is not None:
            self._take_in_new(file)
        keys = keys_of(hashes)
        at = np.searchsorted(self._keys, keys)
        found = at < len(self._keys)
        found[found] = self._keys[at[found]] == keys[found]
        return at, found

    def _take_in_new(self, file: BinaryIO) -> None:
        found = list(good_records(file, self._record, self._seen))
        if not found:
            return
        self._seen += sum(count for _, _, count in found)
        self._held = self._held or _Held(file)
        keys = np.concatenate([self._keys, *(part for part, _, _ in found)])
        places = np.concatenate([self._places, *(part for _, part, _ in found)])
        # From the end, as `unique` points to the first of those that are equal.
        self._keys, last = np.unique(keys[::-1], return_index=True)
        self._places = places[::-1][last]


class _Held:
    """A file that is kept open: as long as it is, its number is given to no other one, though it has no name left."""

    def __init__(self, file: BinaryIO) -> None:
        self._descriptor = os.dup(file.fileno())
        weakref.finalize(self, os.close, self._descriptor)

    def is_same(self, file: BinaryIO) -> bool:
        return os.path.samestat(os.fstat(self._descriptor), os.fstat(file.fileno()))


@contextmanager
def locked(path: Path) -> Iterator[BinaryIO]:
    """A file of features, made if need be, to which nobody else appends; nor does anybody replace it."""
    while True:
        with path.open("ab") as file:
            fcntl.flock(file, fcntl.LOCK_EX)  # Given back when the file is closed, also by a kill.
            if _is_at(file, path):
                yield file
                return


def _is_at(file: BinaryIO, path: Path) -> bool:
    """Whether it is still this file that has the name."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False


def good_records(file: BinaryIO, record: np.dtype[Any], start: int) -> Iterator[tuple[NDArray[Any], Places, int]]:
    """Part by part, from the record `start` on: the keys and places of the good ones, and how many were looked at."""
    size = record.itemsize
    file.seek(start * size)
    while content := file.read(max(1, PART_BYTES // size) * size):
        count = len(content) // size
        view = memoryview(content)
        records = np.frombuffer(content, record, count)
        crcs = [zlib.crc32(view[at : at + size - 4]) for at in range(0, count * size, size)]
        good = np.flatnonzero(records["crc"] == np.array(crcs, np.uint32))
        yield keys_of(records["sha256"][good]), good + start, count
        start += count


class FeatureRows:
    """Features of photos, float32 (n, dimension), from the file, a slice at a time. Slices are copies."""

    def __init__(self, file: BinaryIO | None, record: np.dtype[Any], places: Places) -> None:
        self.shape = len(places), record["features"].shape[0]
        self._places = places
        self._mapped = 0  # Rows that were read since the map was given back.
        if file is not None and len(places):
            self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            self._features = np.frombuffer(self._map, record, len(self._map) // record.itemsize)["features"]

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, part: slice) -> Features:
        places = self._places[part]
        rows = np.empty((len(places), self.shape[1]), np.float32)
        order = np.argsort(places)  # A disk is read fastest from front to back.
        for start in range(0, len(order), PART_ROWS):
            some = order[start : start + PART_ROWS]
            rows[some] = self._features[places[some]]
            self._release(len(some))
        return rows

    def _release(self, read: int) -> None:
        """Give back what is mapped now and then, else all that was ever read counts as this process's memory."""
        self._mapped += read
        if self._mapped >= PART_ROWS:
            self._map.madvise(mmap.MADV_DONTNEED)
            self._mapped = 0


def keys_of(hashes: NDArray[Any]) -> NDArray[Any]:
    """The hashes as values that sort and compare; S drops zeros at the end, which no two hashes differ by."""
    return np.ascontiguousarray(hashes).view("S32").ravel()
