"""Features are computed once, as Keras would; photos that cannot be read are told, and what was done is kept."""

import hashlib
import threading
from pathlib import Path

import numpy as np
import pytest
from networks import FEATURES, SIZE, photos, tiny_backbone
from numpy.typing import NDArray
from PIL import Image

from storage.images import Pixels, model_input
from storage.splits import Split
from trainer.backbones.zoo import Backbone
from trainer.features.extraction import Extractor
from trainer.features.store import FeatureStore
from trainer.snapshot import ROW, SPLITS, Snapshot


@pytest.fixture(scope="module")
def backbone() -> Backbone:
    return tiny_backbone()


@pytest.fixture
def data(tmp_path: Path) -> Snapshot:
    """Seven photos on the disk."""
    return _stored(tmp_path / "photos", 7)


def _stored(folder: Path, count: int) -> Snapshot:
    """So many photos of one class, by hash."""
    (folder / "class").mkdir(parents=True)
    hashes = []
    for pixels in photos(count, size=64):
        path = folder / "class" / "new.jpg"
        Image.fromarray(pixels).save(path)
        digest = hashlib.sha256(path.read_bytes())
        path.rename(path.with_stem(digest.hexdigest()))
        hashes.append(list(digest.digest()))
    rows = np.zeros(count, ROW)
    rows["sha256"] = sorted(hashes)
    rows["split"] = SPLITS.index(Split.TRAIN)
    return Snapshot(("class",), rows, folder)


def _store(folder: Path, backbone: Backbone, *, mirrored: bool = False) -> FeatureStore:
    return FeatureStore(folder / "features", backbone.name, backbone.digest, FEATURES, mirrored=mirrored)


def _pixels(data: Snapshot) -> Pixels:
    return np.stack([model_input(photo.path.read_bytes(), SIZE) for photo in data.photos()])


def _expected(backbone: Backbone, pixels: Pixels) -> NDArray[np.float32]:
    return np.asarray(backbone.network(pixels, training=False))


@pytest.mark.parametrize("batch_size", [1, 2, 5, 32])
def test_extract_keeps_the_networks_own_features(
    tmp_path: Path, backbone: Backbone, data: Snapshot, batch_size: int
) -> None:
    """Whatever the batch size, each readable photo gets what Keras gives for it, and the others a reason."""
    expected = _expected(backbone, _pixels(data))
    data.photo(1).path.write_bytes(data.photo(1).path.read_bytes()[:300])
    data.photo(2).path.write_bytes(data.photo(3).path.read_bytes())
    data.photo(4).path.unlink()
    store = _store(tmp_path, backbone)
    told: list[tuple[int, int]] = []
    unreadable = Extractor(backbone, batch_size).extract(data, [store], lambda done, total: told.append((done, total)))
    assert set(unreadable) == {data.photo(place).sha256 for place in (1, 2, 4)}
    assert "damaged or was edited" in unreadable[data.photo(1).sha256]
    assert "reindex" in unreadable[data.photo(2).sha256]
    assert "cannot be read" in unreadable[data.photo(4).sha256]
    good = [0, 3, 5, 6]
    np.testing.assert_array_equal(np.flatnonzero(~store.missing(data.hashes)), good)
    np.testing.assert_allclose(store.rows(data.hashes[good])[:], expected[good], atol=1e-5)
    assert told[-1] == (7, 7)
    assert told == sorted(told)


def test_what_no_decoder_takes_is_told(tmp_path: Path, backbone: Backbone) -> None:
    """A file that is what was stored but no photo is left out with the reason, and the progress reaches its end."""
    content = b"no photo at all"
    digest = hashlib.sha256(content)
    path = tmp_path / "photos" / "class" / f"{digest.hexdigest()}.jpg"
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    rows = np.zeros(1, ROW)
    rows["sha256"] = list(digest.digest())
    told: list[tuple[int, int]] = []
    unreadable = Extractor(backbone, 8).extract(
        Snapshot(("class",), rows, tmp_path / "photos"),
        [_store(tmp_path, backbone)],
        lambda done, total: told.append((done, total)),
    )
    assert "damaged" in unreadable[digest.hexdigest()]
    assert told == [(1, 1)]


def test_nothing_is_read_twice(tmp_path: Path, backbone: Backbone, data: Snapshot) -> None:
    """Photos whose features are kept are not read again, and only new ones are counted."""
    store = _store(tmp_path, backbone)
    read: list[Path] = []

    def reading(path: Path) -> bytes:
        read.append(path)
        return path.read_bytes()

    extractor = Extractor(backbone, 2, reading)
    known = Snapshot(data.classes, data.rows[[0, 2, 5]], data.folder)
    extractor.extract(known, [store])
    read.clear()
    told: list[tuple[int, int]] = []
    extractor.extract(data, [store], lambda done, total: told.append((done, total)))
    assert sorted(read) == [data.photo(place).path for place in (1, 3, 4, 6)]
    assert told == [(2, 4), (4, 4)]
    assert extractor.extract(data, [store]) == {}
    assert len(read) == 4


def test_mirror_images_come_from_the_same_decoding(tmp_path: Path, backbone: Backbone, data: Snapshot) -> None:
    """A mirrored store gets the features of the photos seen in a mirror; each photo is decoded once for both."""
    pixels = _pixels(data)
    plain, mirror = _store(tmp_path, backbone), _store(tmp_path, backbone, mirrored=True)
    read: list[Path] = []

    def reading(path: Path) -> bytes:
        read.append(path)
        return path.read_bytes()

    extractor = Extractor(backbone, 4, reading)
    extractor.extract(Snapshot(data.classes, data.rows[[3]], data.folder), [plain])
    read.clear()
    extractor.extract(data, [plain, mirror])
    assert len(read) == 7
    np.testing.assert_allclose(plain.rows(data.hashes)[:], _expected(backbone, pixels), atol=1e-5)
    np.testing.assert_allclose(mirror.rows(data.hashes)[:], _expected(backbone, pixels[:, :, ::-1]), atol=1e-5)
    assert plain.path.stat().st_size == mirror.path.stat().st_size  # The one that was there was not computed again.


def test_stopped_extraction_keeps_what_it_has(tmp_path: Path, backbone: Backbone, data: Snapshot) -> None:
    """Told to stop, it ends before the next batch; the next call does the rest, and nothing twice."""
    store = _store(tmp_path, backbone)
    told: list[int] = []
    extractor = Extractor(backbone, 2)
    extractor.extract(data, [store], lambda done, _: told.append(done), stop=lambda: bool(told))
    assert told == [2]
    assert store.missing(data.hashes).sum() == 5
    extractor.extract(data, [store], lambda done, _: told.append(done))
    assert told == [2, 2, 4, 5]
    assert not store.missing(data.hashes).any()


def test_decoders_do_not_run_far_ahead(tmp_path: Path, backbone: Backbone) -> None:
    """While the network has not taken the first batch, no more photos are read than may wait."""
    data = _stored(tmp_path / "photos", 30)
    lock, read, at_first = threading.Lock(), list[Path](), list[int]()

    def reading(path: Path) -> bytes:
        with lock:
            read.append(path)
        return path.read_bytes()

    def stop() -> bool:
        at_first.append(len(read))
        return False

    extractor = Extractor(backbone, 2, reading, ahead_bytes=3 * 2 * SIZE * SIZE * 3)
    extractor.extract(data, [_store(tmp_path, backbone)], stop=stop)
    assert len(read) == 30
    assert at_first[0] <= 8


def test_kept_network_answers_as_the_first_time(tmp_path: Path, backbone: Backbone, data: Snapshot) -> None:
    """An extractor that was warmed ahead gives the same features, for any number of photos."""
    extractor = Extractor(backbone, 4)
    extractor.warm()
    pixels = _pixels(data)
    np.testing.assert_allclose(extractor.features(pixels), _expected(backbone, pixels), atol=1e-5)
    extractor.extract(data, [store := _store(tmp_path, backbone)])
    np.testing.assert_array_equal(store.rows(data.hashes)[:], extractor.features(pixels))
