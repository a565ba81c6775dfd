"""Prints TensorFlow's version and devices in one line; a child process, so that nobody else starts TensorFlow."""

from storage.lifeline import follow_parent
from storage.texts import Text, write_text


def main() -> None:
    follow_parent()
    import tensorflow as tf  # noqa: PLC0415  It takes seconds: the parent is followed by then.

    gpus = tf.config.list_physical_devices("GPU")
    names = [tf.config.experimental.get_device_details(gpu).get("device_name", gpu.name) for gpu in gpus]
    version = tf.__version__
    if names:
        text = Text("TensorFlow {version} would train on {names}.", version=version, names=", ".join(names))
    elif tf.test.is_built_with_cuda():
        text = Text(
            "TensorFlow {version} is built for GPUs but finds none it can use, so it would train on the CPU.",
            version=version,
        )
    else:
        text = Text("TensorFlow {version} is the CPU build, so it would train on the CPU.", version=version)
    print(write_text(text))  # noqa: T201  The parent reads it.


if __name__ == "__main__":
    main()
