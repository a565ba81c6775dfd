"""Requests with which TensorFlow Serving warms a version up before it answers from it.

Its format: TFRecords of tensorflow.serving.PredictionLog, see
https://www.tensorflow.org/tfx/serving/saved_model_warmup. The messages are put together here from their few fields,
as protocol buffers are encoded (https://protobuf.dev/programming-guides/encoding), because the package with their
classes brings much else.
"""

from pathlib import Path

import tensorflow as tf
from tensorflow.core.framework.tensor_pb2 import TensorProto

from serving.backend import BATCHES

PLACE = Path("assets.extra") / "tf_serving_warmup_requests"
SIGNATURE, INPUT = "serving_default", "pixels"
GREY = 127
# The numbers of fields, by message: prediction_log.proto, predict.proto, model.proto.
_LOG_PREDICT, _PREDICT_REQUEST = 6, 1
_REQUEST_MODEL, _REQUEST_INPUTS, _MODEL_SIGNATURE = 1, 2, 3
_KEY, _VALUE = 1, 2  # Of an entry of a map.
_BYTES = 2  # The wire type of whatever has a length.


def write(folder: Path, input_size: int) -> None:
    """Put a request of each batch size into the version in `folder`."""
    path = folder / PLACE
    path.parent.mkdir(exist_ok=True)
    with tf.io.TFRecordWriter(str(path)) as writer:
        for size in BATCHES:
            writer.write(_log(size, input_size))


def _log(photos: int, size: int) -> bytes:
    shape = tf.TensorShape([photos, size, size, 3]).as_proto()
    # A tensor with fewer values than it has room for repeats its last one.
    pixels = TensorProto(dtype=tf.uint8.as_datatype_enum, tensor_shape=shape, int_val=[GREY])
    entry = _field(_KEY, INPUT.encode()) + _field(_VALUE, pixels.SerializeToString())
    model = _field(_MODEL_SIGNATURE, SIGNATURE.encode())
    request = _field(_REQUEST_MODEL, model) + _field(_REQUEST_INPUTS, entry)
    return _field(_LOG_PREDICT, _field(_PREDICT_REQUEST, request))


def _field(number: int, content: bytes) -> bytes:
    return _varint(number << 3 | _BYTES) + _varint(len(content)) + content


def _varint(value: int) -> bytes:
    parts = bytearray()
    while value > 0x7F:
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*parts, value])
