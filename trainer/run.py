"""One training run: `python -m trainer.run RUN TOKEN`, a child of the worker, alone with TensorFlow and the GPU."""

import asyncio
import os
import platform
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import structlog
import tensorflow as tf

from serving.client import ModelServer
from storage import labels
from storage.database import Database, now
from storage.errors import LeaseLostError, ModelError, RecordsError, RetrainbotError
from storage.files import TEMPORARY, remove_unfinished, write_durably
from storage.images import model_input
from storage.lifeline import follow_parent
from storage.logs import configure_logs
from storage.models import GOLDEN, LABELS, Manifest, Models
from storage.photos import Photo, Photos
from storage.reindex import reindex
from storage.runs import Run, Runs, RunState
from storage.settings import Settings, read_settings
from storage.splits import Split
from trainer import backbones, records, snapshot
from trainer.backbones import Backbone
from trainer.evaluate import Evaluation, evaluate
from trainer.export import export
from trainer.features import FeatureStore, extract
from trainer.gate import Verdict, judge
from trainer.head import Head, fit
from trainer.progress import Progress
from trainer.snapshot import Snapshot

GOLDEN_PHOTOS = 4
NICENESS = 10  # Serving comes first: on a shared box the chat's answers get the cores they ask for.

log = structlog.get_logger()


@dataclass(frozen=True)
class Box:
    """Where a run reads from and writes to."""

    settings: Settings
    photos: Photos
    models: Models


class Pipeline:
    """The steps of a run, from the catalogue to a published version."""

    def __init__(self, box: Box, run: Run, progress: Progress) -> None:
        self.box = box
        self.run = run
        self.progress = progress
        self.seed = run.options.seed

    def result(self) -> dict[str, Any]:
        """Do the run. Raises a RetrainbotError where it cannot be done; then nothing has been published."""
        folder = self.box.models.folder / f"{TEMPORARY}run-{self.run.id}-{self.run.token}"
        remove_unfinished(self.box.models.folder)  # Left by an attempt that lost its lease; we hold it now.
        data = self.snapshot()
        backbone = self.backbone()
        data, store = self.features(data, backbone)
        head = self.head(data, store)
        self.export(folder, backbone, head, data)
        candidate, served = asyncio.run(self.evaluate(folder, data))
        verdict = judge(candidate, served, force=self.run.options.force)
        manifest = self.manifest(data, backbone, head, candidate)
        version = self.publish(folder, manifest, verdict)
        return self.document(version, verdict, manifest, data, served)

    def snapshot(self) -> Snapshot:
        """The class folders as they are now, and their TFRecords."""
        with self.progress.step("records") as report:
            try:
                return self._snapshot(report)
            except RecordsError as error:  # Most likely somebody moved a photo between the two steps.
                log.info("records are built once more", reason=str(error))
                return self._snapshot(report)

    def _snapshot(self, report: Callable[[int, int], None]) -> Snapshot:
        reindex(self.box.photos)
        data = snapshot.take(self.box.photos)
        records.build(data, self.box.settings.records_dir, progress=report)
        records.remove_others(self.box.settings.records_dir, data.id)
        return data

    def backbone(self) -> Backbone:
        with self.progress.step("backbone"):
            return backbones.load(self.run.options.backbone, self.run.options.weights)

    def features(self, data: Snapshot, backbone: Backbone) -> tuple[Snapshot, FeatureStore]:
        """Features of every photo; photos that cannot be read are left out of the snapshot."""
        store = FeatureStore(self.box.settings.features_dir, backbone.name, backbone.digest, backbone.features)
        with self.progress.step("features") as report:
            missing = set(store.missing([photo.sha256 for photo in data.photos]))
            todo = [(photo.sha256, photo.path) for photo in data.photos if photo.sha256 in missing]
            unreadable = extract(backbone, todo, store, self.box.settings.training.batch_size, report) if todo else []
        for sha256, reason in unreadable:
            log.warning("photo left out", photo=sha256, reason=reason)
        return (data.without({sha256 for sha256, _ in unreadable}) if unreadable else data), store

    def head(self, data: Snapshot, store: FeatureStore) -> Head:
        with self.progress.step("head") as report:
            train, validation = data.split(Split.TRAIN), data.split(Split.VALIDATION)
            return fit(
                store.read([photo.sha256 for photo in train]),
                data.labels(train),
                store.read([photo.sha256 for photo in validation]),
                data.labels(validation),
                len(data.classes),
                seed=self.seed,
                progress=report,
            )

    def export(self, folder: Path, backbone: Backbone, head: Head, data: Snapshot) -> None:
        with self.progress.step("export"):
            folder.mkdir(parents=True)
            export(backbone, head.weights, head.bias, folder)
            write_durably(folder / LABELS, labels.write_lines(data.classes).encode())

    async def evaluate(self, folder: Path, data: Snapshot) -> tuple[Evaluation, Evaluation | None]:
        """The candidate and what is served, on the same test photos, each in a model server as the chat's."""
        test = data.split(Split.TEST)
        with self.progress.step("evaluate") as report:
            async with await self._server(folder) as server:
                candidate = await evaluate(server, data.classes, test, report)
                await _write_golden(server, data.photos, folder / GOLDEN)
            return candidate, await self._evaluate_served(test)

    async def _evaluate_served(self, test: tuple[Photo, ...]) -> Evaluation | None:
        served = self.box.models.served()
        if served is None:
            return None
        try:
            version = await asyncio.to_thread(self.box.models.verified, served.version)
            async with await self._server(version.folder) as server:
                return await evaluate(server, version.classes, test)
        except ModelError as error:
            log.warning("the served version cannot be compared with", version=served.version, reason=str(error))
            return None

    async def _server(self, folder: Path) -> ModelServer:
        serving = self.box.settings.serving
        return await ModelServer.start(folder, threads=serving.threads or None, timeout=serving.start_timeout)

    def manifest(self, data: Snapshot, backbone: Backbone, head: Head, candidate: Evaluation) -> Manifest:
        metrics = {
            "test_photos": float(len(candidate.photos)),
            "test_accuracy": candidate.accuracy,
            "top5_accuracy": candidate.top(5),
            "validation_accuracy": head.validation_accuracy,
            "regularisation": head.regularisation,
        }
        return Manifest(
            run=self.run.id,
            snapshot=data.id,
            photos=len(data.photos),
            backbone=backbone.name,
            weights_digest=backbone.digest,
            input_size=backbone.input_size,
            mode=self.run.options.mode,
            seed=self.seed,
            metrics={name: value for name, value in metrics.items() if np.isfinite(value)},
            software={"python": platform.python_version(), "tensorflow": tf.__version__, "keras": keras.__version__},
            created_at=now(),
        )

    def publish(self, folder: Path, manifest: Manifest, verdict: Verdict) -> int:
        with self.progress.step("publish"):
            reason = verdict.reason if verdict.promoted else None
            return self.box.models.publish(folder, manifest, self.run.token, promote=reason)

    def document(
        self, version: int, verdict: Verdict, manifest: Manifest, data: Snapshot, served: Evaluation | None
    ) -> dict[str, Any]:
        compared = {"served_accuracy": served.accuracy} if served and served.photos else {}
        return {
            "version": version,
            "promoted": verdict.promoted,
            "reason": verdict.reason,
            "snapshot": manifest.snapshot,
            "photos": manifest.photos,
            "classes": len(data.classes),
            "metrics": {**manifest.metrics, **compared},
            "seconds": self.progress.seconds,
        }


async def _write_golden(server: ModelServer, photos: tuple[Photo, ...], path: Path) -> None:
    """A few photos' pixels with the candidate's answers; whoever loads the version later must get the same."""
    spread = photos[:: max(1, len(photos) // GOLDEN_PHOTOS)][:GOLDEN_PHOTOS]
    pixels = np.stack([model_input(photo.path.read_bytes(), server.input_size) for photo in spread])
    np.savez_compressed(path, pixels=pixels, probabilities=await server.predict(pixels))


def work(settings: Settings, run_id: int, token: int) -> None:
    """Do the run and write its final state."""
    database = Database(settings.database_file)
    runs = Runs(database)
    run = runs.get(run_id)
    box = Box(
        settings,
        Photos(database, settings.photos_dir, settings.images),
        Models(database, settings.models_dir),
    )
    try:
        result = Pipeline(box, run, Progress(runs, run)).result()
    except LeaseLostError as error:
        log.warning("run given up", run=run_id, reason=str(error))
    except RetrainbotError as error:
        runs.finish(run_id, token, RunState.FAILED, str(error))
    except OSError as error:
        log.exception("run failed", run=run_id)
        runs.finish(run_id, token, RunState.FAILED, _disk_words(error))
    except Exception as error:
        log.exception("run failed", run=run_id)
        message = f"Something unexpected went wrong ({type(error).__name__}). The trainer's log says more."
        runs.finish(run_id, token, RunState.FAILED, message)
    else:
        runs.finish(run_id, token, RunState.SUCCEEDED, _summary(result), result)


def _disk_words(error: OSError) -> str:
    return f"Reading or writing failed: {error}. Check that the disk has room and the data folder can be written."


def _summary(result: dict[str, Any]) -> str:
    served = "is served now" if result["promoted"] else "is kept, but not served"
    return f"Version {result['version']} {served}, because {result['reason']}."


def main() -> None:
    follow_parent()
    if hasattr(os, "nice"):
        os.nice(NICENESS)
    settings = read_settings()
    configure_logs(settings.logging.level)
    keras.config.disable_interactive_logging()
    for gpu in tf.config.list_physical_devices("GPU"):
        tf.config.experimental.set_memory_growth(gpu, enable=True)
    keras.utils.set_random_seed(settings.training.seed)
    work(settings, int(sys.argv[1]), int(sys.argv[2]))


if __name__ == "__main__":
    main()
