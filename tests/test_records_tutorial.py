"""Records in the layout of the tutorial."""

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from benchmarks.gallery import Gallery
from storage.errors import RecordsError
from storage.splits import Split
from trainer.records import manifest, tutorial
from trainer.records.reading import FEATURES, read
from trainer.records.shards import BuiltRecords


@pytest.fixture
def gallery() -> Gallery:
    gallery = Gallery()
    gallery.add(60, "rose", "daisy", "tulip")
    return gallery


def build(gallery: Gallery, folder: Path, test: int = 12, seed: int = 0) -> BuiltRecords:
    return tutorial.build(gallery.snapshot(), folder, shards=5, test=test, seed=seed, read=gallery.read)


def test_layout_is_that_of_the_tutorial(gallery: Gallery, tmp_path: Path) -> None:
    """Five shards a split, as many test photos as asked for, and classes by the alphabet."""
    built = build(gallery, tmp_path / "tutorial")
    names = {f"image_{split}_{n:05d}-of-00005.tfrecord" for split in ("train", "test") for n in range(5)}
    assert {path.name for path in built.dir.glob("*.tfrecord")} == names
    assert (built.dir / "labels.txt").read_text("utf-8") == "0:daisy\n1:rose\n2:tulip\n"
    counts = {split: len(list(read(built.dir, split))) for split in (Split.TRAIN, Split.TEST)}
    assert counts == {Split.TRAIN: 48, Split.TEST: 12}
    for split in counts:
        for example in read(built.dir, split):
            label = int(example["image/class/label"])
            assert example["image/class/text"].numpy().decode() == ["daisy", "rose", "tulip"][label]


def test_every_photo_is_in_one_split(gallery: Gallery, tmp_path: Path) -> None:
    """Train and test together hold each photo once."""
    built = build(gallery, tmp_path / "tutorial")
    found = [
        example["image/encoded"].numpy() for split in (Split.TRAIN, Split.TEST) for example in read(built.dir, split)
    ]
    assert sorted(found) == sorted(gallery.content(number) for number in range(60))


def test_seed_decides_the_shuffle(gallery: Gallery, tmp_path: Path) -> None:
    """The same seed gives the same bytes, another one another order and other test photos."""
    first, again = build(gallery, tmp_path / "first"), build(gallery, tmp_path / "again")
    other = build(gallery, tmp_path / "other", seed=1)
    assert manifest.verify(first.dir).manifest == manifest.verify(again.dir).manifest
    assert manifest.verify(first.dir).manifest.snapshot != manifest.verify(other.dir).manifest.snapshot


def test_photos_are_shuffled_within_the_shards(gallery: Gallery, tmp_path: Path) -> None:
    """A shard neither follows the hashes nor holds its classes one after the other."""
    built = build(gallery, tmp_path / "tutorial", test=0)
    shard = built.dir / "image_train_00000-of-00005.tfrecord"
    labels = [
        int(tf.io.parse_single_example(record, FEATURES)["image/class/label"])
        for record in tf.data.TFRecordDataset([str(shard)])
    ]
    assert len(labels) == 12
    assert np.count_nonzero(np.diff(labels)) > 3


def test_too_few_photos_are_told(gallery: Gallery, tmp_path: Path) -> None:
    """Who wants more test photos than there are photos reads how many there are, and nothing is written."""
    with pytest.raises(RecordsError, match="There are 60 photos"):
        build(gallery, tmp_path / "tutorial", test=60)
    assert not (tmp_path / "tutorial").exists()


def test_other_files_are_left_alone(gallery: Gallery, tmp_path: Path) -> None:
    """A folder that holds anything but records is refused; records there are written anew."""
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("dear")
    with pytest.raises(RecordsError, match="holds something else"):
        build(gallery, tmp_path / "mine")
    assert (tmp_path / "mine" / "letter.txt").read_text() == "dear"
    build(gallery, tmp_path / "tutorial")
    build(gallery, tmp_path / "tutorial", seed=1)
    manifest.verify(tmp_path / "tutorial")
    (tmp_path / "tutorial" / "notes.txt").write_text("mine")
    with pytest.raises(RecordsError, match="holds something else"):
        build(gallery, tmp_path / "tutorial")
