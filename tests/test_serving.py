"""The model server and its client, with real child processes and real faults."""

import asyncio
import os
import select
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from networks import SIZE, photos, tiny_backbone, tiny_head
from numpy.typing import NDArray

from serving.backend import ServerDied
from serving.client import ModelServer
from serving.frames import FrameError, Head, Kind, pack, unpack
from serving.graph import Graph
from serving.states import State
from storage.errors import ModelError
from trainer.export import classifier, export

CLASSES = 4


@pytest.fixture(scope="module")
def version(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A version folder with golden inputs."""
    folder = tmp_path_factory.mktemp("version")
    export(tiny_backbone(), *tiny_head(CLASSES), folder)
    pixels = photos(3, seed=9)
    np.savez(folder / "golden.npz", pixels=pixels, probabilities=Graph(folder).predict(pixels))
    return folder


@pytest.fixture(scope="module")
def expected() -> NDArray[np.float32]:
    """What Keras itself answers for `photos(40)`."""
    return np.asarray(classifier(tiny_backbone(), *tiny_head(CLASSES))(photos(40)))


def _copy(version: Path, to: Path) -> Path:
    return Path(shutil.copytree(version, to / "copy"))


@pytest.mark.parametrize("count", [1, 2, 8, 9, 32, 40])
def test_graph_answers_any_number_of_photos(version: Path, expected: NDArray[np.float32], count: int) -> None:
    """Folding and padding change no answer, whatever the number of photos."""
    np.testing.assert_allclose(Graph(version).predict(photos(40)[:count]), expected[:count], atol=1e-6)


def test_graph_refuses_pixels_of_another_shape(version: Path) -> None:
    """Pixels of another size are refused in words."""
    with pytest.raises(ModelError, match="takes uint8 pixels of shape"):
        Graph(version).predict(photos(1, size=32))


def test_graph_refuses_answers_that_are_not_numbers(tmp_path: Path) -> None:
    """A head with a broken weight cannot answer NaN to anyone."""
    weights, bias = tiny_head(CLASSES)
    weights[0, 0] = np.nan
    export(tiny_backbone(), weights, bias, tmp_path)
    with pytest.raises(ModelError, match="not numbers"):
        Graph(tmp_path).predict(photos(1))


def test_golden_inputs_hold_the_version_to_its_answers(version: Path, tmp_path: Path) -> None:
    """A version that answers other than when it was made is refused; one without golden inputs is not."""
    folder = _copy(version, tmp_path)
    Graph(folder).check_golden()
    export(tiny_backbone(), -tiny_head(CLASSES)[0], tiny_head(CLASSES)[1], folder)
    with pytest.raises(ModelError, match="does not answer as it did"):
        Graph(folder).check_golden()
    (folder / "golden.npz").unlink()
    Graph(folder).check_golden()


async def test_server_answers_many_in_flight(version: Path, expected: NDArray[np.float32]) -> None:
    """Questions asked at once, one photo or several each, get their own answers."""
    async with await ModelServer.start(version, threads=1) as server:
        assert (server.input_size, server.classes) == (SIZE, CLASSES)
        pixels = photos(40)
        single, several = await asyncio.gather(
            asyncio.gather(*(server.predict(one) for one in pixels)), server.predict(pixels)
        )
        np.testing.assert_allclose(single, expected, atol=1e-6)
        np.testing.assert_allclose(several, expected, atol=1e-6)
        assert (await server.predict(pixels[:0])).shape == (0, CLASSES)
        with pytest.raises(ModelError, match="takes uint8 pixels"):
            await server.predict(photos(1, size=32))
    assert not server.alive
    with pytest.raises(ServerDied):
        await server.predict(pixels[0])


async def test_closing_lets_what_is_in_flight_finish(version: Path) -> None:
    """Close, called with questions in flight, returns only after they were answered."""
    server = await ModelServer.start(version)
    asked = [asyncio.create_task(server.predict(photos(32))) for _ in range(8)]
    await asyncio.sleep(0)
    await server.close()
    answers = await asyncio.gather(*asked)
    assert all(answer.shape == (32, CLASSES) for answer in answers)
    await server.close()  # Once more does no harm.


async def test_killed_server_fails_every_question_in_flight(version: Path) -> None:
    """After kill -9 every waiting question ends with ServerDied, and the death is noticed."""
    server = await ModelServer.start(version)
    os.kill(server.pid, signal.SIGSTOP)  # So that none can be answered before the kill.
    asked = [asyncio.create_task(server.predict(one)) for one in photos(20)]
    await asyncio.sleep(0.05)
    os.kill(server.pid, signal.SIGKILL)
    results = await asyncio.gather(*asked, return_exceptions=True)
    assert [type(result) for result in results] == [ServerDied] * 20
    assert not server.alive
    await server.close()


async def test_hanging_server_is_killed(version: Path) -> None:
    """A server that says nothing for too long is ended, and every question in flight ends with ServerDied."""
    async with await ModelServer.start(version) as server:
        os.kill(server.pid, signal.SIGSTOP)
        asked = [server.predict(photos(1)), server.predict(photos(1), timeout=0.05)]
        results = await asyncio.gather(*asked, return_exceptions=True)
        assert [type(result) for result in results] == [ServerDied] * 2
        assert not server.alive
        assert "said nothing for 0.05 seconds" in str(results[1])


async def test_busy_server_is_not_taken_for_a_hanging_one(version: Path) -> None:
    """A question far back in a long queue waits for longer than its time-out, because others are answered meanwhile."""
    async with await ModelServer.start(version, threads=1) as server:
        waiting = {asyncio.create_task(server.predict(photos(32), timeout=2)) for _ in range(100)}
        for _ in range(4):  # Between its answers the server is slow, but never for as long as that.
            os.kill(server.pid, signal.SIGSTOP)
            await asyncio.sleep(0.6)
            os.kill(server.pid, signal.SIGCONT)
            if waiting:
                done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
                assert all(task.result().shape == (32, CLASSES) for task in done)
        answers = await asyncio.gather(*waiting)
        assert all(answer.shape == (32, CLASSES) for answer in answers)


async def test_ctrl_c_does_not_reach_the_server(version: Path) -> None:
    """Ctrl-C is for the parent: the server answers on."""
    async with await ModelServer.start(version) as server:
        os.kill(server.pid, signal.SIGINT)
        assert (await server.predict(photos(1))).shape == (1, CLASSES)


async def test_start_that_takes_too_long_is_stopped(version: Path) -> None:
    """A server that is not ready in time is ended, with advice."""
    server = await ModelServer.spawn()
    with pytest.raises(ModelError, match=r"serving\.start_timeout"):
        await server.load(version, timeout=0.01)
    assert not server.running


DAMAGES = ["cut graph", "empty graph", "newer graph", "cut weights", "missing weights", "golden", "nothing"]


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_version_is_refused_in_words(version: Path, tmp_path: Path, damage: str) -> None:
    """Whatever is damaged, or of a TensorFlow that knows more than ours, the error names the folder and what to do."""
    folder = _copy(version, tmp_path)
    (weights,) = (folder / "variables").glob("*.data-*")
    match damage:
        case "cut graph":
            (folder / "saved_model.pb").write_bytes((folder / "saved_model.pb").read_bytes()[:1000])
        case "empty graph":
            (folder / "saved_model.pb").write_bytes(b"")
        case "newer graph":
            content = (folder / "saved_model.pb").read_bytes()
            assert b"MatMul" in content
            (folder / "saved_model.pb").write_bytes(content.replace(b"MatMul", b"MatNew"))
        case "cut weights":
            weights.write_bytes(weights.read_bytes()[:100])
        case "missing weights":
            weights.unlink()
        case "golden":
            (folder / "golden.npz").write_bytes(b"PK\x03\x04 cut")
        case _:
            shutil.rmtree(folder)
    with pytest.raises(ModelError, match=r"copy.*train again or roll back"):
        Graph(folder).check_golden()


async def test_server_passes_on_why_it_cannot_start(tmp_path: Path) -> None:
    """The child's reason for not starting reaches whoever started it."""
    with pytest.raises(ModelError, match=r"cannot be loaded.*train again or roll back"):
        await ModelServer.start(tmp_path)


PARENT = """
import asyncio, sys
from pathlib import Path
from serving.client import ModelServer
async def main():
    server = await ModelServer.start(Path(sys.argv[1]))
    print(server.pid, flush=True)
    await asyncio.sleep(600)
asyncio.run(main())
"""


def test_server_ends_when_its_parent_is_killed(version: Path) -> None:
    """After kill -9 of the parent the server ends by itself."""
    command = [sys.executable, "-c", PARENT, str(version)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        server = os.pidfd_open(int(parent.stdout.readline()))
        parent.kill()
    ended, _, _ = select.select([server], [], [], 30)
    os.close(server)
    assert ended


async def test_a_server_that_waits_loads_what_it_is_told(version: Path, expected: NDArray[np.float32]) -> None:
    """A child that stands by loads a version when it is told which, says what it does, and tells its memory."""
    states: list[State] = []
    async with await ModelServer.spawn(threads=1) as server:
        assert server.running
        assert not server.alive
        await server.load(version, told=states.append)
        np.testing.assert_allclose(await server.predict(photos(40)[0]), expected[0], atol=1e-6)
        assert (server.memory() or 0) > 50_000_000
    assert states == [State.LOADING, State.WARMING, State.CHECKING]
    assert server.memory() is None


async def test_a_server_that_waits_can_be_closed(version: Path) -> None:
    """A child that stands by ends when it is closed, and one that was killed says so when it is needed."""
    waiting = await ModelServer.spawn()
    await waiting.close()
    assert not waiting.running
    killed = await ModelServer.spawn()
    os.kill(killed.pid, signal.SIGKILL)
    with pytest.raises(ServerDied, match="killed"):
        await killed.load(version)


def _talk(sent: bytes) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run([sys.executable, "-m", "serving.modest"], input=sent, capture_output=True, check=False)


def test_malformed_frame_ends_the_server_with_words() -> None:
    """Bytes that are no frame end the server with a message on standard error and nothing odd on standard output."""
    done = _talk(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert done.returncode == 3
    assert b"This is not a frame" in done.stderr
    assert done.stdout == b""


def test_end_of_input_ends_the_server_at_once() -> None:
    """A parent that is gone before the model is loaded leaves no server behind."""
    assert _talk(b"").returncode == 0


@given(kind=st.sampled_from(Kind), identity=st.integers(0, 2**32 - 1), payload=st.binary(max_size=100))
def test_headers_come_back_as_they_were(kind: Kind, identity: int, payload: bytes) -> None:
    """Packing and unpacking a header is a round trip."""
    assert unpack(pack(kind, identity, payload)) == Head(kind, identity, len(payload))


@given(st.binary(max_size=40))
def test_other_bytes_are_never_taken_for_a_header(content: bytes) -> None:
    """Any other bytes raise FrameError, and no other error."""
    try:
        head = unpack(content)
    except FrameError:
        return
    assert pack(head.kind, head.id, b"")[:12] == content[:12]
