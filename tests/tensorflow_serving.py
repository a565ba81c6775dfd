"""A stand-in for TensorFlow Serving: its REST API as documented, over real version folders and the real TensorFlow.

It speaks https://www.tensorflow.org/tfx/serving/api_rest for model status, metadata and predict, with a version in the
path. Its gaps: no gRPC, no labels, no classify and regress, no row format, no base64, no batching; one model; versions
are loaded at their first use and never unloaded by themselves; the words of its errors are near to the real ones, not
the same.
"""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from serving.graph import Graph
from storage.errors import ModelError

MODEL = "retrainbot"


@dataclass
class StandIn:
    """`folder` holds the versions. `states` are those of versions, with words; `hidden` ones are not offered."""

    folder: Path
    address: str = ""
    states: dict[int, tuple[str, str]] = field(default_factory=dict)
    hidden: set[int] = field(default_factory=set)
    nonsense: bytes | None = None  # What predict answers instead.
    broken: int | None = None  # The status with which predict fails.
    asked: list[int] = field(default_factory=list)  # The version of each predict request.
    stop: Callable[[], Awaitable[None]] | None = None  # Ends it before its block does.
    _graphs: dict[int, Graph] = field(default_factory=dict)

    def app(self) -> Starlette:
        place = f"/v1/models/{MODEL}/versions/{{version:int}}"
        return Starlette(
            routes=[
                Route(place, self._status),
                Route(f"{place}/metadata", self._metadata),
                Route(f"{place}:predict", self._predict, methods=["POST"]),
            ]
        )

    async def _status(self, request: Request) -> Response:
        number = request.path_params["version"]
        if not self._offered(number):
            return _error(404, f"Could not find version {number} of model {MODEL}")
        state, words = self.states.get(number, ("AVAILABLE", ""))
        status = {"error_code": "UNKNOWN" if words else "OK", "error_message": words}
        return JSONResponse({"model_version_status": [{"version": str(number), "state": state, "status": status}]})

    async def _metadata(self, request: Request) -> Response:
        number = request.path_params["version"]
        if not self._available(number):
            return _missing(number)
        graph = await self._graph(number)
        side = graph.input_size
        signature = {
            "inputs": {"pixels": _tensor("DT_UINT8", (-1, side, side, 3))},
            "outputs": {"probabilities": _tensor("DT_FLOAT", (-1, graph.classes))},
            "method_name": "tensorflow/serving/predict",
        }
        spec = {"name": MODEL, "signature_name": "", "version": str(number)}
        definitions = {"signature_def": {"signature_def": {"serving_default": signature}}}
        return JSONResponse({"model_spec": spec, "metadata": definitions})

    async def _predict(self, request: Request) -> Response:
        number = request.path_params["version"]
        self.asked.append(number)
        if not self._available(number):
            return _missing(number)
        if self.broken:
            return _error(self.broken, "it was told to fail")
        if self.nonsense is not None:
            return Response(self.nonsense, media_type="application/json")
        try:
            content: dict[str, Any] = await request.json()
            pixels = np.asarray(content["inputs"], np.uint8)
        except (ValueError, KeyError) as error:
            return _error(400, f"JSON Parse error: {error}")
        try:
            rows = await asyncio.to_thread((await self._graph(number)).predict, pixels)
        except ModelError as error:
            return _error(400, str(error))
        return JSONResponse({"outputs": rows.tolist()})

    def _offered(self, number: int) -> bool:
        return number not in self.hidden and (self.folder / str(number)).is_dir()

    def _available(self, number: int) -> bool:
        return self._offered(number) and self.states.get(number, ("AVAILABLE", ""))[0] == "AVAILABLE"

    async def _graph(self, number: int) -> Graph:
        if number not in self._graphs:
            self._graphs[number] = await asyncio.to_thread(Graph, self.folder / str(number))
        return self._graphs[number]


@asynccontextmanager
async def standing_in(folder: Path, port: int = 0) -> AsyncIterator[StandIn]:
    """A server that runs within the block, or until it is stopped."""
    listener = socket.create_server(("127.0.0.1", port))
    stand_in = StandIn(folder, f"http://127.0.0.1:{listener.getsockname()[1]}/v1/models/{MODEL}")
    server = _Server(uvicorn.Config(stand_in.app(), ws="none", lifespan="off", log_config=None, log_level="warning"))
    serving = asyncio.create_task(server.serve([listener]))

    async def stop() -> None:
        server.should_exit = True
        await serving

    stand_in.stop = stop
    try:
        yield stand_in
    finally:
        await stop()


class _Server(uvicorn.Server):
    """Leaves signals to the tests."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def _tensor(kind: str, shape: tuple[int, ...]) -> dict[str, Any]:
    dimensions = [{"size": str(size), "name": ""} for size in shape]
    return {"dtype": kind, "tensor_shape": {"dim": dimensions, "unknown_rank": False}, "name": "some:0"}


def _error(status: int, words: str) -> Response:
    return JSONResponse({"error": words}, status)


def _missing(number: int) -> Response:
    return _error(404, f"Servable not found for request: Specific({MODEL}, {number})")
