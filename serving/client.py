"""The parent's side of a model server: one child process, one version, many questions in flight."""

import asyncio
import contextlib
import itertools
import json
import logging
import os
import signal
from asyncio.subprocess import PIPE, Process
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

import numpy as np
import psutil

from serving.backend import ANSWER_SECONDS, Probabilities, ServerDied, Told, check_pixels
from serving.frames import HEADER, FrameError, Head, Kind, pack, unpack
from serving.states import State
from storage.errors import ModelError
from storage.images import Pixels
from storage.lifeline import child, environment
from storage.texts import read_text

CLOSE_SECONDS = 10.0
_TAIL = 2000
_QUIET = {"TF_CPP_MIN_LOG_LEVEL": "2"}  # TensorFlow's warnings and errors only.

log = logging.getLogger(__name__)


class _Patience(NamedTuple):
    """How long a question waits: not for its own turn, which may be far, but for any sign of life."""

    limit: asyncio.Timeout
    seconds: float

    def renew(self) -> None:
        if not self.limit.expired():
            self.limit.reschedule(asyncio.get_running_loop().time() + self.seconds)


class _Question(NamedTuple):
    answer: asyncio.Future[Probabilities]
    patience: _Patience


class ModelServer:
    """A child that answers from one version.

        async with await ModelServer.start(folder) as server:
            probabilities = await server.predict(pixels)

    `input_size` is the side of the pixels it takes, `classes` the number of probabilities it gives.
    """

    def __init__(self, process: Process) -> None:
        if not (process.stdin and process.stdout and process.stderr):
            raise TypeError("All three of the model server's streams have to be pipes.")
        self.pid = process.pid
        self.input_size = 0
        self.classes = 0
        self._process = process
        self._stdin, self._stdout, self._stderr = process.stdin, process.stdout, process.stderr
        self._ids = itertools.count(1)
        self._waiting: dict[int, _Question] = {}
        self._words = b""
        self._closing = False
        self._listening = asyncio.create_task(self._listen_stderr(), name=f"model server {self.pid} log")
        self._reading: asyncio.Task[None] | None = None

    @classmethod
    async def spawn(cls, threads: int | None = None) -> Self:
        """A child without a version yet; it gets ready for one. `threads` are the cores it uses (None: all)."""
        command = child("serving.modest", *(["--threads", str(threads)] if threads else []))
        return cls(
            await asyncio.create_subprocess_exec(
                *command, stdin=PIPE, stdout=PIPE, stderr=PIPE, env={**environment(), **_QUIET}
            )
        )

    @classmethod
    async def start(cls, folder: Path, *, threads: int | None = None) -> Self:
        """A child that has loaded the version in `folder`; see `load`."""
        server = await cls.spawn(threads)
        await server.load(folder)
        return server

    async def load(self, folder: Path, *, told: Told = lambda _: None, timeout: float = 120.0) -> None:  # noqa: ASYNC109
        """Load the version in `folder`, warm it and check its golden inputs; `told` hears of each of these states.

        Raises ModelError, in the child's words, where the version cannot be used or is not ready in `timeout` seconds.
        Then, and when this is cancelled, the child is ended.
        """
        try:
            async with asyncio.timeout(timeout):
                await self._become_ready(folder, told)
        except TimeoutError as error:
            await self._kill()
            raise ModelError(
                "The model in {folder} was not ready in {timeout:g} seconds; raise serving.start_timeout, or try"
                " again when the computer is less busy.",
                folder=folder,
                timeout=timeout,
            ) from error
        except BaseException:
            await self._kill()
            raise

    async def predict(self, pixels: Pixels, timeout: float = ANSWER_SECONDS) -> Probabilities:  # noqa: ASYNC109
        """Probabilities, float32: (classes,) for one photo (size, size, 3), or (n, classes) for (n, size, size, 3).

        Raises ModelError where the child refuses, ServerDied where it has ended. One that says nothing to anybody for
        `timeout` seconds hangs: it is killed.
        """
        check_pixels(pixels, self.input_size)
        if not pixels.size:
            return np.zeros((0, self.classes), np.float32)
        try:
            async with asyncio.timeout(timeout) as limit:
                rows = await self._ask(np.ascontiguousarray(pixels).data.cast("B"), _Patience(limit, timeout))
        except TimeoutError as error:
            self._closing = True
            self._end()
            raise ServerDied(
                "The model server said nothing for {timeout:g} seconds and was stopped.", timeout=timeout
            ) from error
        return rows[0] if pixels.ndim == 3 else rows

    @property
    def alive(self) -> bool:
        """Whether questions may be asked."""
        return not self._closing and self._reading is not None and not self._reading.done()

    @property
    def running(self) -> bool:
        """Whether the child is there, with or without a version."""
        return self._process.returncode is None

    def memory(self) -> int | None:
        """Bytes that the child alone takes; None where the system does not tell."""
        try:
            return int(psutil.Process(self.pid).memory_full_info().uss)
        except psutil.Error:
            return None

    async def close(self) -> None:
        """Let the questions in flight be answered, then end the child; kill it where it does not end by itself."""
        self._closing = True
        if self._waiting:
            await asyncio.wait([question.answer for question in self._waiting.values()], timeout=ANSWER_SECONDS)
        self._stdin.close()
        try:
            async with asyncio.timeout(CLOSE_SECONDS):
                await self._process.wait()
        except TimeoutError:
            log.warning("the model server %d does not end, and is killed", self.pid)
        finally:
            await self._kill()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def _become_ready(self, folder: Path, told: Told) -> None:
        content = os.fsencode(folder)
        self._stdin.write(pack(Kind.LOAD, 0, content) + content)
        await self._drain()
        try:
            head, payload = await self._receive()
            while head.kind is Kind.STATE:
                told(State(payload.decode()))
                head, payload = await self._receive()
        except (asyncio.IncompleteReadError, ConnectionError, FrameError) as error:
            raise await self._obituary() from error
        if head.kind is not Kind.READY:
            raise ModelError(read_text(payload.decode("utf-8", "replace")))
        facts = json.loads(payload)
        self.input_size, self.classes = facts["input_size"], facts["classes"]
        self._reading = asyncio.create_task(self._read(), name=f"model server {self.pid}")

    async def _ask(self, payload: memoryview, patience: _Patience) -> Probabilities:
        if not self.alive:
            raise ServerDied("The model server has ended; ask again when the next one is ready.")
        identity = next(self._ids)
        answer: asyncio.Future[Probabilities] = asyncio.get_running_loop().create_future()
        self._waiting[identity] = _Question(answer, patience)
        try:
            self._stdin.write(pack(Kind.REQUEST, identity, payload))
            self._stdin.write(payload)
            await self._drain()
            return await answer
        finally:
            del self._waiting[identity]
            answer.cancel()

    async def _drain(self) -> None:
        """Wait for room in the pipe. Where it broke, the reader knows why and fails what is waiting."""
        try:
            await self._stdin.drain()
        except ConnectionError:
            log.debug("the pipe to the model server %d broke", self.pid)

    async def _read(self) -> None:
        """Hand every answer to who waits for it, until the child ends."""
        try:
            while True:
                head, payload = await self._receive()
                self._hand_over(head, payload)
        except (asyncio.IncompleteReadError, ConnectionError, FrameError):
            death = await self._obituary()
        for question in self._waiting.values():
            if not question.answer.done():
                question.answer.set_exception(death)

    async def _receive(self) -> tuple[Head, bytes]:
        head = unpack(await self._stdout.readexactly(HEADER.size))
        return head, await self._stdout.readexactly(head.length)

    def _hand_over(self, head: Head, payload: bytes) -> None:
        for question in self._waiting.values():
            question.patience.renew()
        answer = self._waiting[head.id].answer if head.id in self._waiting else None
        if answer is None or answer.done():  # Who asked has given up.
            return
        if head.kind is Kind.ANSWER:
            answer.set_result(np.frombuffer(payload, "<f4").astype(np.float32).reshape(-1, self.classes))
        else:
            answer.set_exception(ModelError(payload.decode("utf-8", "replace")))

    async def _listen_stderr(self) -> None:
        """Pass on what the child writes, and keep the end of it: after a crash that says why."""
        while chunk := await self._stderr.read(4096):
            self._words = (self._words + chunk)[-_TAIL:]
            log.debug("model server %d: %s", self.pid, chunk.decode("utf-8", "replace").rstrip())

    async def _obituary(self) -> ServerDied:
        """What to say when the child's output has ended or cannot be read any further."""
        with contextlib.suppress(TimeoutError):  # It may be about to say why it ends.
            async with asyncio.timeout(1.0):
                await self._process.wait()
        await self._kill()
        status = self._process.returncode
        if status in {-signal.SIGKILL, -signal.SIGTERM}:
            return ServerDied("The model server was killed; if nobody did it, the computer ran out of memory.")
        last = self._words.decode("utf-8", "replace").strip().rpartition("\n")[2]
        return ServerDied("The model server ended with status {status}. {words}", status=status, words=last)

    def _end(self) -> None:
        if self._process.returncode is None:
            try:
                self._process.kill()
            except ProcessLookupError:
                log.debug("the model server %d had just ended", self.pid)

    async def _kill(self) -> None:
        """End the child whatever it does, and leave no open pipe or task behind."""
        self._end()
        await self._process.wait()
        self._stdin.close()
        tasks = [task for task in (self._listening, self._reading) if task and task is not asyncio.current_task()]
        await asyncio.wait(tasks)
