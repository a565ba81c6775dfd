"""Photos are decoded in child processes: one that was made to break a decoder breaks nothing else.

A child (`python -m storage.decoder`) reads requests on standard input and writes an answer to each on standard output:
a header, then as many bytes as it says. It ends with that input, so with its parent, too.
"""

import contextlib
import hashlib
import logging
import os
import queue
import signal
import struct
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from enum import IntEnum
from functools import partial
from types import TracebackType
from typing import IO, TYPE_CHECKING, NamedTuple, Self

import numpy as np

from storage import lifeline
from storage.errors import ImageError
from storage.images import NormalPhoto, Pixels, check_heic, model_input, normalise

if TYPE_CHECKING:
    from storage.settings import Images  # A child starts in half the time without it.

REQUEST = struct.Struct("<BIQ")  # Task, its size, length of the file in bytes; little-endian.
ANSWER = struct.Struct("<BII32sQ")  # Kind, width, height, fingerprint, length of what follows in bytes.
READY = b"!"  # The first byte of a child.
LONGEST = 100_000_000
TRIES = 2  # A child may also be killed for what is no photo's fault.
START_SECONDS = 60.0
GRACE_SECONDS = 5.0  # So much later a child whose parent is gone stops by itself.
# What decoding takes at most is 20 bytes a pixel, for a WebP: the frame, the canvas, two copies and Pillow's own.
BYTES_A_PIXEL = 24
BYTES_BESIDE = 400_000_000  # The interpreter, and the file itself.
# No threads that nothing uses; and glibc keeps 64 MB for the next photo, which saves a fifth of a large one's time.
_LEAN = {"OPENBLAS_NUM_THREADS": "1", "MALLOC_TOP_PAD_": str(64 << 20)}

log = logging.getLogger(__name__)


class Task(IntEnum):
    NORMALISE = 1
    MODEL_INPUT = 2


class Kind(IntEnum):
    PHOTO = 1
    PIXELS = 2
    REFUSAL = 3  # The words of an ImageError.


class Answer(NamedTuple):
    kind: int
    width: int
    height: int
    fingerprint: bytes
    payload: bytes


class Ended(Exception):  # noqa: N818 - it says what happened.
    """The child has ended without an answer."""


class Decoder:
    """So many children at most, started when they are needed. Its methods block, and may be called by many threads.

        with Decoder(settings.images) as decoder:
            photo = decoder.normalise(content)

    They raise ImageError where the photo cannot be decoded, takes longer than `images.decode_seconds`, or breaks the
    child; and ChildProcessError, which is no photo's fault, where no child can be started or the decoder is closed.
    Raises SettingsError at once where HEIC is wanted but what reads it is not installed.
    """

    def __init__(self, images: "Images", processes: int = 2) -> None:
        if images.heic:
            check_heic()
        self._images = images
        self._processes = processes
        self._closed = False
        # The last one used comes first, so that no more are started than work at the same time.
        self._idle: queue.LifoQueue[_Child | None] = queue.LifoQueue()
        for _ in range(processes):
            self._idle.put(None)

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
        """Wait for the photos in work, and end the children."""
        self._closed = True
        children = [self._idle.get() for _ in range(self._processes)]
        for child in children:
            if child:
                child.end()
            self._idle.put(None)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _ask(self, task: Task, size: int, content: bytes) -> Answer:
        if len(content) > LONGEST:
            raise ImageError(f"The file has over {LONGEST // 1_000_000} MB; send it smaller.")
        for _ in range(TRIES):
            with contextlib.suppress(Ended):
                answer = self._try(task, size, content)
                if answer.kind == Kind.REFUSAL:
                    raise ImageError(answer.payload.decode())
                return answer
        raise ImageError("The photo cannot be decoded; save it anew as JPEG, or send it as a photo, not as a file.")

    def _try(self, task: Task, size: int, content: bytes) -> Answer:
        child = self._idle.get()
        try:
            if self._closed:
                raise ChildProcessError("The decoder is closed.")
            child = child or _Child(self._images)
            return child.ask(task, size, content)
        except BaseException:
            if child:
                child.end()
                child = None
            raise
        finally:
            self._idle.put(child)


class _Child:
    """One process; used by one thread at a time."""

    def __init__(self, images: "Images") -> None:
        self._seconds = images.decode_seconds
        self._late = threading.Event()
        self._process = subprocess.Popen(
            lifeline.child("storage.decoder", *_arguments(images)),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=_environment(),
        )
        if not (self._process.stdin and self._process.stdout):
            raise TypeError("Both of the decoder's streams have to be pipes.")
        self._stdin, self._stdout = self._process.stdin, self._process.stdout
        with self._limit(START_SECONDS):
            ready = self._stdout.read(len(READY))
        if ready != READY:
            self.end()
            raise ChildProcessError("The process that decodes photos does not start; what it wrote says why.")

    def ask(self, task: Task, size: int, content: bytes) -> Answer:
        """Raises Ended where the child dies of it, ImageError where it takes too long; then it is of no more use."""
        try:
            with self._limit(self._seconds):
                return self._talk(task, size, content)
        except (OSError, Ended) as error:
            if self._late.is_set():
                raise ImageError(
                    f"The photo takes longer than {self._seconds:g} seconds to decode; send it smaller, or as a photo"
                    " rather than as a file."
                ) from error
            log.warning("a decoder ended with status %s at a file of %d bytes", self._process.wait(), len(content))
            raise Ended from error

    def end(self) -> None:
        self._process.kill()
        self._process.wait()
        for stream in (self._stdin, self._stdout):
            with contextlib.suppress(OSError):  # What was not written yet has nowhere to go.
                stream.close()

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
        kind, width, height, fingerprint, length = ANSWER.unpack(_read(self._stdout, ANSWER.size))
        return Answer(kind, width, height, fingerprint, _read(self._stdout, length))


def _arguments(images: "Images") -> list[str]:
    return [
        str(images.max_side),
        str(images.max_megapixels * 1_000_000),
        str(images.quality),
        str(int(images.heic)),
        str(images.decode_seconds),
    ]


def _environment() -> dict[str, str]:
    """Ours without our settings, as the bot's token may be among them."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("RETRAINBOT_")}
    return {**inherited, **_LEAN}


def _read(stream: IO[bytes], length: int) -> bytes:
    content = stream.read(length) if length <= LONGEST else b""
    if len(content) < length:
        raise Ended
    return content


def main() -> None:
    """The child."""
    max_side, max_pixels, quality, heic = map(int, sys.argv[1:5])
    seconds = float(sys.argv[5])
    answers = _take_output()
    for number in (signal.SIGINT, signal.SIGTERM):  # Sent to a whole group of processes; the parent decides.
        signal.signal(number, signal.SIG_IGN)
    if heic:
        check_heic()
    _limit_memory(max_pixels)
    normal = partial(normalise, max_side=max_side, max_pixels=max_pixels, quality=quality, heic=bool(heic))
    answers.write(READY)
    answers.flush()
    with contextlib.suppress(Ended, BrokenPipeError):  # The parent has closed its end, or is gone.
        while True:
            task, size, length = REQUEST.unpack(_read(sys.stdin.buffer, REQUEST.size))
            content = _read(sys.stdin.buffer, length)
            with _alarm(seconds + GRACE_SECONDS):
                answer = _work(partial(model_input, size=size) if task == Task.MODEL_INPUT else normal, content)
            answers.write(ANSWER.pack(*answer[:-1], len(answer.payload)) + answer.payload)
            answers.flush()


def _work(decode: Callable[[bytes], NormalPhoto | Pixels], content: bytes) -> Answer:
    try:
        made = decode(content)
    except ImageError as error:
        return Answer(Kind.REFUSAL, 0, 0, b"", str(error).encode())
    if isinstance(made, NormalPhoto):
        return Answer(Kind.PHOTO, made.width, made.height, bytes.fromhex(made.fingerprint), made.content)
    return Answer(Kind.PIXELS, made.shape[1], made.shape[0], b"", made.tobytes())


def _take_output() -> IO[bytes]:
    """Standard output for ourselves; what a library prints there goes to standard error."""
    ours = os.dup(1)
    os.dup2(2, 1)
    return os.fdopen(ours, "wb")


def _limit_memory(max_pixels: int) -> None:
    """On Linux this counts what a process may write to, so no code and no shared library."""
    if sys.platform == "linux":
        import resource  # noqa: PLC0415  There is none on Windows.

        limit = BYTES_BESIDE + BYTES_A_PIXEL * max_pixels
        resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


@contextlib.contextmanager
def _alarm(seconds: float) -> Iterator[None]:
    """End this process where the block takes longer, even inside a library and with nobody left to kill it."""
    if sys.platform == "win32":
        yield
        return
    signal.setitimer(signal.ITIMER_REAL, seconds)
    yield
    signal.setitimer(signal.ITIMER_REAL, 0)


if __name__ == "__main__":
    main()
