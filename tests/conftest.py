"""What several test files share: a data folder, databases, colours to tell apart, and a tiny network that does."""

import asyncio
import io
import os
import shutil
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AbstractContextManager, AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from itertools import count
from pathlib import Path
from types import MappingProxyType
from typing import Any

import httpx
import hypothesis
import numpy as np
import pytest
from hypothesis import HealthCheck
from PIL import Image
from postgresql import MISSING, Server, programs
from postgresql import serving as serving_postgresql
from pydantic import SecretStr

from bot.service import Pace, Service, serving
from sandbox.client import Person
from sandbox.server import running
from storage import labels
from storage.database import Database, now
from storage.models import GOLDEN, LABELS, Manifest, Models
from storage.runs import RunOptions, Runs, RunState
from storage.settings import Serving, Settings, Training

SIZE = 32  # Pixels a side of what the tiny network takes.
COLOURS = MappingProxyType({"red": (220, 30, 30), "green": (30, 200, 30), "blue": (30, 30, 220)})
ADA, STRANGER = 1001, 2002
TOKEN = "4711:" + "Secret-Token_0123456789abcdefghij"
FAST = Pace(pointer_poll=0.1, run_poll=0.05, edit_every=0.2, reconnect=0.2, retries=(0.2, 0.2))
SQLITE, POSTGRESQL = "sqlite", "postgresql"
Place = Path | str  # Of a database: a file, or an address.
NewPlace = Callable[[], Place]  # Another one each time, so the examples of one test may share it.
Broken = Callable[[], AbstractContextManager[None]]
PublishTiny = Callable[..., int]
hypothesis.settings.register_profile(
    "ours", suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
hypothesis.settings.load_profile("ours")


def pytest_addoption(parser: pytest.Parser) -> None:
    told = "the database of every test, instead of both for those that are marked so, and SQLite for the others"
    parser.addoption("--database", choices=[SQLITE, POSTGRESQL], help=told)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Tests of what is stored run on both databases."""
    if "database_kind" in metafunc.fixturenames:
        chosen = metafunc.config.getoption("database")
        if chosen or metafunc.definition.get_closest_marker("both_databases"):
            metafunc.parametrize("database_kind", [chosen] if chosen else [SQLITE, POSTGRESQL])


@dataclass(frozen=True)
class Painter:
    """Paints photos of one colour each; every call gives another photo."""

    random: np.random.Generator

    def __call__(self, colour: str, kind: str = "JPEG", size: tuple[int, int] = (120, 90)) -> bytes:
        noise = self.random.integers(-20, 21, (*reversed(size), 3))
        pixels = np.clip(np.array(COLOURS[colour]) + noise, 0, 255).astype(np.uint8)
        buffer = io.BytesIO()
        Image.fromarray(pixels).save(buffer, kind, quality=90)
        return buffer.getvalue()


@dataclass(frozen=True)
class Chat:
    """A bot on a sandbox, and the first person of its configuration in a chat with it."""

    url: str
    settings: Settings
    service: Service
    person: Person

    async def fault(self, **fault: Any) -> None:
        """Script a fault of the sandbox."""
        async with httpx.AsyncClient(trust_env=False) as client:
            (await client.post(f"{self.url}/client/faults", json=fault)).raise_for_status()


@asynccontextmanager
async def chatting(settings: Settings, url: str | None = None) -> AsyncIterator[Chat]:
    """A running bot; on a sandbox of its own unless there is one at `url`."""
    async with AsyncExitStack() as stack:
        url = url or (await stack.enter_async_context(running())).url
        here = {"token": SecretStr(TOKEN), "base_url": url, "users": (ADA,)}
        telegram = settings.telegram.model_copy(update=here)
        intake = settings.intake.model_copy(update={"album_seconds": 0.3})
        settings = settings.model_copy(update={"telegram": telegram, "intake": intake})
        service = await stack.enter_async_context(serving(settings, FAST))
        person = await stack.enter_async_context(Person(url, ADA))
        yield Chat(url, settings, service, person)


@pytest.fixture
async def chat(settings: Settings) -> AsyncIterator[Chat]:
    async with chatting(settings) as chat:
        yield chat


def buttons(message: dict[str, Any]) -> dict[str, str]:
    """The callback data of a message's buttons by their words."""
    rows = message.get("reply_markup", {}).get("inline_keyboard", [])
    return {button["text"]: button["callback_data"] for row in rows for button in row}


async def told(person: Person) -> str:
    """The words of the little window that a tap opened last."""
    words: list[str] = []
    while not words:
        events = [event for event in await person.events(wait=1) if event["type"] == "callback_answered"]
        words = [event["text"] for event in events if event["text"]]
    return words[-1]


@pytest.fixture
def paint() -> Painter:
    return Painter(np.random.default_rng(7))


@pytest.fixture(scope="session")
def postgresql() -> Iterator[Server]:
    if programs() is None and not os.environ.get("CI"):
        pytest.skip(MISSING)
    with serving_postgresql() as server:
        yield server


@pytest.fixture
def database_kind() -> str:
    return SQLITE


@pytest.fixture
def new_place(database_kind: str, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[NewPlace]:
    """Gives a place for another database each time."""
    numbers = count(1)
    if database_kind == SQLITE:
        yield lambda: tmp_path / f"{next(numbers)}.db"
        return
    server: Server = request.getfixturevalue("postgresql")
    made: list[str] = []

    def new() -> str:
        made.append(server.database())
        return made[-1]

    yield new
    for address in made:
        server.drop(address)


@pytest.fixture
def bare_place(database_kind: str, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Place]:
    """A place where there are no tables yet."""
    if database_kind == SQLITE:
        yield tmp_path / "bare.db"
        return
    server: Server = request.getfixturevalue("postgresql")
    address = server.database(bare=True)
    yield address
    server.drop(address)


@pytest.fixture
def place(database_kind: str, tmp_path: Path, new_place: NewPlace) -> Place:
    """Where the settings of a test have its database."""
    return Settings(data=tmp_path / "data").database_place if database_kind == SQLITE else new_place()


@pytest.fixture
def database(place: Place) -> Iterator[Database]:
    database = Database(place)
    yield database
    database.close()


@pytest.fixture
def broken(place: Place, database: Database, request: pytest.FixtureRequest) -> Broken:
    """Breaks the database for as long as a block of `with` lasts."""
    if isinstance(place, Path):
        return partial(_without_file, place, database)
    server: Server = request.getfixturevalue("postgresql")
    return partial(server.closed, place)


@contextmanager
def _without_file(place: Path, database: Database) -> Iterator[None]:
    database.close()
    aside = place.rename(place.parent / "aside.db")
    place.write_bytes(b"no database" * 1000)
    yield
    aside.replace(place)


@pytest.fixture
def settings(tmp_path: Path, place: Place, monkeypatch: pytest.MonkeyPatch) -> Settings:
    if isinstance(place, str):
        monkeypatch.setenv("RETRAINBOT_DATABASE", place)  # For child processes, too.
        (tmp_path / "data").mkdir()  # As `open_database` does, and a file of SQLite's does for itself.
    return Settings(data=tmp_path / "data", serving=Serving(standby=False))  # TensorFlow takes seconds to start.


def model_servers() -> list[int]:
    """The process ids of this process's model servers, those that stand by among them."""
    children = [int(pid) for path in Path("/proc/self/task").glob("*/children") for pid in path.read_text().split()]
    return [pid for pid in children if b"serving.modest" in Path(f"/proc/{pid}/cmdline").read_bytes()]


async def until(true: Callable[[], bool], seconds: float = 60) -> None:
    """Wait for something that only another process or task can bring about. Raises TimeoutError."""
    async with asyncio.timeout(seconds):
        while not true():  # noqa: ASYNC110  What is waited for knows of no event.
            await asyncio.sleep(0.02)


@pytest.fixture(scope="session")
def tiny_graph(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SavedModel that tells the COLOURS apart, in their order, and its golden inputs."""
    import keras  # noqa: PLC0415  Slow, and most tests do without.

    from trainer.backbones.zoo import Backbone  # noqa: PLC0415
    from trainer.export import export  # noqa: PLC0415

    pixels = keras.Input((SIZE, SIZE, 3), dtype="uint8")
    means = keras.layers.GlobalAveragePooling2D()(keras.layers.Rescaling(1 / 255)(pixels))
    prototypes = np.array(list(COLOURS.values()), np.float32).T / 255
    weights = np.asarray(20 * prototypes, np.float32)
    bias = np.asarray(-10 * np.square(prototypes).sum(axis=0), np.float32)
    folder = tmp_path_factory.mktemp("tiny")
    export(Backbone("tiny", SIZE, 3, "0" * 16, keras.Model(pixels, means)), weights, bias, folder)
    golden = np.random.default_rng(0).integers(0, 256, (2, SIZE, SIZE, 3), dtype=np.uint8)
    logits = (golden / 255).mean(axis=(1, 2)) @ weights + bias
    exponents = np.exp(logits - logits.max(axis=1, keepdims=True))
    probabilities = (exponents / exponents.sum(axis=1, keepdims=True)).astype(np.float32)
    np.savez_compressed(folder / GOLDEN, pixels=golden, probabilities=probabilities)
    return folder


@pytest.fixture
def publish_tiny(settings: Settings, tiny_graph: Path) -> PublishTiny:
    """`publish` of the tiny network into this test's data folder."""
    return partial(publish, settings, tiny_graph)


def publish(
    settings: Settings,
    graph: Path,
    classes: Sequence[str] = tuple(COLOURS),
    *,
    promote: str | None = "it is a test",
    input_size: int = SIZE,
) -> int:
    """Publish, and serve if there is a reason, a version of the tiny network with these names for its colours."""
    database = Database(settings.database_place)
    models, runs = Models(database, settings.models_dir), Runs(database)
    runs.enqueue(RunOptions.from_settings(Training()), "test")
    run = runs.claim("test", timedelta(minutes=1))
    assert run
    made = settings.models_dir / f".new-{run.id}"
    shutil.copytree(graph, made)
    (made / LABELS).write_text(labels.write_lines(classes), "utf-8")
    number = models.publish(made, manifest(run.id, input_size), run.token, promote=promote)
    runs.finish(run.id, run.token, RunState.SUCCEEDED, "done")
    database.close()
    return number


def manifest(run: int, input_size: int = SIZE) -> Manifest:
    return Manifest(
        run=run,
        snapshot="0" * 16,
        photos=30,
        backbone="tiny",
        weights_digest="0" * 16,
        input_size=input_size,
        mode="head",
        seed=0,
        metrics={"test_accuracy": 0.9},
        software={},
        created_at=now(),
    )
