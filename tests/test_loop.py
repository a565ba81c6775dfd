"""The whole of `retrainbot run` against the sandbox: the loop from photo to model, and every process killed in turn."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from conftest import ADA, TOKEN, until
from postgresql import PASSWORD, USER, Server, name_of
from pydantic import SecretStr

from demo import samples
from sandbox.client import Person
from sandbox.server import running
from storage.database import Database
from storage.photos import Photos
from storage.runs import Run, Runs
from storage.settings import Settings

CLASSES = samples.CLASSES[:2]
PATIENCE = 120.0  # Seconds; what is waited for takes a few, unless the computer is very busy.
CONFIG = """
[telegram]
token = "{token}"
base_url = "{url}"
users = [{ada}]

[training]
backbone = "efficientnet_lite0"
lease_seconds = 3

[serving]
threads = 2
standby = false

[schedule]
cron = ""
"""

Message = dict[str, Any]


def below(pid: int) -> Iterator[tuple[int, str]]:
    """Every process below `pid`, and its command line."""
    try:
        children = [int(child) for task in Path(f"/proc/{pid}/task").iterdir()
                    for child in (task / "children").read_text().split()]  # fmt: skip
        for child in children:
            yield child, Path(f"/proc/{child}/cmdline").read_text().replace("\0", " ")
            yield from below(child)
    except (FileNotFoundError, ProcessLookupError):
        return


def alive(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


class Loop:
    """A person, and the services below the process `pid`."""

    def __init__(self, person: Person, pid: int, settings: Settings) -> None:
        self.person = person
        self._pid = pid
        database = Database(settings.database_place)
        self.runs = Runs(database)
        self.photos = Photos(database, settings.photos_dir, settings.unlabelled_dir, settings.images)
        self._seed = 0

    def pids(self, words: str) -> list[int]:
        return [pid for pid, command in below(self._pid) if words in command]

    async def kill(self, words: str) -> None:
        """Kill -9 the one process with these words in its command line, once there is one."""
        await until(lambda: len(self.pids(words)) == 1, PATIENCE)
        os.kill(self.pids(words)[0], signal.SIGKILL)

    def draw(self, name: str) -> bytes:
        self._seed += 1
        return samples.photo(name, self._seed)

    async def teach(self, name: str, count: int) -> None:
        album = await self.person.album([self.draw(name) for _ in range(count)], name)
        numbers = {message["message_id"] for message in album}
        await self.person.wait_for(
            lambda message: message.get("reply_to_message", {}).get("message_id") in numbers, PATIENCE
        )

    async def ask(self, name: str) -> str:
        """The bot's answer to a photo without a caption."""
        sent = await self.person.photo(self.draw(name))
        return str((await self.person.reply_to(sent["message_id"], PATIENCE))["text"])

    async def train(self) -> int:
        """Send /train; the message's number."""
        return int((await self.person.say("/train"))["message_id"])

    async def told(self, asked: int, words: str) -> Message:
        """The message that follows the run, once it has these words about how the run goes or ended."""
        return await self.person.reply_to(asked, PATIENCE, lambda message: words in message["text"])

    async def at_work(self) -> Run:
        """The run, once its process is past its start."""
        await until(lambda: bool((run := self.runs.active()) and run.step), PATIENCE)
        run = self.runs.active()
        assert run
        return run


@asynccontextmanager
async def started(config: Path, *words: str) -> AsyncIterator[int]:
    """A command in a process of its own. Its end is awaited: the sandbox has to hear the bot's last words."""
    command = [sys.executable, "-m", "cli.main", "--config", str(config), *words]
    with config.with_suffix(".log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(*command, stderr=log)
        try:
            yield process.pid
        finally:
            process.terminate()
            await process.wait()


@asynccontextmanager
async def looping(settings: Settings, folder: Path) -> AsyncIterator[Loop]:
    async with running() as sandbox:
        config = folder / "config.toml"
        config.write_text(CONFIG.format(token=TOKEN, url=sandbox.url, ada=ADA))
        run = started(config, "--data", str(settings.data), "run")
        async with run as pid, Person(sandbox.url, ADA) as person:
            yield Loop(person, pid, settings)


async def test_the_loop_survives_every_kill(settings: Settings, tmp_path: Path) -> None:
    """Photos teach, /train trains, photos are answered; kill -9 of each process in turn loses nothing of that."""
    async with looping(settings, tmp_path) as loop:
        for name in CLASSES:
            await loop.teach(name, 6)
        asked = await loop.train()
        await loop.told(asked, "made version 1")
        assert CLASSES[0] in await loop.ask(CLASSES[0])
        stored = {photo.sha256 for photo in loop.photos.all()}

        # The model server: the answer waits for the next one.
        await loop.kill("serving.modest")
        assert "Version 1" in await loop.ask(CLASSES[1])

        # The training run: marked failed in words, and what is served still answers.
        asked = await loop.train()
        await loop.at_work()
        await loop.kill("trainer.run")
        assert "killed" in (await loop.told(asked, "failed"))["text"]
        assert "Version 1" in await loop.ask(CLASSES[0])

        # The trainer: its child ends with it, the next trainer takes the run up again, and the bot goes on telling.
        asked = await loop.train()
        run = await loop.at_work()
        await loop.kill("cli.main trainer")
        assert "Version 1" in await loop.ask(CLASSES[1])
        await until(lambda: (again := loop.runs.get(run.id)).token == 2 and again.step is not None, PATIENCE)

        # The bot, while that run goes on: the next bot answers, and tells the end of the run in the same message.
        await loop.kill("cli.main bot")
        assert "Version" in await loop.ask(CLASSES[0])
        await loop.told(asked, "made version 2")

        assert {photo.sha256 for photo in loop.photos.all()} == stored
        assert all(photo.path.exists() for photo in loop.photos.all())
        log = (tmp_path / "config.log").read_text()
    assert TOKEN not in log
    assert TOKEN.partition(":")[2] not in log


async def test_nothing_is_left_running(settings: Settings, tmp_path: Path) -> None:
    """SIGTERM of `retrainbot run` ends bot, trainer and model server."""
    async with looping(settings, tmp_path) as loop:
        await until(lambda: bool(loop.pids("cli.main bot") and loop.pids("cli.main trainer")), PATIENCE)
        pids = loop.pids("")
    assert [pid for pid in pids if alive(pid)] == []


async def test_bot_and_trainer_live_on_two_hosts(
    postgresql: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each with its own configuration and its own path to the shared folder: photos come in through the one, are
    learned by the other, and the first one's answers change over; neither has written down a path or a password.
    """
    address = postgresql.database()
    monkeypatch.setenv("RETRAINBOT_DATABASE_PASSWORD", PASSWORD)
    bot, trainer = tmp_path / "chat" / "bot.toml", tmp_path / "box" / "trainer.toml"
    for config in (bot, trainer):
        config.parent.mkdir()
    (tmp_path / "chat" / "data").mkdir()
    (tmp_path / "box" / "mounted").symlink_to(tmp_path / "chat" / "data")
    server = f'database = "postgresql://{USER}@127.0.0.1:{postgresql.port}/{name_of(address)}"\n'
    async with running() as sandbox:
        chat = CONFIG.format(token=TOKEN, url=sandbox.url, ada=ADA)
        bot.write_text(f'data = "{tmp_path}/chat/data"\n{server}{chat}')
        trainer.write_text(f'data = "{tmp_path}/box/mounted"\n{server}[schedule]\ncron = ""\n')
        async with started(bot, "bot") as pid, started(trainer, "trainer"), Person(sandbox.url, ADA) as person:
            loop = Loop(person, pid, Settings(data=tmp_path / "chat" / "data", database=SecretStr(address)))
            for number in (1, 2):
                for name in CLASSES:
                    await loop.teach(name, 6)
                asked = await loop.train()
                await loop.told(asked, f"made version {number}")
                async with asyncio.timeout(PATIENCE):
                    while f"Version {number}" not in await loop.ask(CLASSES[0]):
                        pass
    rows, logs = postgresql.rows(address), bot.with_suffix(".log").read_text() + trainer.with_suffix(".log").read_text()
    assert CLASSES[0] in rows
    assert str(tmp_path) not in rows
    assert PASSWORD not in rows + logs
    postgresql.drop(address)
