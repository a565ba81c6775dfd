"""How a fit went and what was taken for what, as pictures for a phone."""

import io
from collections.abc import Sequence
from itertools import chain, islice
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from trainer.curve import Curve
from trainer.report.facts import MixUp
from trainer.report.lettering import lettering

WIDTH = 1080  # Pixels.
MOST_CLASSES = 20  # As many names and counts as can be read at that width.
# Okabe and Ito's blue and vermilion: told apart by the colour-blind, and in grey by their lightness.
BLUE, VERMILION, GREY = "#0072B2", "#D55E00", "#666666"
_DPI = 100
_PT = 72 / _DPI  # Points a pixel.
_SMALL, _TEXT, _TITLE = 20 * _PT, 24 * _PT, 30 * _PT
_WHITE = np.ones(3)
_RIGHT, _WRONG = np.array([0, 114, 178]) / 255, np.array([213, 94, 0]) / 255
_X_LABELS = {"epoch": "epoch", "regularisation": "strength of regularisation: the weaker, the closer it fits"}


def curves(curve: Curve) -> bytes | None:
    """A PNG of losses and accuracies with the point that was kept; None where fewer than two points were measured."""
    measured = [point for point in curve.points if point.validation_loss is not None or point.train_loss is not None]
    if len(measured) < 2:
        return None
    figure = _figure(height=1150)
    above, below = figure.subplots(2, 1, sharex=True)
    _lines(above, curve, [("learnt from", "train_loss"), ("validation", "validation_loss")], 1)
    _lines(below, curve, [("learnt from", "train_accuracy"), ("validation", "validation_accuracy")], 100)
    above.set_title("How the fit went", fontsize=_TITLE, loc="left")
    above.set_ylabel("loss (lower is better)", fontsize=_TEXT)
    below.set_ylabel("right answers, %", fontsize=_TEXT)
    below.set_xlabel(_X_LABELS[curve.unit], fontsize=_TEXT)
    if curve.unit == "regularisation":
        below.set_xscale("log")
        below.invert_xaxis()
    else:
        below.xaxis.set_major_locator(MaxNLocator(integer=True))
    above.legend(fontsize=_SMALL)
    return _png(figure)


def confusion(counts: NDArray[np.int64], names: Sequence[str], mix_ups: Sequence[MixUp]) -> bytes | None:
    """A PNG of `counts`, shape (classes, classes), a row for each true class; None where all are 0.

    Of more than 20 classes it shows those of the first of the `mix_ups`, and the others as one column.
    """
    if not counts.any():
        return None
    classes = _most_confused(mix_ups, len(names))
    letters = lettering({number: names[number] for number in classes})
    rows = [letters.labels[number] for number in classes]
    table = counts[np.ix_(classes, classes)]
    if len(classes) < len(names):
        table = np.column_stack([table, counts[classes].sum(axis=1) - table.sum(axis=1)])
    columns = [*rows, "all others"][: table.shape[1]]
    figure = _figure(height=1150)
    axes = figure.add_subplot()
    axes.imshow(_colours(table), aspect="auto")
    _write_counts(axes, table)
    style: dict[str, Any] = {"fontsize": _SMALL, "family": list(letters.families), "parse_math": False}
    axes.set_xticks(range(len(columns)), columns, rotation=90, **style)
    axes.set_yticks(range(len(rows)), rows, **style)
    _rule(axes, table.shape)
    axes.set_title(_confusion_title(len(classes), len(names)), fontsize=_TITLE, loc="left")
    axes.set_ylabel("what the test photo shows", fontsize=_TEXT)
    axes.set_xlabel("what the answer was (blue: right)", fontsize=_TEXT)
    return _png(figure)


def _lines(axes: Axes, curve: Curve, lines: Sequence[tuple[str, str]], scale: float) -> None:
    best = curve.points[curve.best]
    axes.axvline(best.at, color=GREY, linewidth=2, linestyle=":", label="kept")
    for (label, field), colour, style in zip(lines, (VERMILION, BLUE), ("--", "-"), strict=True):
        points = [(point.at, value * scale) for point in curve.points if (value := getattr(point, field)) is not None]
        if points:
            axes.plot(*zip(*points, strict=True), style, color=colour, linewidth=3, label=label)
        if getattr(best, field) is not None:
            axes.plot(best.at, getattr(best, field) * scale, "o", color=colour, markersize=10)
    axes.tick_params(labelsize=_SMALL)
    axes.grid(color="#dddddd")


def _most_confused(mix_ups: Sequence[MixUp], every: int) -> list[int]:
    """At most 20 classes, in their own order: those of the most frequent mix-ups, then any."""
    mixed = chain.from_iterable((pair.truth, pair.answer) for pair in mix_ups)
    return sorted(islice(dict.fromkeys(chain(mixed, range(every))), MOST_CLASSES))


def _rule(axes: Axes, shape: tuple[int, ...]) -> None:
    """Fine lines that lead the eye from a name to a count."""
    rows, columns = shape
    axes.set_xticks(np.arange(columns + 1) - 0.5, minor=True)
    axes.set_yticks(np.arange(rows + 1) - 0.5, minor=True)
    axes.grid(which="minor", color="#dddddd")
    axes.tick_params(which="minor", length=0)


def _colours(table: NDArray[np.int64]) -> NDArray[np.float64]:
    """Right answers in blue and wrong ones in vermilion, the stronger the larger their part of the row."""
    share = (table / np.maximum(table.sum(axis=1, keepdims=True), 1))[..., None]
    right = np.eye(*table.shape)[..., None] > 0
    colours: NDArray[np.float64] = _WHITE + share * (np.where(right, _RIGHT, _WRONG) - _WHITE)
    return colours


def _write_counts(axes: Axes, table: NDArray[np.int64]) -> None:
    size = _SMALL if len(table) > 8 else _TITLE
    totals = table.sum(axis=1)
    for row, column in np.argwhere(table):
        dark = row == column and 2 * table[row, column] > totals[row]
        colour = "white" if dark else "black"
        axes.text(column, row, f"{table[row, column]}", ha="center", va="center", fontsize=size, color=colour)


def _confusion_title(some: int, every: int) -> str:
    return "What was taken for what" if some == every else f"The {some} of {every:,} classes mixed up most"


def _figure(height: int) -> Figure:
    return Figure(figsize=(WIDTH / _DPI, height / _DPI), dpi=_DPI, layout="constrained", facecolor="white")


def _png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()
