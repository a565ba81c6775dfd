"""Everything at once for an hour: photos, albums, questions, trainings, swaps, faults of Telegram's, and kill -9.

`python -m benchmarks.soak [--minutes 60]`. `retrainbot run` is a process of its own; any process of its tree is killed
at random moments in the first two thirds of the time. The last third is calm: there memory and open files must stay
as they are. In the end all is checked that must hold, whatever happened.
"""

import argparse
import asyncio
import hashlib
import json
import logging
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import psutil

from benchmarks import invariants
from benchmarks.intake_figures import Figures
from benchmarks.intake_stage import Stage, staged, told
from benchmarks.invariants import Sent
from demo import samples
from sandbox.client import Person
from storage import lifeline

PEOPLE = 3
CLASSES = samples.CLASSES[:6]
PACE = 1.5  # Seconds between two photos or albums, on average.
TRAIN_EVERY = 120.0  # Seconds.
KILL_EVERY, FAULT_EVERY = (5.0, 25.0), (10.0, 40.0)  # Seconds, from and to.
LOOK_EVERY = 10.0  # Seconds between two looks at memory and open files.
PATIENCE = 600.0  # Seconds to get everything done at the end.
QUESTION, ALBUM, COMMAND = 0.3, 0.1, 0.1  # Shares of what people send; the rest are photos with a caption.
COMMANDS = ("/status", "/classes", "/models", "/gpu", "/help", "/schedule")
GROWTH = 0.10  # Of memory and of open files that is taken for staying as it is.
SETTINGS = {
    "RETRAINBOT_TRAINING__BACKBONE": "efficientnet_lite0",
    "RETRAINBOT_SCHEDULE__CRON": "",
    "RETRAINBOT_INTAKE__MESSAGES_A_MINUTE": "600",
}
FAULTS: Sequence[dict[str, Any]] = (
    {"method": "sendMessage", "error_code": 429, "retry_after": 1, "times": 3},
    {"method": "editMessageText", "error_code": 429, "retry_after": 2, "times": 2},
    {"method": "*", "error_code": 502, "times": 3},
    {"method": "getUpdates", "drop": True, "times": 2},
    {"method": "getUpdates", "copies": 3, "times": 3},
    {"method": "getUpdates", "again": True, "times": 2},
    {"method": "sendMessage", "drop": True, "after": True},
    {"method": "getFile", "delay": 3.0, "times": 2},
    {"method": "download", "drop": True, "after": True, "times": 2},
    {"method": "answerCallbackQuery", "error_code": 400},
)
TRAINING = "training run"
SPARED = 0.3  # Of the moments in which a training run may be hit, too: some must come to their end.
# Which process is which, by a word of its command line; the first that fits.
ROLES = {"serving.modest": "model server", "trainer.run": TRAINING, "storage.decoding": "decoder"}
SERVICES = ("bot", "trainer", "run")


@dataclass
class Soak:
    """What was sent and seen so far."""

    stage: Stage
    random: np.random.Generator
    sent: list[Sent] = field(default_factory=list)
    kills: Counter[str] = field(default_factory=Counter)
    sizes: dict[str, list[tuple[float, int]]] = field(default_factory=dict)  # By role: MiB, and open files.
    splits: dict[str, str] = field(default_factory=dict)
    changed: set[str] = field(default_factory=set)
    seed: int = 0

    def photo(self, name: str) -> bytes:
        self.seed += 1
        return samples.photo(name, self.seed)

    async def talk(self) -> None:
        """What people send, one after the other."""
        while True:
            person = self.stage.people[int(self.random.integers(PEOPLE))]
            await self._send(person, float(self.random.random()))
            await asyncio.sleep(float(self.random.exponential(PACE)))

    async def _send(self, person: Person, chance: float) -> None:
        name = str(self.random.choice(CLASSES))
        if chance < COMMAND:
            await person.say(str(self.random.choice(COMMANDS)))
        elif chance < COMMAND + ALBUM:
            contents = [self.photo(name) for _ in range(int(self.random.integers(2, 6)))]
            for content, message in zip(contents, await person.album(contents, name), strict=True):
                self._note(person, message, content, name)
        else:
            said = None if chance > 1 - QUESTION else name
            content = self.photo(name)
            self._note(person, await person.photo(content, said), content, said)

    def _note(self, person: Person, message: dict[str, Any], content: bytes, name: str | None) -> None:
        source = hashlib.sha256(content).hexdigest()
        album = message.get("media_group_id")
        self.sent.append(Sent(person.chat_id, message["message_id"], source, name and name.replace(" ", "_"), album))

    async def train(self) -> None:
        while True:
            await asyncio.sleep(TRAIN_EVERY / 2)
            await self.stage.people[0].say("/train")
            await asyncio.sleep(TRAIN_EVERY / 2)

    async def spoil(self) -> None:
        """Faults of Telegram's."""
        while True:
            await asyncio.sleep(float(self.random.uniform(*FAULT_EVERY)))
            await self.stage.fault(**FAULTS[int(self.random.integers(len(FAULTS)))])

    async def kill(self) -> None:
        """Any process of the tree, its root included, which is then started again."""
        while True:
            await asyncio.sleep(float(self.random.uniform(*KILL_EVERY)))
            tree = processes(self.stage.bot.pid)
            if self.random.random() > SPARED:
                tree.pop(TRAINING, None)
            if not tree:
                continue
            role = str(self.random.choice(sorted(tree)))
            tree[role][int(self.random.integers(len(tree[role])))].kill()
            self.kills[role] += 1
            if role == "run":
                await self.stage.bot.kill()
                await self.stage.bot.start()

    async def look(self) -> None:
        """Sizes of the processes, and whether a photo has changed its split."""
        while True:
            for role, group in processes(self.stage.bot.pid).items():
                for size in filter(None, map(_size, group)):
                    self.sizes.setdefault(role, []).append(size)
            now = await asyncio.to_thread(invariants.splits, self.stage.database)
            self.changed |= {photo for photo, split in self.splits.items() if now.get(photo) != split}
            self.splits = now
            await asyncio.sleep(LOOK_EVERY)


def processes(root: int) -> dict[str, list[psutil.Process]]:
    """The tree below `root`, and itself, by role."""
    found: dict[str, list[psutil.Process]] = {}
    try:
        whole = psutil.Process(root)
        for process in [whole, *whole.children(recursive=True)]:
            found.setdefault(_role(process), []).append(process)
    except psutil.NoSuchProcess:
        return {}
    return found


def _role(process: psutil.Process) -> str:
    line = process.cmdline()
    known = next((role for word, role in ROLES.items() if word in line), None)
    return known or (line[-1] if line and line[-1] in SERVICES else "other")


def _size(process: psutil.Process) -> tuple[float, int] | None:
    try:
        return process.memory_info().rss / 2**20, process.num_fds()
    except psutil.Error:
        return None


async def soak(minutes: float, seed: int, figures: Figures) -> None:
    figures.title(f"{minutes:g} minutes of everything at once")
    async with staged(PEOPLE, service="run") as stage:
        stage.bot.environment |= SETTINGS
        soak = Soak(stage, np.random.default_rng(seed))
        await stage.bot.start()
        rough, calm = minutes * 60 * 2 / 3, minutes * 60 / 3
        await _during(rough, soak.talk(), soak.train(), soak.spoil(), soak.kill(), soak.look())
        await stage.no_faults()
        figures.line("kill -9 of", ", ".join(f"{role} {count}" for role, count in sorted(soak.kills.items())))
        soak.sizes.clear()
        await _during(calm, soak.talk(), soak.train(), soak.look())
        seconds = await stage.settled(len(soak.sent), PATIENCE)
        await _ended(stage)
        replies = told(await stage.replies(), soak.sent)
        await stage.bot.stop()
        figures.line("seconds until all was done", f"{seconds:.1f}")
        await _check(figures, soak, replies)


async def _during(seconds: float, *tasks: Any) -> None:
    """Raises what any of the tasks raises."""
    try:
        async with asyncio.timeout(seconds), asyncio.TaskGroup() as group:
            for task in tasks:
                group.create_task(task)
    except TimeoutError:
        return


async def _ended(stage: Stage) -> None:
    """Wait for the run under way, if any. Raises TimeoutError."""
    async with asyncio.timeout(PATIENCE):
        while invariants.runs(stage.database):  # noqa: ASYNC110  Another process ends them.
            await asyncio.sleep(1)


async def _check(figures: Figures, soak: Soak, replies: dict[tuple[int, int | str], int]) -> None:
    stage = soak.stage
    figures.line("photos, albums", f"{len(soak.sent)}, {len({item.album for item in soak.sent if item.album})}")
    figures.findings(invariants.check(stage.settings, soak.sent))
    figures.none("photos without a split, or duplicates in two", invariants.unsplit(stage.database))
    figures.limit("photos that changed their split", len(soak.changed), 0)
    figures.none("runs that have not ended", invariants.runs(stage.database))
    figures.line("photos and albums never answered", sum(count == 0 for count in replies.values()))
    version = await _classify(stage, soak.photo(CLASSES[0]))
    figures.line("the served version, which answers", version)
    for role, sizes in sorted(soak.sizes.items()):
        if role in {"run", "bot", "trainer"}:
            _tell_growth(figures, role, sizes)


async def _classify(stage: Stage, photo: bytes) -> int:
    """Which version answers a photo by command, with nothing else running. Raises RuntimeError where none does."""
    path = stage.settings.data.parent / "photo.jpg"
    path.write_bytes(photo)
    command = lifeline.child("cli.main", "--data", str(stage.settings.data), "--json", "classify", str(path))
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    said, _ = await process.communicate()
    if process.returncode:
        raise RuntimeError(f"classify ended with {process.returncode}: {said.decode()}")
    return int(json.loads(said)[0]["version"])


def _tell_growth(figures: Figures, role: str, sizes: Sequence[tuple[float, int]]) -> None:
    """From the second quarter of the calm time, when all is warm, to the last one."""
    quarter = max(1, len(sizes) // 4)
    early, late = np.median(sizes[quarter : 2 * quarter], axis=0), np.median(sizes[-quarter:], axis=0)
    for kind, before, after in zip(("MiB", "open files"), early, late, strict=True):
        figures.line(f"{role}: {kind}", f"{before:.0f}, then {after:.0f}")
        figures.limit(f"{role}: growth of {kind}", float(after / before - 1), GROWTH)


def main() -> int:
    """The number of limits that were missed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=6.0, help="how long, 4 at least (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of all that is random (default: %(default)s)")
    size = parser.parse_args()
    logging.getLogger("httpx").setLevel(logging.WARNING)
    figures = Figures()
    began = time.monotonic()
    asyncio.run(soak(size.minutes, size.seed, figures))
    figures.line("minutes in all", f"{(time.monotonic() - began) / 60:.1f}")
    return figures.missed


if __name__ == "__main__":
    sys.exit(min(main(), 1))
