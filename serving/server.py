"""The model server: `python -m serving.server FOLDER [--threads N]`, a child that answers frames on standard input.

It loads one version, warms it, checks its golden inputs, says so, and answers until its input ends. See frames.py.
"""

import argparse
import json
import os
import queue
import signal
import sys
import threading
from pathlib import Path
from typing import BinaryIO, NamedTuple, NoReturn

import numpy as np

from serving.frames import HEADER, FrameError, Kind, pack, unpack
from storage.errors import ModelError
from storage.images import Pixels

PHOTOS_AT_ONCE = 32
EXIT_FAILED = 1
EXIT_FRAME = 3


class Request(NamedTuple):
    id: int
    payload: bytes


class Reader(threading.Thread):
    """Reads requests ahead while the model is busy, and ends the process when the parent closes or dies."""

    def __init__(self, stream: BinaryIO) -> None:
        super().__init__(name="reader", daemon=True)
        self._stream = stream
        self._waiting: queue.SimpleQueue[Request] = queue.SimpleQueue()

    def run(self) -> None:
        try:
            while header := self._stream.read(HEADER.size):
                self._waiting.put(self._request(header))
        except FrameError as error:
            _exit(EXIT_FRAME, f"The model server stops, because what it was sent cannot be read: {error}")
        _exit(0)

    def take(self, photos: int, photo_bytes: int) -> list[Request]:
        """Wait for a request, then take whatever else is waiting, until they hold `photos` photos or more."""
        taken = [self._waiting.get()]
        while sum(len(request.payload) for request in taken) < photos * photo_bytes:
            try:
                taken.append(self._waiting.get_nowait())
            except queue.Empty:
                break
        return taken

    def _request(self, header: bytes) -> Request:
        kind, identity, length = unpack(header)
        if kind is not Kind.REQUEST:
            raise FrameError(f"A frame of kind {kind.name} is not a request.")
        payload = self._stream.read(length)
        if len(payload) < length:
            raise FrameError("The stream ended in the middle of a frame.")
        return Request(identity, payload)


class Server:
    def __init__(self, folder: Path, threads: int | None, reader: Reader, out: BinaryIO) -> None:
        # TensorFlow takes seconds to import: the reader already watches the parent by then.
        import tensorflow as tf  # noqa: PLC0415

        from serving.graph import Graph  # noqa: PLC0415

        for gpu in tf.config.list_physical_devices("GPU"):  # Training may want the rest of its memory.
            tf.config.experimental.set_memory_growth(gpu, True)
        self._reader = reader
        self._out = out
        self._graph = Graph(folder, threads)
        self._graph.warm()
        self._graph.check_golden()

    def announce(self) -> None:
        facts = {"input_size": self._graph.input_size, "classes": self._graph.classes}
        _send(self._out, Kind.READY, 0, json.dumps(facts).encode())

    def serve(self) -> NoReturn:
        size = self._graph.input_size
        photo_bytes = size * size * 3
        while True:
            whole = []
            for request in self._reader.take(PHOTOS_AT_ONCE, photo_bytes):
                if request.payload and len(request.payload) % photo_bytes == 0:
                    pixels = np.frombuffer(request.payload, np.uint8).reshape(-1, size, size, 3)
                    whole.append((request.id, pixels))
                else:
                    reason = f"The model takes photos of {size} × {size} pixels, RGB; this is something else."
                    _send(self._out, Kind.REFUSAL, request.id, reason.encode())
            if whole:
                self._answer(whole)

    def _answer(self, requests: list[tuple[int, Pixels]]) -> None:
        """Answer several requests from as few batches as they fill."""
        try:
            rows = self._graph.predict(np.concatenate([pixels for _, pixels in requests]))
        except ModelError as error:
            for identity, _ in requests:
                _send(self._out, Kind.REFUSAL, identity, str(error).encode())
            return
        start = 0
        for identity, pixels in requests:
            part = rows[start : start + len(pixels)]
            _send(self._out, Kind.ANSWER, identity, part.astype("<f4").tobytes())
            start += len(pixels)


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
    parser = argparse.ArgumentParser(prog="serving.server")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--threads", type=int)
    arguments = parser.parse_args()
    out = _claim_output()
    reader = Reader(sys.stdin.buffer)
    reader.start()
    try:
        try:
            server = Server(arguments.folder, arguments.threads, reader, out)
        except ModelError as error:
            _send(out, Kind.FAILED, 0, str(error).encode())
            _exit(EXIT_FAILED)
        server.announce()
        server.serve()
    except BrokenPipeError:  # The parent is gone.
        _exit(0)


if __name__ == "__main__":
    main()
