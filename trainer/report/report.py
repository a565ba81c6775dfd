"""A run's report: a page for people, a document for programs, and pictures, in the run's folder."""

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pydantic_core import to_json

from storage.files import write_durably
from trainer.evaluate import Evaluation
from trainer.report import plots, sheet
from trainer.report.facts import Facts, Mistake, Score
from trainer.report.page import CONFUSION, CURVES, MISTAKES, markdown

DOCUMENT, PAGE = "report.json", "report.md"


def write(facts: Facts, folder: Path, read: Callable[[Path], bytes]) -> None:
    """Write the report, each file whole or not at all; a picture with nothing to show is left out.

    `read` gives the bytes of the photo at a path, or raises FileNotFoundError.
    """
    pictures = {
        CURVES: plots.curves(facts.curve) if facts.curve else None,
        CONFUSION: plots.confusion(facts.confusion, facts.data.classes, facts.mix_ups),
        MISTAKES: sheet.mistakes(facts.candidate, facts.mistakes, read),
    }
    drawn = {name: content for name, content in pictures.items() if content is not None}
    for name in pictures.keys() - drawn:
        (folder / name).unlink(missing_ok=True)  # An attempt that was cut short may have left one.
    texts = {PAGE: markdown(facts, drawn).encode(), DOCUMENT: to_json(document(facts), indent=2, inf_nan_mode="null")}
    for name, content in {**drawn, **texts}.items():
        write_durably(folder / name, content)


def document(facts: Facts) -> dict[str, Any]:
    """The report for programs, as docs/reports.md lays it out. What cannot be told is None."""
    run, candidate = facts.run, facts.candidate
    return {
        "run": run.id,
        "version": facts.version,
        "requested_by": run.requested_by,
        "started_at": run.started_at,
        "options": run.options.model_dump(),
        "details": dict(facts.details),
        "snapshot": facts.data.id,
        "photos": dict(facts.split_counts),
        "served_version": facts.served_version,
        "changes": asdict(facts.changes) if facts.changes else None,
        "verdict": facts.verdict.document(),
        "metrics": _metrics(facts),
        "classes": [_class(score) for score in facts.scores],
        "mix_ups": [asdict(pair) for pair in facts.mix_ups],
        "mistakes": [_mistake(one, candidate) for one in facts.mistakes],
        "calibration": _calibration(facts),
        "curve": asdict(facts.curve) if facts.curve else None,
        "seconds": dict(facts.seconds),
    }


def _metrics(facts: Facts) -> dict[str, Any]:
    served = facts.served
    return {
        "test_photos": facts.judged,
        "test_accuracy": facts.accuracy,
        "test_accuracy_interval": facts.likely_accuracy,
        "top5_accuracy": facts.candidate.top(5) if facts.judged else None,
        "served_accuracy": served.accuracy if isinstance(served, Evaluation) and len(served.truth) else None,
    }


def _class(score: Score) -> dict[str, Any]:
    shares = {"recall": score.recall, "precision": score.precision, "f1": score.f1}
    return {**asdict(score), **shares}


def _mistake(one: Mistake, candidate: Evaluation) -> dict[str, Any]:
    sha256 = candidate.photos[one.place].sha256
    return {"sha256": sha256, "truth": one.truth, "answer": one.answer, "probability": one.probability}


def _calibration(facts: Facts) -> dict[str, Any] | None:
    """What was found on the validation photos, and what became of it on the test photos."""
    if facts.calibration is None:
        return None
    return {**asdict(facts.calibration), "test": asdict(facts.reliability) if facts.reliability else None}
