"""The predictor over real model servers: swaps, deaths and refusals."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from conftest import COLOURS, Painter, PublishTiny, model_servers, until

from bot.predictor import NoModelYetError, Prediction, Predictor
from bot.stores import Stores, open_stores
from storage.errors import ModelError
from storage.files import write_durably
from storage.images import model_input
from storage.settings import Settings

FRENCH = ("rouge", "vert", "bleu")


@pytest.fixture
def stores(settings: Settings) -> Stores:
    return open_stores(settings)


@asynccontextmanager
async def predicting(stores: Stores) -> AsyncIterator[Predictor]:
    async with Predictor(stores.models, model_input, threads=1, poll=0.05) as predictor:
        yield predictor


async def test_says_that_nothing_is_learned(stores: Stores, paint: Painter) -> None:
    """Before the first version a photo gets an error that says what to do."""
    async with predicting(stores) as predictor:
        with pytest.raises(NoModelYetError, match="train"):
            await predictor.predict(paint("red"))


async def test_swaps_without_missing_a_photo(stores: Stores, publish_tiny: PublishTiny, paint: Painter) -> None:
    """While the version changes under a stream of photos, each is answered, with the labels of the version it names.

    At the end every model server is gone, the retired one too.
    """
    names = {publish_tiny(): tuple(COLOURS)}
    photo = paint("green")
    answers: list[Prediction] = []
    async with predicting(stores) as predictor:

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
    async with predicting(stores) as predictor:
        await predictor.predict(photos[0])
        stores.models.promote(bad, "test")
        write_durably(stores.models.folder / str(bad) / "labels.txt", b"0:red\n1:green\n2:black\n")
        await until(lambda: "labels.txt" in (predictor.problem or ""))
        asked = [asyncio.create_task(predictor.predict(photo)) for photo in photos]
        await asyncio.wait(asked, return_when=asyncio.FIRST_COMPLETED)
        (pid,) = model_servers()
        os.kill(pid, signal.SIGKILL)
        answers = await asyncio.gather(*asked)
    assert {(answer.version, answer.ranked()[0][0]) for answer in answers} == {(good, "blue")}


async def test_replaces_a_hanging_server(stores: Stores, publish_tiny: PublishTiny, paint: Painter) -> None:
    """A model server that hangs is replaced, and the photos it left without an answer get one from the next."""
    publish_tiny()
    async with Predictor(stores.models, model_input, threads=1, patience=4) as predictor:
        await predictor.predict(paint("red"))
        (hanging,) = model_servers()
        os.kill(hanging, signal.SIGSTOP)
        answers = await asyncio.gather(*(predictor.predict(paint(colour)) for colour in COLOURS))
        assert [answer.ranked()[0][0] for answer in answers] == list(COLOURS)
        await until(lambda: hanging not in model_servers())
        assert len(model_servers()) == 1


async def test_refuses_a_damaged_version_in_words(stores: Stores, publish_tiny: PublishTiny, paint: Painter) -> None:
    """With nothing else to serve, a damaged version's reason is the answer, at once and not after a time-out."""
    number = publish_tiny()
    (stores.models.folder / str(number) / "saved_model.pb").write_bytes(b"")
    async with predicting(stores) as predictor:
        with pytest.raises(ModelError, match=r"saved_model\.pb"):
            await predictor.predict(paint("red"))
