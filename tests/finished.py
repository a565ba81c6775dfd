"""A finished run for tests of what is told of it."""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from pictures import photo, write

from storage.photos import Photo
from storage.runs import Run, RunOptions, RunState
from storage.splits import Split
from storage.texts import Text
from trainer.calibration import Calibration
from trainer.curve import Curve, Point
from trainer.evaluate import Evaluation
from trainer.gate import Verdict
from trainer.report.facts import Facts
from trainer.snapshot import ROW, SPLITS, Snapshot

CURVE = Curve("epoch", (Point(1, 1.0, 0.5, 1.2, 0.4), Point(2, 0.5, 0.8, 0.9, 0.7), Point(3, 0.2, 0.9, 1.0, 0.6)), 1)


def facts(
    folder: Path, classes: Sequence[str], answers: Sequence[tuple[int, int, float]], learnt: int = 30, **other: Any
) -> Facts:
    """A run whose answers to its test photos are given: true class, answered class, and the answer's probability.

    Each class has `learnt` training photos; each test photo lies in `folder`.
    """
    options = RunOptions(mode="head", backbone="efficientnet_lite0", weights="imagenet", seed=0)
    at = datetime(2026, 1, 2, 3, 4, tzinfo=UTC)
    run = Run(12, RunState.RUNNING, options, "ann", at, at, None, 1, None, 0, 0, None, None, None)
    candidate = evaluation(folder, classes, answers)
    return Facts(
        run=run,
        version=7,
        data=snapshot(folder, classes, answers, learnt),
        candidate=candidate,
        seconds={"features": 12.5, "head": 0.5},
        **{
            "served": Text("it is the first version"),
            "verdict": Verdict(True, Text("it is the first version")),
            **other,
        },
    )


def evaluation(folder: Path, classes: Sequence[str], answers: Sequence[tuple[int, int, float]]) -> Evaluation:
    photos = tuple(
        Photo(f"{number:064x}", classes[truth], Split.TEST, write(folder / f"{number}.jpg", photo(number)))
        for number, (truth, _, _) in enumerate(answers)
    )
    probabilities = np.zeros((len(answers), len(classes)), np.float32)
    for row, (_, answer, probability) in zip(probabilities, answers, strict=True):
        row[:] = (1 - probability) / max(1, len(classes) - 1)
        row[answer] = probability
    return Evaluation(tuple(classes), photos, np.array([truth for truth, _, _ in answers], np.int64), probabilities)


def snapshot(folder: Path, classes: Sequence[str], answers: Sequence[tuple[int, int, float]], learnt: int) -> Snapshot:
    labels = [truth for truth, _, _ in answers] + [number for number in range(len(classes)) for _ in range(learnt)]
    rows = np.zeros(len(labels), ROW)
    rows["sha256"][:, -8:] = np.arange(len(labels), dtype=">u8").view(np.uint8).reshape(-1, 8)
    rows["label"] = labels
    rows["split"] = SPLITS.index(Split.TRAIN)
    rows["split"][: len(answers)] = SPLITS.index(Split.TEST)
    return Snapshot(tuple(classes), rows, folder)


def calibration() -> Calibration:
    return Calibration(1.0, 0.063, 0.021, 0.75, 0.8, 0.97)
