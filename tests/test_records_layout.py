"""What records cost as photos come, go and change class, and that a plain reader finds the snapshot after each step."""

import math
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.gallery import Gallery
from storage.splits import Split
from trainer.records import builder, folders, manifest
from trainer.records.layout import Cut, plan
from trainer.records.shards import BuiltRecords, Source, publish
from trainer.snapshot import Snapshot

NAMES = ("daisy", "rose", "tulip", "orchid")
SHARD_BYTES = 6_000

Step = Callable[[Gallery], None]


def build(gallery: Gallery, folder: Path, shard_bytes: int = SHARD_BYTES) -> BuiltRecords:
    return builder.build(gallery.snapshot(), folder, read=gallery.read, shard_bytes=shard_bytes)


def found(folder: Path) -> set[tuple[str, bytes, int, str]]:
    """What a plain reader of the folder finds: each record's split, bytes, label and class."""
    result = set()
    for split in Split:
        files = [str(path) for path in sorted(folder.glob(f"image_{split}_*-of-*.tfrecord"))]
        for record in tf.data.TFRecordDataset(files):
            feature = tf.train.Example.FromString(record.numpy()).features.feature
            encoded, text = (feature[f"image/{name}"].bytes_list.value[0] for name in ("encoded", "class/text"))
            key = (split.value, encoded, feature["image/class/label"].int64_list.value[0], text.decode())
            assert key not in result
            result.add(key)
    return result


def wanted(gallery: Gallery, data: Snapshot) -> set[tuple[str, bytes, int, str]]:
    return {
        (known.split.value, gallery.read(known.path), data.classes.index(known.class_name), known.class_name)
        for known in data.photos()
    }


def some(gallery: Gallery, start: int, count: int) -> list[str]:
    return sorted(gallery.photos)[start : start + count]


names, counts = st.sampled_from(NAMES), st.integers(1, 12)
steps = st.one_of(
    st.builds(lambda n, name: lambda gallery: gallery.add(n, name), st.integers(1, 40), names),
    st.builds(lambda at, n, name: lambda gallery: gallery.label(some(gallery, at, n), name), counts, counts, names),
    st.builds(lambda at, n: lambda gallery: gallery.delete(some(gallery, at, n)), counts, counts),
    st.builds(lambda name: lambda gallery: gallery.delete(gallery.of(name)), names),
    st.builds(lambda name, new: lambda gallery: gallery.rename(name, new), names, st.sampled_from(["oak", "elm"])),
    st.just(lambda gallery: gallery.add(5, f"class{gallery.made}")),
)


@settings(max_examples=15, deadline=None)
@given(st.lists(steps, min_size=1, max_size=5))
def test_a_plain_reader_finds_the_snapshot_after_every_change(changes: list[Step]) -> None:
    """Whatever came, went or was renamed, the records are those of a build from nothing, and what is kept is linked."""
    gallery = Gallery()
    gallery.add(60, *NAMES[:3])
    with tempfile.TemporaryDirectory() as scratch:
        before = build(gallery, Path(scratch) / "records")
        for change in changes:
            change(gallery)
            inodes = {path.stat().st_ino for path in before.dir.glob("*.tfrecord")}
            data, built = gallery.snapshot(), build(gallery, Path(scratch) / "records")
            now = [path.stat().st_ino for path in built.dir.glob("*.tfrecord")]
            assert found(built.dir) == wanted(gallery, data)
            assert sum(inode in inodes for inode in now) >= built.reused
            assert len(now) == built.reused + built.written == built.shards
            assert manifest.verify(built.dir).manifest.snapshot == data.id
            before = built
        anew = build(gallery, Path(scratch) / "anew")
        assert found(before.dir) == found(anew.dir)


def test_new_photos_cost_what_they_take(tmp_path: Path) -> None:
    """One photo in a hundred more, of a class known or new: the shards that were there are linked, not written."""
    gallery = Gallery()
    gallery.add(2_000, *NAMES)
    first = build(gallery, tmp_path, 30_000)
    gallery.add(20, "oak")
    grown = build(gallery, tmp_path, 30_000)
    assert grown.reused == first.shards
    assert grown.bytes < 0.02 * first.bytes
    linked = {path.stat().st_ino for path in first.dir.glob("*.tfrecord")}
    assert linked <= {path.stat().st_ino for path in grown.dir.glob("*.tfrecord")}


def test_many_small_additions_stay_cheap_and_make_few_shards(tmp_path: Path) -> None:
    """Forty times some new photos: each is written few times in all, and the shards do not pile up."""
    gallery, written, sizes = Gallery(), 0, []
    for _ in range(40):
        gallery.add(10, *NAMES)
        built = build(gallery, tmp_path, 1_000_000)
        folders.remove_others(tmp_path, built.dir.name)
        written += built.bytes
        sizes.append(built.shards)
    total = sum(path.stat().st_size for path in built.dir.glob("*.tfrecord"))
    assert written < (1 + math.log(40, 4)) * total
    assert max(sizes) <= 3 * 3 * math.log(400, 4)  # Splits, layers of a size, sizes.


def test_relabelled_photo_costs_its_shard(tmp_path: Path) -> None:
    """One photo under another class: one shard is written, and the others keep their bytes."""
    gallery = Gallery()
    gallery.add(1_000, *NAMES)
    first = build(gallery, tmp_path)
    assert first.shards > 20
    gallery.label(some(gallery, 500, 1), "rose" if gallery.photos[some(gallery, 500, 1)[0]][1] != "rose" else "tulip")
    assert build(gallery, tmp_path).written == 1


def test_class_of_many_lies_in_few_shards(tmp_path: Path) -> None:
    """With a thousand classes, a change of one of them costs a small part, and yet each shard mixes many classes."""
    gallery, classes = Gallery(), [f"class{number}" for number in range(1_000)]
    gallery.add(20_000, *classes)
    first = build(gallery, tmp_path, 60_000)
    gallery.delete(gallery.of("class500")[1:])
    assert build(gallery, tmp_path, 60_000).bytes < 0.1 * first.bytes
    whole = manifest.load(first.dir)
    for number, shard in enumerate(whole.manifest.shards):
        labels = Counter(whole.index["label"][whole.index["shard"] == number].tolist())
        assert len(labels) > 32
        assert max(labels.values()) < shard.count / 8


def test_shards_that_lost_most_of_their_photos_become_fewer(tmp_path: Path) -> None:
    """Where most photos were deleted, no row of nearly empty shards is left."""
    gallery = Gallery()
    gallery.add(1_000, *NAMES)
    first = build(gallery, tmp_path)
    gallery.delete(some(gallery, 0, 900))
    assert build(gallery, tmp_path).shards < first.shards / 4


def test_shards_are_of_about_the_size_wanted(tmp_path: Path) -> None:
    """However many photos there are, a shard has its share of the bytes: more photos make more shards."""
    gallery = Gallery(sizes=(2_000, 6_000))
    for count in (100, 300, 1_000):
        gallery.add(count, *NAMES)
        built = build(gallery, tmp_path / str(count), 100_000)
        shards = [shard for shard in manifest.load(built.dir).manifest.shards if shard.split == Split.TRAIN]
        sizes = np.array([shard.bytes for shard in shards])
        assert 60_000 < sizes.min() <= sizes.max() < 170_000


def test_copying_serves_where_hard_links_cannot(tmp_path: Path) -> None:
    """Where a file cannot have two names, here on another file system, the shards are copied and count as written."""
    memory = Path("/dev/shm")  # noqa: S108  Only its being another file system matters.
    if not memory.is_dir() or memory.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("There is only one file system.")
    gallery = Gallery()
    gallery.add(300, *NAMES)
    first = build(gallery, tmp_path)
    data, base = gallery.snapshot(), manifest.load(first.dir)
    parts = plan(data, base, set(), Cut(lambda _: 1, SHARD_BYTES))
    with tempfile.TemporaryDirectory(dir=memory) as elsewhere:
        copied = publish(Source(data, gallery.read), parts, Path(elsewhere) / data.id, base)
        assert (copied.written, copied.bytes) == (0, first.bytes)
        assert manifest.verify(copied.dir).manifest == base.manifest
