"""The demo as a person meets it: started, watched, toured, ended with Ctrl-C at any moment, and started again."""

import asyncio
import io
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from browsing import browsing, needs_browser
from conftest import TOKEN
from playwright.async_api import Page, expect
from rich.console import Console

from demo import home
from demo.ahead import Ahead
from demo.conversation import Conversation
from demo.people import ADA, YOU
from demo.tour import MADE, NEW
from demo.transcript import Transcript
from sandbox.client import Person
from sandbox.server import running
from storage.errors import RetrainbotError

PATIENCE = 120.0  # Seconds; what is waited for takes a few, unless the computer is very busy.
ROOT = Path(__file__).parent.parent
ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith("RETRAINBOT_")}
ENVIRONMENT |= {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1", "PYTHONSAFEPATH": "1"}

Message = dict[str, Any]


@dataclass(frozen=True)
class Ended:
    """How a demo ended: which of the processes that it was made of are left, and what it said on stderr."""

    left: list[str]
    status: int
    errors: str


class Running:
    """A demo in a process group of its own, as a terminal starts it."""

    def __init__(self, folder: Path, *options: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "cli.main", "demo", *options],
            cwd=folder,
            env=ENVIRONMENT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            process_group=0,
        )
        self._lines: list[str] = []
        self._news = threading.Condition()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        """Until every process that may write there has ended."""
        for line in self._process.stdout or ():
            with self._news:
                self._lines.append(line)
                self._news.notify_all()

    @property
    def said(self) -> str:
        return "".join(self._lines)

    def hear(self, words: str) -> str:
        """Wait until the transcript has these words, and return it as it is then."""
        with self._news:
            assert self._news.wait_for(lambda: words in self.said, PATIENCE), self.said
            return self.said

    @property
    def url(self) -> str:
        found = re.search(r"http://127\.0\.0\.1:\d+", self.hear("stand-in for Telegram"))
        assert found
        return found[0]

    def end(self, number: signal.Signals) -> Ended:
        """Send the signal to the whole group, as the terminal does for Ctrl-C, and look for what is left."""
        whole = psutil.Process(self._process.pid)
        processes = [whole, *whole.children(recursive=True)]
        os.killpg(self._process.pid, number)
        self._process.wait(PATIENCE)
        _, left = psutil.wait_procs(processes, timeout=10)
        return self.over([str(process) for process in left])

    def signal(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def over(self, left: Sequence[str] = ()) -> Ended:
        """Wait for the end that comes by itself."""
        assert self._process.stdout
        assert self._process.stderr
        with self._process.stdout, self._process.stderr as errors:
            said = errors.read()
            self._reader.join()
            return Ended(list(left), self._process.wait(PATIENCE), said)

    def kill(self) -> None:
        """Whatever became of it."""
        if self._process.poll() is None:
            self._process.kill()
            self.over()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("demo")


@pytest.fixture(scope="module")
def interrupted(folder: Path) -> Ended:
    """A first demo, ended by Ctrl-C in the middle of its first training."""
    demo = Running(folder, "--port", "0")
    demo.hear("/train")
    return demo.end(signal.SIGINT)


@pytest.fixture(scope="module")
def demo(folder: Path, interrupted: Ended) -> Iterator[Running]:
    """The next demo in the same folder."""
    demo = Running(folder, "--port", "0")
    yield demo
    demo.kill()


def test_ctrl_c_amid_training_leaves_no_process(interrupted: Ended) -> None:
    """Every process of the tree is gone a moment later, and no traceback shows."""
    assert interrupted == Ended([], 0, "")


def test_an_interrupted_demo_begins_anew(demo: Running) -> None:
    """The next start says that the last one was interrupted, and plays the conversation from its beginning."""
    said = demo.hear("[photo] stop")
    assert "interrupted" in said.splitlines()[0]
    assert "stop, which has 1 photo now" in demo.hear("Learned as stop")


def test_a_second_demo_is_refused(folder: Path, demo: Running) -> None:
    """While one demo runs, another in the same folder says so instead of spoiling it."""
    demo.hear("Learned as stop")
    second = Running(folder, "--fresh").over()
    assert second.status == 1
    assert "A demo is running in" in second.errors
    assert len(second.errors.splitlines()) == 1


async def ask_until_known(page: Page) -> None:
    """The new version may be loading yet; then one asks again."""
    tour = page.locator("#tour")
    answers = page.locator(".theirs .words", has_text=re.compile(r"Version \d+$"))
    while await tour.get_by_text("5 of 6").count():
        known = await answers.count()
        await tour.get_by_role("button", name="Send").click()
        await expect(answers).to_have_count(known + 1, timeout=PATIENCE * 1000)


@needs_browser
async def test_the_tour_can_be_taken(demo: Running) -> None:
    """Each step is done by its button, while Ada goes on teaching; the new sign is known in the end."""
    async with browsing() as context:
        page = await context.new_page()
        page.set_default_timeout(PATIENCE * 1000)
        await page.goto(demo.url)
        tour = page.locator("#tour")
        await tour.get_by_role("button", name="Look at Ada’s chat").click()
        await page.locator(".theirs .words", has_text=re.compile(MADE)).first.wait_for()
        await tour.get_by_role("button", name="Back to your own chat").click()
        for number, button in enumerate(("Send", f"Send as “{NEW}”", "Send /train", "Send", "Send /help"), start=2):
            await tour.get_by_text(f"{number} of 6").wait_for()
            if number == 4:  # At the same time as Ada's, her run may be the one; then one would say it again.
                await asyncio.to_thread(demo.hear, "She asks about the new sign")
            await (ask_until_known(page) if number == 5 else tour.get_by_role("button", name=button).click())
        await page.locator(".theirs", has_text="what I can do").first.wait_for()
        await tour.get_by_role("button", name="Done").click()
        await expect(tour).to_be_hidden()


def test_ada_is_not_disturbed(demo: Running) -> None:
    """Her conversation comes to its end with every promise held, whatever somebody else does beside it."""
    assert "Every promise held." in demo.hear("Your turn")
    assert re.search(r"The first answer, \d+ seconds after the start", demo.said)


def test_a_later_demo_goes_on(folder: Path, demo: Running) -> None:
    """After Ctrl-C, the next start plays no conversation, but says what is there; what was said can still be seen."""
    demo.hear("Your turn")
    assert demo.end(signal.SIGINT) == Ended([], 0, "")
    later = Running(folder, "--port", "0")
    said = later.hear("Your turn")
    assert "photos in 8 classes" in said
    assert re.search(r"Version \d+ since", said)
    assert "[photo]" not in said
    asyncio.run(see_the_first_photo(later.url))
    assert later.end(signal.SIGTERM) == Ended([], 0, "")


async def see_the_first_photo(url: str) -> None:
    async with Person(url, YOU) as you:
        first = (await you.events())[0]["message"]
        assert await you.file(first["photo"][-1]["file_id"])


def test_sigterm_ends_it_while_it_sets_itself_up(tmp_path: Path) -> None:
    """The services are stopped first, however far they have come, and a second signal changes nothing."""
    demo = Running(tmp_path, "--once")
    assert demo.url
    demo.signal(signal.SIGTERM)
    assert demo.end(signal.SIGTERM) == Ended([], 1, "")
    assert not list(tmp_path.iterdir())


def test_a_taken_port_is_told_in_words(tmp_path: Path) -> None:
    """The message names the port and the way out, for the command and for make."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ended = Running(tmp_path, "--port", str(port)).over()
    assert ended.status == 1
    assert all(words in ended.errors for words in (str(port), "--port", "make demo PORT="))


def test_a_folder_of_somebody_else_is_left_alone(tmp_path: Path) -> None:
    """A demo-data without the demo's marker is refused, and nothing in it is touched."""
    (tmp_path / "demo-data" / "data").mkdir(parents=True)
    (tmp_path / "demo-data" / "data" / "precious.txt").write_text("mine")
    ended = Running(tmp_path, "--fresh").over()
    assert ended.status == 1
    assert "was not made by the demo" in ended.errors
    assert (tmp_path / "demo-data" / "data" / "precious.txt").read_text() == "mine"


def test_starting_over_removes_only_what_the_demo_made(tmp_path: Path) -> None:
    """What somebody else put into the folder stays, and so does what a link in it leads to."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "photo.jpg").write_bytes(b"mine")
    with home.opened(tmp_path / "demo") as here:
        here.data.mkdir()
        (here.data / "photo.jpg").write_bytes(b"ours")
        here.samples.symlink_to(elsewhere)
        (here.folder / "notes.txt").write_text("mine")
        here.end()
        assert here.ended()
        here.begin()
        assert not here.ended()
        assert not here.data.exists()
        assert not here.samples.is_symlink()
        assert (here.folder / "notes.txt").read_text() == "mine"
        with pytest.raises(RetrainbotError, match="A demo is running"), home.opened(tmp_path / "demo"):
            pass
    assert (elsewhere / "photo.jpg").read_bytes() == b"mine"


class Actor:
    """Somebody in the bot's place, who says what is written for each /train: at first, and in the end."""

    def __init__(self, client: httpx.AsyncClient, lines: Sequence[tuple[str, str]]) -> None:
        self._client = client
        self._lines = list(lines)
        self._offset = 0

    async def call(self, method: str, **parameters: Any) -> Any:
        return (await self._client.post(f"/bot{TOKEN}/{method}", json=parameters)).json()["result"]

    async def act(self) -> None:
        while self._lines:
            for update in await self.call("getUpdates", offset=self._offset, timeout=10):
                self._offset = update["update_id"] + 1
                first, last = self._lines.pop(0)
                asked = update["message"]["message_id"]
                sent = await self.call("sendMessage", chat_id=ADA, text=first, reply_to_message_id=asked)
                await self.call("editMessageText", chat_id=ADA, message_id=sent["message_id"], text=last)


async def test_ada_asks_again_until_a_run_is_hers() -> None:
    """A run that somebody else started, and one that was cancelled, are not what she waits for."""
    lines = [
        ("A run is under way already; I tell how it goes.\nRun 1 has begun.", "Run 1 made version 1: for somebody."),
        ("Run 2 waits for the trainer.", "Run 2 was cancelled. Somebody wanted that."),
        ("Run 3 waits for the trainer.", "Run 3 made version 2: for Ada."),
    ]
    paper = io.StringIO()
    async with (
        running() as sandbox,
        Person(sandbox.url, ADA) as ada,
        httpx.AsyncClient(base_url=sandbox.url, timeout=PATIENCE, trust_env=False) as client,
        Ahead() as ahead,
    ):
        acting = asyncio.create_task(Actor(client, lines).act())
        await Conversation(ada, Transcript(Console(file=paper), lambda: 0.0), ahead).train()
        await acting
    assert paper.getvalue().count("/train") == 3
    assert paper.getvalue().rstrip().endswith("Run 3 made version 2: for Ada.")
