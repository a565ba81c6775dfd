"""Shards on the disk: written from the photos, or linked where they stand already, and published as one folder."""

import errno
import shutil
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from itertools import count, islice
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from storage import labels
from storage.errors import UnreadablePhotoError
from storage.files import TEMPORARY, make_folder, move_durably, sha256_of, sync_tree
from storage.splits import Split
from trainer.records.layout import Part
from trainer.records.manifest import ENTRY, INDEX, LABELS, MANIFEST, Index, Manifest, Places, Records, Shard
from trainer.snapshot import Snapshot

READERS = 4
AHEAD = 64  # Photos that are read before they are written.
BEFORE, AFTER = 12, 4  # Bytes that TFRecord puts around a record: its length with a CRC, and the record's CRC.
START = 32  # Bytes of a JPEG by which it is found in its record.
ENCODED = b"image/encoded"
WHERE = ["offset", "length"]

Read = Callable[[Path], bytes]
Told = Callable[[int, int], None]


@dataclass(frozen=True)
class Source:
    """The photos: `read` gives the bytes of the one at a path; `told` hears how many are done and to be done."""

    snapshot: Snapshot
    read: Read = Path.read_bytes
    told: Told = lambda *_: None

    def content(self, row: int) -> bytes:
        """The bytes of a photo. Raises UnreadablePhotoError where it is missing or was changed by hand."""
        photo = self.snapshot.photo(row)
        try:
            content = self.read(photo.path)
        except OSError as error:
            reason = f"{photo.path} cannot be read ({error.strerror}). Run `retrainbot reindex`."
            raise UnreadablePhotoError(reason, photo.sha256) from error
        if sha256(content).hexdigest() != photo.sha256:
            reason = (
                f"{photo.path} is damaged or was edited: it is not the photo that was stored. To keep it as a new"
                " photo, give it any other name; else delete it. Then run `retrainbot reindex`."
            )
            raise UnreadablePhotoError(reason, photo.sha256)
        return content


@dataclass(frozen=True)
class BuiltRecords:
    """How many `shards` and `photos` there are, and how many shards were `written` or `reused`.

    `bytes` is how many bytes of shards were written; `mended` says in words what was found damaged.
    """

    dir: Path
    shards: int
    photos: int
    written: int
    reused: int
    bytes: int = 0
    mended: tuple[str, ...] = ()


def publish(
    source: Source, parts: Sequence[Part], target: Path, base: Records | None = None, mended: Sequence[str] = ()
) -> BuiltRecords:
    """Put the parts, each a shard, at `target` as one folder; those that `base` holds are linked, not written.

    Raises RecordsError naming a photo that cannot be used, and OSError where the disk takes no more; then nothing has
    changed.
    """
    make_folder(target.parent)
    beside = target.parent / f"{TEMPORARY}{uuid4().hex}"
    beside.mkdir()
    try:
        written = _fill(source, parts, beside, base)
        sync_tree(beside)
        _swap(beside, target)
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    kept = sum(part.old is not None for part in parts)
    return BuiltRecords(target, len(parts), len(source.snapshot), len(parts) - kept, kept, written, tuple(mended))


def _fill(source: Source, parts: Sequence[Part], folder: Path, base: Records | None) -> int:
    """Write or link every shard, then what describes them; how many bytes of shards were written."""
    snapshot, shards, written = source.snapshot, list[Shard](), 0
    index = np.zeros(len(snapshot), ENTRY)
    for field in ("sha256", "label", "split"):
        index[field] = snapshot.rows[field]
    with ThreadPoolExecutor(READERS, thread_name_prefix="reader") as pool:
        contents = _contents(pool, source, [part.rows for part in parts if part.old is None])
        for number, (part, name) in enumerate(zip(parts, _names(parts), strict=True)):
            if base is None or part.old is None:
                index[WHERE][part.rows] = _write(folder / name, snapshot, part.rows, contents)
                shards.append(_shard(part, folder / name))
                written += shards[-1].bytes
            else:
                old = base.manifest.shards[part.old]
                index[WHERE][part.rows] = base.index[base.find(snapshot.hashes[part.rows])][WHERE]
                shards.append(old.model_copy(update={"file": name}))
                written += _link(base.folder / old.file, folder / name)
            index["shard"][part.rows] = number
    _describe(snapshot, shards, index, folder)
    return written


def _names(parts: Sequence[Part]) -> Iterator[str]:
    """The shards' names, numbered in each split."""
    of, numbers = Counter(part.split for part in parts), defaultdict[Split, Iterator[int]](count)
    for part in parts:
        yield f"image_{part.split}_{next(numbers[part.split]):05d}-of-{of[part.split]:05d}.tfrecord"


def _contents(pool: Executor, source: Source, parts: Sequence[Places]) -> Iterator[bytes]:
    """The bytes of each photo, read ahead on threads."""
    rows = (row for part in parts for row in part.tolist())
    waiting = deque[Future[bytes]](pool.submit(source.content, row) for row in islice(rows, AHEAD))
    total = sum(map(len, parts))
    for done in range(1, total + 1):
        content = waiting.popleft().result()
        waiting.extend(pool.submit(source.content, row) for row in islice(rows, 1))
        source.told(done, total)
        yield content


def _write(path: Path, snapshot: Snapshot, rows: Places, contents: Iterator[bytes]) -> NDArray[Any]:
    """Write a shard; where in it each photo's JPEG lies."""
    where, end = list[tuple[int, int]](), 0
    with _disk_errors(path), tf.io.TFRecordWriter(str(path)) as writer:
        for row in rows.tolist():
            content = next(contents)
            record = _record(snapshot, row, content)
            writer.write(record)
            # Nothing before it holds what a JPEG begins with; to search for the whole of it would be slow.
            where.append((end + BEFORE + record.index(content[:START], record.index(ENCODED)), len(content)))
            end += BEFORE + len(record) + AFTER
    return np.array(where, [(field, ENTRY[field]) for field in WHERE])


@contextmanager
def _disk_errors(path: Path) -> Iterator[None]:
    """Turn what TensorFlow raises into what Python would."""
    try:
        yield
    except tf.errors.OpError as error:
        full = isinstance(error, tf.errors.ResourceExhaustedError)
        raise OSError(errno.ENOSPC if full else errno.EIO, error.message, str(path)) from error


def _record(snapshot: Snapshot, row: int, content: bytes) -> bytes:
    photo, columns = snapshot.photo(row), snapshot.rows[row]
    features = {
        "image/encoded": _bytes(content),
        "image/format": _bytes(b"jpeg"),
        "image/height": _integer(columns["height"]),
        "image/width": _integer(columns["width"]),
        "image/class/label": _integer(columns["label"]),
        "image/class/text": _bytes(photo.class_name.encode()),
        "image/filename": _bytes(f"{photo.class_name}/{photo.path.name}".encode()),
    }
    example = tf.train.Example(features=tf.train.Features(feature=features))
    record: bytes = example.SerializeToString(deterministic=True)
    return record


def _bytes(value: bytes) -> tf.train.Feature:
    return tf.train.Feature(bytes_list=tf.train.BytesList(value=[value]))


def _integer(value: int) -> tf.train.Feature:
    return tf.train.Feature(int64_list=tf.train.Int64List(value=[int(value)]))


def _shard(part: Part, path: Path) -> Shard:
    return Shard(
        file=path.name,
        split=part.split,
        lot=part.lot,
        count=len(part.rows),
        bytes=path.stat().st_size,
        sha256=sha256_of(path),
    )


def _link(source: Path, target: Path) -> int:
    """Give a file a second name, or copy it where the file system cannot; how many bytes were written."""
    try:
        target.hardlink_to(source)
    except OSError:
        shutil.copyfile(source, target)
        return target.stat().st_size
    return 0


def _describe(snapshot: Snapshot, shards: Sequence[Shard], index: Index, folder: Path) -> None:
    (folder / LABELS).write_text(labels.write_lines(snapshot.classes), "utf-8")
    np.save(folder / INDEX, index)
    manifest = Manifest(
        snapshot=snapshot.id, classes=snapshot.classes, shards=tuple(shards), index=sha256_of(folder / INDEX)
    )
    (folder / MANIFEST).write_text(manifest.model_dump_json(indent=2), "utf-8")


def _swap(new: Path, target: Path) -> None:
    """Put a folder in the place of another; who still reads that one keeps its open files."""
    if target.exists():
        old = target.parent / f"{TEMPORARY}{uuid4().hex}"
        target.rename(old)
        move_durably(new, target)
        shutil.rmtree(old)
    else:
        move_durably(new, target)
