"""Photos are decoded in child processes: one that was made to break a decoder breaks nothing else."""

import contextlib
import hashlib
import logging
import subprocess
import threading
from collections.abc import Iterator
from types import TracebackType
from typing import Self

import numpy as np

from storage import lifeline
from storage.decoding import ANSWER, LONGEST, READY, REQUEST, Answer, Ended, Kind, Task, read
from storage.errors import ImageError
from storage.images import NormalPhoto, Pixels, check_heic
from storage.logs import relay
from storage.settings import Images
from storage.texts import read_text

TRIES = 2  # A child may also be killed for what is no photo's fault.
START_SECONDS = 60.0
# No threads that nothing uses; and glibc keeps 64 MB for the next photo, which saves a fifth of a large one's time.
_LEAN = {"OPENBLAS_NUM_THREADS": "1", "MALLOC_TOP_PAD_": str(64 << 20)}

CLOSED = "The decoder is closed."

log = logging.getLogger(__name__)


class Decoder:
    """So many children at most, started when they are needed. Its methods block, and may be called by many threads.

        with Decoder(settings.images) as decoder:
            photo = decoder.normalise(content)

    They raise ImageError where the photo cannot be decoded, takes longer than `images.decode_seconds`, or breaks the
    child; and ChildProcessError, which is no photo's fault, where no child can be started or the decoder is closed.
    Raises SettingsError at once where HEIC is wanted but what reads it is not installed.
    """

    def __init__(self, images: Images, processes: int = 2) -> None:
        if images.heic:
            check_heic()
        self._images = images
        self._room = threading.Semaphore(processes)
        self._lock = threading.Lock()  # For the three below.
        self._closed = False
        self._idle: list[_Child] = []  # The last one used comes first, so that no more are started than are needed.
        self._busy: set[_Child] = set()

    def normalise(self, content: bytes) -> NormalPhoto:
        """The stored form of a photo; see `storage.images.normalise`."""
        answer = self._ask(Task.NORMALISE, 0, content)
        sha256 = hashlib.sha256(answer.payload).hexdigest()
        return NormalPhoto(answer.payload, sha256, answer.width, answer.height, answer.fingerprint.hex())

    def model_input(self, jpeg: bytes, size: int) -> Pixels:
        """The pixels of a stored photo, uint8 (size, size, 3); see `storage.images.model_input`."""
        answer = self._ask(Task.MODEL_INPUT, size, jpeg)
        return np.frombuffer(answer.payload, np.uint8).reshape(size, size, 3)

    def close(self) -> None:
        """End the children at once; whoever waits for a photo in work gets ChildProcessError."""
        with self._lock:
            self._closed = True
            for child in self._busy:  # Their threads see to the rest.
                child.kill()
            idle, self._idle = self._idle, []
        for child in idle:
            child.end()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _ask(self, task: Task, size: int, content: bytes) -> Answer:
        if len(content) > LONGEST:
            raise ImageError("The file has over {most} MB; send it smaller.", most=LONGEST // 1_000_000)
        for _ in range(TRIES):
            try:
                with self._child() as child:
                    answer = child.ask(task, size, content)
            except Ended as ended:
                if self._closed:
                    raise ChildProcessError(CLOSED) from ended
                log.warning("a decoder ended with %s at a file of %d bytes", ended, len(content))
                continue
            if answer.kind == Kind.REFUSAL:
                raise ImageError(read_text(answer.payload.decode()))
            return answer
        raise ImageError("The photo cannot be decoded; save it anew as JPEG, or send it as a photo, not as a file.")

    @contextlib.contextmanager
    def _child(self) -> Iterator["_Child"]:
        """A child for this thread alone; one that fails is of no more use."""
        with self._room:
            child = self._take()
            sound = False
            try:
                yield child
                sound = True
            finally:
                self._give_back(child, sound=sound)

    def _take(self) -> "_Child":
        with self._lock:
            if self._closed:
                raise ChildProcessError(CLOSED)
            child = self._idle.pop() if self._idle else _Child(self._images)
            self._busy.add(child)
            return child

    def _give_back(self, child: "_Child", *, sound: bool) -> None:
        with self._lock:
            self._busy.discard(child)
            keep = sound and not self._closed
            if keep:
                self._idle.append(child)
        if not keep:
            child.end()


class _Child:
    """One process; used by one thread at a time."""

    def __init__(self, images: Images) -> None:
        self._seconds = images.decode_seconds
        self._late = threading.Event()
        self._started = False
        self._process = subprocess.Popen(
            lifeline.child("storage.decoding", *_arguments(images)),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**lifeline.environment(), **_LEAN},
        )
        if not (self._process.stdin and self._process.stdout and self._process.stderr):
            raise TypeError("All three of the decoder's streams have to be pipes.")
        self._listening = relay(self._process.stderr, "decoder")
        self._stdin, self._stdout = self._process.stdin, self._process.stdout

    def ask(self, task: Task, size: int, content: bytes) -> Answer:
        """Raises Ended where the child dies of it, ImageError where it takes too long; then it is of no more use.

        Raises ChildProcessError where it has not even started.
        """
        if not self._started:
            self._start()
        try:
            with self._limit(self._seconds):
                return self._talk(task, size, content)
        except (OSError, Ended) as error:
            if self._late.is_set():
                raise ImageError(
                    "The photo takes longer than {seconds:g} seconds to decode; send it smaller, or as a photo rather"
                    " than as a file.",
                    seconds=self._seconds,
                ) from error
            with contextlib.suppress(subprocess.TimeoutExpired):  # It may live on, where it sent what is no answer.
                self._process.wait(1)
            raise Ended(f"status {self._process.returncode}") from error

    def kill(self) -> None:
        """For any thread; the one that uses it sees it end."""
        self._process.kill()

    def end(self) -> None:
        self.kill()
        self._process.wait()
        self._listening.join()
        for stream in (self._stdin, self._stdout):
            with contextlib.suppress(OSError):  # What was not written yet has nowhere to go.
                stream.close()

    def _start(self) -> None:
        with self._limit(START_SECONDS):
            ready = self._stdout.read(len(READY))
        if ready != READY:
            raise ChildProcessError("The process that decodes photos does not start; what it wrote says why.")
        self._started = True

    @contextlib.contextmanager
    def _limit(self, seconds: float) -> Iterator[None]:
        """Kill the child where the block takes longer."""
        self._late.clear()
        timer = threading.Timer(seconds, self._give_up)
        timer.start()
        try:
            yield
        finally:
            timer.cancel()
            timer.join()

    def _give_up(self) -> None:
        self._late.set()
        self._process.kill()

    def _talk(self, task: Task, size: int, content: bytes) -> Answer:
        self._stdin.write(REQUEST.pack(task, size, len(content)))
        self._stdin.write(content)
        self._stdin.flush()
        kind, width, height, fingerprint, length = ANSWER.unpack(read(self._stdout, ANSWER.size))
        return Answer(kind, width, height, fingerprint, read(self._stdout, length))


def _arguments(images: Images) -> list[str]:
    return [
        str(images.max_side),
        str(images.max_megapixels * 1_000_000),
        str(images.quality),
        str(int(images.heic)),
        str(images.decode_seconds),
    ]
