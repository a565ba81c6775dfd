"""From a photo in the chat to the reply: with nothing else to do, with 32 photos in flight, and with too many.

`python -m benchmarks.answering [BACKBONE] [PHOTOS]`. First without a chat: from stored photos to predictions. Then with
one: sandbox, bot, model server, decoders and the people are processes of their own on one computer, so all of them
together have its cores. The weights of the head, and of a backbone other than Lite0, are random: that changes nothing
about the time. The bare model is the folded graph in a process of its own, with nothing else at work. A photo's time
runs from when the sandbox has it until its sender has the reply.
"""

import asyncio
import io
import multiprocessing
import os
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import psutil
from PIL import Image
from sqlalchemy import func, select

from benchmarks import orchids, small
from benchmarks.askers import Asker, Reply, asking, at_rate, in_flight, one_by_one
from benchmarks.intake_stage import BOT_ID, TOKEN, BotProcess
from benchmarks.processes import sandbox
from bot.predictor import Predictor
from bot.rollout import Rollout
from serving.local import Local
from storage.database import Database
from storage.decoder import Decoder
from storage.images import Pixels
from storage.models import Models
from storage.settings import Settings
from storage.tables import ReceivedRow

if TYPE_CHECKING:
    from serving.graph import Graph

BACKBONE, PHOTOS = "efficientnet_lite0", 300
PEOPLE, FIRST_PERSON = 16, 1001
IN_FLIGHT = 32
SETTLE_SECONDS = 8.0  # In which the process for the next version gets ready.
TELEGRAM_RATE = 30  # Messages a second from one bot, by core.telegram.org/bots/faq.
IDLE_PHOTOS, IDLE_PAUSE = 100, 0.05
STATUS_EVERY = 0.5  # Seconds.
CLASSES = 14
SIDE = 1280  # Pixels of the longest side of a photo, as Telegram sends it.
WANTED_MS, WANTED_SPREAD, WANTED_SHARE, WANTED_STATUS = 25.0, 2.5, 0.8, 2.0


@dataclass(frozen=True)
class Bare:
    """The model alone: the milliseconds of a single photo, and photos a second in batches of the best size."""

    single_ms: float
    best_batch: int
    best_rate: float


@dataclass
class Scene:
    """`photos` never repeat themselves. `bot`, `sandbox` and the people's process can be asked for their time."""

    askers: list[Asker]
    photos: Iterator[bytes]
    bot: psutil.Process
    sandbox: psutil.Process

    def next(self, count: int) -> list[bytes]:
        return list(islice(self.photos, count))

    def cpu(self) -> Counter[str]:
        """Seconds of processor time that each kind of process has taken so far."""
        taken: Counter[str] = Counter()
        for process in (self.bot, *self.bot.children(recursive=True), self.sandbox, psutil.Process()):
            times = process.cpu_times()
            taken[self._kind(process)] += times.user + times.system  # type: ignore[assignment]
        return taken

    def _kind(self, process: psutil.Process) -> str:
        words = " ".join(process.cmdline())
        kinds = {"serving.modest": "model", "storage.decoding": "decoders", "sandbox": "sandbox", " bot": "bot"}
        return next((kind for word, kind in kinds.items() if word in words), "people")


def main() -> None:
    backbone = sys.argv[1] if len(sys.argv) > 1 else BACKBONE
    count = int(sys.argv[2]) if len(sys.argv) > 2 else PHOTOS
    folder = orchids.folder()
    if folder is None:
        return
    files = sorted(path for path in (folder / "photos").glob("*/*") if path.is_file())
    with tempfile.TemporaryDirectory(prefix="answering-") as scratch, _alone() as alone:
        graph = Path(scratch) / "graph"
        side = alone.submit(export_graph, backbone, graph).result()
        bare = alone.submit(_bare, graph, side).result()
        settings = Settings(data=Path(scratch) / "data")
        small.publish(settings, graph, [f"class {number}" for number in range(CLASSES)], backbone, side)
        asyncio.run(_measure(backbone, bare, settings, files, count))


def _alone() -> ProcessPoolExecutor:
    """One process for each piece of work: TensorFlow is not to be here as well."""
    return ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), max_tasks_per_child=1)


def export_graph(backbone: str, folder: Path) -> int:
    """Write a version's graph; the side of the pixels that it takes."""
    from trainer.backbones import zoo  # noqa: PLC0415  TensorFlow is for this process alone.
    from trainer.export import export  # noqa: PLC0415

    random = np.random.default_rng(0)
    made = zoo.load(backbone) if backbone == BACKBONE else zoo.untrained(backbone)
    weights = random.normal(0, 0.02, (made.network.output.shape[-1], CLASSES)).astype(np.float32)
    export(made, weights, np.zeros(CLASSES, np.float32), folder)
    return made.input_size


def _bare(folder: Path, side: int) -> Bare:
    from serving.backend import BATCHES  # noqa: PLC0415
    from serving.graph import Graph  # noqa: PLC0415

    graph = Graph(folder)
    graph.warm()
    seconds = {size: _median_seconds(graph, np.zeros((size, side, side, 3), np.uint8)) for size in BATCHES}
    best = max(seconds, key=lambda size: size / seconds[size])
    return Bare(seconds[1] * 1000, best, best / seconds[best])


def _median_seconds(graph: "Graph", pixels: Pixels) -> float:
    taken = []
    for _ in range(max(5, 40 // len(pixels))):
        start = time.perf_counter()
        graph.predict(pixels)
        taken.append(time.perf_counter() - start)
    return float(np.median(taken))


async def _measure(backbone: str, bare: Bare, settings: Settings, files: Sequence[Path], count: int) -> None:
    print(f"{backbone}: from photo in to reply out, {os.cpu_count()} cores for bot, sandbox and people together")
    print(
        f"  bare model                 {bare.single_ms:.1f} ms; {bare.best_rate:.0f} photos/s in batches of"
        f" {bare.best_batch}"
    )
    await _predict(settings, bare, files, count)
    async with staged(settings, files) as scene:
        await _idle(scene, bare)
        rate = await _full(scene, bare, count)
        await _half(scene, rate / 2, count)
        await _twice(scene, settings, 2 * rate, 2 * count)


async def _predict(settings: Settings, bare: Bare, files: Sequence[Path], count: int) -> None:
    """From stored photos to predictions, with many in flight and nothing of a chat around it."""
    database = Database(settings.database_place)
    backend = Local()
    decoders = ThreadPoolExecutor(os.cpu_count())
    with Decoder(settings.images, os.cpu_count() or 1) as decoder:
        photos = [decoder.normalise(photo).content for photo in islice(_photos(files), count)]
        async with Rollout(Models(database, settings.models_dir), backend) as rollout:
            predictor = Predictor(rollout, decoder.model_input, decoders=decoders)
            coming = iter([*photos[:IN_FLIGHT], *photos])

            async def go_on(most: int) -> int:
                done = 0
                while done < most and (photo := next(coming, None)) is not None:
                    await predictor.predict(photo)
                    done += 1
                return done

            await asyncio.gather(*(go_on(1) for _ in range(IN_FLIGHT)))
            await asyncio.sleep(SETTLE_SECONDS)
            start = time.perf_counter()
            asked = sum(await asyncio.gather(*(go_on(count) for _ in range(IN_FLIGHT))))
            rate = asked / (time.perf_counter() - start)
    await backend.close()
    database.close()
    print(
        f"  stored photo to prediction {rate:.1f} photos/s with {IN_FLIGHT} in flight: {rate / bare.best_rate:.2f} of"
        f" the bare model's (wanted: {WANTED_SHARE})"
    )


async def _idle(scene: Scene, bare: Bare) -> None:
    await one_by_one(scene.askers[0], scene.next(10), IDLE_PAUSE)
    replies = await one_by_one(scene.askers[0], scene.next(IDLE_PHOTOS), IDLE_PAUSE)
    print(
        f"  idle                       {_times(replies)} (wanted: p50 at most {bare.single_ms + WANTED_MS:.1f} ms);"
        f" {_became(replies)}"
    )


async def _full(scene: Scene, bare: Bare, count: int) -> float:
    """Photos a second with many in flight."""
    await in_flight(scene.askers, scene.next(IN_FLIGHT), IN_FLIGHT)
    before, start = scene.cpu(), time.perf_counter()
    replies = await in_flight(scene.askers, scene.next(count), IN_FLIGHT)
    rate = len(replies) / (time.perf_counter() - start)
    print(
        f"  {IN_FLIGHT} in flight               {rate:.1f} photos/s: {rate / bare.best_rate:.2f} of the bare model's;"
        f" Telegram takes {TELEGRAM_RATE} messages/s; {_times(replies)}; {_became(replies)}"
    )
    taken = scene.cpu() - before
    each = ", ".join(f"{kind} {seconds / count * 1000:.1f}" for kind, seconds in taken.most_common())
    print(f"    CPU time, ms a photo     {each}; together {taken.total() / count * 1000:.1f}")
    return rate


async def _half(scene: Scene, rate: float, count: int) -> None:
    replies = await at_rate(scene.askers, scene.next(count), rate)
    spread = _quantile(replies, 0.99) / _quantile(replies, 0.5)
    print(
        f"  at half of that            {_times(replies)}: {spread:.1f} times (wanted: at most {WANTED_SPREAD});"
        f" {_became(replies)}"
    )


async def _twice(scene: Scene, settings: Settings, rate: float, count: int) -> None:
    before = _stored(settings)
    asking_status = asyncio.create_task(_ask_status(scene.askers[0]))
    replies = await at_rate(scene.askers[1:], scene.next(count), rate)
    asking_status.cancel()
    status = await asking_status
    several = sum(len(told) > 1 for asker in scene.askers for told in asker.replies.values())
    print(
        f"  at twice that              {_became(replies)}; {several} told twice;"
        f" {_stored(settings) - before} of {count} stored; {_times([one for one in replies if one.answered])}"
    )
    print(
        f"    /status meanwhile        slowest of {len(status)} after {max(one.seconds for one in status):.2f} s"
        f" (wanted: at most {WANTED_STATUS:.0f})"
    )


async def _ask_status(asker: Asker) -> list[Reply]:
    """Until it is cancelled."""
    replies: list[Reply] = []
    try:
        while True:
            replies.append(await asker.say("/status"))
            await asyncio.sleep(STATUS_EVERY)
    except asyncio.CancelledError:
        return replies


@asynccontextmanager
async def staged(settings: Settings, files: Sequence[Path]) -> AsyncIterator[Scene]:
    people = range(FIRST_PERSON, FIRST_PERSON + PEOPLE)
    async with AsyncExitStack() as stack:
        url, pid = stack.enter_context(sandbox())
        bot = BotProcess(settings.data, _environment(url, people))
        await bot.start()
        stack.push_async_callback(bot.stop)
        askers = await stack.enter_async_context(asking(url, people, BOT_ID))
        scene = Scene(askers, _photos(files), psutil.Process(bot.pid), psutil.Process(pid))
        for asker in askers:
            (photo,) = scene.next(1)
            await asker.ask(photo)
        yield scene


def _environment(url: str, people: range) -> dict[str, str]:
    """Nobody is to be slowed down for sending so much."""
    return {
        "RETRAINBOT_TELEGRAM__TOKEN": TOKEN,
        "RETRAINBOT_TELEGRAM__BASE_URL": url,
        "RETRAINBOT_TELEGRAM__USERS": str(list(people)),
        "RETRAINBOT_INTAKE__MESSAGES_A_MINUTE": "1000000",
    }


def _photos(files: Sequence[Path]) -> Iterator[bytes]:
    """As Telegram sends them; in each round through them a little less of every photo."""
    for place, file in enumerate(cycle(files)):
        with Image.open(file) as image:
            photo = image.convert("RGB")
        cut = place // len(files)
        photo = photo.crop((cut, 0, *photo.size))
        photo.thumbnail((SIDE, SIDE))
        buffer = io.BytesIO()
        photo.save(buffer, "JPEG", quality=87)
        yield buffer.getvalue()


def _stored(settings: Settings) -> int:
    database = Database(settings.database_place)
    with database.read() as session:
        count = session.scalar(select(func.count()).where(ReceivedRow.photo.is_not(None))) or 0
    database.close()
    return count


def _became(replies: Sequence[Reply]) -> str:
    answered, refused = sum(one.answered for one in replies), sum(one.refused for one in replies)
    other = len(replies) - answered - refused
    return f"{answered} of {len(replies)} answered, {refused} told busy, {other} neither"


def _times(replies: Sequence[Reply]) -> str:
    return f"p50 {_quantile(replies, 0.5):.1f} ms, p99 {_quantile(replies, 0.99):.1f} ms"


def _quantile(replies: Sequence[Reply], part: float) -> float:
    return float(np.quantile([one.seconds for one in replies], part)) * 1000 if replies else float("nan")


if __name__ == "__main__":
    main()
