"""Judging a candidate: on whichever photos are still there, and against what is served."""

import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
from conftest import COLOURS, Painter, PublishTiny, publish

from storage import labels
from storage.database import Database
from storage.errors import ModelError, RunError
from storage.history import History
from storage.models import GOLDEN, LABELS, Models
from storage.photos import Photos
from storage.runs import RunOptions, Runs
from storage.settings import Settings, Training
from storage.splits import Split
from trainer import snapshot
from trainer.progress import Progress
from trainer.run import Box, Pipeline
from trainer.snapshot import Snapshot

CLASSES = ("a", "b", "c")  # One for each of the COLOURS; sorted as a snapshot sorts them.
Start = Callable[[], Pipeline]


@pytest.fixture
def photos(settings: Settings, paint: Painter) -> Iterator[Photos]:
    photos = Photos(Database(settings.database_file), settings.photos_dir, settings.unlabelled_dir, settings.images)
    for name, colour in zip(CLASSES, COLOURS, strict=True):
        for _ in range(4):
            photos.add(paint(colour), name, "ann")
    yield photos
    photos.database.close()


@pytest.fixture
def data(photos: Photos) -> Snapshot:
    return snapshot.take(photos)


@pytest.fixture
def candidate(settings: Settings, tiny_graph: Path) -> Path:
    """A folder as a run has it before the golden inputs are written."""
    folder = settings.models_dir / ".new-candidate"
    shutil.copytree(tiny_graph, folder, ignore=shutil.ignore_patterns(GOLDEN))
    (folder / LABELS).write_text(labels.write_lines(CLASSES), "utf-8")
    return folder


@pytest.fixture
def start(settings: Settings, photos: Photos) -> Start:
    """Claim a run, for its steps."""

    def start() -> Pipeline:
        runs = Runs(photos.database)
        runs.enqueue(RunOptions.from_settings(Training()), "ann")
        run = runs.claim("box", timedelta(minutes=5))
        assert run
        box = Box(settings, photos, Models(photos.database, settings.models_dir))
        return Pipeline(box, run, Progress(runs, run))

    return start


def broken_golden(graph: Path, folder: Path) -> Path:
    """A version that is whole but answers otherwise than it did when it was made."""
    shutil.copytree(graph, folder)
    with np.load(folder / GOLDEN) as golden:
        pixels, probabilities = golden["pixels"], golden["probabilities"]
    np.savez_compressed(folder / GOLDEN, pixels=pixels, probabilities=probabilities[:, ::-1])
    return folder


async def test_photos_moved_since_the_snapshot_are_judged(
    start: Start, photos: Photos, data: Snapshot, candidate: Path
) -> None:
    """A photo that was relabelled or taken out by undo counts with the snapshot's label; a deleted one does not."""
    relabelled, undone, deleted = data.of(Split.TEST).photos()
    photos.add(relabelled.path.read_bytes(), "d", "bob")
    photos.add(undone.path.read_bytes(), "d", "bob")
    assert History(photos).undo_last("bob").back == {undone.class_name: 1}
    deleted.path.unlink()
    judged, served = await start().evaluate(candidate, data)
    assert judged.photos == (relabelled, undone)
    assert judged.accuracy == 1
    assert served == "it is the first version"
    with np.load(candidate / GOLDEN) as golden:
        assert len(golden["pixels"]) == len(golden["probabilities"]) == 4


async def test_vanished_test_photos_do_not_open_the_gate(start: Start, data: Snapshot, candidate: Path) -> None:
    """A run whose test photos were all taken away fails in words; having none from the start is another thing."""
    for photo in data.of(Split.TEST).photos():
        photo.path.unlink()
    with pytest.raises(RunError, match="taken away"):
        await start().evaluate(candidate, data)


async def test_damaged_served_version_is_the_reason(
    start: Start, data: Snapshot, publish_tiny: PublishTiny, settings: Settings
) -> None:
    """What is damaged cannot be compared with, and is not taken for the first version."""
    number = publish_tiny(CLASSES)
    (settings.models_dir / str(number) / "saved_model.pb").write_bytes(b"")
    assert await start().evaluate_served(tuple(data.photos())) == "the served version 1 is damaged"


async def test_served_version_that_does_not_start_keeps_the_gate_shut(
    start: Start, data: Snapshot, settings: Settings, tiny_graph: Path, tmp_path: Path
) -> None:
    """A fault that may pass fails the run instead of promoting it unjudged, unless a person insists."""
    publish(settings, broken_golden(tiny_graph, tmp_path / "broken"), CLASSES)
    pipeline = start()
    with pytest.raises(ModelError, match=r"cannot be compared with the served version 1\. .*--force"):
        await pipeline.evaluate_served(tuple(data.photos()))
    options = pipeline.run.options.model_copy(update={"force": True})
    forced = Pipeline(pipeline.box, replace(pipeline.run, options=options), pipeline.progress)
    assert "forced" in str(await forced.evaluate_served(tuple(data.photos())))
