"""`retrainbot records build`, as a person types it."""

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from pictures import photo

from storage import lifeline
from storage.database import Database
from storage.photos import Photos
from storage.settings import Settings
from trainer.records import builder, manifest
from trainer.snapshot import take

ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith("RETRAINBOT_")}


@pytest.fixture
def photos(settings: Settings) -> Iterator[Photos]:
    store = Photos(Database(settings.database_place), settings.photos_dir, settings.unlabelled_dir, settings.images)
    for number in range(12):
        store.add(photo(number), ["rose", "daisy"][number % 2], "ann")
    yield store
    store.database.close()


def call(settings: Settings, *arguments: object) -> "subprocess.CompletedProcess[str]":
    command = lifeline.child("cli.main", "--data", str(settings.data), "records", "build", *map(str, arguments))
    return subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, check=False)


def test_what_was_mended_is_told(settings: Settings, photos: Photos) -> None:
    """A shard in which one bit was flipped is found, written anew, and named."""
    built = builder.build(take(photos), settings.records_dir)
    shard = built.dir / "image_train_00000-of-00001.tfrecord"
    content = bytearray(shard.read_bytes())
    content[100] ^= 1
    shard.write_bytes(content)
    done = call(settings)
    assert done.stdout.splitlines()[0] == f"{shard.name} was missing or damaged, or did not belong there."
    assert "12 photos in 3 shards, 1 of them written now" in done.stdout
    manifest.verify(built.dir)


def test_layout_of_the_tutorial_has_a_folder_of_its_own(settings: Settings, photos: Photos) -> None:
    """The options give the tutorial's files, and the other records are left alone."""
    done = call(settings, "--shards", 2, "--test", 3, "--json")
    built = json.loads(done.stdout)
    assert {"dir", "shards", "photos", "written", "reused", "seconds"} <= built.keys()
    assert Path(built["dir"]) == settings.data / "tutorial"
    shards = manifest.verify(settings.data / "tutorial").manifest.shards
    assert [(shard.file, shard.count) for shard in shards] == [
        ("image_train_00000-of-00002.tfrecord", 5),
        ("image_train_00001-of-00002.tfrecord", 4),
        ("image_test_00000-of-00002.tfrecord", 2),
        ("image_test_00001-of-00002.tfrecord", 1),
    ]
    assert not settings.records_dir.exists()


def test_more_test_photos_than_photos_is_told(settings: Settings, photos: Photos) -> None:
    """The error says how many photos there are, and the exit status is 1."""
    done = call(settings, "--test", 500)
    assert done.returncode == 1
    assert "There are 12 photos, so 500 for the test leave none to learn" in done.stderr
