"""TensorFlow's errors in words for somebody who does not know TensorFlow."""

from collections.abc import Iterator
from contextlib import contextmanager

import tensorflow as tf

from storage.errors import RunError

# How TensorFlow and CUDA speak of a GPU that does not answer any more, in small letters.
_GPU_WORDS = ("cuda", "cudnn", "cublas", "nccl", "device lost", "stream executor", "launch failed", "xid")
_GPU_ERRORS = (
    tf.errors.InternalError,
    tf.errors.UnknownError,
    tf.errors.UnavailableError,
    tf.errors.AbortedError,
    tf.errors.FailedPreconditionError,
)
_MEMORY_WORDS = ("out of memory", "out_of_memory", "alloc_failed")  # As CUDA's libraries say it in such errors.
_DISK_WORDS = ("no space left", "disk quota exceeded")


class OutOfMemoryError(RunError):
    """What was to be computed at once does not fit into memory."""


@contextmanager
def in_plain_words() -> Iterator[None]:
    """Turn what TensorFlow raises inside into a RunError, where a person can do something about it.

    Raises OutOfMemoryError where memory did not suffice: with less at once it may.
    """
    try:
        yield
    except (tf.errors.OpError, MemoryError) as error:
        plain = _plain(error)
        if plain is None:
            raise
        raise plain from error


def not_a_number() -> RunError:
    """What to raise where a loss is infinite or not a number."""
    return RunError(
        "The network lost its way: its error grew beyond all numbers. Set a lower learning_rate under [network] in"
        " config.toml, a tenth of what it was, and train again."
    )


def _plain(error: tf.errors.OpError | MemoryError) -> RunError | None:
    words = str(error).lower()
    if isinstance(error, tf.errors.ResourceExhaustedError) and any(word in words for word in _DISK_WORDS):
        return RunError("The disk is full. Make room on it and train again.")
    short = isinstance(error, _GPU_ERRORS) and any(word in words for word in _MEMORY_WORDS)
    if short or isinstance(error, MemoryError | tf.errors.ResourceExhaustedError):
        return OutOfMemoryError(
            "There is not enough memory to train with so many photos at once. Set a lower batch_size under [training]"
            " in config.toml, or end other programs that use the GPU, and train again."
        )
    if isinstance(error, _GPU_ERRORS) and any(word in words for word in _GPU_WORDS):
        return RunError(
            "The GPU stopped answering during the run. `retrainbot gpu` says how it is; if it is not listed there,"
            " restart the computer. Then train again."
        )
    return None
