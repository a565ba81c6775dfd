"""The pretrained networks: weights read safely, scaling inside, and an error that helps where weights are missing."""

import hashlib
import io
import pickle
import struct
from collections import OrderedDict
from pathlib import Path

import keras
import numpy as np
import pytest
from numpy.typing import NDArray

from storage.errors import BackboneError
from storage.files import sha256_of
from trainer.backbones import files, inception, zoo
from trainer.backbones.torch_checkpoint import read_checkpoint


@pytest.fixture(scope="module")
def lite() -> zoo.Backbone:
    return zoo.load("efficientnet_lite0")


@pytest.fixture(scope="module")
def inception_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A weights file as keras.applications publishes them, with random weights."""
    path = tmp_path_factory.mktemp("weights") / "inception.h5"
    keras.utils.set_random_seed(0)
    shape = (inception.INPUT_SIZE, inception.INPUT_SIZE, 3)
    keras.applications.InceptionV3(include_top=False, weights=None, input_shape=shape).save(path)
    return path


def _pixels(size: int, value: int | None = None) -> NDArray[np.uint8]:
    random = np.random.default_rng(0).integers(0, 256, (2, size, size, 3), dtype=np.uint8)
    return random if value is None else np.full_like(random, value)


def _features(backbone: zoo.Backbone, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    return np.asarray(backbone.network(pixels, training=False))


def test_lite0_turns_uint8_pixels_into_1280_features(lite: zoo.Backbone) -> None:
    """EfficientNet-Lite0 loads from its package alone and gives finite float32 features that differ by photo."""
    features = _features(lite, _pixels(lite.input_size))
    assert (lite.input_size, lite.features, features.shape) == (224, 1280, (2, 1280))
    assert features.dtype == np.float32
    assert np.isfinite(features).all()
    assert features.min() >= 0  # The last activation is a ReLU6.
    assert features.max() <= 6
    assert np.abs(features[0] - features[1]).max() > 0.1


def test_lite0_recognises_with_its_own_top(lite: zoo.Backbone) -> None:
    """With the checkpoint's own ImageNet top, a plain drawing of a traffic light is called a traffic light."""
    tensors = read_checkpoint(files.lite0()[0])
    logits = _features(lite, _traffic_light()) @ tensors["_fc.weight"].T + tensors["_fc.bias"]
    traffic_light = 920  # The place of the class in ImageNet's list of 1,000.
    assert traffic_light in np.argsort(-logits[0])[:3]


def _traffic_light() -> NDArray[np.uint8]:
    rows, columns = np.mgrid[0:224, 0:224]
    picture = np.full((224, 224, 3), (150, 190, 230), np.uint8)
    picture[(abs(columns - 112) < 40) & (abs(rows - 112) < 95)] = (25, 25, 25)
    for centre, colour in ((50, (250, 30, 20)), (112, (70, 60, 10)), (174, (10, 70, 30))):
        picture[(columns - 112) ** 2 + (rows - centre) ** 2 < 26**2] = colour
    return picture[None]


def test_digest_names_the_weights(lite: zoo.Backbone) -> None:
    """A backbone's digest is the start of the SHA-256 of its weights file."""
    path, sha256 = files.lite0()
    assert lite.digest == sha256[:16] == sha256_of(path)[:16]


def test_inception_from_a_local_file(inception_weights: Path) -> None:
    """Inception-v3 takes its weights from a local file and scales pixels to [-1, 1] inside."""
    backbone = zoo.load("inception_v3", str(inception_weights))
    assert (backbone.input_size, backbone.features) == (299, 2048)
    assert backbone.digest == sha256_of(inception_weights)[:16]
    plain = keras.applications.InceptionV3(
        include_top=False, weights=str(inception_weights), input_shape=(299, 299, 3), pooling="avg"
    )
    pixels = _pixels(299)
    expected = np.asarray(plain(pixels.astype(np.float32) / 127.5 - 1, training=False))
    np.testing.assert_allclose(_features(backbone, pixels), expected, atol=1e-6)


def test_inception_without_network_or_file_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a network the error names the file to fetch, the setting for its path, and the backbone without one."""
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")  # Nothing listens there, so there is no network.
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    with pytest.raises(BackboneError) as caught:
        zoo.load("inception_v3", "imagenet")
    for words in (files.INCEPTION, "training.weights", 'training.backbone = "efficientnet_lite0"'):
        assert words in str(caught.value)


def test_download_that_was_kept_needs_no_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A kept download that is damaged is not used: its checksum is compared, and then the network is missing."""
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / files.INCEPTION).write_bytes(b"cut short")
    with pytest.raises(BackboneError, match="cannot be downloaded"):
        zoo.load("inception_v3", "imagenet", tmp_path)


@pytest.mark.parametrize("content", [None, b"", b"not hdf5", b"\x89HDF\r\n\x1a\n" + b"\0" * 64])
def test_unusable_weights_file_is_named(tmp_path: Path, content: bytes | None) -> None:
    """A weights path that is missing or holds something else gives an error with the setting and the path."""
    path = tmp_path / "weights.h5"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(BackboneError, match=r"training\.weights.*weights\.h5"):
        zoo.load("inception_v3", str(path))


def test_unknown_backbone_lists_the_known() -> None:
    """A backbone that does not exist is answered with those that do."""
    with pytest.raises(BackboneError, match="efficientnet_lite0"):
        zoo.load("resnet")


@pytest.mark.parametrize(("name", "features"), [("efficientnet_lite0", 1280), ("inception_v3", 2048)])
def test_untrained_network_takes_smaller_photos(name: str, features: int) -> None:
    """With random weights a network takes photos of another size, and tells photos apart as it stands."""
    backbone = zoo.untrained(name, 96)
    answers = _features(backbone, _pixels(96))
    assert (backbone.input_size, backbone.features, answers.shape) == (96, features, (2, features))
    assert np.isfinite(answers).all()
    assert answers.std() > 1e-3
    assert np.abs(answers[0] - answers[1]).max() > 1e-3


def test_untrained_network_follows_its_seed() -> None:
    """The same seed gives the same weights, whatever was drawn before, and another seed others."""
    first, second, other = (zoo.untrained("efficientnet_lite0", 32, seed) for seed in (1, 1, 2))
    assert first.digest == second.digest != other.digest


@pytest.mark.parametrize(("name", "least"), [("efficientnet_lite0", 32), ("inception_v3", 75)])
def test_photos_too_small_for_a_network_are_told(name: str, least: int) -> None:
    """A size that the network cannot work with gives an error with the setting and the least size."""
    with pytest.raises(BackboneError, match=rf"network\.input_size.*{least} pixels"):
        zoo.untrained(name, least - 1)


def test_layers_run_from_the_pixels_to_the_features(lite: zoo.Backbone) -> None:
    """The layers come in order of depth: the first filters pixels, the last makes the features; none is left out."""
    layers = list(zoo.layers_of(lite.network))
    assert layers[0].kernel.shape == (3, 3, 3, 32)
    assert layers[-2].kernel.shape == (1, 1, 320, 1280)
    assert sum(len(layer.weights) for layer in layers) == len(lite.network.weights)


class _Evil:
    """Pickles into an order to create a file."""

    def __init__(self, target: Path) -> None:
        self._target = target

    def __reduce__(self) -> tuple[object, ...]:
        return (Path.touch, (self._target,))


def _checkpoint(tensors: object, keys: list[str], storages: bytes) -> bytes:
    file = io.BytesIO()
    for part in (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True}, tensors, keys):
        pickle.dump(part, file, protocol=2)
    return file.getvalue() + storages


def test_malicious_checkpoint_is_refused_and_nothing_runs(tmp_path: Path) -> None:
    """A checkpoint that asks for a function to be called is refused, and the function is not called."""
    target = tmp_path / "owned"
    path = tmp_path / "evil.pth"
    path.write_bytes(_checkpoint(OrderedDict(weight=_Evil(target)), [], b""))
    with pytest.raises(BackboneError, match="which no tensor needs"):
        read_checkpoint(path)
    assert not target.exists()


def test_tensor_outside_its_storage_is_refused(tmp_path: Path) -> None:
    """A tensor that claims more than its storage holds is refused: reading on would leak or crash."""
    path = tmp_path / "long.pth"
    path.write_bytes(_tensor_checkpoint(shape=(4,), count=3))
    with pytest.raises(BackboneError, match="beyond its storage"):
        read_checkpoint(path)


def test_tensor_is_read_by_its_strides(tmp_path: Path) -> None:
    """A tensor kept transposed comes out the right way round."""
    path = tmp_path / "transposed.pth"
    path.write_bytes(_tensor_checkpoint(shape=(2, 3), strides=(1, 2), count=6))
    expected = np.arange(6, dtype=np.float32).reshape(3, 2).T
    np.testing.assert_array_equal(read_checkpoint(path)["weight"], expected)


def test_checkpoint_cut_at_any_place_is_refused(tmp_path: Path) -> None:
    """A checkpoint that ends too early anywhere gives our error, never another."""
    whole = _tensor_checkpoint(shape=(2, 3), strides=(3, 1), count=6)
    path = tmp_path / "cut.pth"
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(BackboneError):
            read_checkpoint(path)


def _tensor_checkpoint(shape: tuple[int, ...], count: int, strides: tuple[int, ...] = (1,)) -> bytes:
    """What PyTorch writes for one float tensor, spelt out in pickle's own words."""
    numbers = [b"(" + b"".join(b"K" + bytes([n]) for n in part) + b"t" for part in (shape, strides)]
    storage = b"(X\x07\0\0\0storagectorch\nFloatStorage\nX\x01\0\0\x007X\x03\0\0\0cpuK" + bytes([count]) + b"NtQ"
    tensor = b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage + b"K\0" + b"".join(numbers) + b"\x89NtR"
    pickled = b"\x80\x02ccollections\nOrderedDict\n)R(X\x06\0\0\0weight" + tensor + b"u."
    start = _checkpoint({}, [], b"")[: -len(pickle.dumps({}, 2) + pickle.dumps([], 2))]
    values = struct.pack(f"<q{count}f", count, *range(count))
    return start + pickled + pickle.dumps(["7"], 2) + values


def test_changed_package_file_would_be_noticed() -> None:
    """The checkpoint in the package is the one that was published, by its SHA-256."""
    path, sha256 = files.lite0()
    assert hashlib.sha256(path.read_bytes()).hexdigest() == sha256
