"""The predictor over real model servers: swaps, deaths, hangs, and more photos than it can look at."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from conftest import COLOURS, Painter, PublishTiny, model_servers, until
from inside import Inside

from bot.predictor import BusyError, Prediction, Predictor
from bot.rollout import NoModelYetError, Rollout
from bot.stores import Stores, open_stores
from serving.backend import Backend
from serving.local import Local
from storage.errors import ModelError
from storage.files import write_durably
from storage.images import model_input
from storage.settings import Settings

FRENCH = ("rouge", "vert", "bleu")


@pytest.fixture
def stores(settings: Settings) -> Stores:
    return open_stores(settings)


@asynccontextmanager
async def predicting(
    stores: Stores, backend: Backend | None = None, **options: Any
) -> AsyncIterator[tuple[Predictor, Rollout]]:
    backend = backend or Local(threads=1, standby=False)
    try:
        async with Rollout(stores.models, backend, poll=0.05, pauses=(0.1, 0.1)) as rollout:
            yield Predictor(rollout, model_input, **options), rollout
    finally:
        await backend.close()


async def test_says_that_nothing_is_learned(stores: Stores, paint: Painter) -> None:
    """Before the first version a photo gets an error that says what to do."""
    async with predicting(stores) as (predictor, _):
        with pytest.raises(NoModelYetError, match="train"):
            await predictor.predict(paint("red"))


async def test_swaps_without_missing_a_photo(stores: Stores, publish_tiny: PublishTiny, paint: Painter) -> None:
    """While the version changes under a stream of photos, each is answered, with the labels of the version it names.

    A process stands by for the next version. At the end every model server is gone, that one and the retired one too.
    """
    names = {publish_tiny(): tuple(COLOURS)}
    photo = paint("green")
    answers: list[Prediction] = []
    async with predicting(stores, Local(threads=1, standby=True)) as (predictor, _):

        async def stream() -> None:
            while len({answer.version for answer in answers}) < 2:
                answers.append(await predictor.predict(photo))
                await asyncio.sleep(0.05)

        streams = [asyncio.create_task(stream()) for _ in range(4)]
        await until(lambda: len(answers) > 4)
        names[await asyncio.to_thread(publish_tiny, FRENCH)] = FRENCH
        async with asyncio.timeout(60):
            await asyncio.gather(*streams)
    assert {answer.version for answer in answers} == set(names)
    assert all(answer.classes == names[answer.version] for answer in answers)
    assert all(answer.ranked()[0][0] == names[answer.version][1] for answer in answers)
    assert all(answer.probabilities.sum() == pytest.approx(1, abs=1e-5) for answer in answers)
    assert model_servers() == []


async def test_survives_a_damaged_version_and_a_killed_server(
    stores: Stores, publish_tiny: PublishTiny, paint: Painter
) -> None:
    """A changed version is refused with the reason; the old one answers on, even the photos in flight when it dies."""
    good, bad = publish_tiny(), publish_tiny(promote=None)
    photos = [paint("blue") for _ in range(20)]
    async with predicting(stores) as (predictor, rollout):
        await predictor.predict(photos[0])
        stores.models.promote(bad, "test")
        write_durably(stores.models.folder / str(bad) / "labels.txt", b"0:red\n1:green\n2:black\n")
        await until(lambda: "labels.txt" in (rollout.problem or ""))
        asked = [asyncio.create_task(predictor.predict(photo)) for photo in photos]
        await asyncio.wait(asked, return_when=asyncio.FIRST_COMPLETED)
        (pid,) = model_servers()
        os.kill(pid, signal.SIGKILL)
        answers = await asyncio.gather(*asked)
    assert {(answer.version, answer.ranked()[0][0]) for answer in answers} == {(good, "blue")}


async def test_replaces_a_hanging_server(stores: Stores, publish_tiny: PublishTiny, paint: Painter) -> None:
    """A model server that hangs is replaced, and the photos it left without an answer get one from the next."""
    publish_tiny()
    async with predicting(stores, patience=4.0) as (predictor, _):
        await predictor.predict(paint("red"))
        (hanging,) = model_servers()
        os.kill(hanging, signal.SIGSTOP)
        answers = await asyncio.gather(*(predictor.predict(paint(colour)) for colour in COLOURS))
        assert [answer.ranked()[0][0] for answer in answers] == list(COLOURS)
        await until(lambda: hanging not in model_servers())
        assert len(model_servers()) == 1


async def test_is_busy_beyond_its_queue(stores: Stores, publish_tiny: PublishTiny, paint: Painter) -> None:
    """Photos beyond those that may wait are refused at once, in words; those that wait are answered."""
    number, inside, photo = publish_tiny(), Inside(), paint("red")
    async with predicting(stores, inside, most_waiting=5) as (predictor, _):
        await predictor.predict(photo)
        inside.servers[number][0].freeze()
        assert predictor.room
        waiting = [asyncio.create_task(predictor.predict(photo)) for _ in range(5)]
        await asyncio.sleep(0)
        assert (predictor.waiting, predictor.room) == (5, False)
        with pytest.raises(BusyError, match=r"busy: 5 photos wait already\. Nothing is lost; try again"):
            await predictor.predict(photo)
        inside.servers[number][0].frozen.set()
        answers = await asyncio.gather(*waiting)
        assert [answer.best for answer in answers] == ["red"] * 5
        assert predictor.waiting == 0
        assert (await predictor.predict(photo)).best == "red"


async def test_gives_up_at_the_deadline(stores: Stores, publish_tiny: PublishTiny, paint: Painter) -> None:
    """A photo whose time is up is told so, and takes nobody's place any longer."""
    number, inside, photo = publish_tiny(), Inside(), paint("red")
    async with predicting(stores, inside, deadline=0.5) as (predictor, _):
        await predictor.predict(photo)
        inside.servers[number][0].freeze()
        with pytest.raises(BusyError, match=r"did not come to this photo in time\. Nothing is lost; try again"):
            await predictor.predict(photo)
        assert predictor.waiting == 0


async def test_asks_once_more_and_not_for_ever(stores: Stores, publish_tiny: PublishTiny, paint: Painter) -> None:
    """A photo that was under way when its server died is put to the next one; when that dies too, it is refused."""
    publish_tiny()
    inside, photo = Inside(), paint("red")
    async with predicting(stores, inside) as (predictor, _):
        inside.deadly = 1
        assert (await predictor.predict(photo)).best == "red"
        inside.deadly = 2
        with pytest.raises(ModelError, match="stopped again and again at this photo"):
            await predictor.predict(photo)


async def test_refuses_a_damaged_version_in_words(stores: Stores, publish_tiny: PublishTiny, paint: Painter) -> None:
    """With nothing else to serve, a damaged version's reason is the answer, at once and not after a time-out."""
    number = publish_tiny()
    (stores.models.folder / str(number) / "saved_model.pb").write_bytes(b"")
    async with predicting(stores) as (predictor, _):
        with pytest.raises(ModelError, match=r"saved_model\.pb"):
            await predictor.predict(paint("red"))
