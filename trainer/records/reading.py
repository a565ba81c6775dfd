"""Reading records: photo by photo in any order, or shard by shard as TensorFlow does."""

import fcntl
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from storage.splits import Split
from trainer.records.manifest import MANIFEST, Records, locked, unreadable, verify
from trainer.snapshot import SPLITS

# What one record holds; `image/encoded` is the stored file, byte for byte.
FEATURES = {
    "image/encoded": tf.io.FixedLenFeature([], tf.string),
    "image/format": tf.io.FixedLenFeature([], tf.string),
    "image/height": tf.io.FixedLenFeature([], tf.int64),
    "image/width": tf.io.FixedLenFeature([], tf.int64),
    "image/class/label": tf.io.FixedLenFeature([], tf.int64),
    "image/class/text": tf.io.FixedLenFeature([], tf.string),
    "image/filename": tf.io.FixedLenFeature([], tf.string),
}


@contextmanager
def opened(folder: Path) -> Iterator[Records]:
    """Records that are whole, and that nobody removes meanwhile. Raises RecordsError naming what is damaged."""
    with ExitStack() as stack:
        try:
            stack.enter_context(locked(folder, fcntl.LOCK_SH))
        except OSError as error:
            raise unreadable(folder, MANIFEST) from error
        yield verify(folder)


class RecordSamples:
    """The photos of one split of opened records, in the order of their snapshot's. Threads may share it."""

    def __init__(self, records: Records, split: Split) -> None:
        self._index = records.index[records.index["split"] == SPLITS.index(split)]
        self._paths = [records.folder / shard.file for shard in records.manifest.shards]

    def __len__(self) -> int:
        return len(self._index)

    @property
    def labels(self) -> NDArray[np.int64]:
        """The place of each photo's class, shape (n,)."""
        labels: NDArray[np.int64] = self._index["label"].astype(np.int64)
        return labels

    def jpeg(self, place: int) -> bytes:
        """The stored bytes of a photo."""
        shard, offset, length = map(int, self._index[place][["shard", "offset", "length"]])
        with self._paths[shard].open("rb", buffering=0) as file:  # There may be more shards than files open at a time.
            file.seek(offset)
            return file.read(length)


def read(folder: Path, split: Split) -> tf.data.Dataset:
    """The records of one split, each a dictionary of scalar tensors as in FEATURES.

    Raises RecordsError as `verify` does; a record that is damaged later stops the reader instead of being left out.
    """
    files = [str(folder / shard.file) for shard in verify(folder).manifest.shards if shard.split == split]
    return tf.data.TFRecordDataset(files).map(lambda record: tf.io.parse_single_example(record, FEATURES))
