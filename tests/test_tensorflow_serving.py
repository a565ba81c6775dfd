"""TensorFlow Serving as the backend, over a stand-in that speaks its REST API."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import httpx
import numpy as np
import pytest
from conftest import SIZE, Painter, PublishTiny, until
from tensorflow_serving import StandIn, standing_in

from bot.predictor import Predictor
from bot.rollout import Rollout
from bot.stores import Stores, open_stores
from serving.backend import ServerDied
from serving.graph import Graph
from serving.states import State
from serving.tensorflow_serving import RemoteVersion, TensorFlowServing
from storage.errors import ModelError
from storage.images import model_input
from storage.settings import Settings

FRENCH = ("rouge", "vert", "bleu")


@pytest.fixture
def stores(settings: Settings) -> Stores:
    return open_stores(settings)


@pytest.fixture
async def stand_in(stores: Stores, publish_tiny: PublishTiny) -> AsyncIterator[StandIn]:
    """A server that offers version 1."""
    publish_tiny()
    async with standing_in(stores.models.folder) as stand_in:
        yield stand_in


@asynccontextmanager
async def backend(address: str, start_timeout: float = 10.0) -> AsyncIterator[TensorFlowServing]:
    serving = TensorFlowServing(address, start_timeout=start_timeout, poll=0.05)
    try:
        yield serving
    finally:
        await serving.close()


async def begin(serving: TensorFlowServing, stand_in: StandIn, number: int = 1) -> RemoteVersion:
    return await serving.start(number, stand_in.folder / str(number), lambda _: None)


async def test_gives_the_answers_of_our_own_server(stand_in: StandIn) -> None:
    """One photo or several get the same probabilities as from the graph itself, and the states are passed through."""
    pixels = np.random.default_rng(3).integers(0, 256, (5, SIZE, SIZE, 3), dtype=np.uint8)
    expected = Graph(stand_in.folder / "1").predict(pixels)
    states: list[State] = []
    async with backend(stand_in.address) as serving:
        version = await serving.start(1, stand_in.folder / "1", states.append)
        assert states == [State.LOADING, State.WARMING, State.CHECKING]
        assert (version.input_size, version.classes, version.alive, version.memory()) == (SIZE, 3, True, None)
        np.testing.assert_allclose(await version.predict(pixels), expected, atol=1e-5)
        np.testing.assert_allclose(await version.predict(pixels[0]), expected[0], atol=1e-5)
        with pytest.raises(ModelError, match="takes uint8 pixels"):
            await version.predict(np.zeros((SIZE + 1, SIZE + 1, 3), np.uint8))
        await version.close()
        assert not version.alive


async def test_waits_until_a_version_is_loaded(stand_in: StandIn) -> None:
    """A version that is still being loaded, or not there yet, is waited for."""
    stand_in.hidden.add(1)
    async with backend(stand_in.address) as serving:
        starting = asyncio.create_task(begin(serving, stand_in))
        await asyncio.sleep(0.1)
        stand_in.hidden.clear()
        stand_in.states[1] = ("LOADING", "")
        await asyncio.sleep(0.1)
        assert not starting.done()
        stand_in.states.clear()
        assert (await starting).alive


async def test_says_why_a_version_cannot_be_had(stand_in: StandIn) -> None:
    """A version that is never offered, that cannot be loaded, or whose answers are others, is refused in words."""
    async with backend(stand_in.address, start_timeout=0.2) as serving:
        stand_in.hidden.add(1)
        with pytest.raises(ModelError, match=r"did not offer version 1 .*Could not find version 1.*docs/tensorflow"):
            await begin(serving, stand_in)
        stand_in.hidden.clear()
        stand_in.states[1] = ("END", "Failed to load: no variables")
        with pytest.raises(ModelError, match=r"cannot load version 1: Failed to load: no variables\. Train again"):
            await begin(serving, stand_in)
        stand_in.states.clear()
        golden = stand_in.folder / "1" / "golden.npz"
        with np.load(golden) as arrays:
            np.savez(golden, pixels=arrays["pixels"], probabilities=arrays["probabilities"][:, ::-1])
        with pytest.raises(ModelError, match="does not answer as it did when it was made"):
            await begin(serving, stand_in)


async def test_an_address_that_is_something_else_is_told(stand_in: StandIn) -> None:
    """Where another program answers, or none, the message names the address and where to read on."""
    other = stand_in.address.replace("/v1/", "/v2/")
    async with backend(other, start_timeout=0.2) as serving:
        with pytest.raises(ModelError, match=r"did not offer version 1 .*status 404"):
            await begin(serving, stand_in)
    async with backend("http://127.0.0.1:9/v1/models/retrainbot", start_timeout=0.2) as serving:
        with pytest.raises(ModelError, match=r"127\.0\.0\.1:9.* cannot be reached"):
            await begin(serving, stand_in)


@pytest.mark.parametrize(
    ("nonsense", "words"),
    [
        (b"<html>", "makes no sense"),
        (b'{"outputs": [[1, 2], [3]]}', "makes no sense"),
        (b'{"outputs": [[0.5, 0.5]]}', r"shape \(1, 2\), not \(1, 3\)"),
        (b'{"outputs": [[NaN, 0.5, 0.5]]}', "not numbers"),
    ],
)
async def test_nonsense_is_refused(stand_in: StandIn, nonsense: bytes, words: str) -> None:
    """An answer that is none is refused in words, and the version stays."""
    async with backend(stand_in.address) as serving:
        version = await begin(serving, stand_in)
        stand_in.nonsense = nonsense
        with pytest.raises(ModelError, match=words):
            await version.predict(np.zeros((SIZE, SIZE, 3), np.uint8))
        assert version.alive


async def test_a_lost_version_is_dead_and_a_refused_photo_is_not(stand_in: StandIn) -> None:
    """What the server has lost, or fails at, is asked for anew; a photo that it refuses is the photo's fault."""
    photo = np.zeros((SIZE, SIZE, 3), np.uint8)
    async with backend(stand_in.address) as serving:
        version = await begin(serving, stand_in)
        stand_in.broken = 400
        with pytest.raises(ModelError, match="refuses a photo: it was told to fail") as caught:
            await version.predict(photo)
        assert not isinstance(caught.value, ServerDied)
        for status in (500, 503, 404):
            stand_in.broken = None
            version = await begin(serving, stand_in)
            stand_in.broken = status
            with pytest.raises(ServerDied, match="it was told to fail"):
                await version.predict(photo)
            assert not version.alive
            with pytest.raises(ServerDied):
                await version.predict(photo)


async def test_swaps_and_survives_a_restart_of_the_server(
    stores: Stores, publish_tiny: PublishTiny, paint: Painter
) -> None:
    """Photos are answered by the served version through a swap, and after the server was away for a while."""
    publish_tiny()
    photo = paint("blue")
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(standing_in(stores.models.folder))
        serving = await stack.enter_async_context(backend(server.address))
        rollout = await stack.enter_async_context(Rollout(stores.models, serving, poll=0.05))
        predictor = Predictor(rollout, model_input)
        assert (await predictor.predict(photo)).best == "blue"
        await asyncio.to_thread(publish_tiny, FRENCH)
        await until(lambda: rollout.answering == 2)
        assert (await predictor.predict(photo)).best == "bleu"
        assert set(server.asked) == {1, 2}
        assert server.stop
        await server.stop()
        asked = asyncio.create_task(predictor.predict(photo))
        await until(lambda: rollout.answering is None)
        port = httpx.URL(server.address).port
        await stack.enter_async_context(standing_in(stores.models.folder, port or 0))
        assert (await asked).classes == FRENCH


async def test_the_stand_in_answers_as_documented(stand_in: StandIn) -> None:
    """Errors are JSON objects with `error`; status and metadata have the documented fields."""
    async with httpx.AsyncClient(base_url=stand_in.address, trust_env=False) as client:
        missing = await client.get("/versions/7")
        assert (missing.status_code, list(missing.json())) == (404, ["error"])
        (status,) = (await client.get("/versions/1")).json()["model_version_status"]
        fine = {"error_code": "OK", "error_message": ""}
        assert status == {"version": "1", "state": "AVAILABLE", "status": fine}
        for content in (b"no json", b"{}", b'{"inputs": [[[[1]]]]}'):
            refused = await client.post("/versions/1:predict", content=content)
            assert (refused.status_code, list(refused.json())) == (400, ["error"])
        assert (await client.post("/versions/7:predict", content=b"{}")).status_code == 404
        metadata = (await client.get("/versions/1/metadata")).json()
        signature = metadata["metadata"]["signature_def"]["signature_def"]["serving_default"]
        sizes = [part["size"] for part in signature["inputs"]["pixels"]["tensor_shape"]["dim"]]
        assert sizes == ["-1", str(SIZE), str(SIZE), "3"]
