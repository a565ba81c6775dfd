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
from storage.models import GOLDEN, LABELS
from storage.photos import Photos
from storage.runs import RunOptions, Runs
from storage.settings import Settings, Training
from storage.splits import Split
from trainer import snapshot
from trainer.evaluate import KEPT, kept
from trainer.fitting import Box
from trainer.pipeline import Pipeline
from trainer.progress import Progress
from trainer.snapshot import Snapshot

CLASSES = ("a", "b", "c")  # One for each of the COLOURS.
Start = Callable[[], Pipeline]


@pytest.fixture
def photos(settings: Settings, paint: Painter) -> Iterator[Photos]:
    photos = Photos(Database(settings.database_place), settings.photos_dir, settings.unlabelled_dir, settings.images)
    for name, colour in zip(CLASSES, COLOURS, strict=True):
        for _ in range(4):
            photos.add(paint(colour), name, "ann")
    yield photos
    photos.database.close()


@pytest.fixture
def data(photos: Photos) -> Snapshot:
    return snapshot.take(photos)


@pytest.fixture
def start(settings: Settings, photos: Photos, tiny_graph: Path) -> Start:
    """Claim a run, for its steps, and put a candidate where it has one before the golden inputs are written."""

    def start() -> Pipeline:
        runs = Runs(photos.database)
        runs.enqueue(RunOptions.from_settings(Training()), "ann")
        run = runs.claim("box", timedelta(minutes=5))
        assert run
        pipeline = Pipeline(Box(settings, photos.database), run, Progress(runs, run))
        shutil.copytree(tiny_graph, pipeline.folder, ignore=shutil.ignore_patterns(GOLDEN))
        (pipeline.folder / LABELS).write_text(labels.write_lines(CLASSES), "utf-8")
        return pipeline

    return start


def broken_golden(graph: Path, folder: Path) -> Path:
    """A version that is whole but answers otherwise than it did when it was made."""
    shutil.copytree(graph, folder)
    with np.load(folder / GOLDEN) as golden:
        pixels, probabilities = golden["pixels"], golden["probabilities"]
    np.savez_compressed(folder / GOLDEN, pixels=pixels, probabilities=probabilities[:, ::-1])
    return folder


async def test_photos_moved_since_the_snapshot_are_judged(start: Start, photos: Photos, data: Snapshot) -> None:
    """A photo that was relabelled or taken out by undo counts with the snapshot's label; a deleted one does not."""
    relabelled, undone, deleted = data.of(Split.TEST).photos()
    photos.add(relabelled.path.read_bytes(), "d", "bob")
    photos.add(undone.path.read_bytes(), "d", "bob")
    assert History(photos).undo_last("bob").back == {undone.class_name: 1}
    deleted.path.unlink()
    pipeline = start()
    judged, served = await pipeline.evaluate(data)
    assert judged.photos == (relabelled, undone)
    assert judged.accuracy == 1
    assert served == "it is the first version"
    with np.load(pipeline.folder / GOLDEN) as golden:
        assert len(golden["pixels"]) == len(golden["probabilities"]) == 4


async def test_what_a_version_answered_once_is_not_asked_again(
    start: Start, photos: Photos, data: Snapshot, publish_tiny: PublishTiny, settings: Settings
) -> None:
    """The answers for the test photos are kept with the version; only a photo that came later is put to it."""
    folder = settings.models_dir / str(publish_tiny(CLASSES))
    pipeline = start()
    candidate, _ = await pipeline.evaluate(data)
    shutil.copy(pipeline.folder / KEPT, folder)
    known, others = kept(folder, CLASSES, candidate.photos[1:])
    assert others == []
    np.testing.assert_array_equal(known.probabilities, candidate.probabilities[1:])
    new = replace(candidate.photos[0], sha256="0" * 64)
    assert kept(folder, CLASSES, [new, *candidate.photos])[1] == [new]
    (folder / KEPT).write_bytes(b"damaged")
    assert kept(folder, CLASSES, candidate.photos)[1] == list(candidate.photos)


async def test_vanished_test_photos_do_not_open_the_gate(start: Start, data: Snapshot) -> None:
    """A run whose test photos were all taken away fails in words; having none from the start is another thing."""
    for photo in data.of(Split.TEST).photos():
        photo.path.unlink()
    with pytest.raises(RunError, match="taken away"):
        await start().evaluate(data)


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
