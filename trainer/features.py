"""Features of photos: computed once for each photo and backbone, and kept in one file that a kill cannot spoil."""

import fcntl
import os
import zlib
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from serving.graph import freeze, run
from storage.errors import ImageError
from storage.files import sync_folder
from storage.images import INPUT_VERSION, Pixels, model_input
from trainer.backbones import Backbone

DECODERS = min(8, os.cpu_count() or 1)

Features = NDArray[np.float32]


class FeatureStore:
    """Features by photo, for one backbone, weights digest and way of making model input.

    The file is a row of records: the photo's SHA-256 (32 bytes), `dimension` float32, and the CRC-32 of both,
    little-endian. A record counts only when it is whole and its CRC is right, so a write that was cut short, or a
    byte that the disk lost, costs that photo's features and nothing else. Several processes may append.
    """

    def __init__(self, folder: Path, backbone: str, digest: str, dimension: int) -> None:
        self.path = folder / f"{backbone}-{digest}-input{INPUT_VERSION}.features"
        self._record = np.dtype([("sha256", "u1", 32), ("features", "<f4", dimension), ("crc", "<u4")])
        self._places: dict[str, int] = {}
        self._records: NDArray[Any] = np.zeros(0, self._record)
        self._read_new()

    def missing(self, shas: Sequence[str]) -> list[str]:
        """The photos among `shas` (hexadecimal SHA-256) that have no features yet, each once, in their order."""
        return [sha for sha in dict.fromkeys(shas) if sha not in self._places]

    def read(self, shas: Sequence[str]) -> Features:
        """Features of the photos in their order, float32 (n, dimension). Raises KeyError for a missing one."""
        rows: Features = self._records["features"][[self._places[sha] for sha in shas]]
        return rows

    def append(self, shas: Sequence[str], features: Features) -> None:
        """Keep features, float32 (n, dimension); when this returns they are on the disk."""
        if not len(shas):
            return
        records = np.zeros(len(shas), self._record)
        records["sha256"] = [list(bytes.fromhex(sha)) for sha in shas]
        records["features"] = features
        records["crc"] = [_crc(row) for row in _rows(records)]
        self.path.parent.mkdir(parents=True, exist_ok=True)
        new = not self.path.exists()
        with self.path.open("ab") as file:
            fcntl.flock(file, fcntl.LOCK_EX)  # Given back when the file is closed, also by a kill.
            self._cut_torn_tail(file)
            file.write(records.tobytes())
            file.flush()
            os.fsync(file.fileno())
        if new:
            sync_folder(self.path.parent)
        self._read_new()

    def _cut_torn_tail(self, file: BinaryIO) -> None:
        size = os.fstat(file.fileno()).st_size
        if size % self._record.itemsize:
            file.truncate(size - size % self._record.itemsize)

    def _read_new(self) -> None:
        """Take in the records that were not there at the last look, other processes' ones included."""
        known = len(self._records)
        count = self.path.stat().st_size // self._record.itemsize if self.path.exists() else 0
        if count <= known:
            return
        self._records = np.memmap(self.path, self._record, mode="r", shape=(count,))
        new = self._records[known:]
        for place, (row, crc) in enumerate(zip(_rows(new), new["crc"], strict=True), known):
            if _crc(row) == crc:
                self._places[row[:32].tobytes().hex()] = place


def extract(
    backbone: Backbone,
    photos: Sequence[tuple[str, Path]],
    store: FeatureStore,
    batch_size: int = 32,
    progress: Callable[[int, int], None] = lambda *_: None,
    read: Callable[[Path], bytes] = Path.read_bytes,
) -> list[tuple[str, str]]:
    """Compute the features of `photos` (SHA-256 and path of each) into `store`.

    Threads decode ahead of the network, never more than two batches. `progress` is told photos done and in all;
    `read` gives the bytes of the photo at a path.
    Returns the photos that could not be read, each with the reason.
    """
    if not photos:  # Then building the network's graph would be the whole cost.
        return []
    if not photos:  # Building the network takes seconds.
        return []
    unreadable: list[tuple[str, str]] = []
    network = _network(backbone, batch_size)
    batch: list[tuple[str, Pixels]] = []
    decode = partial(_decode, size=backbone.input_size, read=read)
    for done, (sha, pixels) in enumerate(_decoded(photos, decode, ahead=2 * batch_size), 1):
        if isinstance(pixels, str):
            unreadable.append((sha, pixels))
        else:
            batch.append((sha, pixels))
        if len(batch) == batch_size or (batch and done == len(photos)):
            features = run(network, np.stack([pixels for _, pixels in batch]), (batch_size,))
            store.append([sha for sha, _ in batch], features)
            batch = []
        if not batch:
            progress(done, len(photos))
    return unreadable


def _network(backbone: Backbone, batch_size: int) -> Any:
    size = backbone.input_size
    function = tf.function(lambda pixels: backbone.network(pixels, training=False), autograph=False)
    return freeze(function.get_concrete_function(tf.TensorSpec((batch_size, size, size, 3), tf.uint8)))


def _decoded(
    photos: Sequence[tuple[str, Path]], decode: Callable[[Path], Pixels | str], ahead: int
) -> Iterator[tuple[str, Pixels | str]]:
    """Each photo's pixels, or why it cannot be read, in order."""
    waiting: deque[tuple[str, Future[Pixels | str]]] = deque()
    with ThreadPoolExecutor(DECODERS, thread_name_prefix="decoder") as pool:
        for sha, path in photos:
            waiting.append((sha, pool.submit(decode, path)))
            if len(waiting) >= ahead:
                first, future = waiting.popleft()
                yield first, future.result()
        for last, future in waiting:
            yield last, future.result()


def _decode(path: Path, size: int, read: Callable[[Path], bytes]) -> Pixels | str:
    try:
        return model_input(read(path), size)
    except ImageError as error:
        return str(error)
    except OSError as error:
        return f"The file cannot be read: {error.strerror}."


def _rows(records: NDArray[Any]) -> NDArray[np.uint8]:
    """The records as bytes, (n, bytes a record)."""
    raw: NDArray[np.uint8] = records.view(np.uint8).reshape(len(records), -1)
    return raw


def _crc(row: NDArray[np.uint8]) -> int:
    return zlib.crc32(row[:-4].data)
