"""The pages that a newcomer follows, followed: each command on them is typed, in order, in a clean copy of the project.

Nothing is replaced but the far side of the network: a sandbox stands where Telegram is.
"""

import ast
import asyncio
import os
import re
import signal
import subprocess
import sys
import textwrap
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import httpx
import pytest
from conftest import until

from demo import samples
from sandbox.client import Person
from sandbox.server import running

ROOT = Path(__file__).parent.parent
README, FIRST = ROOT / "README.md", ROOT / "docs" / "getting-started.md"
TROUBLE = "## When something goes wrong"
PACKAGES = ("bot", "cli", "demo", "sandbox", "serving", "storage", "trainer")

KINDS = {"sh", "toml", "text"}  # Of blocks: commands, settings, drawings.
KNOWN = ("make", "cp", ".venv/bin/retrainbot")  # Any other program is one that nobody has thought about here.
# What cannot be typed within a test, and why; what follows is typed in its place.
ELSEWHERE: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "make test": ("it would run this test", "make -n test"),
        "make .venv/.gpu": ("it fetches 5 GB", "make -n .venv/.gpu && grep nvidia-cudnn requirements/gpu.txt"),
        "sudo apt update": ("it is about the computer", "true"),
        "sudo apt install git make python3-venv": ("it is about the computer", "git --version && make --version"),
    }
)
ADDRESS = re.compile(r"http://127\.0\.0\.1:\d+")
ME = 123456789  # As the page has it for its reader.
SECONDS = 300.0  # For anything, on a computer that is busy with something else.


@dataclass(frozen=True)
class Block:
    """What stands between two fences; `kind` is the word behind the first."""

    kind: str
    lines: Sequence[str]


@dataclass(frozen=True)
class Terminal:
    """Where a newcomer types; `url` is the sandbox's, and `screen` a file with what the last command printed."""

    folder: Path
    environment: Mapping[str, str]
    url: str
    screen: Path

    def shows(self, *words: str) -> bool:
        shown = self.screen.read_text("utf-8", errors="replace")
        return all(word in shown for word in words)

    async def run(self, line: str) -> None:
        """Type a command and wait for its end, which must be a good one."""
        async with self._started(line) as process:
            status = await asyncio.wait_for(process.wait(), SECONDS)
            assert status == 0, f"{line}: {status}\n{self.screen.read_text('utf-8')}"

    async def stay(self, line: str, meanwhile: Callable[["Terminal"], Awaitable[None]]) -> None:
        """Type a command that stays up, do something `meanwhile`, and press Ctrl-C."""
        async with self._started(line) as process:
            await meanwhile(self)
            os.killpg(process.pid, signal.SIGINT)
            status = await asyncio.wait_for(process.wait(), SECONDS)
        # Make lets its command end, and then says by its own status that it was interrupted.
        assert status in ({0, -signal.SIGINT} if line.startswith("make ") else {0})
        assert not self.shows("Traceback")
        assert not self.shows("] Error")  # Make's words for a command that failed.

    @asynccontextmanager
    async def _started(self, line: str) -> AsyncIterator[asyncio.subprocess.Process]:
        with self.screen.open("wb") as screen:
            process = await asyncio.create_subprocess_exec(
                *("bash", "-c", line),
                cwd=self.folder,
                env=self.environment,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=screen,
                stderr=screen,
                start_new_session=True,
            )
        try:
            yield process
        except TimeoutError as error:
            raise AssertionError(f"{line} shows:\n{self.screen.read_text('utf-8', errors='replace')}") from error
        finally:
            if process.returncode is None:
                os.killpg(process.pid, signal.SIGKILL)
                await process.wait()


@pytest.fixture(scope="module")
def photos() -> dict[str, list[bytes]]:
    """Eleven photos of each of two things, the last for questions."""
    return {name: [samples.photo(name, seed) for seed in range(11)] for name in samples.CLASSES[:2]}


@pytest.fixture
def home(tmp_path: Path, photos: dict[str, list[bytes]]) -> Path:
    """A person's home folder with the folders of photos that the pages speak of, and nothing else."""
    pictures = tmp_path / "home" / "Pictures"
    for name, (*known, unknown) in photos.items():
        for number, content in enumerate(known):
            _put(pictures / "parts" / name / f"{number}.jpg", content)
        _put(pictures / "unknown" / f"{name}.jpg", unknown)
    return tmp_path / "home"


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """The files that git has, and a `.venv` of its own that leads to the running Python and counts as installed."""
    folder = tmp_path / "retrainbot"
    listed = subprocess.run(
        ["git", "-c", f"safe.directory={ROOT}", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True
    )
    for name in listed.stdout.decode().split("\0")[:-1]:
        _put(folder / name, (ROOT / name).read_bytes())
    (folder / ".venv").mkdir()
    for path in Path(sys.prefix).iterdir():
        if not path.is_file() or path.name == "pyvenv.cfg":
            (folder / ".venv" / path.name).symlink_to(path)
    for stamp in (".cpu", ".dev"):
        (folder / ".venv" / stamp).touch()
    return folder


@pytest.fixture
async def terminal(tmp_path: Path, home: Path, checkout: Path) -> AsyncIterator[Terminal]:
    ours = {name: value for name, value in os.environ.items() if not name.startswith("RETRAINBOT_")}
    async with running() as sandbox:
        # The copy comes before the installed project, which lies where this test does.
        away = {"HOME": str(home), "PYTHONPATH": str(checkout), "RETRAINBOT_TELEGRAM__BASE_URL": sandbox.url}
        yield Terminal(checkout, {**ours, **away}, sandbox.url, tmp_path / "screen.txt")


@pytest.fixture(autouse=True)
def ctrl_c() -> Iterator[None]:
    """What is started here hears Ctrl-C, also where the tests run in the background and do not hear it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


async def test_the_readme_can_be_followed(terminal: Terminal) -> None:
    """Every command in README.md works as it stands, one after the other."""
    await follow(README, terminal, [introduce])


async def test_the_first_half_hour_can_be_followed(terminal: Terminal, photos: dict[str, list[bytes]]) -> None:
    """Every command in docs/getting-started.md works, and the chat says what the page promises."""

    async def teach(terminal: Terminal) -> None:
        await until(lambda: terminal.shows("bot ready", "trainer ready"), SECONDS)
        async with Person(terminal.url, ME) as me:
            for name, (*lesson, _) in zip(("daisy", "tulip"), photos.values(), strict=True):
                album = await me.album(lesson, name)
                said = await me.reply_to(album[0]["message_id"], SECONDS)
                assert promised(f"10 photos learned as {name}.") in said["text"]
            asked = await me.say("/train")
            said = await me.reply_to(asked["message_id"], SECONDS, _is_end)
            assert promised("Run 1 made version 1") in said["text"]
            assert promised("It answers as soon as it has loaded") in said["text"]
            await until(lambda: terminal.shows('"state": "serving"'), SECONDS)
            question = await me.photo(photos[samples.CLASSES[0]][-1])
            said = await me.reply_to(question["message_id"], SECONDS)
            assert promised("Version 1") in said["text"]

    await follow(FIRST, terminal, [introduce, teach])


@pytest.mark.parametrize("page", [README, FIRST], ids=lambda page: page.name)
def test_no_command_stands_outside_a_block(page: Path) -> None:
    """All blocks are fenced and of a known kind, so that none is passed over above."""
    text = page.read_text("utf-8")
    assert {block.kind for block in blocks(page)} <= KINDS
    assert re.findall(r"^    .*", FENCED.sub("", text), re.MULTILINE) == []


def test_every_make_command_in_the_text_has_a_target(checkout: Path) -> None:
    """Whatever a page tells to make in passing, make knows how to."""
    pages = [README, ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")]
    typed = {command for page in pages for command in re.findall("`(make [^`]+)`", page.read_text("utf-8"))}
    for command in sorted(typed):
        subprocess.run([*command.split(), "--dry-run"], cwd=checkout, capture_output=True, check=True)


@pytest.mark.parametrize("name", ["getting-started", "operating", "faq"])
def test_what_the_program_is_quoted_with_it_says(name: str) -> None:
    """Words in typographic quotes are somewhere in the program, so a reader who searches for them finds them."""
    page = (ROOT / "docs" / f"{name}.md").read_text("utf-8")
    text = page[page.index(TROUBLE) :] if TROUBLE in page else page
    quotes = {" ".join(quote.split()) for quote in re.findall("“(.*?)”", text, re.DOTALL)}
    texts = program_texts()
    assert {quote for quote in quotes if not any(quote in said for said in texts)} == set()


async def follow(page: Path, terminal: Terminal, visits: Sequence[Callable[[Terminal], Awaitable[None]]]) -> None:
    """Do what a page says. `visits` are what its reader does in the chat, for each time that the bot is started."""
    waiting = list(visits)
    for block in blocks(page):
        if block.kind == "toml":
            config = terminal.folder / "config.toml"
            config.write_text(changed(config.read_text("utf-8"), block.lines), "utf-8")
        for line in block.lines if block.kind == "sh" else ():
            command = re.sub(r"\s+#.*", "", line)
            _, typed = ELSEWHERE.get(command, ("", command))
            assert command in ELSEWHERE or command.split()[0] in KNOWN, f"{page.name} has a new command: {line}"
            if typed == "make demo":
                await terminal.stay(typed, look_at_demo)
            elif typed == ".venv/bin/retrainbot run":
                await terminal.stay(typed, waiting.pop(0))
            else:
                await terminal.run(typed)
    assert waiting == []


async def look_at_demo(terminal: Terminal) -> None:
    """The address that it prints leads to a page, and the bot answers."""
    await until(lambda: ADDRESS.search(terminal.screen.read_text("utf-8")) is not None, SECONDS)
    address = ADDRESS.findall(terminal.screen.read_text("utf-8"))[0]
    async with httpx.AsyncClient(trust_env=False) as browser:
        page = await browser.get(f"{address}/")
    assert (page.status_code, page.headers["content-type"].partition(";")[0]) == (200, "text/html")
    await until(lambda: terminal.shows("Bot:"), SECONDS)


async def introduce(terminal: Terminal) -> None:
    """A stranger is told the number that belongs into the configuration."""
    await until(lambda: terminal.shows("bot ready", "trainer ready"), SECONDS)
    async with Person(terminal.url, ME) as me:
        sent = await me.say("/start")
        said = await me.reply_to(sent["message_id"], SECONDS)
    assert f"Your id is {ME}" in said["text"]


FENCED = re.compile(r"^( *)```(\w*)\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)


def blocks(page: Path) -> list[Block]:
    """The blocks of a page in their order, without the empty lines in them."""
    found = FENCED.findall(page.read_text("utf-8"))
    return [Block(kind, list(filter(None, textwrap.dedent(text).splitlines()))) for _, kind, text in found]


def changed(config: str, lines: Sequence[str]) -> str:
    """The configuration with these lines in place of those of the same name in the same section."""
    section = ""
    for line in lines:
        if line.startswith("["):
            section = line
            continue
        name = line.partition(" = ")[0]
        found = re.search(rf"^{re.escape(section)}\n(?:(?!\[).*\n)*?(?={name} = )", config, re.MULTILINE)
        assert found, f"{section} has no {name}"
        config = config[: found.end()] + line + config[config.index("\n", found.end()) :]
    return config


def promised(words: str) -> str:
    """The words, which the page must quote."""
    assert f"“{words}”" in FIRST.read_text("utf-8")
    return words


def program_texts() -> list[str]:
    """Every text in the program, and what make says."""
    files = [path for package in PACKAGES for path in (ROOT / package).rglob("*.py")]
    nodes = (node for path in files for node in ast.walk(ast.parse(path.read_text("utf-8"))))
    texts = [node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)]
    return [*texts, (ROOT / "Makefile").read_text("utf-8")]


def _is_end(message: Mapping[str, str]) -> bool:
    return re.match(r"Run \d+ (made|failed|was cancelled)", message["text"]) is not None


def _put(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
