"""From the start of the bot to its first answers, with a warm and with a cold page cache, and its memory when idle.

`/help` and a photo wait for the bot when it starts. For the cold start, the pages of the Python environment and of the
data folder are dropped from the cache first: by the kernel where it lets us, else file by file, which leaves those that
other processes have mapped.
"""

import asyncio
import multiprocessing
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import psutil

from benchmarks import orchids, small
from benchmarks.answering import BACKBONE, CLASSES, export_graph
from benchmarks.intake_stage import BOT_ID, TOKEN, BotProcess
from benchmarks.processes import sandbox
from sandbox.client import Person
from storage.settings import Settings

PERSON = 1001
IDLE_SECONDS = 15.0
WANTED_HELP, WANTED_PHOTO = 2.0, 10.0
DROP = Path("/proc/sys/vm/drop_caches")
PATIENCE = 120.0


def main() -> None:
    folder = orchids.folder()
    if folder is None:
        return
    photo = next(path for path in sorted((folder / "photos").glob("*/*")) if path.is_file()).read_bytes()
    with tempfile.TemporaryDirectory(prefix="starting-") as scratch:
        graph = Path(scratch) / "graph"
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as alone:  # TensorFlow is not to be here.
            side = alone.submit(export_graph, BACKBONE, graph).result()
        settings = Settings(data=Path(scratch) / "data")
        small.publish(settings, graph, [f"class {number}" for number in range(CLASSES)], BACKBONE, side)
        asyncio.run(_measure(settings, photo))


async def _measure(settings: Settings, photo: bytes) -> None:
    print(f"The bot's start, {BACKBONE}, {os.cpu_count()} cores")
    with sandbox() as (url, _):
        async with Person(url, PERSON, bot=BOT_ID) as person:
            bot = BotProcess(settings.data, _environment(url))
            await _start(bot, person, photo)  # The first one makes what later ones find.
            await bot.stop()
            await _tell("warm page cache", bot, person, photo)
            await bot.stop()
            how = _drop(settings.data)
            await _tell(f"cold page cache ({how})", bot, person, photo)
            await asyncio.sleep(IDLE_SECONDS)
            _tell_memory(psutil.Process(bot.pid))
            await bot.stop()


async def _tell(words: str, bot: BotProcess, person: Person, photo: bytes) -> None:
    helped, answered = await _start(bot, person, photo)
    print(
        f"  {words}: /help after {helped:.2f} s (wanted: {WANTED_HELP:.0f}),"
        f" a photo after {answered:.2f} s (wanted: {WANTED_PHOTO:.0f})"
    )


async def _start(bot: BotProcess, person: Person, photo: bytes) -> tuple[float, float]:
    """Seconds until the answers to /help and to a photo that were sent before."""
    asked = await person.say("/help") if bot.starts else None
    sent = await person.photo(photo) if bot.starts else None
    started = time.perf_counter()
    await bot.start()
    if asked is None or sent is None:  # The sandbox knows of no bot before its first call.
        await asyncio.sleep(IDLE_SECONDS)
        asked, sent = await person.say("/help"), await person.photo(photo)
    times = await asyncio.gather(_replied(person, asked["message_id"]), _replied(person, sent["message_id"]))
    return times[0] - started, times[1] - started


async def _replied(person: Person, number: int) -> float:
    await person.reply_to(number, PATIENCE)
    return time.perf_counter()


def _environment(url: str) -> dict[str, str]:
    return {
        "RETRAINBOT_TELEGRAM__TOKEN": TOKEN,
        "RETRAINBOT_TELEGRAM__BASE_URL": url,
        "RETRAINBOT_TELEGRAM__USERS": f"[{PERSON}]",
    }


def _drop(data: Path) -> str:
    """How the pages were dropped."""
    os.sync()
    try:
        DROP.write_text("3")
    except OSError:
        for path in _files(Path(sys.prefix), data):
            descriptor = os.open(path, os.O_RDONLY)
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(descriptor)
        return "dropped file by file"
    return "dropped by the kernel"


def _files(*folders: Path) -> Iterator[Path]:
    for folder in folders:
        yield from (path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())


def _tell_memory(bot: psutil.Process) -> None:
    print(f"  memory of each process, {IDLE_SECONDS:.0f} s later")
    for process in (bot, *bot.children(recursive=True)):
        memory = process.memory_full_info()
        words = " ".join(process.cmdline())
        name = next((name for name in ("serving.modest", "storage.decoding") if name in words), "bot")
        print(f"    {name:<18} {memory.rss / 1e6:6.0f} MB, of which its own {memory.uss / 1e6:5.0f} MB")


if __name__ == "__main__":
    main()
