"""TensorFlow's own errors, raised by TensorFlow itself where that can be done without a GPU, in plain words."""

import re
from typing import Any

import pytest
import tensorflow as tf

from storage.errors import RunError
from trainer.faults import OutOfMemoryError, in_plain_words

CUDA = "Failed to launch CUDA kernel: CUDA_ERROR_LAUNCH_FAILED: unspecified launch failure"


def test_memory_that_tensorflow_cannot_have() -> None:
    """Asking TensorFlow for 64 TiB gives the error after which a smaller batch is tried; it names the setting."""
    with pytest.raises(OutOfMemoryError, match="lower batch_size under"), in_plain_words():
        tf.zeros((2**44,))


def test_memory_that_python_cannot_have() -> None:
    """The same where it is Python that finds no memory."""
    with pytest.raises(OutOfMemoryError, match="lower batch_size under"), in_plain_words():
        bytearray(2**60)


def test_full_disk_is_not_taken_for_memory() -> None:
    """TensorFlow has one kind of error for both; a full disk, here /dev/full, is told as a full disk."""
    with pytest.raises(RunError, match="The disk is full") as caught, in_plain_words():
        tf.io.write_file("/dev/full", b"x" * 100_000)
    assert not isinstance(caught.value, OutOfMemoryError)


@pytest.mark.parametrize(
    "error",
    [
        tf.errors.InternalError(None, None, CUDA),
        tf.errors.UnknownError(None, None, "cuDNN launch failure : input shape ([32,32,112,112])"),
        tf.errors.UnavailableError(None, None, "Device lost: GPU:0"),
        tf.errors.AbortedError(None, None, "NCCL operation failed"),
        tf.errors.FailedPreconditionError(None, None, CUDA),
    ],
)
def test_lost_gpu_is_told(error: Any) -> None:
    """Whatever kind of error TensorFlow makes of a GPU that is gone, the words say where to look."""
    with pytest.raises(RunError, match=re.escape("`retrainbot gpu`")), in_plain_words():
        raise error


def test_mistake_of_ours_stays_what_it_is() -> None:
    """An error that nobody can mend by a setting is not dressed up: the log shall show it as it was."""
    with pytest.raises(tf.errors.InvalidArgumentError), in_plain_words():
        tf.reshape(tf.zeros(3), (2, 2))
