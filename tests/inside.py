"""A backend that loads versions into this process: real graphs, without the seconds that a process takes to start."""

import asyncio
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from serving.backend import ANSWER_SECONDS, Probabilities, ServerDied, Told
from serving.graph import Graph
from serving.states import State
from storage.images import Pixels


@dataclass(eq=False)
class InsideServer:
    backend: "Inside"
    graph: Graph
    pid: int | None = None
    alive: bool = True
    closed: bool = False
    bytes: int = 1000
    frozen: asyncio.Event = field(default_factory=asyncio.Event)  # Set where it answers.

    @property
    def input_size(self) -> int:
        return self.graph.input_size

    @property
    def classes(self) -> int:
        return self.graph.classes

    async def predict(self, pixels: Pixels, timeout: float = ANSWER_SECONDS) -> Probabilities:  # noqa: ASYNC109
        del timeout
        if self.backend.deadly:
            self.backend.deadly -= 1
            self.die()
        await self.frozen.wait()
        if not self.alive:
            raise ServerDied("It was told to die.")
        rows = await asyncio.to_thread(self.graph.predict, pixels[None] if pixels.ndim == 3 else pixels)
        return rows[0] if pixels.ndim == 3 else rows

    async def close(self) -> None:
        self.alive, self.closed = False, True

    def memory(self) -> int:
        return self.bytes

    def freeze(self) -> None:
        self.frozen.clear()

    def die(self) -> None:
        self.alive = False
        self.frozen.set()


@dataclass
class Inside:
    """`started` are the versions that were begun with, `servers` those that came up, by their number."""

    started: list[int] = field(default_factory=list)
    servers: dict[int, list[InsideServer]] = field(default_factory=dict)
    slowly: float = 0.0  # Seconds that a start takes at least.
    deadly: int = 0  # So many questions to come kill the server that they are put to.

    async def start(self, number: int, folder: Path, told: Told) -> InsideServer:
        self.started.append(number)
        told(State.LOADING)
        await asyncio.sleep(self.slowly)
        graph = await asyncio.to_thread(Graph, folder)
        told(State.WARMING)
        await asyncio.to_thread(graph.predict, np.zeros((1, graph.input_size, graph.input_size, 3), np.uint8))
        told(State.CHECKING)
        await asyncio.to_thread(graph.check_golden)
        server = InsideServer(self, graph)
        server.frozen.set()
        self.servers.setdefault(number, []).append(server)
        return server

    def standby_memory(self) -> int:
        return 0

    async def close(self) -> None:
        pass

    def alive(self) -> list[int]:
        """The versions that are loaded now."""
        return sorted(number for number, servers in self.servers.items() for server in servers if server.alive)
