"""The model server: `python -m serving.modest [--threads N]`, a child that answers frames on standard input.

It gets ready for a version while it waits to be told which one; then it loads it, warms it, checks its golden inputs,
says so, and answers until its input ends. See frames.py.
"""

import argparse
import importlib
import json
import os
import queue
import signal
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, NamedTuple, NoReturn

import numpy as np

from serving.backend import BATCHES
from serving.frames import HEADER, FrameError, Kind, pack, unpack
from serving.modest import modestly, step_aside
from serving.states import State
from storage.errors import ModelError
from storage.images import Pixels
from storage.texts import Text, write_text

if TYPE_CHECKING:
    from serving.graph import Graph

EXIT_FAILED = 1
EXIT_FRAME = 3


class Frame(NamedTuple):
    kind: Kind
    id: int
    payload: bytes


class Reader(threading.Thread):
    """Reads frames ahead while the model is busy, and ends the process when the parent closes or dies."""

    def __init__(self, stream: BinaryIO) -> None:
        super().__init__(name="reader", daemon=True)
        self._stream = stream
        self._waiting: queue.SimpleQueue[Frame] = queue.SimpleQueue()

    def run(self) -> None:
        try:
            expected = Kind.LOAD
            while header := self._stream.read(HEADER.size):
                self._waiting.put(self._frame(header, expected))
                expected = Kind.REQUEST
        except FrameError as error:
            _exit(EXIT_FRAME, f"The model server stops, because what it was sent cannot be read: {error}")
        step_aside()
        _exit(0)

    def folder(self) -> Path:
        """Wait for the folder to load."""
        return Path(os.fsdecode(self._waiting.get().payload))

    def requests(self, photos: int, photo_bytes: int) -> list[Frame]:
        """Wait for a request, then take whatever else is waiting, until they hold `photos` photos or more."""
        taken = [self._waiting.get()]
        while sum(len(request.payload) for request in taken) < photos * photo_bytes:
            try:
                taken.append(self._waiting.get_nowait())
            except queue.Empty:
                break
        return taken

    def _frame(self, header: bytes, expected: Kind) -> Frame:
        kind, identity, length = unpack(header)
        if kind is not expected:
            raise FrameError(f"A frame of kind {kind.name} is not one of kind {expected.name}.")
        payload = self._stream.read(length)
        if len(payload) < length:
            raise FrameError("The stream ended in the middle of a frame.")
        return Frame(kind, identity, payload)


class Server:
    """Made before it is known what to serve, because TensorFlow takes seconds to import."""

    def __init__(self, threads: int | None, reader: Reader, out: BinaryIO) -> None:
        modestly(lambda: importlib.import_module("serving.graph"))
        import tensorflow as tf  # noqa: PLC0415  The reader already watches the parent by now.

        from serving.graph import Graph  # noqa: PLC0415

        if threads:
            tf.config.threading.set_intra_op_parallelism_threads(threads)
        for gpu in tf.config.list_physical_devices("GPU"):  # Training may want the rest of its memory.
            tf.config.experimental.set_memory_growth(gpu, True)
        tf.constant(0)  # Starts TensorFlow's threads, from this one, which has the priority that answers shall have.
        self._make = Graph
        self._reader = reader
        self._out = out

    def load(self) -> "Graph":
        """The graph of the version that the parent names, warm and checked. Raises ModelError."""
        folder = self._reader.folder()
        self._tell(State.LOADING)
        made: list[Graph] = []
        modestly(lambda: made.append(self._make(folder)))
        (graph,) = made
        self._tell(State.WARMING)
        graph.warm()  # In the thread that will answer: some of what is warm belongs to it.
        self._tell(State.CHECKING)
        graph.check_golden()
        facts = {"input_size": graph.input_size, "classes": graph.classes}
        _send(self._out, Kind.READY, 0, json.dumps(facts).encode())
        return graph

    def serve(self, graph: "Graph") -> NoReturn:
        size = graph.input_size
        photo_bytes = size * size * 3
        while True:
            whole = []
            for request in self._reader.requests(BATCHES[-1], photo_bytes):
                if request.payload and len(request.payload) % photo_bytes == 0:
                    pixels = np.frombuffer(request.payload, np.uint8).reshape(-1, size, size, 3)
                    whole.append((request.id, pixels))
                else:
                    reason = Text(
                        "The model takes photos of {size} × {size} pixels, RGB; this is something else.", size=size
                    )
                    _send(self._out, Kind.REFUSAL, request.id, write_text(reason).encode())
            if whole:
                self._answer(graph, whole)

    def _answer(self, graph: "Graph", requests: list[tuple[int, Pixels]]) -> None:
        """Answer several requests from as few batches as they fill."""
        try:
            rows = graph.predict(np.concatenate([pixels for _, pixels in requests]))
        except ModelError as error:
            for identity, _ in requests:
                _send(self._out, Kind.REFUSAL, identity, write_text(error.text).encode())
            return
        start = 0
        for identity, pixels in requests:
            part = rows[start : start + len(pixels)]
            _send(self._out, Kind.ANSWER, identity, part.astype("<f4").tobytes())
            start += len(pixels)

    def _tell(self, state: State) -> None:
        _send(self._out, Kind.STATE, 0, state.encode())


def _send(out: BinaryIO, kind: Kind, identity: int, payload: bytes) -> None:
    out.write(pack(kind, identity, payload) + payload)
    out.flush()


def _exit(status: int, message: str = "") -> NoReturn:
    """End the process from any thread, at once."""
    if message:
        os.write(2, f"{message}\n".encode())
    os._exit(status)


def _claim_output() -> BinaryIO:
    """Standard output for frames alone: what libraries print goes to standard error from now on."""
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    return out


def main() -> NoReturn:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which closes this process in its own time.
    parser = argparse.ArgumentParser(prog="serving.modest")
    parser.add_argument("--threads", type=int)
    arguments = parser.parse_args()
    out = _claim_output()
    reader = Reader(sys.stdin.buffer)
    reader.start()
    try:
        try:
            server = Server(arguments.threads, reader, out)
            graph = server.load()
        except ModelError as error:
            _send(out, Kind.FAILED, 0, write_text(error.text).encode())
            _exit(EXIT_FAILED)
        server.serve(graph)
    except BrokenPipeError:  # The parent is gone.
        _exit(0)
