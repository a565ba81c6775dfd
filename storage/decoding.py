"""A child process that decodes photos: `python -m storage.decoding`, as `storage.decoder` starts it.

It reads requests on standard input and writes an answer to each on standard output: a header, then as many bytes as it
says. It ends with that input, so with its parent, too.
"""

import contextlib
import os
import signal
import struct
import sys
from collections.abc import Callable, Iterator
from enum import IntEnum
from functools import partial
from typing import IO, NamedTuple

from storage.errors import ImageError
from storage.images import NormalPhoto, Pixels, check_heic, model_input, normalise
from storage.texts import write_text

REQUEST = struct.Struct("<BIQ")  # Task, its size, length of the file in bytes; little-endian.
ANSWER = struct.Struct("<BII32sQ")  # Kind, width, height, fingerprint, length of what follows in bytes.
READY = b"!"  # The first byte of a child.
LONGEST = 100_000_000  # Bytes of a file.
GRACE_SECONDS = 5.0  # So much later than it should be stopped, a child whose parent is gone stops by itself.
# The most that was measured is 17, for a WebP: two canvases, a copy, and Pillow's own. HEIC takes 16, the others less.
BYTES_A_PIXEL = 24
BYTES_BESIDE = 400_000_000  # The interpreter, and the file itself.


class Task(IntEnum):
    NORMALISE = 1
    MODEL_INPUT = 2


class Kind(IntEnum):
    PHOTO = 1
    PIXELS = 2
    REFUSAL = 3  # The text of an ImageError, packed.


class Answer(NamedTuple):
    kind: int
    width: int
    height: int
    fingerprint: bytes
    payload: bytes


class Ended(Exception):  # noqa: N818 - it says what happened.
    """The child has ended without an answer."""


def read(stream: IO[bytes], length: int) -> bytes:
    """So many bytes; raises Ended where the stream ends before."""
    content = stream.read(length) if length <= LONGEST else b""
    if len(content) < length:
        raise Ended
    return content


def main() -> None:
    """The arguments are the settings, in the order of `storage.decoder`."""
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
            task, size, length = REQUEST.unpack(read(sys.stdin.buffer, REQUEST.size))
            content = read(sys.stdin.buffer, length)
            with _alarm(seconds + GRACE_SECONDS):
                answer = _work(partial(model_input, size=size) if task == Task.MODEL_INPUT else normal, content)
            answers.write(ANSWER.pack(*answer[:-1], len(answer.payload)) + answer.payload)
            answers.flush()


def _work(decode: Callable[[bytes], NormalPhoto | Pixels], content: bytes) -> Answer:
    try:
        made = decode(content)
    except ImageError as error:
        return Answer(Kind.REFUSAL, 0, 0, b"", write_text(error.text).encode())
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
