"""Answers while a whole network is trained on the same cores, and what that costs the training.

`python -m benchmarks.beside [PHOTOS]`. The stream is two photos a second from several people; the training is
`retrainbot train --mode full` on the orchids, in the middle of its network step.
"""

import asyncio
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context
from pathlib import Path

import numpy as np

from benchmarks import orchids, small
from benchmarks.answering import BACKBONE, CLASSES, Scene, export_graph, staged
from benchmarks.askers import Reply, at_rate
from storage import lifeline
from storage.database import Database
from storage.runs import Runs
from storage.settings import Settings

PHOTOS, RATE = 120, 2.0
ALONE_SECONDS = 40.0
WANTED = 3.0


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else PHOTOS
    folder = orchids.folder()
    if folder is None:
        return
    files = sorted(path for path in (folder / "photos").glob("*/*") if path.is_file())
    with tempfile.TemporaryDirectory(prefix="beside-") as scratch:
        graph = Path(scratch) / "graph"
        with ProcessPoolExecutor(1, get_context("spawn")) as alone:  # TensorFlow is not to be here as well.
            side = alone.submit(export_graph, BACKBONE, graph).result()
        settings = Settings(data=Path(scratch) / "data")
        _command(settings, "import", str(folder / "photos"))
        small.publish(settings, graph, [f"class {number}" for number in range(CLASSES)], BACKBONE, side)
        asyncio.run(_measure(settings, files, count))


async def _measure(settings: Settings, files: Sequence[Path], count: int) -> None:
    async with staged(settings, files) as scene:
        await _ask(scene, 20)
        idle = await _ask(scene, count)
        with _training(settings) as runs:
            await _under_way(runs)
            alone = await _pace(runs, asyncio.sleep(ALONE_SECONDS))
            answers: list[Reply] = []
            beside = await _pace(runs, _ask(scene, count, answers))
    ratio = _quantile(answers, 0.95) / _quantile(idle, 0.95)
    print(f"{RATE:.0f} photos a second beside a training of the whole network, {BACKBONE}, {os.cpu_count()} cores")
    for words, replies in {"nothing else": idle, "training": answers}.items():
        answered = sum(reply.answered for reply in replies)
        print(
            f"  beside {words:<14} p50 {_quantile(replies, 0.5):.1f} ms, p95 {_quantile(replies, 0.95):.1f} ms,"
            f" p99 {_quantile(replies, 0.99):.1f} ms; {answered} of {len(replies)} answered"
        )
    print(f"  p95, times               {ratio:.2f} (wanted: under {WANTED:.0f})")
    print(f"  training                 {alone:.2f} steps/s without the photos, {beside:.2f} with them")


async def _ask(scene: Scene, count: int, into: list[Reply] | None = None) -> list[Reply]:
    replies = await at_rate(scene.askers, scene.next(count), RATE)
    if into is not None:
        into += replies
    return replies


async def _pace(runs: Runs, while_: Awaitable[object]) -> float:
    """Steps of the training a second, while something else goes on."""
    first, started = _done(runs), time.perf_counter()
    await while_
    return (_done(runs) - first) / (time.perf_counter() - started)


async def _under_way(runs: Runs) -> None:
    """Until the network has learnt for some steps."""
    while not ((run := runs.active()) and run.step == "network" and run.done > 2):  # noqa: ASYNC110
        await asyncio.sleep(0.5)


def _done(runs: Runs) -> int:
    run = runs.active()
    if run is None or run.step != "network":
        raise SystemExit("The training ended too soon; ask for fewer photos.")
    return run.done


@contextmanager
def _training(settings: Settings) -> Iterator[Runs]:
    database = Database(settings.database_place)
    command = lifeline.child("cli.main", *_options(settings), "train", "--mode", "full", "--backbone", BACKBONE)
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            yield Runs(database)
        finally:
            process.send_signal(signal.SIGINT)
    database.close()


def _command(settings: Settings, *arguments: str) -> None:
    command = lifeline.child("cli.main", *_options(settings), *arguments)
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def _options(settings: Settings) -> list[str]:
    return ["--data", str(settings.data)]


def _quantile(replies: Sequence[Reply], part: float) -> float:
    return float(np.quantile([reply.seconds for reply in replies], part)) * 1000


if __name__ == "__main__":
    main()
