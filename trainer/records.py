"""TFRecords of a snapshot, readable by plain TensorFlow and by the slim scripts."""

import fcntl
import hashlib
import io
import json
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from uuid import uuid4

import tensorflow as tf
from PIL import Image
from pydantic import BaseModel, ConfigDict

from storage import labels
from storage.database import Database
from storage.errors import RecordsError, RetrainbotError
from storage.files import TEMPORARY, make_folder, move_durably, remove_unfinished, sha256_of, sync_tree
from storage.lifeline import follow_parent
from storage.photos import Photo, Photos
from storage.settings import read_settings
from storage.splits import Split
from trainer.snapshot import Snapshot, take

MANIFEST, LABELS, LOCK = "manifest.json", "labels.txt", ".lock"
MEND = "Build the records again: `retrainbot records build`."

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


class Shard(BaseModel):
    """One TFRecord file and how many records it holds."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    file: str
    split: Split
    count: int
    sha256: str


class Manifest(BaseModel):
    """`classes` in the order of the labels' numbers."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    snapshot: str
    classes: tuple[str, ...]
    shards: tuple[Shard, ...]


@dataclass(frozen=True)
class BuiltRecords:
    """How many `shards` and `photos` there are, and how many shards were `written` or `reused`."""

    dir: Path
    shards: int
    photos: int
    written: int
    reused: int


def build(
    snapshot: Snapshot,
    folder: Path,
    shards: int = 5,
    progress: Callable[[int, int], None] = lambda *_: None,
    read: Callable[[Path], bytes] = Path.read_bytes,
) -> BuiltRecords:
    """Write the snapshot's records to `folder`/<snapshot id>/, `shards` files a split; whole records there are kept.

    `progress` is told how many photos are written, and how many there are; `read` gives the bytes of the photo
    at a path. Raises RecordsError naming a photo that is missing or was changed by hand.
    """
    target = folder / snapshot.id
    with _alone(folder):
        if _is_whole(target, snapshot, shards):
            return BuiltRecords(target, shards * len(Split), len(snapshot), 0, shards * len(Split))
        beside = folder / f"{TEMPORARY}{uuid4().hex}"
        beside.mkdir()
        try:
            _write(snapshot, beside, shards, progress, read)
            sync_tree(beside)
            shutil.rmtree(target, ignore_errors=True)
            move_durably(beside, target)
        except BaseException:
            shutil.rmtree(beside, ignore_errors=True)
            raise
    return BuiltRecords(target, shards * len(Split), len(snapshot), shards * len(Split), 0)


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Wait until nobody else builds in the folder, and remove what killed builds left there."""
    make_folder(folder)
    with (folder / LOCK).open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # Given back when the file is closed, also by a kill.
        remove_unfinished(folder)
        yield


def verify(folder: Path) -> Manifest:
    """Compare every shard with the manifest. Raises RecordsError naming the first that is not as it was written."""
    reading = MANIFEST
    try:
        manifest = Manifest.model_validate_json((folder / MANIFEST).read_bytes())
        reading = LABELS
        names = (folder / LABELS).read_text("utf-8")
    except (OSError, ValueError) as error:
        raise RecordsError(f"The records in {folder} are incomplete: {reading} cannot be read. {MEND}") from error
    expected = {shard.file: shard.sha256 for shard in manifest.shards}
    present = {path.name: path for path in folder.glob("*.tfrecord")}
    for name in sorted(expected.keys() | present):
        if name not in present or sha256_of(present[name]) != expected.get(name):
            raise RecordsError(f"{folder / name} is missing or damaged, or does not belong there. {MEND}")
    if names != labels.write_lines(manifest.classes):
        raise RecordsError(f"{folder / LABELS} was changed. {MEND}")
    return manifest


def remove_others(folder: Path, snapshot: str) -> None:
    """Remove the records of every other snapshot from `folder`; each is a full copy of its photos."""
    for other in folder.iterdir():
        if other.name != snapshot and not other.name.startswith("."):  # The lock, or what is being built now.
            shutil.rmtree(other)


def read(folder: Path, split: Split) -> tf.data.Dataset:
    """The records of one split, each a dictionary of scalar tensors as in FEATURES.

    Raises RecordsError as `verify` does; a record that is damaged later stops the reader instead of being left out.
    """
    files = [str(folder / shard.file) for shard in verify(folder).shards if shard.split == split]
    return tf.data.TFRecordDataset(files).map(lambda record: tf.io.parse_single_example(record, FEATURES))


def _is_whole(folder: Path, snapshot: Snapshot, shards: int) -> bool:
    try:
        manifest = verify(folder)
    except RecordsError:
        return False
    return manifest.snapshot == snapshot.id and len(manifest.shards) == shards * len(Split)


def _write(
    snapshot: Snapshot,
    folder: Path,
    shards: int,
    progress: Callable[[int, int], None],
    read: Callable[[Path], bytes],
) -> None:
    numbers = {name: number for number, name in enumerate(snapshot.classes)}
    counts = {_file(split, shard, shards): 0 for split in Split for shard in range(shards)}
    with ExitStack() as stack:
        writers = {file: stack.enter_context(tf.io.TFRecordWriter(str(folder / file))) for file in counts}
        for done, photo in enumerate(snapshot.photos(), 1):
            # By hash, so that each shard holds some of every class; the first digits have chosen the split.
            file = _file(photo.split, int(photo.sha256[-8:], 16) % shards, shards)
            example = _example(photo, numbers[photo.class_name], _content(photo, read))
            writers[file].write(example.SerializeToString())
            counts[file] += 1
            progress(done, len(snapshot))
    manifest = Manifest(
        snapshot=snapshot.id,
        classes=snapshot.classes,
        shards=tuple(
            Shard(file=file, split=Split(file.split("_")[1]), count=count, sha256=sha256_of(folder / file))
            for file, count in counts.items()
        ),
    )
    (folder / LABELS).write_text(labels.write_lines(snapshot.classes), "utf-8")
    (folder / MANIFEST).write_text(manifest.model_dump_json(indent=2), "utf-8")


def _file(split: Split, shard: int, shards: int) -> str:
    return f"image_{split}_{shard:05d}-of-{shards:05d}.tfrecord"


def _example(photo: Photo, label: int, content: bytes) -> tf.train.Example:
    with Image.open(io.BytesIO(content), formats=("JPEG",)) as image:
        width, height = image.size
    return tf.train.Example(
        features=tf.train.Features(
            feature={
                "image/encoded": _bytes(content),
                "image/format": _bytes(b"jpeg"),
                "image/height": _integer(height),
                "image/width": _integer(width),
                "image/class/label": _integer(label),
                "image/class/text": _bytes(photo.class_name.encode()),
                "image/filename": _bytes(f"{photo.class_name}/{photo.path.name}".encode()),
            }
        )
    )


def _content(photo: Photo, read: Callable[[Path], bytes]) -> bytes:
    try:
        content = read(photo.path)
    except OSError as error:
        raise RecordsError(f"{photo.path} cannot be read ({error.strerror}). Run `retrainbot reindex`.") from error
    if hashlib.sha256(content).hexdigest() != photo.sha256:
        raise RecordsError(
            f"{photo.path} is damaged or was edited: it is not the photo that was stored. To keep it as a new photo,"
            " give it any other name; else delete it. Then run `retrainbot reindex`."
        )
    return content


def _bytes(value: bytes) -> tf.train.Feature:
    return tf.train.Feature(bytes_list=tf.train.BytesList(value=[value]))


def _integer(value: int) -> tf.train.Feature:
    return tf.train.Feature(int64_list=tf.train.Int64List(value=[value]))


def main() -> None:
    """Print what `retrainbot records build` is to say, as JSON; the command line has no TensorFlow of its own."""
    follow_parent()
    settings = read_settings()
    photos = Photos(Database(settings.database_file), settings.photos_dir, settings.unlabelled_dir, settings.images)
    start = time.monotonic()
    try:
        built = build(take(photos), settings.records_dir, read=photos.read)
    except RetrainbotError as error:
        document: dict[str, object] = {"error": str(error)}
    else:
        document = {**asdict(built), "seconds": round(time.monotonic() - start, 3)}
    print(json.dumps(document, default=str))  # noqa: T201  The parent reads it.


if __name__ == "__main__":
    main()
