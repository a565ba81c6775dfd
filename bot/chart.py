"""`python -m bot.chart`: what GPUs did in the last hours, from JSON to PNG; a child, as it imports for a second."""

import asyncio
import io
import json
import sys
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from itertools import pairwise
from subprocess import PIPE

from storage import lifeline
from storage.gpus import Sample

HOURS = 6
GAP = timedelta(minutes=5)  # A line breaks where nothing was heard for so long.
_WIDTH, _HEIGHT, _DPI = 1080, 560, 100
# Okabe and Ito's colours, which the colour-blind tell apart.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")


async def draw(samples: Mapping[int, Sequence[Sample]], totals: Mapping[int, int | None]) -> bytes | None:
    """A PNG with a line for each card, solid for how busy it is and dashed for its memory, both in percent.

    `totals` is the memory of each card in MiB. None where there is nothing to draw.
    """
    cards = [
        {
            "gpu": gpu,
            "at": [sample.at.timestamp() for sample in series],
            "busy": [sample.utilisation for sample in series],
            "memory": [_percent(sample.memory_used, totals.get(gpu)) for sample in series],
        }
        for gpu, series in samples.items()
    ]
    if not any(len(series) > 1 for series in samples.values()):
        return None
    child = await asyncio.create_subprocess_exec(
        *lifeline.child("bot.chart"), stdin=PIPE, stdout=PIPE, env=lifeline.environment()
    )
    picture, _ = await child.communicate(json.dumps(cards).encode())
    return picture if child.returncode == 0 else None


def _percent(part: int | None, whole: int | None) -> float | None:
    return 100 * part / whole if part is not None and whole else None


def main() -> None:
    """Read the cards on standard input, write the picture on standard output."""
    import numpy as np  # noqa: PLC0415  The parent has no need of these.
    from matplotlib.dates import DateFormatter  # noqa: PLC0415
    from matplotlib.figure import Figure  # noqa: PLC0415

    figure = Figure(figsize=(_WIDTH / _DPI, _HEIGHT / _DPI), dpi=_DPI, layout="constrained", facecolor="white")
    axes = figure.add_subplot()
    for card in json.load(sys.stdin):
        times = [datetime.fromtimestamp(at).astimezone() for at in card["at"]]
        colour = _COLOURS[card["gpu"] % len(_COLOURS)]
        for name, style in (("busy", "-"), ("memory", "--")):
            known = [(at, value) for at, value in zip(times, card[name], strict=True) if value is not None]
            if known:
                at, values = _broken(known)
                label = f"GPU {card['gpu']}" if name == "busy" else None
                axes.plot(np.array(at), np.array(values), style, color=colour, linewidth=2, label=label)
    axes.set_ylim(0, 100)
    axes.set_ylabel("%", fontsize=16)
    axes.xaxis.set_major_formatter(DateFormatter("%H:%M", tz=datetime.now().astimezone().tzinfo))  # type: ignore[no-untyped-call]
    axes.tick_params(labelsize=16)
    axes.grid(color="#dddddd")
    axes.legend(fontsize=16, loc="lower left", bbox_to_anchor=(0, 1), ncols=4, frameon=False)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    sys.stdout.buffer.write(buffer.getvalue())


def _broken(known: Sequence[tuple[datetime, float]]) -> tuple[list[datetime], list[float]]:
    """Times and values, with a gap in the line where nothing was heard."""
    times, values = [known[0][0]], [known[0][1]]
    for (before, _), (at, value) in pairwise(known):
        if at - before > GAP:
            times.append(before + GAP / 2)
            values.append(float("nan"))
        times.append(at)
        values.append(value)
    return times, values


if __name__ == "__main__":
    main()
