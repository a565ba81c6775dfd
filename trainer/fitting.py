"""The three ways to train: the last layer on cached features, the whole network from what it knows, or from nothing."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import structlog
from numpy.typing import NDArray

from storage.database import Database
from storage.errors import RunError, UnreadablePhotoError
from storage.models import Models
from storage.photos import Photos
from storage.reindex import reindex
from storage.runs import Run
from storage.settings import Settings
from storage.splits import Split
from trainer import snapshot
from trainer.backbones import zoo
from trainer.backbones.zoo import Backbone
from trainer.calibration import Calibration, calibrate
from trainer.curve import Curve
from trainer.features.extraction import Extractor
from trainer.features.store import FeatureStore
from trainer.head import fit
from trainer.head.fit import Head
from trainer.head.rows import Joined, Rows
from trainer.network.batches import targets_of
from trainer.network.fit import Hooks, Task, Trained, train
from trainer.network.learner import Start
from trainer.network.plan import Plan
from trainer.network.weights import FILE, read_weights
from trainer.progress import Progress
from trainer.records import builder, folders
from trainer.records.reading import RecordSamples, opened
from trainer.report.board import Board
from trainer.snapshot import Snapshot

LEFT_OUT = 100  # Photos that a run does without; where more cannot be read, something larger is wrong.

log = structlog.get_logger()


class Box:
    """Where a run reads from and writes to, and the networks that this process has loaded."""

    def __init__(self, settings: Settings, database: Database) -> None:
        self.settings = settings
        self.database = database
        self.photos = Photos(database, settings.photos_dir, settings.unlabelled_dir, settings.images)
        self.models = Models(database, settings.models_dir)
        self.extractor = cache(self._extractor)

    def _extractor(self, backbone: str, weights: str, batch_size: int) -> Extractor:
        """What computes features with a pretrained network; made once."""
        loaded = zoo.load(backbone, weights)
        return Extractor(loaded, batch_size, self.photos.read)

    def stores(self, backbone: Backbone) -> list[FeatureStore]:
        """Where the features of photos are, and of their mirror images if those are wanted."""
        variants = (False, True) if self.settings.training.mirrored else (False,)
        place = self.settings.features_dir, backbone.name, backbone.digest, backbone.features
        return [FeatureStore(*place, mirrored=mirrored) for mirrored in variants]


@dataclass(frozen=True, eq=False)
class Fitted:
    """Probabilities are softmax(features of the backbone @ weights + bias): weights float32 (features, classes).

    `class_weights` (classes,) says what a photo of each class counted for; `trained` is whether the backbone's own
    weights were, too. `metrics` and `facts` are what else is to be told.
    """

    backbone: Backbone
    weights: NDArray[np.float32]
    bias: NDArray[np.float32]
    class_weights: NDArray[np.float64]
    curve: Curve
    calibration: Calibration
    trained: bool
    metrics: dict[str, float]
    facts: dict[str, str | float]


class Fitting:
    """Fits what a run asks for. `taken` is the catalogue as it was at the start, from which photos may be left out."""

    taken: Snapshot

    def __init__(self, box: Box, run: Run, progress: Progress, clock: Callable[[], float] = time.monotonic) -> None:
        self._box = box
        self._run = run
        self._progress = progress
        self._settings = box.settings
        self._folder = box.settings.runs_dir / str(run.id)
        minutes = run.options.time_budget or box.settings.training.time_budget
        self._until = clock() + 60 * minutes if minutes else float("inf")
        self._clock = clock

    def fit(self) -> tuple[Snapshot, Fitted]:
        """The photos that were learnt from, and the result. Raises a RetrainbotError where it cannot be done."""
        data = self._snapshot()
        match self._run.options.mode:
            case "head":
                return self._head(data)
            case "full":
                return self._full(data)
            case "scratch":
                return data, self._network(data, self._nothing(data))

    def _head(self, data: Snapshot) -> tuple[Snapshot, Fitted]:
        data, backbone, fitted = self._learn_head(data)
        calibration = calibrate(fitted.validation_logits, fitted.validation_labels, self._precision)
        temperature = np.float32(calibration.temperature)
        return data, Fitted(
            backbone,
            fitted.weights / temperature,
            fitted.bias / temperature,
            fitted.class_weights,
            fitted.curve,
            calibration,
            trained=False,
            metrics={
                "validation_accuracy": fitted.validation_accuracy,
                "regularisation": fitted.regularisation,
            },
            facts={},
        )

    def _full(self, data: Snapshot) -> tuple[Snapshot, Fitted]:
        number = self._run.options.init_version
        if number is not None:
            return data, self._network(data, self._version(number, data))
        data, backbone, fitted = self._learn_head(data)
        if data.id != self.taken.id:
            with self._progress.step("records") as report:
                self._write_records(data, report)
        return data, self._network(data, Start(backbone, fitted.start_weights, fitted.start_bias))

    def _snapshot(self) -> Snapshot:
        """The photos as they were when the run began, also where it is taken up again, and their TFRecords."""
        with self._progress.step("records") as report:
            self.taken = self._begun() or self._begin()
            return self._recorded(self.taken, report)

    def _begun(self) -> Snapshot | None:
        """What an earlier attempt of this run took."""
        kept = sorted(self._folder.glob("*.npz"))
        return snapshot.read(self._folder, kept[0].stem, self._box.photos.folder) if kept else None

    def _begin(self) -> Snapshot:
        reindex(self._box.photos)
        data = snapshot.take(self._box.photos)
        data.write(self._folder)
        return data

    def _recorded(self, data: Snapshot, report: Callable[[int, int], None]) -> Snapshot:
        """The photos whose records could be written."""
        for _ in range(LEFT_OUT):
            try:
                self._write_records(data, report)
            except UnreadablePhotoError as error:
                log.warning("photo left out", photo=error.sha256, reason=str(error))
                data = data.without({error.sha256})
            else:
                return data
        raise RunError(
            "More than {most} photos cannot be read; the trainer's log names them. Check that the disk"
            " with the photos is connected, run `retrainbot reindex`, and train again.",
            most=LEFT_OUT,
        )

    def _write_records(self, data: Snapshot, report: Callable[[int, int], None]) -> None:
        check = self._run.options.mode != "head"  # Which does not read them.
        folder = self._settings.records_dir
        builder.build(data, folder, progress=report, read=self._box.photos.read, check=check)
        folders.remove_others(folder, data.id)

    def _learn_head(self, data: Snapshot) -> tuple[Snapshot, Backbone, Head]:
        """The last layer, on features of every photo that can be read; the others are left out of the snapshot."""
        options = self._run.options
        with self._progress.step("backbone"):
            extractor = self._box.extractor(
                options.backbone, options.weights, options.batch_size or self._settings.training.batch_size
            )
        stores = self._box.stores(extractor.backbone)
        with self._progress.step("features") as report:
            unreadable = extractor.extract(data, stores, report, self._out_of_time)
        for sha256, reason in unreadable.items():
            log.warning("photo left out", photo=sha256, reason=reason)
        data = data.without(set(unreadable)) if unreadable else data
        if any(store.missing(data.hashes).any() for store in stores):
            raise RunError(
                "The time was used up before every photo was looked at. What was done is kept: train again, and it goes"
                " on from there, or give it more time with training.time_budget."
            )
        with self._progress.step("head") as report:
            fitted = self._fit_head(data, stores, report)
        with Board(self._folder / "tensorboard", fitted.curve.unit) as board:
            for point in fitted.curve.points:
                board.point(point)
        return data, extractor.backbone, fitted

    def _fit_head(self, data: Snapshot, stores: Sequence[FeatureStore], report: Callable[[int, int], None]) -> Head:
        learn, judge = data.of(Split.TRAIN), data.of(Split.VALIDATION)
        copies: list[Rows] = [store.rows(learn.hashes) for store in stores]
        return fit.fit(
            Joined(tuple(copies)),
            np.tile(learn.labels, len(copies)),
            stores[0].rows(judge.hashes),
            judge.labels,
            len(data.classes),
            class_weights=self._settings.training.class_weights,
            progress=report,
            stop=self._out_of_time,
        )

    def _network(self, data: Snapshot, start: Start) -> Fitted:
        """The whole network, from its checkpoints if an earlier attempt of the run has left some."""
        options = self._run.options
        plan = Plan.of(self._settings, options)
        folder = Path(options.train_dir) if options.train_dir else self._folder / "checkpoints"
        with (
            self._progress.step("network") as report,
            opened(self._settings.records_dir / data.id) as held,
            Board(self._folder / "tensorboard") as board,
        ):
            learn, judge = RecordSamples(held, Split.TRAIN), RecordSamples(held, Split.VALIDATION)
            hooks = Hooks(told=board.point, progress=report, stop=self._out_of_time)
            trained = train(Task(data.id, start, learn, judge, plan), folder, hooks)
        return self._calibrated(trained, data, plan)

    def _calibrated(self, trained: Trained, data: Snapshot, plan: Plan) -> Fitted:
        calibration = calibrate(trained.validation_logits, trained.validation_labels, self._precision)
        temperature = np.float32(calibration.temperature)
        labels, classes = data.of(Split.TRAIN).labels, len(data.classes)
        best = trained.curve.points[trained.curve.best]
        return Fitted(
            trained.backbone,
            trained.weights / temperature,
            trained.bias / temperature,
            targets_of(labels, classes, 0.0, balanced=plan.balanced).diagonal().astype(np.float64),
            trained.curve,
            calibration,
            trained=True,
            metrics={
                "validation_accuracy": best.validation_accuracy if best.validation_accuracy is not None else np.nan,
                "steps": float(trained.steps),
            },
            facts={"batch size": float(trained.batch_size), "ended because": trained.ended, "best after": best.at},
        )

    def _nothing(self, data: Snapshot) -> Start:
        """A network that knows nothing yet."""
        with self._progress.step("backbone"):
            options = self._run.options
            backbone = zoo.untrained(options.backbone, self._settings.network.input_size, options.seed)
            shape = backbone.features, len(data.classes)
            return Start(backbone, np.zeros(shape, np.float32), np.zeros(shape[1], np.float32))

    def _version(self, number: int, data: Snapshot) -> Start:
        """What an earlier version has learnt; classes that it does not know start from nothing.

        Raises ModelError where there is no such version, or it has no network of its own.
        """
        with self._progress.step("backbone"):
            version = self._box.models.verified(number)
            manifest = version.manifest
            network = zoo.untrained(manifest.backbone, manifest.input_size)
            backbone, weights, bias = read_weights(version.folder / FILE, network)
        places = {name: place for place, name in enumerate(version.classes)}
        known = [places.get(name, -1) for name in data.classes]
        zero = np.zeros((len(weights), 1), np.float32)
        return Start(backbone, np.hstack([weights, zero])[:, known], np.append(bias, np.float32(bias.mean()))[known])

    @property
    def _precision(self) -> float:
        return self._settings.training.precision

    def _out_of_time(self) -> bool:
        return self._clock() >= self._until
