"""The steps of a run, from the catalogue to a published version."""

import asyncio
import platform
import shutil
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from itertools import islice

import keras
import numpy as np
import structlog
import tensorflow as tf
from structlog.contextvars import bound_contextvars

from serving.backend import Probabilities
from serving.graph import Graph
from storage import labels
from storage.database import now, open_database
from storage.errors import ImageError, LeaseLostError, ModelError, RetrainbotError, RunError
from storage.files import TEMPORARY, remove_unfinished, write_durably
from storage.images import Pixels, model_input
from storage.models import GOLDEN, LABELS, Ending, Manifest
from storage.photos import Photo
from storage.runs import Run, Runs, RunState
from storage.settings import Settings
from storage.splits import Split
from storage.texts import Text, write_text
from trainer import snapshot
from trainer.evaluate import Evaluation, evaluate, keep, kept, merged
from trainer.export import export
from trainer.faults import in_plain_words
from trainer.fitting import Box, Fitted, Fitting
from trainer.gate import Verdict, judge
from trainer.network.weights import FILE, write_weights
from trainer.progress import Progress
from trainer.report.facts import Facts
from trainer.snapshot import Changes, Snapshot

GOLDEN_PHOTOS = 4
UNASKED = 0.1  # So many test photos that are new, to each that it was asked about, need not be put to what is served.

log = structlog.get_logger()


@dataclass(frozen=True)
class InProcess:
    """A version's graph, asked on threads of this process."""

    graph: Graph

    @property
    def input_size(self) -> int:
        return self.graph.input_size

    async def predict(self, pixels: Pixels, /) -> Probabilities:
        return await asyncio.to_thread(self.graph.predict, pixels)


@dataclass(frozen=True, eq=False)
class Judged:
    """The candidate and what is served on the same test photos; instead of the second, why there is nothing.

    `against` is the number of the version that was served then.
    """

    candidate: Evaluation
    served: Evaluation | Text
    against: int | None
    verdict: Verdict


class Pipeline:
    def __init__(self, box: Box, run: Run, progress: Progress) -> None:
        self.box = box
        self.run = run
        self.progress = progress
        self.numbered: dict[int, str] = {}  # Classes that the report's pictures name by their number.
        self.folder = box.models.folder / f"{TEMPORARY}run-{run.id}-{run.token}"

    def work(self) -> None:
        """Do the run, to its end. Raises a RetrainbotError where it cannot be done; then nothing has been published."""
        for folder in (self.box.models.folder, self.box.settings.snapshots_dir):
            remove_unfinished(folder)  # Left by an attempt that lost its lease; we hold it now.
        self._remove_checkpoints()
        try:
            fitting = Fitting(self.box, self.run, self.progress)
            data, fitted = fitting.fit()
            self.export(data, fitted)
            judged = asyncio.run(self.judge(data))
            self.report(data, fitted, judged)
            while judged.against != self._served():  # Somebody promoted another version meanwhile.
                judged = asyncio.run(self.judge_again(judged))
                self.report(data, fitted, judged)
            self.publish(data, fitting.taken, fitted, judged)
        finally:
            shutil.rmtree(self.folder, ignore_errors=True)  # Where the disk is full, the end of the run needs the room.

    def _remove_checkpoints(self) -> None:
        """Of runs that have ended: nobody goes on from them, and they are large."""
        for folder in self.box.settings.runs_dir.glob("*/checkpoints"):
            if folder.parent.name != str(self.run.id):
                shutil.rmtree(folder, ignore_errors=True)

    async def judge(self, data: Snapshot) -> Judged:
        against = self._served()
        candidate, served = await self.evaluate(data)
        return self._judged(candidate, served, against)

    async def judge_again(self, judged: Judged) -> Judged:
        """Against what is served by now."""
        against = self._served()
        return self._judged(judged.candidate, await self.evaluate_served(judged.candidate.photos), against)

    def _judged(self, candidate: Evaluation, served: Evaluation | Text, against: int | None) -> Judged:
        verdict = judge(candidate, served, self.box.settings.gate, force=self.run.options.force)
        return Judged(candidate, served, against, verdict)

    def _served(self) -> int | None:
        served = self.box.models.served()
        return served.version if served else None

    def export(self, data: Snapshot, fitted: Fitted) -> None:
        with self.progress.step("export"):
            self.folder.mkdir(parents=True)
            export(fitted.backbone, fitted.weights, fitted.bias, self.folder)
            write_durably(self.folder / LABELS, labels.write_lines(data.classes).encode())
            if fitted.trained:
                write_weights(self.folder / FILE, fitted.backbone, fitted.weights, fitted.bias)

    async def evaluate(self, data: Snapshot) -> tuple[Evaluation, Evaluation | Text]:
        """The candidate as it will be served, and what is served, on the test photos."""
        test = tuple(data.of(Split.TEST).photos())
        with self.progress.step("evaluate") as report:
            server = InProcess(Graph(self.folder))
            candidate = await evaluate(server, data.classes, test, report, self.box.photos.read)
            if test and not candidate.photos:
                raise RunError("The test photos were taken away during the run. Train again.")
            keep(candidate, self.folder)
            await self._write_golden(server, candidate, data)
            return candidate, await self.evaluate_served(candidate.photos)

    async def evaluate_served(self, test: tuple[Photo, ...]) -> Evaluation | Text:
        """What is served, on the test photos, or why there is nothing. Raises ModelError where it cannot answer now."""
        served = self.box.models.served()
        if served is None:
            return Text("it is the first version")
        try:
            version = await asyncio.to_thread(self.box.models.verified, served.version)
        except ModelError as error:
            log.warning("the served version is damaged", version=served.version, reason=str(error))
            return Text("the served version {number} is damaged", number=served.version)
        known, others = kept(version.folder, version.classes, test)
        if len(others) <= UNASKED * len(known.photos):
            return known
        try:
            graph = Graph(version.folder)
            graph.check_golden()
            server = InProcess(graph)
            return merged([known, await evaluate(server, version.classes, others, read=self.box.photos.read)])
        except ModelError as error:
            if self.run.options.force:
                return Text(
                    "promotion was forced, though the served version {number} cannot be compared with",
                    number=version.number,
                )
            raise ModelError(
                "The new version cannot be compared with the served version {number}. {error} `retrainbot train"
                " --force` serves a new version uncompared.",
                number=version.number,
                error=error.text,
            ) from error

    async def _write_golden(self, server: InProcess, candidate: Evaluation, data: Snapshot) -> None:
        """A few photos' pixels with the candidate's answers; whoever loads the version later must get the same."""
        asked = len(candidate.photos) > 2 * GOLDEN_PHOTOS  # Then the answers are there already.
        photos: Iterable[Photo] = candidate.photos if asked else data.photos()
        places, golden = zip(*islice(self._pixels(photos, server.input_size), GOLDEN_PHOTOS), strict=True)
        pixels = np.stack(golden)
        probabilities = candidate.probabilities[list(places)] if asked else await server.predict(pixels)
        np.savez_compressed(self.folder / GOLDEN, pixels=pixels, probabilities=probabilities)

    def _pixels(self, photos: Iterable[Photo], size: int) -> Iterator[tuple[int, Pixels]]:
        """Each photo's place and pixels, less those whose file is gone or damaged."""
        for place, photo in enumerate(photos):
            with suppress(ImageError, OSError):
                yield place, model_input(self.box.photos.read(photo.path), size)

    def report(self, data: Snapshot, fitted: Fitted, judged: Judged) -> None:
        """What people look at; see docs/reports.md."""
        from trainer.report import lettering, report  # noqa: PLC0415  They draw, which takes a second to import.

        with self.progress.step("report"):
            facts = Facts(
                run=self.run,
                version=self.box.models.next_number(),
                data=data,
                candidate=judged.candidate,
                verdict=judged.verdict,
                seconds=self.progress.seconds,
                served=judged.served,
                served_version=judged.against,
                changes=self._changes(data, judged.against),
                curve=fitted.curve,
                calibration=fitted.calibration,
                class_weights=fitted.class_weights,
                details=fitted.facts,
                network=fitted.backbone.name,
            )
            self.numbered = lettering.numbered(data.classes)
            report.write(facts, self.box.settings.runs_dir / str(self.run.id), self.box.photos.read)

    def _changes(self, data: Snapshot, served: int | None) -> Changes | None:
        """What changed since the served version; None where that is not known any more."""
        with suppress(ModelError):
            identity = self.box.models.get(served).manifest.snapshot if served else ""
            before = snapshot.read(self.box.settings.snapshots_dir, identity, data.folder)
            return snapshot.changes(before, data) if before else None
        return None

    def publish(self, data: Snapshot, taken: Snapshot, fitted: Fitted, judged: Judged) -> None:
        with self.progress.step("publish"):
            for kept_too in {data.id: data, taken.id: taken}.values():
                kept_too.write(self.box.settings.snapshots_dir)
            manifest = self.manifest(data, fitted, judged).model_copy(update={"taken": taken.id})
            reason = judged.verdict.reason if judged.verdict.promoted else None
            self.box.models.publish(
                self.folder,
                manifest,
                self.run.token,
                promote=reason,
                ending=lambda number: self.ending(number, manifest, data, judged),
            )

    def manifest(self, data: Snapshot, fitted: Fitted, judged: Judged) -> Manifest:
        candidate, none = judged.candidate, labels.key(self.box.settings.training.none_class)
        metrics = {
            "test_photos": float(len(candidate.photos)),
            "test_accuracy": candidate.accuracy,
            "top5_accuracy": candidate.top(5),
            **fitted.metrics,
        }
        return Manifest(
            run=self.run.id,
            snapshot=data.id,
            photos=len(data),
            backbone=fitted.backbone.name,
            weights_digest=fitted.backbone.digest,
            input_size=fitted.backbone.input_size,
            mode=self.run.options.mode,
            seed=self.run.options.seed,
            metrics={name: value for name, value in metrics.items() if np.isfinite(value)},
            software={"python": platform.python_version(), "tensorflow": tf.__version__, "keras": keras.__version__},
            created_at=now(),
            sure_above=fitted.calibration.sure_above,
            none_class=next((name for name in data.classes if labels.key(name) == none), None),
        )

    def ending(self, version: int, manifest: Manifest, data: Snapshot, judged: Judged) -> Ending:
        served, verdict = judged.served, judged.verdict
        compared = {"served_accuracy": served.accuracy} if isinstance(served, Evaluation) and served.photos else {}
        if verdict.promoted:
            message = Text("Version {number} is served now, because {reason}.", number=version, reason=verdict.reason)
        else:
            message = Text(
                "Version {number} is kept, but not served, because {reason}.", number=version, reason=verdict.reason
            )
        result = {
            "version": version,
            "promoted": verdict.promoted,
            "reason": verdict.reason,
            "said": write_text(verdict.reason),
            "better": [asdict(change) for change in verdict.better],
            "worse": [asdict(change) for change in verdict.worse],
            "snapshot": manifest.snapshot,
            "photos": manifest.photos,
            "classes": len(data.classes),
            "numbered": self.numbered,
            "metrics": {**manifest.metrics, **compared},
            "seconds": self.progress.seconds,
        }
        return Ending(message, result)


def work(box: Box, run_id: int, token: int) -> None:
    """Do the run and write its final state."""
    with bound_contextvars(run=run_id):
        _work(box, run_id, token)


def _work(box: Box, run_id: int, token: int) -> None:
    runs = Runs(box.database)
    run = runs.get(run_id)
    keras.utils.set_random_seed(run.options.seed)
    try:
        with in_plain_words():
            Pipeline(box, run, Progress(runs, run)).work()
    except LeaseLostError as error:
        log.warning("run given up", run=run_id, reason=str(error))
    except RetrainbotError as error:
        runs.finish(run_id, token, RunState.FAILED, error.text)
    except OSError as error:
        log.exception("run failed", run=run_id)
        runs.finish(run_id, token, RunState.FAILED, _disk_words(error))
    except Exception as error:
        log.exception("run failed", run=run_id)
        message = Text(
            "Something unexpected went wrong ({kind}). The trainer's log says more.", kind=type(error).__name__
        )
        runs.finish(run_id, token, RunState.FAILED, message)


def open_box(settings: Settings) -> Box:
    """Made ready for a run: TensorFlow takes a GPU's memory as it needs it, and Keras is silent."""
    keras.config.disable_interactive_logging()
    for gpu in tf.config.list_physical_devices("GPU"):
        tf.config.experimental.set_memory_growth(gpu, enable=True)
    return Box(settings, open_database(settings))


def _disk_words(error: OSError) -> Text:
    return Text(
        "Reading or writing failed: {error}. Check that the disk has room and the data folder can be written.",
        error=error,
    )
