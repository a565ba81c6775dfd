"""What passes between the model server and its parent: a header, then a payload of the length it names.

load      the parent's   first, once: the folder of a version
state     the server's   what it does about that: loading, warming or checking
ready     the server's   then: a JSON object with input_size and classes
failed    the server's   in place of ready: why there is no model; then it exits
request   the parent's   pixels: n × size × size × 3 uint8, in C order
answer    the server's   probabilities of the request with the same id: n × classes float32
refusal   the server's   why the request with the same id has no answer

Words are in UTF-8.
"""

import struct
from enum import IntEnum
from typing import NamedTuple

HEADER = struct.Struct("<4sB3xIQ")  # Magic, kind, id, length of the payload in bytes; little-endian.
MAGIC = b"RBm1"
LONGEST = 1 << 30


class Kind(IntEnum):
    REQUEST = 1
    ANSWER = 2
    REFUSAL = 3
    READY = 4
    FAILED = 5
    LOAD = 6
    STATE = 7


class Head(NamedTuple):
    kind: Kind
    id: int
    length: int


class FrameError(Exception):
    """The stream between parent and server holds something else than frames; it cannot be read any further."""


def pack(kind: Kind, identity: int, payload: bytes | memoryview) -> bytes:
    """The header that goes before `payload`. Raises FrameError where the payload is too long."""
    length = memoryview(payload).nbytes
    if length > LONGEST:
        raise FrameError(f"{length} bytes are too many for one frame; at most {LONGEST} go.")
    return HEADER.pack(MAGIC, kind, identity, length)


def unpack(header: bytes) -> Head:
    """Raises FrameError where these are not the bytes of a header."""
    if len(header) != HEADER.size:
        raise FrameError("The stream ended in the middle of a frame.")
    magic, kind, identity, length = HEADER.unpack(header)
    if magic != MAGIC or kind not in set(Kind) or length > LONGEST:
        raise FrameError(f"This is not a frame: {header.hex()}.")
    return Head(Kind(kind), identity, length)
