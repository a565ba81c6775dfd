"""Features of photos that are no longer there are left out of their files."""

import fcntl
import os
import re
import zlib
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO
from uuid import uuid4

import numpy as np
from numpy.typing import NDArray

from storage.files import TEMPORARY, remove_unfinished, sync_folder
from storage.images import INPUT_VERSION
from trainer.features.store import PART_ROWS, Hashes, Places, good_records, keys_of, locked

LOCK = ".lock"
NAME = re.compile(r"(?P<backbone>.+)-(?P<digest>[0-9a-f]+)-input(?P<input>\d+)(-mirrored)?\.features")
INPUT = str(INPUT_VERSION)
MOST_FEATURES = 1 << 14  # Of any network.
SHA256_BYTES, NUMBER_BYTES = 32, 4


def files(folder: Path) -> list[Path]:
    """Every file of features."""
    return sorted(path for path in folder.glob("*.features") if path.is_file())


@contextmanager
def alone(folder: Path) -> Iterator[bool]:
    """Whether nobody else tidies the folder; what a kill left there is removed."""
    if not folder.is_dir():
        yield False
        return
    with (folder / LOCK).open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        remove_unfinished(folder)
        yield True


def stale(folder: Path, backbone: str, used: Collection[tuple[str, str]], since: float) -> list[Path]:
    """Files that no run is going to read: made for another model input; or of networks that are not `used`, pairs of
    backbone and digest, and not written to `since` that time, in seconds of the epoch. Of `backbone` the newest stay.
    """
    found = [(path, match) for path in files(folder) if (match := NAME.fullmatch(path.name))]
    present = [(path, match["backbone"], match["digest"]) for path, match in found if match["input"] == INPUT]
    mine = [(path.stat().st_mtime, digest) for path, name, digest in present if name == backbone]
    used = {*used, (backbone, max(mine, default=(0.0, ""))[1])}
    old = [path for path, name, digest in present if (name, digest) not in used and path.stat().st_mtime < since]
    return [*(path for path, match in found if match["input"] != INPUT), *old]


def drop_others(path: Path, wanted: Hashes, *, known: Hashes | None = None, least: float = 0.0) -> int:
    """Leave the features of the wanted photos in a file, and no others; how many records went.

    With `least`, a share of the records, fewer than that are let be, unless there are some of photos that are not even
    `known`. Whoever reads or appends meanwhile is not disturbed. Raises OSError where the disk has no room for what
    stays; then the file is as it was.
    """
    record = record_of(path)
    if record is None:
        return 0
    with locked(path), path.open("rb") as file:
        total = os.fstat(file.fileno()).st_size // record.itemsize
        keys, places = _last(file, record)
        kept = np.sort(places[np.isin(keys, keys_of(wanted))])
        strange = known is not None and not np.isin(keys, keys_of(known)).all()
        gone = total - len(kept)
        if gone and (strange or gone >= least * total):
            _replace(path, file, record, kept)
            return gone
    return 0


def record_of(path: Path) -> np.dtype[Any] | None:
    """How the records of a file are laid out, by the check sums of its first ones; None where that cannot be told."""
    with path.open("rb") as file:
        content = file.read(2 * (SHA256_BYTES + NUMBER_BYTES * (MOST_FEATURES + 1)))
    size = _record_bytes(content)
    if size is None or (len(content) >= 2 * size and _record_bytes(content[size:]) != size):
        return None
    features = (size - SHA256_BYTES) // NUMBER_BYTES - 1
    return np.dtype([("sha256", "u1", SHA256_BYTES), ("features", "<f4", features), ("crc", "<u4")])


def _record_bytes(content: bytes) -> int | None:
    """How long the record at the start is: up to where what was read adds up to the number that follows."""
    crc = zlib.crc32(content[:SHA256_BYTES])
    for end in range(SHA256_BYTES + NUMBER_BYTES, len(content) - NUMBER_BYTES + 1, NUMBER_BYTES):
        crc = zlib.crc32(content[end - NUMBER_BYTES : end], crc)
        if crc == int.from_bytes(content[end : end + NUMBER_BYTES], "little"):
            return end + NUMBER_BYTES
    return None


def _last(file: BinaryIO, record: np.dtype[Any]) -> tuple[NDArray[Any], Places]:
    """Each photo that has a good record, and where its last one is."""
    parts = [(keys, places) for keys, places, _ in good_records(file, record, 0)]
    keys = np.concatenate([part for part, _ in parts])
    places = np.concatenate([part for _, part in parts])
    keys, last = np.unique(keys[::-1], return_index=True)
    return keys, places[::-1][last]


def _replace(path: Path, file: BinaryIO, record: np.dtype[Any], places: Places) -> None:
    """Put a file with these records in the place of another."""
    beside = path.parent / f"{TEMPORARY}{uuid4().hex}"
    try:
        with beside.open("wb") as new:
            for start in range(0, len(places), PART_ROWS):
                for place in places[start : start + PART_ROWS].tolist():
                    new.write(os.pread(file.fileno(), record.itemsize, place * record.itemsize))
            new.flush()
            os.fsync(new.fileno())
        beside.replace(path)
        sync_folder(path.parent)
    finally:
        beside.unlink(missing_ok=True)
