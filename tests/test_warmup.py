"""The requests that warm TensorFlow Serving up, read by other means than they are written."""

from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from tensorflow.core.framework.tensor_pb2 import TensorProto

from serving.backend import BATCHES
from trainer import warmup

Field = descriptor_pb2.FieldDescriptorProto


def test_requests_are_those_of_the_signature(tmp_path: Path) -> None:
    """There is a request for each batch size, for the version's signature and input, with grey photos of its size."""
    warmup.write(tmp_path, 32)
    records = tf.data.TFRecordDataset(str(tmp_path / "assets.extra" / "tf_serving_warmup_requests"))
    shapes = []
    for record in records:
        log = _log().FromString(record.numpy())
        assert log.SerializeToString(deterministic=True) == record.numpy()
        request = log.predict_log.request
        assert request.model_spec.signature_name == "serving_default"
        (entry,) = request.inputs
        assert entry.key == "pixels"
        pixels = tf.make_ndarray(TensorProto.FromString(entry.value))
        assert pixels.dtype == np.uint8
        assert (pixels == 127).all()
        shapes.append(pixels.shape)
    assert shapes == [(size, 32, 32, 3) for size in BATCHES]


def test_a_version_is_warmed_up_with_little(tmp_path: Path) -> None:
    """The requests take no room to speak of, whatever the size of the photos."""
    warmup.write(tmp_path, 299)
    assert (tmp_path / warmup.PLACE).stat().st_size < 1000


def _log() -> Any:
    """tensorflow.serving.PredictionLog with the fields that are used; a tensor stays bytes."""
    file = descriptor_pb2.FileDescriptorProto(name="serving.proto", package="tensorflow.serving", syntax="proto3")
    _add(file, "ModelSpec", ("signature_name", 3, Field.TYPE_STRING, None))
    _add(file, "Entry", ("key", 1, Field.TYPE_STRING, None), ("value", 2, Field.TYPE_BYTES, None))
    _add(
        file,
        "PredictRequest",
        ("model_spec", 1, Field.TYPE_MESSAGE, "ModelSpec"),
        ("inputs", 2, Field.TYPE_MESSAGE, "Entry"),
    )
    _add(file, "PredictLog", ("request", 1, Field.TYPE_MESSAGE, "PredictRequest"))
    _add(file, "PredictionLog", ("predict_log", 6, Field.TYPE_MESSAGE, "PredictLog"))
    file.message_type[2].field[1].label = Field.LABEL_REPEATED
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    found = pool.FindMessageTypeByName("tensorflow.serving.PredictionLog")
    return message_factory.GetMessageClass(found)


def _add(file: descriptor_pb2.FileDescriptorProto, name: str, *fields: tuple[str, int, Any, str | None]) -> None:
    message = file.message_type.add(name=name)
    for field, number, kind, of in fields:
        added = message.field.add(name=field, number=number, type=kind, label=Field.LABEL_OPTIONAL)
        if of:
            added.type_name = f".tensorflow.serving.{of}"
