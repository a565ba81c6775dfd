"""TFRecords of a snapshot, as this project and as a plain TensorFlow script read them."""

import json
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
import tensorflow as tf
from pictures import photo, write

from storage.database import Database
from storage.errors import RecordsError
from storage.files import sha256_of
from storage.photos import Photos
from storage.settings import Images
from storage.splits import Split
from trainer import records, snapshot
from trainer.snapshot import Snapshot

# As anybody would write it who knows the format but not this project.
PLAIN_READER = """
import glob, json, os, sys
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
import tensorflow as tf
kinds = {"encoded": tf.string, "format": tf.string, "height": tf.int64, "width": tf.int64,
         "class/label": tf.int64, "class/text": tf.string, "filename": tf.string}
features = {"image/" + name: tf.io.FixedLenFeature([], kind) for name, kind in kinds.items()}
found = []
for split in ("train", "validation", "test"):
    files = sorted(glob.glob(os.path.join(sys.argv[1], f"image_{split}_*-of-*.tfrecord")))
    for record in tf.data.TFRecordDataset(files):
        example = tf.io.parse_single_example(record, features)
        assert tf.io.decode_jpeg(example["image/encoded"]).shape == (example["image/height"], example["image/width"], 3)
        assert example["image/format"] == b"jpeg"
        text = example["image/class/text"].numpy().decode()
        found.append([split, int(example["image/class/label"]), text, example["image/filename"].numpy().decode()])
print(json.dumps(found))
"""


@pytest.fixture
def photos(tmp_path: Path) -> Iterator[Photos]:
    photos = Photos(Database(tmp_path / "photos.db"), tmp_path / "photos", tmp_path / "unlabelled", Images())
    yield photos
    photos.database.close()


@pytest.fixture
def data(photos: Photos) -> Snapshot:
    for number in range(24):
        photos.add(photo(number), ["daisy", "rose", "向日葵"][number % 3], "ann")
    return snapshot.take(photos)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "records"


def test_records_are_built_as_designed(data: Snapshot, folder: Path) -> None:
    """Five shards a split, labels in order, and a manifest that holds each shard's count and hash."""
    calls: list[tuple[int, int]] = []
    built = records.build(data, folder, progress=lambda done, total: calls.append((done, total)))
    assert built == records.BuiltRecords(folder / data.id, shards=15, photos=24, written=15, reused=0)
    assert calls[-1] == (24, 24)
    names = {f"image_{split}_{n:05d}-of-00005.tfrecord" for split in Split for n in range(5)}
    assert {path.name for path in built.dir.iterdir()} == names | {"labels.txt", "manifest.json"}
    assert (built.dir / "labels.txt").read_text("utf-8") == "0:daisy\n1:rose\n2:向日葵\n"
    manifest = json.loads((built.dir / "manifest.json").read_text("utf-8"))
    assert (manifest["snapshot"], manifest["classes"]) == (data.id, ["daisy", "rose", "向日葵"])
    assert {shard["file"]: shard["sha256"] for shard in manifest["shards"]} == {
        name: sha256_of(built.dir / name) for name in names
    }
    assert sum(shard["count"] for shard in manifest["shards"]) == 24


def test_plain_script_reads_what_the_catalogue_holds(data: Snapshot, folder: Path) -> None:
    """A fresh process that knows only TensorFlow and the format finds every photo, in its split, with its label."""
    built = records.build(data, folder)
    command = [sys.executable, "-c", PLAIN_READER, str(built.dir)]
    found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    wanted = [
        [known.split, data.classes.index(known.class_name), known.class_name, f"{known.class_name}/{known.path.name}"]
        for known in data.photos()
    ]
    assert sorted(found) == sorted(wanted)


def test_our_reader_gives_the_stored_bytes(data: Snapshot, folder: Path) -> None:
    """A record's image is the stored file, byte for byte."""
    built = records.build(data, folder)
    found = {
        example["image/encoded"].numpy(): example["image/class/label"].numpy()
        for split in Split
        for example in records.read(built.dir, split)
    }
    assert found == {known.path.read_bytes(): data.classes.index(known.class_name) for known in data.photos()}


def test_whole_records_are_used_again(data: Snapshot, folder: Path) -> None:
    """The same snapshot is written once; another one, or other shards, beside or instead of it."""
    first = records.build(data, folder)
    again = records.build(data, folder)
    assert (again.written, again.reused, again.dir) == (0, 15, first.dir)
    assert (records.build(data, folder, shards=2).written, len(list(first.dir.glob("*.tfrecord")))) == (6, 6)
    smaller = data.without({data.photo(0).sha256})
    assert records.build(smaller, folder).dir != first.dir
    assert visible(folder) == sorted([data.id, smaller.id])


def test_records_are_the_same_each_time(data: Snapshot, folder: Path, tmp_path: Path) -> None:
    """The same photos give the same bytes."""
    first, second = records.build(data, folder), records.build(data, tmp_path / "other")
    assert records.verify(first.dir) == records.verify(second.dir)


def visible(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob("[!.]*"))


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


@pytest.mark.parametrize("harm", [flip, cut, Path.unlink])
@pytest.mark.parametrize("name", ["image_train_00002-of-00005.tfrecord", "manifest.json", "labels.txt"])
def test_damage_is_refused_by_name_and_mended(data: Snapshot, folder: Path, harm: object, name: str) -> None:
    """One flipped bit, one byte less or a missing file: reading is refused, and building writes it anew."""
    built = records.build(data, folder)
    assert callable(harm)
    harm(built.dir / name)
    with pytest.raises(RecordsError, match=name if name.endswith("tfrecord") else data.id):
        records.read(built.dir, Split.TRAIN)
    assert records.build(data, folder).written == 15
    records.verify(built.dir)


def test_shard_that_does_not_belong_is_refused(data: Snapshot, folder: Path) -> None:
    """A plain reader would read it too, so it may not lie there."""
    built = records.build(data, folder)
    shutil.copy(next(built.dir.glob("*.tfrecord")), built.dir / "image_train_00009-of-00005.tfrecord")
    with pytest.raises(RecordsError, match="image_train_00009"):
        records.verify(built.dir)


def test_missing_photo_is_named(data: Snapshot, folder: Path) -> None:
    """A photo that is gone stops the build, which leaves nothing behind."""
    data.photo(3).path.unlink()
    with pytest.raises(RecordsError, match=data.photo(3).path.name):
        records.build(data, folder)
    assert visible(folder) == []
    assert list(folder.glob(".new-*")) == []


def test_photo_moved_since_the_snapshot_is_found(photos: Photos, data: Snapshot, folder: Path) -> None:
    """Who labels a photo anew while records are built does not stop the build."""
    moved = data.photo(3)
    photos.add(moved.path.read_bytes(), "tulip", "bob")
    assert not moved.path.exists()
    assert records.build(data, folder, read=photos.read).photos == 24


def test_what_a_killed_build_left_is_removed(data: Snapshot, folder: Path) -> None:
    """The next build takes the half-written copy of the photos away, also where its own records are whole."""
    records.build(data, folder)
    left = write(folder / ".new-killed" / "image_train_00000-of-00005.tfrecord", b"half").parent
    records.build(data, folder)
    assert not left.exists()


def test_damaged_manifest_is_told_in_plain_words(data: Snapshot, folder: Path) -> None:
    """The message names the file and says what to do, and nothing of how the file is read."""
    built = records.build(data, folder)
    (built.dir / "manifest.json").write_text("{")
    with pytest.raises(RecordsError, match=r"incomplete: manifest\.json cannot be read\. Build"):
        records.verify(built.dir)


def test_edited_photo_is_named(data: Snapshot, folder: Path) -> None:
    """A stored file that was edited by hand is not the photo that its name says."""
    data.photo(3).path.write_bytes(data.photo(4).path.read_bytes())
    with pytest.raises(RecordsError, match=data.photo(3).path.name):
        records.build(data, folder)


def test_classes_are_mixed_over_the_shards(photos: Photos, folder: Path) -> None:
    """A shard holds some of every class, so reading them one after another still mixes."""
    for number in range(90):
        photos.add(photo(number), "ab"[number % 2], "ann")
    built = records.build(snapshot.take(photos), folder, shards=2)
    for path in built.dir.glob("image_train_*"):
        found = Counter(
            tf.io.parse_single_example(record, records.FEATURES)["image/class/text"].numpy()
            for record in tf.data.TFRecordDataset([str(path)])
        )
        assert min(found.values()) > 5
