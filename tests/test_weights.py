"""A version's weights beside it: they come back whole or not at all, into the network they are of."""

from pathlib import Path

import numpy as np
import pytest
from networks import FEATURES, tiny_backbone, tiny_head
from numpy.typing import NDArray

from storage.errors import ModelError
from trainer.backbones.zoo import digest_of
from trainer.network.weights import FILE, read_weights, write_weights


def _other(factor: float) -> list[NDArray[np.float32]]:
    return [factor * weights for weights in tiny_backbone().network.get_weights()]


def _written(folder: Path) -> Path:
    trained = tiny_backbone()
    trained.network.set_weights(_other(2.0))
    write_weights(folder / FILE, trained, *tiny_head(3))
    return folder / FILE


def test_weights_come_back(tmp_path: Path) -> None:
    """A fresh network takes over every weight, the last layer is as written, and the digest is of the new ones."""
    fresh = tiny_backbone()
    backbone, weights, bias = read_weights(_written(tmp_path), fresh)
    for got, wanted in zip(backbone.network.get_weights(), _other(2.0), strict=True):
        np.testing.assert_array_equal(got, wanted)
    np.testing.assert_array_equal(weights, tiny_head(3)[0])
    np.testing.assert_array_equal(bias, tiny_head(3)[1])
    assert backbone.digest == digest_of(backbone.network)[:16] != fresh.digest


def test_names_do_not_depend_on_the_process(tmp_path: Path) -> None:
    """Keras numbers the layers of a process; the names in the file are the same however many were built before."""
    names = [np.load(_written(tmp_path / number)).files for number in "ab"]
    assert names[0] == names[1]
    assert names[0][0] == "0000.kernel"


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    """Weights whose names or forms are not the network's are not put into it."""
    path = _written(tmp_path)
    with np.load(path) as arrays:
        kept = dict(arrays)
    first = next(iter(kept))
    for changed in (
        {**kept, first: kept[first][:1]},
        {name: array for name, array in kept.items() if name != first},
        {**kept, "more": np.zeros(1)},
        {name: array for name, array in kept.items() if not name.startswith("head")},
    ):
        np.savez(path, **changed)
        with pytest.raises(ModelError, match="another network than tiny"):
            read_weights(path, tiny_backbone())


def test_missing_weights_say_which_versions_have_some(tmp_path: Path) -> None:
    """A version that was trained in mode head has no weights of its own, and the error says so."""
    with pytest.raises(ModelError, match="mode full or scratch"):
        read_weights(tmp_path / FILE, tiny_backbone())


@pytest.mark.parametrize("content", [b"", b"no zip", b"PK\x03\x04 cut"])
def test_damaged_weights_are_refused(tmp_path: Path, content: bytes) -> None:
    """A file that is no archive of arrays is told as such."""
    (tmp_path / FILE).write_bytes(content)
    with pytest.raises(ModelError, match="cannot be read"):
        read_weights(tmp_path / FILE, tiny_backbone())


def test_nothing_in_the_file_is_run(tmp_path: Path) -> None:
    """An array of Python objects, which reading would unpickle, is refused."""
    np.savez(tmp_path / FILE, weights=np.array([{}], dtype=object))
    with pytest.raises(ModelError, match="cannot be read"):
        read_weights(tmp_path / FILE, tiny_backbone())


def test_head_has_its_form(tmp_path: Path) -> None:
    """A last layer whose weights do not fit the features or the bias is refused."""
    write_weights(tmp_path / FILE, tiny_backbone(), np.zeros((FEATURES, 3), np.float32), np.zeros(4, np.float32))
    with pytest.raises(ModelError, match="another network"):
        read_weights(tmp_path / FILE, tiny_backbone())
