"""The exported SavedModel: what it takes and gives, stored once, readable by plain TensorFlow."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from networks import SIZE, tiny_backbone, tiny_head

from trainer.export import classifier, export

READ = """
import json, sys
import numpy as np, tensorflow as tf
signature = tf.saved_model.load(sys.argv[1]).signatures["serving_default"]
(name, spec), = signature.structured_input_signature[1].items()
pixels = np.arange(2 * {size} ** 2 * 3, dtype=np.uint8).reshape(2, {size}, {size}, 3)
answer = signature(pixels=tf.constant(pixels))
print(json.dumps([name, spec.dtype.name, spec.shape.as_list(), list(answer), answer["probabilities"].numpy().tolist()]))
"""


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("export")
    export(tiny_backbone(), *tiny_head(classes=5), folder)
    return folder


def test_plain_tensorflow_reads_it_in_a_fresh_process(exported: Path) -> None:
    """A process without our code loads the folder and gets the same probabilities from uint8 `pixels`."""
    command = [sys.executable, "-c", READ.format(size=SIZE), str(exported)]
    output = subprocess.run(command, capture_output=True, check=True, text=True).stdout
    name, dtype, shape, outputs, probabilities = json.loads(output)
    assert (name, dtype, shape, outputs) == ("pixels", "uint8", [None, SIZE, SIZE, 3], ["probabilities"])
    pixels = np.arange(2 * SIZE**2 * 3, dtype=np.uint8).reshape(2, SIZE, SIZE, 3)
    expected = np.asarray(classifier(tiny_backbone(), *tiny_head(classes=5))(pixels))
    np.testing.assert_allclose(probabilities, expected, atol=1e-6)
    np.testing.assert_allclose(np.sum(probabilities, axis=1), 1, atol=1e-6)


def test_weights_are_stored_once(exported: Path) -> None:
    """The variables on the disk take the room of the network's parameters, not twice that."""
    stored = sum(path.stat().st_size for path in (exported / "variables").iterdir())
    parameters = classifier(tiny_backbone(), *tiny_head(classes=5)).count_params() * 4
    assert parameters <= stored < 1.5 * parameters + 4096


def test_folder_is_a_tensorflow_serving_version(exported: Path) -> None:
    """The graph and its variables lie where TensorFlow Serving looks for them."""
    assert (exported / "saved_model.pb").is_file()
    assert (exported / "variables" / "variables.index").is_file()
