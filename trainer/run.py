"""One training run: `python -m trainer.run RUN TOKEN`, a child of the worker, alone with TensorFlow and the GPU."""

import asyncio
import os
import platform
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path

import keras
import numpy as np
import structlog
import tensorflow as tf

from serving.client import ModelServer
from storage import labels
from storage.database import Database, now
from storage.errors import LeaseLostError, ModelError, RecordsError, RetrainbotError, RunError
from storage.files import TEMPORARY, remove_unfinished, write_durably
from storage.images import Pixels, model_input
from storage.lifeline import follow_parent
from storage.logs import configure_logs
from storage.models import GOLDEN, LABELS, Ending, Manifest, Models
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

    def work(self) -> None:
        """Do the run, to its end. Raises a RetrainbotError where it cannot be done; then nothing has been published."""
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
        self.publish(folder, manifest, verdict, lambda number: self.ending(number, verdict, manifest, data, served))

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
        records.build(data, self.box.settings.records_dir, progress=report, read=self.box.photos.read)
        records.remove_others(self.box.settings.records_dir, data.id)
        return data

    def backbone(self) -> Backbone:
        with self.progress.step("backbone"):
            return backbones.load(self.run.options.backbone, self.run.options.weights)

    def features(self, data: Snapshot, backbone: Backbone) -> tuple[Snapshot, FeatureStore]:
        """Features of every photo; photos that cannot be read are left out of the snapshot."""
        store = FeatureStore(self.box.settings.features_dir, backbone.name, backbone.digest, backbone.features)
        with self.progress.step("features") as report:
            missing = set(store.missing([photo.sha256 for photo in data.photos()]))
            todo = [(photo.sha256, photo.path) for photo in data.photos() if photo.sha256 in missing]
            batch_size = self.box.settings.training.batch_size
            unreadable = extract(backbone, todo, store, batch_size, report, self.box.photos.read)
        for sha256, reason in unreadable:
            log.warning("photo left out", photo=sha256, reason=reason)
        return (data.without({sha256 for sha256, _ in unreadable}) if unreadable else data), store

    def head(self, data: Snapshot, store: FeatureStore) -> Head:
        with self.progress.step("head") as report:
            train, validation = data.of(Split.TRAIN), data.of(Split.VALIDATION)
            return fit(
                store.read([photo.sha256 for photo in train.photos()]),
                train.labels,
                store.read([photo.sha256 for photo in validation.photos()]),
                validation.labels,
                len(data.classes),
                seed=self.seed,
                progress=report,
            )

    def export(self, folder: Path, backbone: Backbone, head: Head, data: Snapshot) -> None:
        with self.progress.step("export"):
            folder.mkdir(parents=True)
            export(backbone, head.weights, head.bias, folder)
            write_durably(folder / LABELS, labels.write_lines(data.classes).encode())

    async def evaluate(self, folder: Path, data: Snapshot) -> tuple[Evaluation, Evaluation | str]:
        """The candidate and what is served, on the same test photos, each in a model server as the chat's.

        Instead of the second, the reason why there is nothing to compare with.
        """
        test = tuple(data.of(Split.TEST).photos())
        with self.progress.step("evaluate") as report:
            async with await self._server(folder) as server:
                candidate = await evaluate(server, data.classes, test, report, self.box.photos.read)
                if test and not candidate.photos:
                    raise RunError("The test photos were taken away during the run. Train again.")
                await self._write_golden(server, tuple(data.photos()), folder / GOLDEN)
            return candidate, await self.evaluate_served(candidate.photos)

    async def evaluate_served(self, test: tuple[Photo, ...]) -> Evaluation | str:
        """What is served, on the test photos, or why there is nothing. Raises ModelError where it cannot answer now."""
        served = self.box.models.served()
        if served is None:
            return "it is the first version"
        try:
            version = await asyncio.to_thread(self.box.models.verified, served.version)
        except ModelError as error:
            log.warning("the served version is damaged", version=served.version, reason=str(error))
            return f"the served version {served.version} is damaged"
        try:
            async with await self._server(version.folder) as server:
                return await evaluate(server, version.classes, test, read=self.box.photos.read)
        except ModelError as error:
            if self.run.options.force:
                return f"promotion was forced, though the served version {version.number} cannot be compared with"
            raise ModelError(
                f"The new version cannot be compared with the served version {version.number}. {error}"
                " `retrainbot train --force` serves a new version uncompared."
            ) from error

    async def _write_golden(self, server: ModelServer, photos: Sequence[Photo], path: Path) -> None:
        """A few photos' pixels with the candidate's answers; whoever loads the version later must get the same."""
        spread = photos[:: max(1, len(photos) // GOLDEN_PHOTOS)]
        pixels = np.stack(list(islice(self._pixels(chain(spread, photos), server.input_size), GOLDEN_PHOTOS)))
        np.savez_compressed(path, pixels=pixels, probabilities=await server.predict(pixels))

    def _pixels(self, photos: Iterable[Photo], size: int) -> Iterator[Pixels]:
        """Each photo's pixels, less those whose file is gone."""
        for photo in photos:
            with suppress(FileNotFoundError):
                yield model_input(self.box.photos.read(photo.path), size)

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
            photos=len(data),
            backbone=backbone.name,
            weights_digest=backbone.digest,
            input_size=backbone.input_size,
            mode=self.run.options.mode,
            seed=self.seed,
            metrics={name: value for name, value in metrics.items() if np.isfinite(value)},
            software={"python": platform.python_version(), "tensorflow": tf.__version__, "keras": keras.__version__},
            created_at=now(),
        )

    def publish(self, folder: Path, manifest: Manifest, verdict: Verdict, ending: Callable[[int], Ending]) -> None:
        with self.progress.step("publish"):
            reason = verdict.reason if verdict.promoted else None
            self.box.models.publish(folder, manifest, self.run.token, promote=reason, ending=ending)

    def ending(
        self, version: int, verdict: Verdict, manifest: Manifest, data: Snapshot, served: Evaluation | str
    ) -> Ending:
        compared = {"served_accuracy": served.accuracy} if isinstance(served, Evaluation) and served.photos else {}
        outcome = "is served now" if verdict.promoted else "is kept, but not served"
        result = {
            "version": version,
            "promoted": verdict.promoted,
            "reason": verdict.reason,
            "snapshot": manifest.snapshot,
            "photos": manifest.photos,
            "classes": len(data.classes),
            "metrics": {**manifest.metrics, **compared},
            "seconds": self.progress.seconds,
        }
        return Ending(f"Version {version} {outcome}, because {verdict.reason}.", result)


def work(settings: Settings, run_id: int, token: int) -> None:
    """Do the run and write its final state."""
    database = Database(settings.database_file)
    runs = Runs(database)
    run = runs.get(run_id)
    keras.utils.set_random_seed(run.options.seed)
    box = Box(
        settings,
        Photos(database, settings.photos_dir, settings.unlabelled_dir, settings.images),
        Models(database, settings.models_dir),
    )
    try:
        Pipeline(box, run, Progress(runs, run)).work()
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


def _disk_words(error: OSError) -> str:
    return f"Reading or writing failed: {error}. Check that the disk has room and the data folder can be written."


def main() -> None:
    follow_parent()
    if hasattr(os, "nice"):
        os.nice(NICENESS)
    settings = read_settings()
    configure_logs(settings.logging.level)
    keras.config.disable_interactive_logging()
    for gpu in tf.config.list_physical_devices("GPU"):
        tf.config.experimental.set_memory_growth(gpu, enable=True)
    work(settings, int(sys.argv[1]), int(sys.argv[2]))


if __name__ == "__main__":
    main()
