"""The way of versions into service and out of it, with real versions and networks that are loaded into this process."""

import asyncio
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import COLOURS, SIZE, PublishTiny, publish, until
from hypothesis import given
from hypothesis import strategies as st
from inside import Inside
from networks import FEATURES, tiny_backbone

from bot.rollout import CARE_SECONDS, DEATH_SECONDS, LAST_PAUSE, LEAST_FREE_BYTES, WORN_SECONDS, Rollout, Slot
from bot.stores import Stores, open_stores
from serving.states import NEXT, State, follows
from storage.database import now
from storage.models import Models
from storage.settings import Settings
from storage.tables import ServedRow
from trainer.export import export

PLENTY = 1 << 34


@dataclass
class Stage:
    """A rollout whose time stands still until it is moved on."""

    models: Models
    backend: Inside
    rollout: Rollout
    time: list[float] = field(default_factory=lambda: [1000.0])

    def pass_(self, seconds: float) -> None:
        self.time[0] += seconds

    async def wait_for(self, true: Callable[[], bool]) -> None:
        """Until it is so, with the time running fast."""
        async with asyncio.timeout(30):
            while not true():
                self.pass_(1.0)
                await asyncio.sleep(0.02)

    async def answers(self, number: int) -> None:
        await until(lambda: self.rollout.answering == number, 30)

    def states(self) -> dict[int, str]:
        return {report.number: report.state for report in self.rollout.versions()}


@pytest.fixture
def stores(settings: Settings) -> Stores:
    return open_stores(settings)


@asynccontextmanager
async def staged(stores: Stores, **options: Any) -> AsyncIterator[Stage]:
    backend, time = Inside(), [1000.0]
    options = {"free_memory": lambda: PLENTY, "pauses": (1.0, 5.0), **options}
    rollout = Rollout(stores.models, backend, poll=0.01, clock=lambda: time[0], **options)
    async with rollout:
        yield Stage(stores.models, backend, rollout, time)
    assert backend.alive() == []


@given(st.lists(st.sampled_from(State)))
def test_only_legal_ways_are_gone(wishes: list[State]) -> None:
    """A version goes from state to state only as is written down, and from gone nowhere."""
    slot = Slot(1, 0.0)
    for wish in wishes:
        before = slot.state
        if follows(before, wish):
            slot.go(wish, 1.0)
            assert slot.state is wish
        else:
            with pytest.raises(ValueError, match=f"{before} cannot be {wish} next"):
                slot.go(wish, 1.0)
            assert slot.state is before
    assert not NEXT[State.GONE]
    assert all(State.GONE in after for state, after in NEXT.items() if state is not State.GONE)


async def test_passes_through_every_state(stores: Stores, publish_tiny: PublishTiny) -> None:
    """A candidate is loaded, warmed and checked beside the version that answers, which then drains and rests."""
    first = publish_tiny()
    async with staged(stores, keep_warm=60.0) as stage:
        await stage.answers(first)
        assert stage.states() == {first: "serving"}
        stage.backend.slowly = 0.3
        second = await asyncio.to_thread(publish_tiny)
        await until(lambda: stage.states() == {first: "serving", second: "loading"})
        assert stage.rollout.answering == first
        await stage.answers(second)
        await until(lambda: stage.states() == {second: "serving", first: "resting"})
        assert stage.rollout.problem is None


async def test_a_question_under_way_holds_its_version(stores: Stores, publish_tiny: PublishTiny) -> None:
    """What another version took over from drains: it is closed only when its last question was answered."""
    first = publish_tiny()
    async with staged(stores) as stage:
        await stage.answers(first)
        slot = await stage.rollout.ready()
        with slot.asking() as (_, server):
            second = await asyncio.to_thread(publish_tiny)
            await stage.answers(second)
            await asyncio.sleep(0.05)
            assert stage.states() == {second: "serving", first: "draining"}
            assert (await server.predict(np.zeros((SIZE, SIZE, 3), np.uint8))).shape == (3,)
        await until(lambda: stage.states() == {second: "serving"})
        assert stage.backend.alive() == [second]


async def test_the_way_back_is_instant_for_a_while(stores: Stores, publish_tiny: PublishTiny) -> None:
    """The version before is taken back as it is, without a start, until its time is over; then it is let go."""
    first, second = publish_tiny(promote=None), publish_tiny(promote=None)
    stores.models.promote(first, "test")
    async with staged(stores, keep_warm=60.0) as stage:
        await stage.answers(first)
        stores.models.promote(second, "test")
        await stage.answers(second)
        await until(lambda: stage.states() == {second: "serving", first: "resting"})
        stores.models.promote(first, "test")
        await stage.answers(first)
        assert stage.backend.started == [first, second]
        await until(lambda: stage.states() == {first: "serving", second: "resting"})
        stage.pass_(61)
        await until(lambda: stage.states() == {first: "serving"})
        assert stage.backend.alive() == [first]


async def test_only_the_last_one_rests_and_only_where_memory_allows(stores: Stores, publish_tiny: PublishTiny) -> None:
    """One version at most is kept that nobody asks, and none while memory is short."""
    free = [PLENTY]
    numbers = [publish_tiny(promote=None) for _ in range(3)]
    stores.models.promote(numbers[0], "test")
    async with staged(stores, keep_warm=60.0, free_memory=lambda: free[0]) as stage:
        for number in numbers:
            stores.models.promote(number, "test")
            await stage.answers(number)
        await until(lambda: stage.states() == {numbers[2]: "serving", numbers[1]: "resting"})
        free[0] = LEAST_FREE_BYTES - 1
        await until(lambda: stage.states() == {numbers[2]: "serving"})


async def test_ends_on_the_last_wish(stores: Stores, publish_tiny: PublishTiny) -> None:
    """A pointer that is moved to and fro quickly ends where it was moved last; what nobody wants is dropped."""
    numbers = [publish_tiny(promote=None) for _ in range(3)]
    stores.models.promote(numbers[0], "test")
    async with staged(stores) as stage:
        await stage.answers(numbers[0])
        stage.backend.slowly = 0.2
        for number in [*numbers, *reversed(numbers), numbers[1], numbers[2]]:
            stores.models.promote(number, "test")
            await asyncio.sleep(0.05)
        await stage.answers(numbers[2])
        await until(lambda: stage.backend.alive() == [numbers[2]])
        await asyncio.sleep(0.3)
        assert stage.states() == {numbers[2]: "serving"}


async def test_a_candidate_is_tried_again_then_given_up(stores: Stores, publish_tiny: PublishTiny) -> None:
    """A candidate that fails is tried again after pauses, then the pointer goes back and its history says why."""
    good, bad = publish_tiny(), publish_tiny(promote=None)
    (stores.models.folder / str(bad) / "saved_model.pb").unlink()
    async with staged(stores) as stage:
        await stage.answers(good)
        _point(stores, bad)
        await until(lambda: "saved_model.pb" in (stage.rollout.problem or ""))
        assert _served(stores) == bad
        await stage.wait_for(lambda: _served(stores) == good)
        await until(lambda: stage.rollout.problem is None)
        served = stores.models.served()
        assert served
        assert served.by == "bot"
        assert f"version {bad}" in served.reason
        assert "saved_model.pb is missing" in served.reason
        assert stage.rollout.answering == good


async def test_a_copy_that_is_finished_in_time_is_served(stores: Stores, publish_tiny: PublishTiny) -> None:
    """A version whose folder is still being copied is refused at first, and served when it is whole."""
    good, late = publish_tiny(), publish_tiny(promote=None)
    folder, beside = stores.models.folder / str(late), stores.models.folder / "beside"
    shutil.copytree(folder, beside)
    shutil.rmtree(folder / "variables")
    async with staged(stores) as stage:
        await stage.answers(good)
        _point(stores, late)
        await until(lambda: "variables" in (stage.rollout.problem or ""))
        shutil.rmtree(folder)
        beside.rename(folder)
        stage.pass_(1.0)
        await stage.answers(late)
        assert stage.rollout.problem is None


async def test_the_only_version_is_never_given_up(stores: Stores, publish_tiny: PublishTiny) -> None:
    """Where there is nothing to go back to, a version that fails is tried for ever, with long pauses."""
    number = publish_tiny()
    variables = stores.models.folder / str(number) / "variables"
    variables.rename(variables.with_name("aside"))
    async with staged(stores) as stage:
        await until(lambda: "variables" in (stage.rollout.problem or ""))
        start = stage.time[0]
        await stage.wait_for(lambda: stage.time[0] - start > LAST_PAUSE / 2)
        assert _served(stores) == number
        variables.with_name("aside").rename(variables)
        await stage.wait_for(lambda: stage.rollout.answering == number)


async def test_a_death_is_made_good(stores: Stores, publish_tiny: PublishTiny) -> None:
    """A server that dies is started again with the same version; deaths that are far apart count for nothing."""
    first = publish_tiny()
    async with staged(stores) as stage:
        for deaths in range(1, 6):
            await stage.answers(first)
            stage.backend.servers[first][-1].die()
            await until(lambda deaths=deaths: len(stage.backend.servers[first]) == deaths + 1)  # type: ignore[misc]
            stage.pass_(DEATH_SECONDS)
        await stage.answers(first)


async def test_a_version_that_dies_again_and_again_is_given_up(stores: Stores, publish_tiny: PublishTiny) -> None:
    """After three deaths in five minutes the version before answers; when that dies as well, it is not given up."""
    first, second = publish_tiny(), publish_tiny()
    async with staged(stores) as stage:
        for deaths in range(1, 4):
            await stage.answers(second)
            stage.backend.servers[second][-1].die()
            await until(lambda: stage.rollout.answering is None or _served(stores) == first)
            if deaths < 3:
                await until(lambda deaths=deaths: len(stage.backend.servers[second]) == deaths + 1)  # type: ignore[misc]
        await stage.answers(first)
        served = stores.models.served()
        assert served
        assert "ended 3 times within 5 minutes" in served.reason
        for deaths in range(1, 4):
            await stage.answers(first)
            stage.backend.servers[first][-1].die()
            stage.pass_(1.0)
            await until(lambda: stage.rollout.answering is None)
            if deaths < 3:
                await stage.answers(first)
        await until(lambda: "ended 3 times" in (stage.rollout.problem or ""))
        assert _served(stores) == first
        stage.pass_(LAST_PAUSE)
        await stage.answers(first)


async def test_a_server_with_too_much_memory_is_replaced(stores: Stores, publish_tiny: PublishTiny) -> None:
    """A server over the limit is replaced by a fresh one of the same version, and memory is reported."""
    number = publish_tiny()
    async with staged(stores, memory_limit=5000) as stage:
        await stage.answers(number)
        stage.backend.servers[number][0].bytes = 6000
        stage.pass_(CARE_SECONDS)
        await until(lambda: [report.memory_bytes for report in stage.rollout.versions()] == [6000])
        stage.pass_(WORN_SECONDS)
        await until(lambda: stage.backend.servers[number][0].closed)
        assert stage.rollout.answering == number
        stage.pass_(CARE_SECONDS)
        await until(lambda: [report.memory_bytes for report in stage.rollout.versions()] == [1000])
        assert stage.backend.started == [number, number]


@pytest.mark.parametrize("fault", ["NaN weights", "another input size", "too few labels"])
async def test_a_version_that_was_published_wrong_is_refused(
    stores: Stores, settings: Settings, tiny_graph: Path, tmp_path: Path, fault: str
) -> None:
    """What no hash tells is found by asking it: weights that are no numbers, labels and sizes that do not fit."""
    good, graph = publish(settings, tiny_graph), tiny_graph
    if fault == "NaN weights":
        graph = Path(shutil.copytree(tiny_graph, tmp_path / "broken"))
        export(tiny_backbone(), np.full((FEATURES, 3), np.nan, np.float32), np.zeros(3, np.float32), graph)
    labels = ("red", "green") if fault == "too few labels" else tuple(COLOURS)
    size = SIZE + 1 if fault == "another input size" else SIZE
    words = {"NaN weights": "not numbers", "another input size": "pixels", "too few labels": "labels"}[fault]
    async with staged(stores) as stage:
        await stage.answers(good)
        await asyncio.to_thread(publish, settings, graph, labels, input_size=size)
        await until(lambda: words in (stage.rollout.problem or ""))
        assert stage.rollout.answering == good


async def test_a_fresh_server_that_fails_changes_nothing(stores: Stores, publish_tiny: PublishTiny) -> None:
    """Where a server that takes too much memory cannot be replaced, it answers on, and the pointer stays."""
    publish_tiny()
    number = publish_tiny()
    async with staged(stores, memory_limit=5000) as stage:
        await stage.answers(number)
        stage.backend.servers[number][0].bytes = 6000
        (stores.models.folder / str(number) / "labels.txt").write_bytes(b"0:red\n")
        stage.pass_(WORN_SECONDS + 1)
        await asyncio.sleep(0.3)
        stage.pass_(WORN_SECONDS / 2)
        await asyncio.sleep(0.2)
        assert (stage.rollout.answering, _served(stores)) == (number, number)
        assert stage.states() == {number: "serving"}


FILES = (
    *("saved_model.pb", "fingerprint.pb", "variables/variables.index", "variables/variables.data-00000-of-00001"),
    *("labels.txt", "manifest.json", "golden.npz"),
)


@pytest.mark.parametrize("damage", ["flipped", "cut", "removed"])
@pytest.mark.parametrize("name", FILES)
async def test_every_damaged_file_is_refused(stores: Stores, publish_tiny: PublishTiny, name: str, damage: str) -> None:
    """Whichever file of a version is changed, cut or lost, the version is refused and the old one answers on."""
    good, bad = publish_tiny(), publish_tiny(promote=None)
    path = stores.models.folder / str(bad) / name
    if not path.exists():
        pytest.skip("Keras does not write this file")
    _damage(path, damage)
    async with staged(stores) as stage:
        await stage.answers(good)
        _point(stores, bad)
        await until(lambda: name.rpartition("/")[2] in (stage.rollout.problem or ""))
        assert stage.rollout.answering == good
        stage.pass_(1.0)


def _damage(path: Path, damage: str) -> None:
    content = bytearray(path.read_bytes())
    match damage:
        case "flipped":
            content[len(content) // 2] ^= 1
            path.write_bytes(content)
        case "cut":
            path.write_bytes(content[: len(content) // 2])
        case _:
            path.unlink()


def _served(stores: Stores) -> int:
    served = stores.models.served()
    assert served
    return served.version


def _point(stores: Stores, number: int) -> None:
    """Move the pointer as a damaged version could be named by it: `promote` would not."""
    with stores.database.write() as session:
        session.add(ServedRow(version=number, at=now(), by="test", reason="it is a test"))
