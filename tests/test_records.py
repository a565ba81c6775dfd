"""TFRecords of a snapshot, as this project and as a plain TensorFlow script read them."""

import json
import resource
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from pictures import photo, write

from storage.database import Database
from storage.errors import RecordsError
from storage.files import sha256_of
from storage.photos import Photos
from storage.settings import Images
from storage.splits import Split
from trainer import snapshot
from trainer.records import builder, folders, manifest, reading
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
SHARDS = ["image_train_00000-of-00001.tfrecord", "image_validation_00000-of-00001.tfrecord"]
SHARDS.append("image_test_00000-of-00001.tfrecord")


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
    """A small set has one shard a split, labels in order, and a manifest with each shard's count, bytes and hash."""
    calls: list[tuple[int, int]] = []
    built = builder.build(data, folder, progress=lambda done, total: calls.append((done, total)))
    assert (built.dir, built.shards, built.photos, built.written, built.reused) == (folder / data.id, 3, 24, 3, 0)
    assert built.bytes == sum((built.dir / name).stat().st_size for name in SHARDS)
    assert calls == [(done, 24) for done in range(1, 25)]
    assert {path.name for path in built.dir.iterdir()} == {*SHARDS, "labels.txt", "manifest.json", "index.npy"}
    assert (built.dir / "labels.txt").read_text("utf-8") == "0:daisy\n1:rose\n2:向日葵\n"
    said = json.loads((built.dir / "manifest.json").read_text("utf-8"))
    assert (said["snapshot"], said["classes"]) == (data.id, ["daisy", "rose", "向日葵"])
    assert {shard["file"]: (shard["bytes"], shard["sha256"]) for shard in said["shards"]} == {
        name: ((built.dir / name).stat().st_size, sha256_of(built.dir / name)) for name in SHARDS
    }
    assert sum(shard["count"] for shard in said["shards"]) == 24


def test_plain_script_reads_what_the_catalogue_holds(data: Snapshot, folder: Path) -> None:
    """A fresh process that knows only TensorFlow and the format finds every photo, in its split, with its label."""
    built = builder.build(data, folder)
    command = [sys.executable, "-c", PLAIN_READER, str(built.dir)]
    found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    wanted = [
        [known.split, data.classes.index(known.class_name), known.class_name, f"{known.class_name}/{known.path.name}"]
        for known in data.photos()
    ]
    assert sorted(found) == sorted(wanted)


def test_our_reader_gives_the_stored_bytes(data: Snapshot, folder: Path) -> None:
    """A record's image is the stored file, byte for byte."""
    built = builder.build(data, folder)
    found = {
        example["image/encoded"].numpy(): example["image/class/label"].numpy()
        for split in Split
        for example in reading.read(built.dir, split)
    }
    assert found == {known.path.read_bytes(): data.classes.index(known.class_name) for known in data.photos()}


def test_photos_are_read_in_any_order(data: Snapshot, folder: Path) -> None:
    """Opened records give each photo of a split by its place in the snapshot, and its label."""
    built = builder.build(data, folder, shard_bytes=3_000)
    assert built.shards > 5
    with reading.opened(built.dir) as whole:
        for split in Split:
            wanted, samples = data.of(split), reading.RecordSamples(whole, split)
            assert samples.labels.tolist() == wanted.labels.tolist()
            for place in reversed(range(len(samples))):
                assert samples.jpeg(place) == wanted.photo(place).path.read_bytes()


def test_split_without_photos_has_an_empty_shard(photos: Photos, folder: Path) -> None:
    """Who searches for a split's files finds one, even where a few photos make no such split yet."""
    for number in range(4):
        photos.add(photo(number), "ab"[number % 2], "ann")
    data = snapshot.take(photos)
    built = builder.build(data, folder)
    assert len(data.of(Split.TEST)) == 0
    assert [len(list(reading.read(built.dir, split))) for split in Split] == [len(data.of(split)) for split in Split]


def test_whole_records_are_used_again(data: Snapshot, folder: Path) -> None:
    """The same snapshot is written once, another one beside it."""
    first = builder.build(data, folder)
    again = builder.build(data, folder)
    assert (again.written, again.reused, again.bytes, again.dir) == (0, 3, 0, first.dir)
    smaller = data.without({data.photo(0).sha256})
    assert builder.build(smaller, folder).dir != first.dir
    assert visible(folder) == sorted([data.id, smaller.id])


def test_records_are_the_same_each_time(data: Snapshot, folder: Path, tmp_path: Path) -> None:
    """The same photos give the same bytes."""
    first, second = builder.build(data, folder), builder.build(data, tmp_path / "other")
    assert manifest.load(first.dir).manifest == manifest.load(second.dir).manifest


def visible(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob("[!.]*"))


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    write_over(path, content)


def cut(path: Path) -> None:
    write_over(path, path.read_bytes()[:-1])


def write_over(path: Path, content: bytes | bytearray) -> None:
    path.unlink()  # The file may have other names.
    path.write_bytes(content)


@pytest.mark.parametrize("harm", [flip, cut, Path.unlink])
@pytest.mark.parametrize("name", [SHARDS[0], "manifest.json", "labels.txt", "index.npy"])
def test_damage_is_refused_by_name_mended_and_told(
    data: Snapshot, folder: Path, harm: Callable[[Path], None], name: str
) -> None:
    """One flipped bit, one byte less or a missing file: reading is refused, and building makes it what it was."""
    built = builder.build(data, folder)
    whole = manifest.load(built.dir).manifest
    harm(built.dir / name)
    with pytest.raises(RecordsError, match=data.id if name == "manifest.json" else name):
        reading.read(built.dir, Split.TRAIN)
    with pytest.raises(RecordsError, match="Build the records again"), reading.opened(built.dir):
        pass
    mended = builder.build(data, folder, check=True)
    assert len(mended.mended) == 1
    assert name in mended.mended[0] or built.dir.name in mended.mended[0]
    assert mended.written == {SHARDS[0]: 1, "labels.txt": 0}.get(name, 3)
    assert manifest.verify(built.dir).manifest == whole


def test_a_hundred_flips_and_cuts_are_refused_and_mended(data: Snapshot, folder: Path) -> None:
    """Wherever a bit is flipped or the end cut off, the shard is named, and only that shard is written anew."""
    random = np.random.default_rng(0)
    built = builder.build(data, folder, shard_bytes=5_000)
    whole = manifest.verify(built.dir).manifest
    for number in range(100):
        shard = whole.shards[random.integers(len(whole.shards))]
        content = bytearray((built.dir / shard.file).read_bytes())
        at = int(random.integers(shard.bytes))
        content[at] ^= 1 << random.integers(8)
        write_over(built.dir / shard.file, content if number % 2 else content[:at])
        with pytest.raises(RecordsError, match=shard.file):
            manifest.verify(built.dir)
        mended = builder.build(data, folder, check=True, shard_bytes=5_000)
        assert (mended.written, mended.reused) == (1, len(whole.shards) - 1)
        assert shard.file in mended.mended[0]
        assert manifest.verify(built.dir).manifest == whole


def test_damage_is_not_taken_over_into_the_next_records(photos: Photos, data: Snapshot, folder: Path) -> None:
    """What the older records are damaged in is written from the photos, and what nobody looked for is found later."""
    built = builder.build(data, folder)
    flip(built.dir / SHARDS[0])
    photos.add(photo(100), "rose", "ann")
    grown = snapshot.take(photos)
    unseen = builder.build(grown, folder)  # It compares sizes only, so it links what is damaged.
    with pytest.raises(RecordsError, match="is missing or damaged"):
        manifest.verify(unseen.dir)
    assert len(builder.build(grown, folder, check=True).mended) == 1
    manifest.verify(unseen.dir)


def test_shard_that_does_not_belong_is_refused(data: Snapshot, folder: Path) -> None:
    """A plain reader would read it too, so it may not lie there, and building takes it away."""
    built = builder.build(data, folder)
    shutil.copy(built.dir / SHARDS[0], built.dir / "image_train_00009-of-00001.tfrecord")
    with pytest.raises(RecordsError, match="image_train_00009"):
        manifest.verify(built.dir)
    assert builder.build(data, folder).written == 0
    manifest.verify(built.dir)


def test_missing_photo_is_named(data: Snapshot, folder: Path) -> None:
    """A photo that is gone stops the build, which leaves nothing behind."""
    data.photo(3).path.unlink()
    with pytest.raises(RecordsError, match=data.photo(3).path.name):
        builder.build(data, folder)
    assert visible(folder) == []
    assert list(folder.glob(".new-*")) == []


def test_photo_moved_since_the_snapshot_is_found(photos: Photos, data: Snapshot, folder: Path) -> None:
    """Who labels a photo anew while records are built does not stop the build."""
    moved = data.photo(3)
    photos.add(moved.path.read_bytes(), "tulip", "bob")
    assert not moved.path.exists()
    assert builder.build(data, folder, read=photos.read).photos == 24


def test_what_a_killed_build_left_is_removed(data: Snapshot, folder: Path) -> None:
    """The next build takes the half-written copy of the photos away, also where its own records are whole."""
    builder.build(data, folder)
    left = write(folder / ".new-killed" / SHARDS[0], b"half").parent
    builder.build(data, folder)
    assert not left.exists()


def test_damaged_manifest_is_told_in_plain_words(data: Snapshot, folder: Path) -> None:
    """The message names the file and says what to do, and nothing of how the file is read."""
    built = builder.build(data, folder)
    (built.dir / "manifest.json").write_text("{")
    with pytest.raises(RecordsError, match=r"incomplete: manifest\.json cannot be read\. Build"):
        manifest.verify(built.dir)


def test_edited_photo_is_named(data: Snapshot, folder: Path) -> None:
    """A stored file that was edited by hand is not the photo that its name says."""
    data.photo(3).path.write_bytes(data.photo(4).path.read_bytes())
    with pytest.raises(RecordsError, match=data.photo(3).path.name):
        builder.build(data, folder)


def test_disk_that_takes_no_more_is_an_error_of_the_disk(data: Snapshot, folder: Path) -> None:
    """What TensorFlow could not write is told as Python tells it, and nothing is left behind."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, before[1]))
    try:
        with pytest.raises(OSError, match="tfrecord"):
            builder.build(data, folder)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert [path.name for path in folder.iterdir()] == [".lock"]


def test_records_that_are_read_are_not_removed(data: Snapshot, folder: Path) -> None:
    """Others' records go, but for those that somebody has open; these go once they are closed."""
    first = builder.build(data, folder)
    second = builder.build(data.without({data.photo(0).sha256}), folder)
    with reading.opened(first.dir) as whole:
        folders.remove_others(folder, second.dir.name)
        assert reading.RecordSamples(whole, Split.TRAIN).jpeg(0)
        assert visible(folder) == sorted([first.dir.name, second.dir.name])
    folders.remove_others(folder, second.dir.name)
    assert visible(folder) == [second.dir.name]


def test_classes_are_mixed_over_the_shards(photos: Photos, folder: Path) -> None:
    """A shard holds some of every class, so reading them one after another still mixes."""
    for number in range(90):
        photos.add(photo(number), "ab"[number % 2], "ann")
    built = builder.build(snapshot.take(photos), folder, shard_bytes=60_000)
    shards = list(built.dir.glob("image_train_*"))
    assert len(shards) > 1
    for path in shards:
        found = Counter(
            tf.io.parse_single_example(record, reading.FEATURES)["image/class/text"].numpy()
            for record in tf.data.TFRecordDataset([str(path)])
        )
        assert min(found.values()) > 5
