"""A sandbox, people, and the real bot as a process that can be killed and started again."""

import asyncio
import os
import signal
import socket
import tempfile
import time
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from sqlalchemy import func, select

from benchmarks.invariants import Sent
from sandbox.client import Person
from sandbox.server import running
from storage import lifeline
from storage.database import Database
from storage.settings import Settings
from storage.tables import InboxRow, ReceivedRow

BOT_ID = 4711
TOKEN = f"{BOT_ID}:" + "benchmark" * 4
FIRST_PERSON = 1001
PATIENCE = 1200.0  # Seconds.
MOST_STARTS = 10  # When nobody kills it.

Event = dict[str, Any]


@dataclass
class BotProcess:
    """`retrainbot bot` (or another `service`) with a data folder and further settings by environment.

    It writes its log beside the folder.
    """

    data: Path
    environment: dict[str, str]
    service: str = "bot"
    starts: int = 0
    _process: Process | None = None

    async def start(self) -> None:
        self.starts += 1
        environment = {**os.environ, **self.environment, lifeline.VARIABLE: "1"}
        with self.log.open("ab") as log:
            command = lifeline.child("cli.main", "--data", str(self.data), self.service)
            self._process = await asyncio.create_subprocess_exec(
                *command, stdin=PIPE, stdout=DEVNULL, stderr=log, env=environment, cwd=self.data.parent
            )

    async def revive(self) -> None:
        """Start it again. Raises RuntimeError where it ends every time."""
        if self.starts > MOST_STARTS:
            raise RuntimeError(f"The bot ends by itself again and again:\n{self.log.read_text()[-2000:]}")
        await self.start()

    @property
    def log(self) -> Path:
        return self.data.parent / "bot.log"

    @property
    def pid(self) -> int:
        """Of the process that was started last. Raises RuntimeError before that."""
        if self._process is None:
            raise RuntimeError("The bot was never started.")
        return self._process.pid

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.returncode is None

    async def kill(self) -> None:
        """Kill -9, as a power cut would."""
        await self._end(signal.SIGKILL)

    async def stop(self) -> None:
        await self._end(signal.SIGTERM)

    async def _end(self, number: signal.Signals) -> None:
        if self._process is not None:
            if self._process.returncode is None:
                self._process.send_signal(number)
            await self._process.wait()

    def memory(self) -> int:
        """Bytes of memory of the process itself; 0 where it is not there."""
        return _memory(self._process.pid) if self._process else 0

    def memory_below(self) -> int:
        """The same of its children together."""
        return sum(_memory(pid) for pid in _below(self._process.pid)) if self._process else 0


def _memory(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmRSS:")), 0)


def _below(pid: int) -> Iterator[int]:
    try:
        for task in Path(f"/proc/{pid}/task").iterdir():
            for child in (task / "children").read_text().split():
                yield int(child)
                yield from _below(int(child))
    except (FileNotFoundError, ProcessLookupError):
        return


@dataclass
class Stage:
    """Everything that a part of the benchmark needs."""

    settings: Settings
    database: Database
    bot: BotProcess
    people: list[Person]
    client: httpx.AsyncClient
    began: float = field(default_factory=time.monotonic)

    async def fault(self, **fault: Any) -> None:
        """Script a fault of the sandbox."""
        (await self.client.post("/client/faults", json=fault)).raise_for_status()

    async def no_faults(self) -> None:
        """Take back those that are still to come."""
        (await self.client.delete("/client/faults")).raise_for_status()

    async def pending(self) -> int:
        """Updates that Telegram still keeps for the bot."""
        answer = await self.client.get(f"/bot{TOKEN}/getWebhookInfo")
        return int(answer.json()["result"]["pending_update_count"])

    def received(self) -> int:
        """Messages with photos that the bot has taken in or refused."""
        with self.database.read() as session:
            return session.scalar(select(func.count()).select_from(ReceivedRow)) or 0

    def waiting(self) -> int:
        """Updates in the inbox that were not worked yet."""
        with self.database.read() as session:
            query = select(func.count()).select_from(InboxRow).where(InboxRow.done_at.is_(None))
            return session.scalar(query) or 0

    async def settled(self, photos: int, patience: float = PATIENCE, *, supervised: bool = False) -> float:
        """Wait until so many photos were received and no update waits anywhere; how long that took, in seconds.

        Where the bot ends, it is started again if `supervised`. Raises TimeoutError, and as `BotProcess.revive` does.
        """
        start = time.monotonic()
        while await self.pending() or self.received() < photos or self.waiting():
            if time.monotonic() - start > patience:
                counts = f"{self.received()} of {photos} photos received, {self.waiting()} updates wait"
                raise TimeoutError(f"After {patience:.0f} s: {counts}. The bot's log is {self.bot.log}")
            if supervised and not self.bot.running:
                await self.bot.revive()
            await asyncio.sleep(0.2)
        return time.monotonic() - start

    async def replies(self) -> dict[int, list[int]]:
        """For each chat, which messages the bot's messages reply to, in the order in which they came."""
        return {person.chat_id: [_answered(event) for event in await _sent(person)] for person in self.people}


async def _sent(person: Person) -> list[Event]:
    return [e for e in await person.events() if e["type"] == "sent" and e["message"]["from"]["is_bot"]]


def _answered(event: Event) -> int:
    return int(event["message"].get("reply_to_message", {}).get("message_id", 0))


def told(replies: dict[int, list[int]], sent: list[Sent]) -> dict[tuple[int, int | str], int]:
    """How often each photo was answered; an album counts as one."""
    counts: dict[tuple[int, int | str], int] = {}
    for item in sent:
        key = item.chat, item.album or item.message
        counts[key] = counts.get(key, 0) + replies[item.chat].count(item.message)
    return counts


@asynccontextmanager
async def staged(
    people: int = 1, *, folder: Path | None = None, webhook: bool = False, service: str = "bot"
) -> AsyncIterator[Stage]:
    """A stage with so many people, each in a chat with the bot, which is not yet started.

    `service` is what to start: ``bot`` alone, or ``run`` for all.
    """
    async with AsyncExitStack() as stack:
        scratch = folder or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="intake-")))
        sandbox = await stack.enter_async_context(running())
        users = range(FIRST_PERSON, FIRST_PERSON + people)
        settings = Settings(data=scratch / "data")
        database = Database(settings.database_place)
        stack.callback(database.close)
        bot = BotProcess(settings.data, _environment(sandbox.url, users, webhook=webhook), service)
        stack.push_async_callback(bot.kill)
        yield Stage(
            settings=settings,
            database=database,
            bot=bot,
            people=[await stack.enter_async_context(Person(sandbox.url, user, bot=BOT_ID)) for user in users],
            client=await stack.enter_async_context(httpx.AsyncClient(base_url=sandbox.url, trust_env=False)),
        )


def _environment(url: str, users: range, *, webhook: bool) -> dict[str, str]:
    telegram = {"TOKEN": TOKEN, "BASE_URL": url, "USERS": str(list(users))}
    if webhook:
        address = f"127.0.0.1:{_free_port()}"
        telegram |= {"WEBHOOK_URL": f"http://{address}/", "WEBHOOK_LISTEN": address}
    return {f"RETRAINBOT_TELEGRAM__{name}": value for name, value in telegram.items()}


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
