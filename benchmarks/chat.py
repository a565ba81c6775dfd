"""The orchids through the chat: every photo gets a receipt or an answer, and the bot's event loop never stalls.

The bot runs in this process, beside a task that notices when the event loop is late. Sandbox, trainer, training run
and model servers are processes of their own, as in real life, and share the computer with it.
"""

import asyncio
import contextlib
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import SecretStr

from benchmarks.orchids import folder
from benchmarks.processes import sandbox
from bot.service import serving
from sandbox.client import Person
from storage import lifeline
from storage.labels import class_name, shown
from storage.logs import configure_logs
from storage.settings import Schedule, Settings, Telegram, Training

PERSON, TOKEN = 1001, "1234:" + "benchmark" * 4
LESSONS, ALBUM, QUESTIONS = 10, 5, 100
STREAM_PACE = 0.2  # Seconds between the photos that are asked about while a run goes on.
TICK = 0.005  # Seconds; the event loop is asked to be back so soon.
PATIENCE = 600.0
LIMIT_MS = 100.0

Message = dict[str, Any]
Lesson = tuple[str, list[bytes]]  # A class, and its photos.


@dataclass
class Pulse:
    """How late the event loop was, in milliseconds, each time."""

    late: list[float] = field(default_factory=list)

    async def beat(self) -> None:
        while True:
            start = time.perf_counter()
            await asyncio.sleep(TICK)
            self.late.append((time.perf_counter() - start - TICK) * 1000)

    def line(self, name: str) -> str:
        late = np.array(self.late)
        return (
            f"  {name:<38} p50 {np.median(late):5.1f} ms   p99.9 {np.quantile(late, 0.999):6.1f} ms   "
            f"longest {late.max():6.1f} ms   (wanted: at most {LIMIT_MS:.0f} ms)"
        )


def main() -> None:
    orchids = folder()
    if orchids is not None:
        with tempfile.TemporaryDirectory() as scratch:
            folders = sorted(path for path in (orchids / "photos").iterdir() if path.is_dir())
            lessons = [(path.name, [file.read_bytes() for file in sorted(path.iterdir())]) for path in folders]
            asyncio.run(_measure(lessons, Path(scratch)))


async def _measure(lessons: list[Lesson], scratch: Path) -> None:
    configure_logs("error")
    idle = Pulse()
    with sandbox() as (url, _):
        telegram = Telegram(token=SecretStr(TOKEN), base_url=url, users=(PERSON,))
        training = Training(backbone="efficientnet_lite0")
        settings = Settings(data=scratch, telegram=telegram, training=training, schedule=Schedule(cron=""))
        async with _beating(idle):  # The same measure with nothing to do: what the computer itself costs.
            await asyncio.sleep(5)
        pulse = Pulse()
        async with serving(settings), Person(url, PERSON) as person:
            with _trainer(scratch):  # It is not the bot that starts and ends this process.
                async with _beating(pulse):
                    await _converse(person, lessons)
    print(idle.line("event loop, nothing to do"))
    print(pulse.line("event loop, with training and swaps"))


async def _converse(person: Person, lessons: list[Lesson]) -> None:
    receipts = 0
    for name, files in lessons:
        for file in files[:LESSONS]:
            receipts += await _told(person, await person.photo(file, name))
    name, files = lessons[0]
    album = await person.album(files[LESSONS : LESSONS + ALBUM], name)
    numbers = {message["message_id"] for message in album}
    await person.wait_for(lambda message: _replied(message) in numbers, PATIENCE)
    print(f"Orchids in the chat: {len(lessons)} classes, {LESSONS} captioned photos of each, one album of {ALBUM}")
    print(f"  receipts                               {receipts} of {LESSONS * len(lessons)}, and the album's")
    await _train(person)
    questions = [(name, file) for name, files in lessons for file in files[LESSONS + ALBUM :]]
    chosen = [questions[place] for place in np.linspace(0, len(questions) - 1, QUESTIONS).astype(int)]
    second = asyncio.create_task(_train(person))
    answers = []
    for name, file in chosen:
        answers.append(asyncio.create_task(_ask(person, name, file)))
        await asyncio.sleep(STREAM_PACE)
    right = await asyncio.gather(*answers)
    await second
    print(f"  unlabelled photos answered             {sum(one is not None for one in right)} of {len(chosen)}")
    print(f"  rightly                                {sum(bool(one) for one in right)}")


async def _train(person: Person) -> None:
    asked = await person.say("/train")
    ended = await person.reply_to(asked["message_id"], PATIENCE, lambda message: " made " in message["text"])
    print(f"  /train                                 {ended['text'].splitlines()[0]}")


async def _ask(person: Person, name: str, photo: bytes) -> bool | None:
    """Whether the best class was right; None where the answer was none."""
    sent = await person.photo(photo)
    text = str((await person.reply_to(sent["message_id"], PATIENCE))["text"])
    if not re.search(r"version \d+", text, re.IGNORECASE):
        return None
    # The first of the lines with a bar and a percentage is the best class's.
    best = next(line for line in text.splitlines() if "%" in line)
    return best.endswith(shown(class_name(name)))


async def _told(person: Person, sent: Message) -> bool:
    text = str((await person.reply_to(sent["message_id"], PATIENCE))["text"])
    return text.startswith(("Learned", "Moved", "I have this photo"))


def _replied(message: Message) -> int | None:
    number: int | None = message.get("reply_to_message", {}).get("message_id")
    return number


@contextlib.asynccontextmanager
async def _beating(pulse: Pulse) -> AsyncIterator[None]:
    task = asyncio.create_task(pulse.beat())
    try:
        yield
    finally:
        task.cancel()


@contextlib.contextmanager
def _trainer(data: Path) -> Iterator[None]:
    environment = {**os.environ, "RETRAINBOT_SCHEDULE__CRON": "", lifeline.VARIABLE: "1"}
    command = [sys.executable, "-m", "cli.main", "--data", str(data), "trainer"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment) as process:
        try:
            yield
        finally:
            process.terminate()


if __name__ == "__main__":
    main()
