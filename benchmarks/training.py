"""Runs of the last layer on the orchids: cold, and warm after ten new photos, beside the flow that tutorials teach.

Cold is measured twice: by `retrainbot train`, a process that starts from nothing, and by a trainer that stands by, as
/train finds it. Warm ends when the new version answers, in a model server as the bot has it.
"""

import asyncio
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.orchids import SEEDS, folder
from bot.rollout import Rollout
from serving.local import Local
from storage import lifeline
from storage.database import Database
from storage.models import Models
from storage.photos import Photos
from storage.runs import Run, RunOptions, Runs, RunState
from storage.settings import Settings, Training
from storage.splits import Split
from trainer.backbones import zoo
from trainer.features.store import FeatureStore
from trainer.snapshot import take

NEW = 10  # Photos that come before the warm run.
QUIET = {
    "RETRAINBOT_TRAINING__BACKBONE": "efficientnet_lite0",
    "RETRAINBOT_SCHEDULE__CRON": "",
    "TF_CPP_MIN_LOG_LEVEL": "3",
}
WANTED_RATIO, WANTED_WARM, WANTED_OTHER = 6.0, 0.10, 10.0
TIMES_LEFT_OUT = ("features", "head")  # What of a warm run is looking at photos and fitting.


class Stage:
    """A data folder with the orchids, but for the last photos of each class."""

    def __init__(self, scratch: Path, orchids: Path) -> None:
        self.settings = Settings(data=scratch / "data", training=Training(backbone="efficientnet_lite0"))
        self.environment = {**os.environ, **QUIET, "RETRAINBOT_DATA": str(self.settings.data)}
        source = scratch / "photos"
        shutil.copytree(orchids / "photos", source)
        self.later = self._hold_back(source)
        self.command("import", str(source))
        self.database = Database(self.settings.database_place)
        self.photos = Photos(
            self.database, self.settings.photos_dir, self.settings.unlabelled_dir, self.settings.images
        )
        self.runs = Runs(self.database)

    def command(self, *arguments: str) -> tuple[dict[str, Any], float]:
        """What a command prints as JSON, and how many seconds it took."""
        started = time.perf_counter()
        command = lifeline.child("cli.main", "--json", *arguments)
        done = subprocess.run(command, env=self.environment, check=True, capture_output=True, text=True)
        return json.loads(done.stdout), time.perf_counter() - started

    def forget(self) -> None:
        """As if nothing had ever been trained."""
        for path in (self.settings.features_dir, self.settings.records_dir):
            shutil.rmtree(path, ignore_errors=True)

    def bring_new(self) -> None:
        for name, content in self.later:
            self.photos.add(content, name, "benchmark")

    @contextmanager
    def trainer(self) -> Iterator[None]:
        """A trainer, once its process for the next run stands by."""
        command = lifeline.child("cli.main", "trainer")
        environment = {**self.environment, lifeline.VARIABLE: "1"}
        with subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
            time.sleep(15)  # Nothing says when its child has imported TensorFlow.
            yield
            process.terminate()

    def trained(self) -> tuple[Run, float]:
        """A run as /train makes it, at its end, and the seconds since it was asked for."""
        started = time.perf_counter()
        run, _ = self.runs.enqueue(RunOptions.from_settings(self.settings.training, force=True), "benchmark")
        while not (run := self.runs.get(run.id)).final:
            time.sleep(0.02)
        if run.state is not RunState.SUCCEEDED:
            raise SystemExit(f"The run ended otherwise: {run.message}")
        return run, time.perf_counter() - started

    def wait_for_features(self) -> None:
        """Until the idle trainer has looked at every photo."""
        backbone = zoo.load("efficientnet_lite0")
        store = FeatureStore(self.settings.features_dir, backbone.name, backbone.digest, backbone.features)
        while store.missing(take(self.photos).hashes).any():
            time.sleep(0.2)

    def _hold_back(self, source: Path) -> list[tuple[str, bytes]]:
        held = []
        for path in sorted(path for path in source.glob("*/*") if path.is_file())[5::80][:NEW]:
            held.append((path.parent.name, path.read_bytes()))
            path.unlink()
        return held

    def by_split(self, target: Path) -> None:
        """The stored photos as a tutorial wants them."""
        for photo in self.photos.all():
            place = target / photo.split / photo.class_name / photo.path.name
            place.parent.mkdir(parents=True, exist_ok=True)
            place.hardlink_to(photo.path)
        for split in Split:  # Class numbers come from the folders' names.
            for photo in self.photos.all():
                (target / split / photo.class_name).mkdir(exist_ok=True)


def main() -> None:
    orchids = folder()
    if orchids is None:
        return
    with tempfile.TemporaryDirectory() as scratch:
        stage = Stage(Path(scratch), orchids)
        by_command = _cold_by_command(stage)
        with stage.trainer():
            cold, cold_seconds = _cold_by_trainer(stage)
            warm, published, answering = asyncio.run(_warm(stage))
        stage.by_split(Path(scratch) / "splits")
        tutorial = [_tutorial(stage, Path(scratch) / "splits", seed) for seed in SEEDS]
        _tell_cold(stage, by_command, (cold, cold_seconds), tutorial)
        _tell_warm(warm, published, answering, cold_seconds)


def _cold_by_command(stage: Stage) -> tuple[dict[str, Any], float]:
    stage.forget()
    return stage.command("train", "--force")


def _cold_by_trainer(stage: Stage) -> tuple[Run, float]:
    stage.forget()
    return stage.trained()


async def _warm(stage: Stage) -> tuple[Run, float, float]:
    """The run after new photos; seconds until its version was published, and until it answered."""
    models = Models(stage.database, stage.settings.models_dir)
    async with AsyncExitStack() as stack:
        backend = Local()
        stack.push_async_callback(backend.close)
        rollout = await stack.enter_async_context(Rollout(models, backend))
        await asyncio.to_thread(stage.bring_new)
        await asyncio.to_thread(stage.wait_for_features)
        await asyncio.sleep(
            15
        )  # The trainer's next process has imported TensorFlow by then, and the old version answers.
        started = time.perf_counter()
        run, published = await asyncio.to_thread(stage.trained)
        if not (run.result or {})["promoted"]:
            raise SystemExit(f"The warm version was not promoted: {run.message}")
        while rollout.answering != (run.result or {})["version"]:  # noqa: ASYNC110  It has no event for that.
            await asyncio.sleep(0.02)
        return run, published, time.perf_counter() - started


def _tutorial(stage: Stage, photos: Path, seed: int) -> dict[str, float]:
    command = [sys.executable, "-m", "benchmarks.tutorial", str(photos), str(seed)]
    done = subprocess.run(command, env=stage.environment, check=True, capture_output=True, text=True)
    result: dict[str, float] = json.loads(done.stdout.strip().rpartition("\n")[2])
    return result


def _tell_cold(
    stage: Stage,
    by_command: tuple[dict[str, Any], float],
    by_trainer: tuple[Run, float],
    tutorial: list[dict[str, float]],
) -> None:
    theirs = float(np.mean([each["seconds"] for each in tutorial]))
    print(f"The last layer on {len(stage.photos.all())} orchids, EfficientNet-Lite0, {os.cpu_count()} cores")
    print(f"  ten epochs as tutorials do it        {theirs:5.1f} s   (from the first line to the exported model)")
    for words, (seconds, metrics) in {
        "cold, by `retrainbot train`": (by_command[1], by_command[0]["metrics"]),
        "cold, by a trainer that stands by": (by_trainer[1], (by_trainer[0].result or {})["metrics"]),
    }.items():
        print(
            f"  {words:<35}  {seconds:5.1f} s   {theirs / seconds:.1f} times as fast (wanted: {WANTED_RATIO:.0f});"
            f" right on {metrics['test_accuracy']:.3f} of the test photos"
        )
    accuracy = [each["accuracy"] for each in tutorial]
    shown = ", ".join(f"{each:.3f}" for each in accuracy)
    print(f"  the tutorial's accuracy              {np.mean(accuracy):.3f}     (each seed: {shown})")


def _tell_warm(run: Run, published: float, answering: float, cold: float) -> None:
    seconds = (run.result or {})["seconds"]
    fitting = sum(seconds.get(step, 0.0) for step in TIMES_LEFT_OUT)
    print(f"After {NEW} new photos, by a trainer that stands by")
    part = published / cold
    print(f"  asked until published                {published:5.1f} s   {part:.2f} of cold (wanted: {WANTED_WARM})")
    print(f"  asked until it answers               {answering:5.1f} s")
    print(f"  of that, not fitting                 {answering - fitting:5.1f} s   (wanted: under {WANTED_OTHER:.0f})")
    print(
        f"  steps: {', '.join(f'{step} {value:.2f}' for step, value in seconds.items())};"
        f" loading and checking in the bot {answering - published:.2f}"
    )


if __name__ == "__main__":
    main()
