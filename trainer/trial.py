"""Tries TensorFlow out: a matrix product, a convolution, and an operation compiled by XLA, on the card if there is one.

A child process, so that nobody else starts TensorFlow: `python -m trainer.trial`. It prints a line of JSON a step, as
each is done, so that its parent knows how far it came.
"""

import json
import sys
from collections.abc import Callable
from typing import Any

from storage.lifeline import follow_parent

SIDE = 256
STEPS = ("tensorflow", "matmul", "convolution", "xla")


def main() -> None:
    follow_parent()
    import tensorflow as tf  # noqa: PLC0415  It takes seconds: the parent is followed by then.

    gpus = tf.config.list_physical_devices("GPU")
    for gpu in gpus:  # A service may be using the card; it keeps what it needs.
        tf.config.experimental.set_memory_growth(gpu, enable=True)
    details = [tf.config.experimental.get_device_details(gpu) for gpu in gpus]
    _tell(
        "tensorflow",
        version=tf.__version__,
        cuda=tf.test.is_built_with_cuda(),
        built={name: str(value) for name, value in tf.sysconfig.get_build_info().items()},
        gpus=[detail.get("device_name", gpu.name) for gpu, detail in zip(gpus, details, strict=True)],
    )
    # Whole numbers this small are exact in every format that a card multiplies in.
    numbers = tf.reshape(tf.range(SIDE * SIDE, dtype=tf.float32) % 3, (SIDE, SIDE))
    tried: dict[str, tuple[Callable[[], Any], float]] = {
        "matmul": (lambda: tf.matmul(numbers, tf.ones((SIDE, 1))), float(tf.reduce_sum(numbers))),
        "convolution": (lambda: tf.nn.conv2d(tf.ones((1, 8, 8, 1)), tf.ones((3, 3, 1, 1)), 1, "VALID"), 9.0 * 36),
        # What XLA makes of an exponential needs NVIDIA's library of device functions.
        "xla": (tf.function(lambda: tf.exp(tf.zeros((SIDE,))), jit_compile=True), float(SIDE)),
    }
    for step, (work, expected) in tried.items():
        try:
            result = work()
            right = float(tf.reduce_sum(result)) == expected
        except Exception as error:  # noqa: BLE001  Whatever it is, the parent reads it.
            _tell(step, error=f"{type(error).__name__}: {error}")
            sys.exit(1)
        _tell(step, device=result.device, right=right)


def _tell(step: str, **what: Any) -> None:
    print(json.dumps({"step": step, **what}), flush=True)  # noqa: T201  The parent reads it.


if __name__ == "__main__":
    main()
