"""Swaps under a steady stream of photos: nothing fails, each answer is its version's own, nothing leaks.

`python -m benchmarks.swapping [SWAPS]`. The network is small, so that what is measured is the swap: hashes, loading,
warming, checking, draining, and the process that stands by for the next one. Then a model server is killed under load.
"""

import asyncio
import os
import signal
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
import psutil
from PIL import Image

from benchmarks import small
from bot.predictor import Prediction, Predictor
from bot.rollout import Rollout
from serving.local import Local
from storage.database import Database
from storage.decoder import Decoder
from storage.logs import configure_logs
from storage.models import Models
from storage.settings import Settings

SWAPS, VERSIONS = 200, 5
RATE = 20.0  # Photos a second.
STEADY_SECONDS = 60.0
WARM_UP = 20  # Swaps before it is expected to stay as it is.
PAUSE_SECONDS = 8.0  # In which the next process gets ready.
WANTED_P99, WANTED_MEMORY = 2.0, 0.10


@dataclass(frozen=True)
class Answer:
    seconds: float
    prediction: Prediction | None


@dataclass
class Stream:
    """Photos at a steady pace, whatever becomes of them."""

    predictor: Predictor
    photos: list[bytes]
    answers: list[Answer]

    async def flow(self) -> None:
        started, sent = time.perf_counter(), 0
        async with asyncio.TaskGroup() as group:
            while True:
                group.create_task(self._ask(self.photos[sent % len(self.photos)]))
                sent += 1
                await asyncio.sleep(max(0.0, started + sent / RATE - time.perf_counter()))

    async def _ask(self, photo: bytes) -> None:
        started = time.perf_counter()
        try:
            prediction = await self.predictor.predict(photo)
        except Exception as error:  # noqa: BLE001  Each of them counts.
            print(f"  a photo was not answered: {error}")
            prediction = None
        self.answers.append(Answer(time.perf_counter() - started, prediction))


def main() -> None:
    swaps = int(sys.argv[1]) if len(sys.argv) > 1 else SWAPS
    configure_logs("error")
    with tempfile.TemporaryDirectory() as scratch:
        settings = Settings(data=Path(scratch) / "data")
        small.network(Path(scratch) / "network")
        numbers = []
        for version in range(1, VERSIONS + 1):
            classes = [f"{colour} {version}" for colour in small.COLOURS]
            numbers.append(small.publish(settings, Path(scratch) / "network", classes))
        asyncio.run(_measure(settings, numbers, swaps))


async def _measure(settings: Settings, numbers: list[int], swaps: int) -> None:
    database = Database(settings.database_place)
    models = Models(database, settings.models_dir)
    async with _served(settings, models) as (rollout, stream):
        flow = asyncio.create_task(stream.flow())
        await _answering(rollout, numbers[-1])
        await asyncio.sleep(PAUSE_SECONDS)
        stream.answers.clear()
        await asyncio.sleep(STEADY_SECONDS)
        steady = _taken(stream)
        memory, took = await _swap(rollout, models, numbers, swaps)
        during = _taken(stream)
        killed = []
        for number in numbers:  # Several deaths of the same version would be taken for its fault.
            models.promote(number, "benchmark")
            await _answering(rollout, number)
            await asyncio.sleep(PAUSE_SECONDS)
            killed.append(await _kill(rollout))
        afterwards = _taken(stream)
        flow.cancel()
    database.close()
    _tell(swaps, steady, during, memory, took)
    _tell_kills(killed, afterwards)


async def _swap(rollout: Rollout, models: Models, numbers: list[int], swaps: int) -> tuple[list[int], list[float]]:
    """The memory of all processes after each swap, in bytes, and the seconds that each took."""
    memory, took = [], []
    for swap in range(swaps):
        number = numbers[swap % len(numbers)]
        started = time.perf_counter()
        await asyncio.to_thread(models.promote, number, "benchmark")
        await _answering(rollout, number)
        took.append(time.perf_counter() - started)
        await asyncio.sleep(1.0)
        memory.append(await asyncio.to_thread(_memory))
    return memory, took


async def _kill(rollout: Rollout) -> float:
    """Kill the model server that answers; the seconds until another one does."""
    started = time.perf_counter()
    (pid,) = [version.pid for version in rollout.versions() if version.state == "serving"]
    os.kill(pid or 0, signal.SIGKILL)
    while rollout.answering is None or any(version.pid == pid for version in rollout.versions()):  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    return time.perf_counter() - started


@asynccontextmanager
async def _served(settings: Settings, models: Models) -> AsyncIterator[tuple[Rollout, Stream]]:
    backend = Local()
    await backend.stand_by()
    threads = ThreadPoolExecutor(2)
    try:
        with Decoder(settings.images) as decoder:
            async with Rollout(models, backend, keep_warm=60 * settings.serving.keep_warm) as rollout:
                predictor = Predictor(rollout, decoder.model_input, decoders=threads)
                yield rollout, Stream(predictor, _photos(), [])
    finally:
        await backend.close()
        threads.shutdown()


def _photos() -> list[bytes]:
    """Photos of 640 × 480 pixels, each of one colour."""
    photos = []
    for colour in np.eye(3, dtype=np.uint8) * 200:
        buffer = BytesIO()
        Image.fromarray(np.broadcast_to(colour, (480, 640, 3)).astype(np.uint8)).save(buffer, "JPEG")
        photos.append(buffer.getvalue())
    return photos


async def _answering(rollout: Rollout, number: int) -> None:
    while rollout.answering != number:  # noqa: ASYNC110  It has no event for that.
        await asyncio.sleep(0.01)


def _taken(stream: Stream) -> list[Answer]:
    taken = list(stream.answers)
    stream.answers.clear()
    return taken


def _memory() -> int:
    """Bytes of this process and all below it; libraries that they share count in each."""
    processes = [psutil.Process(), *psutil.Process().children(recursive=True)]
    total = 0
    for process in processes:
        try:
            total += process.memory_info().rss
        except psutil.Error:  # It has just ended.
            continue
    return total


def _wrong(answers: list[Answer]) -> int:
    """Answers whose labels are another version's than the one they name."""
    return sum(
        any(not name.endswith(f" {answer.prediction.version}") for name in answer.prediction.classes)
        for answer in answers
        if answer.prediction
    )


def _quantile(answers: list[Answer], part: float) -> float:
    return float(np.quantile([answer.seconds for answer in answers], part)) * 1000


def _tell(swaps: int, steady: list[Answer], during: list[Answer], memory: list[int], took: list[float]) -> None:
    failed = sum(answer.prediction is None for answer in during)
    ratio = _quantile(during, 0.99) / _quantile(steady, 0.99)
    warm = np.array(memory[min(WARM_UP, len(memory) // 2) :]) / 1e6
    print(f"{swaps} swaps under {RATE:.0f} photos a second, a small network, {os.cpu_count()} cores")
    print(f"  photos answered                {len(during) - failed} of {len(during)}")
    print(f"  with another version's labels  {_wrong(during)}")
    print(f"  a swap, pointer to answer      p50 {np.median(took):.2f} s, longest {max(took):.2f} s")
    print(f"  an answer, steady              p50 {_quantile(steady, 0.5):.1f} ms, p99 {_quantile(steady, 0.99):.1f} ms")
    print(
        f"  an answer, with swaps          p50 {_quantile(during, 0.5):.1f} ms, p99 {_quantile(during, 0.99):.1f} ms:"
        f" {ratio:.2f} times (wanted: at most {WANTED_P99:.0f})"
    )
    spread = (warm.max() - warm.min()) / np.median(warm)
    print(
        f"  memory of all processes        {warm.min():.0f} to {warm.max():.0f} MB after warming up, median"
        f" {np.median(warm):.0f}: a range of {spread:.1%} (wanted: flat within {WANTED_MEMORY:.0%})"
    )
    third = len(warm) // 3
    if third:
        print(
            f"  its median, first third to last {np.median(warm[:third]):.0f} MB to {np.median(warm[-third:]):.0f} MB"
        )


def _tell_kills(killed: list[float], answers: list[Answer]) -> None:
    failed = sum(answer.prediction is None for answer in answers)
    slowest = max(answer.seconds for answer in answers)
    print(f"{len(killed)} model servers killed under {RATE:.0f} photos a second")
    print(
        f"  photos answered                {len(answers) - failed} of {len(answers)}; the slowest after {slowest:.2f} s"
    )
    print(f"  until the next one answers     {np.mean(killed):.2f} s, longest {max(killed):.2f} s")


if __name__ == "__main__":
    main()
